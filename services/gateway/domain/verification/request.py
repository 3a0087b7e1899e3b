"""The parts of a request over which a proof is given."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Protocol

import msgspec

from services.gateway.domain.coerce import Json

Headers = Mapping[bytes, bytes]
"""By lower-case name."""


def _no_value() -> Json:
    return None


class SignedRequest(msgspec.Struct, frozen=True):
    """A request as it arrived.

    `url`: the public address with the query as it was sent. `token`: the part of the path after the source; empty: there is
    none. `value` parses the body, which only a key in the body needs; it returns None for a body that cannot be parsed.
    """

    headers: Headers
    body: bytes
    method: bytes = b"POST"
    url: bytes = b""
    token: bytes = b""
    value: Callable[[], Json] = _no_value


class Verdict(msgspec.Struct, frozen=True):
    """Whether a request is proven.

    `fault`: why it is not, in words that contain no secret; empty: it is proven. `secret`: the index of the secret that
    proved it. `timed`: the proof covers the time of sending.
    """

    fault: str = ""
    secret: int = 0
    timed: bool = False

    @property
    def holds(self) -> bool:
        """Whether the request is proven."""
        return not self.fault


class Verification(Protocol):
    """One way to prove a request. No input raises an error, and each proof has one accepted spelling."""

    def check(self, request: SignedRequest, now: datetime) -> Verdict:
        """Return the verdict. `now`: real time."""
