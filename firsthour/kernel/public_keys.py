"""Public keys of senders. The library of `public_key_checks` is loaded for the first key, since few installations have one."""

import importlib
from typing import Final, Protocol, cast

ECDSA: Final = "ecdsa-sha256"
ED25519: Final = "ed25519"
PUBLIC_KEY_SCHEMES: Final = frozenset({ECDSA, ED25519})
PUBLIC_PREFIX: Final = "whpk_"
"""The prefix of public keys in Standard Webhooks."""


class VerifyingKey(Protocol):
    """A public key."""

    def verifies(self, signature: bytes, text: bytes) -> bool:
        """Tell whether the signature belongs to the text."""


def verifying_key(scheme: str, text: str) -> VerifyingKey:
    """Return the key of a text. Raises `ValueError` if the text is not a public key of the scheme."""
    checks = importlib.import_module("firsthour.kernel.public_key_checks")
    return cast(VerifyingKey, checks.verifying_key(scheme, text))
