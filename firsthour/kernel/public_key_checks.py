"""Public keys of senders: ECDSA over P-256 with SHA-256, and Ed25519."""

import base64
import binascii
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

_ED25519_BYTES: Final = 32
_ECDSA: Final = ECDSA(hashes.SHA256())


@dataclass(frozen=True)
class LoadedKey:
    """A public key."""

    key: EllipticCurvePublicKey | Ed25519PublicKey

    def verifies(self, signature: bytes, text: bytes) -> bool:
        """Tell whether the signature belongs to the text."""
        try:
            if isinstance(self.key, Ed25519PublicKey):
                self.key.verify(signature, text)
            else:
                self.key.verify(signature, text, _ECDSA)
        except (InvalidSignature, ValueError):
            return False
        return True


def verifying_key(scheme: str, text: str) -> LoadedKey:
    """Return the key of a text. Raises `ValueError` if the text is not a public key of the scheme."""
    if scheme == "ed25519":
        return LoadedKey(Ed25519PublicKey.from_public_bytes(_ed25519_bytes(text)))
    try:
        if text.startswith("-----BEGIN"):
            key = serialization.load_pem_public_key(text.encode())
        else:
            key = serialization.load_der_public_key(base64.b64decode(text, validate=True))
    except (binascii.Error, UnsupportedAlgorithm) as error:
        raise ValueError("not a public key") from error
    if not isinstance(key, EllipticCurvePublicKey):
        raise ValueError("not a key for ECDSA")
    return LoadedKey(key)


def _ed25519_bytes(text: str) -> bytes:
    """Return the key from hex, or from base64 with or without `whpk_`."""
    if len(text) == _ED25519_BYTES * 2:
        return bytes.fromhex(text)
    return base64.b64decode(text.removeprefix("whpk_"), validate=True)
