"""The outcome of a request: `Accepted` with the rows to append, or `Rejected` with the problem to answer."""

from collections.abc import Sequence
from typing import Final
from urllib.parse import quote

import msgspec

from firsthour.runtime.http.problem import FieldFault, Problem
from firsthour.runtime.storage.records import Row
from schemas.envelope import RECORD_BYTES_MAX, RecordTooLargeError, encode
from schemas.topics import EVENTS
from services.gateway.domain.coerce import UnmappableError
from services.gateway.domain.mapping import ParsedEvent
from services.gateway.domain.thin_events import ThinEvent
from services.gateway.fixed_reply import FixedReply

ENVELOPE_SOURCE: Final = "urn:firsthour:gateway"
_TITLES: Final = {
    400: "Malformed body",
    403: "Forbidden",
    413: "Content Too Large",
    415: "Unsupported Media Type",
    422: "Invalid event",
}


class RejectedBody(msgspec.Struct, frozen=True):
    """A body to keep as a dead letter, so that an operator can correct and retry it.

    `id`: the id of a form, the id of a delivery, or the rep of an API key, which the body does not contain. Empty: there is
    none. `robot`: the honeypot of the form was filled in.
    """

    path: str
    source: str
    content_type: str
    body: bytes
    error: str
    id: str = ""
    robot: bool = False

    @property
    def origin(self) -> str:
        """The path, with the id as its fragment."""
        return f"{self.path}#{quote(self.id, safe='')}" if self.id else self.path


class UnmatchedBody(msgspec.Struct, frozen=True):
    """A verified body to which no entry of its mapping applies. `type`: of the vendor; empty: it states none."""

    type: str
    body: RejectedBody


class RetryKey(msgspec.Struct, frozen=True):
    """The key under which a repeated request gets the stored answer.

    `body` is kept if the key belongs to another request. None: such a body is not kept.
    """

    scope: str
    key: str
    fingerprint: str
    body: RejectedBody | None = None


class Quarantined(msgspec.Struct, frozen=True):
    """The rows of a source that are kept and not handled, each with the type of its event."""

    source: str
    rows: Sequence[tuple[str, Row]]


class Accepted(msgspec.Struct, frozen=True):
    """A request to append and to answer with 202, or with `reply`.

    `ids` are the senders' ids. `bodies` and `faults`: items of a list that were rejected while the rest is accepted, or
    the form of a robot, which has no fault. `unmatched`: the number of items to which no entry of the mapping applies;
    `unmatched_body`: the body, if that is so for all of them. `next_page`: where a browser that posted a form goes next; None: to a page
    of the gateway. `quarantined`: the events beyond the quota of the source. `thin`: the events that are to be completed.
    """

    source: str
    ids: list[str]
    events: Sequence[ParsedEvent] = ()
    rows: list[Row] = []
    retry_key: RetryKey | None = None
    bodies: Sequence[RejectedBody] = ()
    faults: Sequence[FieldFault] = ()
    unmatched: int = 0
    unmatched_body: UnmatchedBody | None = None
    next_page: str | None = None
    reply: FixedReply | None = None
    quarantined: Quarantined | None = None
    thin: Sequence[ThinEvent] = ()


class Rejected(msgspec.Struct, frozen=True):
    """A request to answer with `problem`.

    `body` is kept as a dead letter. None: the body is not kept. `source`: the source that counts it; empty: it is unknown.
    """

    problem: Problem
    body: RejectedBody | None = None
    source: str = ""


def rows_of(events: Sequence[ParsedEvent]) -> list[Row]:
    """Return the rows to append to the log. Raises `UnmappableError` 413 for an event larger than a record may be."""
    rows = []
    for event in events:
        key = event.external.key
        try:
            body = encode(
                event.external, id=event.event_id, source=ENVELOPE_SOURCE, time=event.at, key=key, type=event.type
            )
        except RecordTooLargeError:
            fault = f"is larger than {RECORD_BYTES_MAX // 1024} KiB, the limit of one event"
            raise UnmappableError("#", fault, "send fewer fields, or shorter ones", 413) from None
        rows.append(Row(EVENTS, key, event.event_id, body))
    return rows


def problem_of(error: UnmappableError) -> Problem:
    """Return the answer to a body that cannot be mapped."""
    name = error.pointer.rpartition("/")[2] if "/" in error.pointer else ""
    field = f"`{name}` " if name else ""
    title = error.title or _TITLES.get(error.status, _TITLES[422])
    return Problem(error.status, title, f"{field}{error.fault}; {error.remedy}.", errors=[fault_of(error)])


def fault_of(error: UnmappableError) -> FieldFault:
    """Return the place and the mistake."""
    return {"pointer": error.pointer, "detail": f"{error.fault}; {error.remedy}"}
