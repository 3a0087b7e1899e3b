"""Signatures of Standard Webhooks."""

import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from standardwebhooks.webhooks import Webhook

from firsthour.kernel.public_keys import ED25519, PUBLIC_PREFIX, VerifyingKey, verifying_key
from services.gateway.domain.verification import timestamps
from services.gateway.domain.verification.request import SignedRequest, Verdict
from services.gateway.domain.verification.signature import decoded


@dataclass(frozen=True)
class StandardSignature:
    """`<prefix>-id`, `<prefix>-timestamp`, and `<prefix>-signature` with any number of signatures, one of them valid.

    A signature is `v1,<base64>` of a secret, or `v1a,<base64>` of a public key.
    """

    prefix: bytes
    keys: tuple[Webhook | VerifyingKey, ...]
    tolerance: timedelta

    def check(self, request: SignedRequest, now: datetime) -> Verdict:
        headers, prefix = request.headers, self.prefix
        id, stamp = headers.get(prefix + b"-id", b""), headers.get(prefix + b"-timestamp", b"")
        signatures = headers.get(prefix + b"-signature", b"").split(b" ")
        if not id.isascii() or not id or b"." in id:
            return Verdict(f"the header {prefix.decode()}-id is missing, not ASCII, or has a dot")
        if not all(signatures):
            return Verdict(f"the header {prefix.decode()}-signature is missing or has an empty signature")
        if fault := timestamps.fault_of(stamp, "s", now, self.tolerance):
            return Verdict(fault)
        try:
            text = request.body.decode()  # the scheme signs text
        except UnicodeDecodeError:
            return Verdict("the body is not UTF-8, so it cannot be signed")
        at = timestamps.time_of(stamp)
        matching = [
            index
            for index, key in enumerate(self.keys)
            if at is not None and _matches(key, id.decode(), at, text, signatures)
        ]
        if not matching:
            return Verdict(f"the signature was made with none of {len(self.keys)} secrets, or over another text")
        return Verdict(secret=matching[0], timed=True)


def _matches(key: Webhook | VerifyingKey, id: str, at: datetime, text: str, signatures: Sequence[bytes]) -> bool:
    if not isinstance(key, Webhook):
        signed = f"{id}.{int(at.timestamp())}.{text}".encode()
        codes = [decoded(one[4:], "base64") for one in signatures if one.startswith(b"v1a,")]
        return any(code is not None and key.verifies(code, signed) for code in codes)
    expected, valid = key.sign(id, at, text).encode(), False
    for signature in signatures:
        valid |= hmac.compare_digest(expected, signature)
    return valid


def standard_signature(secrets: Sequence[str], tolerance: timedelta, prefix: str = "webhook") -> StandardSignature:
    """Return the scheme for secrets such as `whsec_<base64>` and public keys such as `whpk_<base64>`, which must be valid."""
    keys = [
        verifying_key(ED25519, secret) if secret.startswith(PUBLIC_PREFIX) else Webhook(secret) for secret in secrets
    ]
    return StandardSignature(prefix.encode(), tuple(keys), tolerance)
