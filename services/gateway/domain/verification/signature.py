"""Signatures in one header: HMAC, a digest with the secret inside, and public keys."""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Final

from firsthour.kernel.public_keys import VerifyingKey, verifying_key
from schemas.verification import Digest, Hmac, PublicKey, Signature
from services.gateway.domain.verification import timestamps
from services.gateway.domain.verification.request import Headers, SignedRequest, Verdict
from services.gateway.domain.verification.signed_text import SignedTemplate

Matches = Callable[[SignedRequest, bytes, bytes], bool]
"""Tells whether a signature belongs to the request with this timestamp."""

_HEADER_MAX: Final = 4_096


@dataclass(frozen=True)
class HeaderSignature:
    """A signature in a header. `keys` has a check for each secret."""

    header: bytes  # lower case
    prefix: bytes
    signature_field: bytes | None
    timestamp_header: bytes | None  # lower case
    timestamp_field: bytes | None
    timestamp_unit: str
    tolerance: timedelta
    keys: Sequence[Matches]

    @cached_property
    def is_plain(self) -> bool:
        """Whether the header has the signature alone, without a timestamp in it or beside it."""
        return self.signature_field is None and self.timestamp_header is None

    def check(self, request: SignedRequest, now: datetime) -> Verdict:
        value = request.headers.get(self.header)
        if not value:
            return Verdict(f"the header {self.header.decode()} is missing")
        if self.is_plain and value.startswith(self.prefix):
            signature, stamp, fault = value[len(self.prefix) :], b"", ""
        else:
            signature, stamp, fault = self._parts(value, request.headers)
        timed = self.timestamp_header is not None or self.timestamp_field is not None
        fault = fault or (timestamps.fault_of(stamp, self.timestamp_unit, now, self.tolerance) if timed else "")
        if fault:
            return Verdict(fault)
        for index, matches in enumerate(self.keys):
            if matches(request, stamp, signature):
                return Verdict(secret=index, timed=timed)
        return Verdict(f"the signature was made with none of {len(self.keys)} secrets, or over another text")

    def _parts(self, value: bytes, headers: Headers) -> tuple[bytes, bytes, str]:
        """Return signature, timestamp, and why they cannot be read."""
        stamp = headers.get(self.timestamp_header, b"") if self.timestamp_header is not None else b""
        if self.signature_field is not None:
            fields = _fields(value)
            if fields is None or self.signature_field not in fields:
                return b"", b"", f"the header {self.header.decode()} has no field {self.signature_field.decode()}"
            value = fields[self.signature_field]
            if self.timestamp_field is not None:
                stamp = fields.get(self.timestamp_field, b"")
        if not value.startswith(self.prefix):
            return b"", b"", f"the signature does not begin with {self.prefix.decode()}"
        return value[len(self.prefix) :], stamp, ""


def _fields(value: bytes) -> dict[bytes, bytes] | None:
    """Return the fields of `t=1,v1=2`. None: the text has another form, or a field occurs twice."""
    if len(value) > _HEADER_MAX:
        return None
    pairs = [part.partition(b"=") for part in value.split(b",")]
    fields = {name: text for name, _, text in pairs}
    return fields if len(fields) == len(pairs) and all(separator for _, separator, _ in pairs) else None


def header_signature(scheme: Signature, secrets: Sequence[str]) -> HeaderSignature:
    """Return the check of a scheme. The secrets were examined: each is a key of the scheme."""
    template, keys = SignedTemplate(scheme.signed_text), [secret.encode() for secret in secrets]
    match scheme:
        case Hmac():
            digest = scheme.scheme.removeprefix("hmac-")
            checks = [_hmac(template, key, digest, scheme.encoding) for key in keys]
        case Digest():
            checks = [_digest(template, key, scheme.encoding) for key in keys]
        case PublicKey():
            checks = [_public(template, verifying_key(scheme.scheme, text), scheme.encoding) for text in secrets]
        case _:
            raise AssertionError(scheme)
    return HeaderSignature(
        scheme.header.lower().encode(),
        scheme.prefix.encode(),
        scheme.signature_field.encode() if scheme.signature_field else None,
        scheme.timestamp_header.lower().encode() if scheme.timestamp_header else None,
        scheme.timestamp_field.encode() if scheme.timestamp_field else None,
        scheme.timestamp_unit,
        scheme.tolerance,
        checks,
    )


def _hmac(template: SignedTemplate, key: bytes, digest: str, encoding: str) -> Matches:
    prepared = hmac.new(key, digestmod=digest)  # `hmac.digest` looks its digest up, and lets other threads interrupt

    def matches(request: SignedRequest, stamp: bytes, signature: bytes) -> bool:
        code = prepared.copy()
        code.update(template.text(request, stamp))
        return _same(code.digest(), encoding, signature)

    return matches


def _digest(template: SignedTemplate, key: bytes, encoding: str) -> Matches:
    def matches(request: SignedRequest, stamp: bytes, signature: bytes) -> bool:
        return _same(hashlib.sha256(template.text(request, stamp, key)).digest(), encoding, signature)

    return matches


def _public(template: SignedTemplate, key: VerifyingKey, encoding: str) -> Matches:
    def matches(request: SignedRequest, stamp: bytes, signature: bytes) -> bool:
        code = decoded(signature, encoding)
        return code is not None and key.verifies(code, template.text(request, stamp))

    return matches


def _same(code: bytes, encoding: str, signature: bytes) -> bool:
    """Compare in constant time. Hexadecimal digits may be all lower or all upper case."""
    if encoding != "hex":
        return hmac.compare_digest(_encoded(code, encoding), signature)
    lower = code.hex().encode()
    return hmac.compare_digest(lower, signature) or hmac.compare_digest(lower.upper(), signature)


def _encoded(code: bytes, encoding: str) -> bytes:
    return base64.b64encode(code) if encoding == "base64" else base64.urlsafe_b64encode(code).rstrip(b"=")


def decoded(signature: bytes, encoding: str) -> bytes | None:
    """Return the bytes of a signature. None: it is not encoded in the one accepted way."""
    try:
        if encoding == "hex":
            code = bytes.fromhex(signature.decode("ascii"))
            return code if signature == code.hex().encode() else None
        padded = signature + b"=" * (-len(signature) % 4) if encoding == "base64url" else signature
        code = base64.b64decode(padded, b"-_" if encoding == "base64url" else None, validate=True)
    except (ValueError, binascii.Error):
        return None
    return code if _encoded(code, encoding) == signature else None
