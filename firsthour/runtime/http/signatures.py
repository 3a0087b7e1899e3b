"""Signatures of webhooks over the raw bytes: Standard Webhooks, and the HMAC schemes of vendors.

A signature is valid or not. The body is not parsed, and no input raises an error. Each signature has one accepted spelling,
so that an altered request does not count as the signed one.
"""

import base64
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Protocol

from standardwebhooks.webhooks import Webhook

from firsthour.kernel.time_units import EPOCH

Headers = Mapping[bytes, bytes]
"""By lower-case name."""

_STAMP_DIGITS_MAX: Final = 11  # seconds since 1970


class WebhookSignature(Protocol):
    """The signature scheme of one source."""

    def holds(self, headers: Headers, body: bytes, now: datetime) -> bool:
        """Tell whether `body` was signed with one of the secrets. `now`: real time."""


@dataclass(frozen=True)
class StandardSignature:
    """`webhook-id`, `webhook-timestamp`, and `webhook-signature` with any number of `v1,<base64>`, one of them valid."""

    webhooks: tuple[Webhook, ...]
    tolerance: timedelta

    def holds(self, headers: Headers, body: bytes, now: datetime) -> bool:
        id, stamp = headers.get(b"webhook-id", b""), headers.get(b"webhook-timestamp", b"")
        signatures = headers.get(b"webhook-signature", b"").split(b" ")
        at = _time_of(stamp)
        if (
            at is None
            or abs(now - at) > self.tolerance
            or not id.isascii()
            or not id
            or b"." in id
            or not all(signatures)
        ):
            return False
        try:
            text = body.decode()  # the scheme signs text
        except UnicodeDecodeError:
            return False
        valid = False
        for webhook in self.webhooks:
            expected = webhook.sign(id.decode(), at, text).encode()
            for signature in signatures:
                valid |= hmac.compare_digest(expected, signature)
        return valid


@dataclass(frozen=True)
class HmacSignature:
    """An HMAC of the body, or of `<timestamp>.<body>`, in one header."""

    header: bytes  # lower case
    digest: str  # sha256, sha1
    encoding: str  # hex, base64
    prefix: bytes
    timestamp_header: bytes | None  # lower case
    tolerance: timedelta
    secrets: tuple[bytes, ...]

    def holds(self, headers: Headers, body: bytes, now: datetime) -> bool:
        signature = headers.get(self.header, b"")
        if not signature.startswith(self.prefix):
            return False
        signature = signature[len(self.prefix) :]
        signed = body
        if self.timestamp_header is not None:
            stamp = headers.get(self.timestamp_header, b"")
            at = _time_of(stamp)
            if at is None or abs(now - at) > self.tolerance:
                return False
            signed = stamp + b"." + body
        valid = False
        for secret in self.secrets:
            code = hmac.digest(secret, signed, self.digest)
            for expected in self._spellings(code):
                valid |= hmac.compare_digest(expected, signature)
        return valid

    def _spellings(self, code: bytes) -> tuple[bytes, ...]:
        if self.encoding == "base64":
            return (base64.b64encode(code),)
        lower = code.hex().encode()
        return lower, lower.upper()


@dataclass(frozen=True)
class SlackSignature:
    """`x-slack-signature`: `v0=` and the hex SHA-256 HMAC of `v0:<timestamp>:<body>`, with the signing secret of the app."""

    secret: bytes
    tolerance: timedelta = timedelta(minutes=5)

    def holds(self, headers: Headers, body: bytes, now: datetime) -> bool:
        stamp = headers.get(b"x-slack-request-timestamp", b"")
        at = _time_of(stamp)
        if at is None or abs(now - at) > self.tolerance:
            return False
        code = hmac.digest(self.secret, b"v0:" + stamp + b":" + body, "sha256")
        return hmac.compare_digest(b"v0=" + code.hex().encode(), headers.get(b"x-slack-signature", b""))


def _time_of(stamp: bytes) -> datetime | None:
    """Return the time of Unix seconds without leading zeros. None: the text is not such a time."""
    if not stamp.isdigit() or len(stamp) > _STAMP_DIGITS_MAX or stamp[:1] == b"0":
        return None
    return EPOCH + timedelta(seconds=int(stamp))


def standard(secrets: tuple[str, ...], tolerance: timedelta) -> StandardSignature:
    """Return the scheme for secrets such as `whsec_<base64>`, which must be valid."""
    return StandardSignature(tuple(map(Webhook, secrets)), tolerance)
