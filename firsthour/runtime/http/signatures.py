"""The signature of Slack over the raw bytes.

A signature is valid or not. The body is not parsed, and no input raises an error. Each signature has one accepted spelling,
so that an altered request does not count as the signed one.
"""

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from firsthour.kernel.time_units import EPOCH

Headers = Mapping[bytes, bytes]
"""By lower-case name."""

_STAMP_DIGITS_MAX: Final = 11  # seconds since 1970


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
