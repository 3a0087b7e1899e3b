"""`?wait=SECONDS`: the answer to an event waits for its effect, the score and the owner of the lead.

The effect comes from other services, possibly in other processes. So the row of the lead is read again and again, by a bounded
number of requests at once.
"""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final, NamedTuple
from urllib.parse import parse_qs

import structlog
from sqlalchemy.engine import Connection

from firsthour.runtime.http.problem import Problem
from firsthour.runtime.processing.retention import SEEN_DAYS
from firsthour.runtime.storage.reader import Reader
from firsthour.runtime.storage.unit import StorageError
from schemas.events.outside import ABOUT_NO_LEAD
from schemas.http import LeadView
from services.gateway.domain.mapping import ParsedEvent
from services.gateway.intake.outcome import Accepted
from services.gateway.replies import Reply, effect

SECONDS_MAX: Final = 10.0
WAITERS_MAX: Final = 100
"""Requests that wait at once. A further one is answered at once."""
FIELDS_MAX: Final = 20
TEXT_MAX: Final = 10
GRACE_SECONDS: Final = 0.25
"""How much longer than its time a request waits for a look that is under way."""
FIRST_PAUSE_SECONDS: Final = 0.02
PAUSE_SECONDS_MAX: Final = 0.25
SKEW: Final = timedelta(milliseconds=50)
"""How far the clocks of two processes of one installation may differ."""

_log = structlog.get_logger(__name__)

_REPEATED: Final = timedelta(days=SEEN_DAYS - 1)
"""How long after its first arrival an event that comes again certainly has no second effect."""


class LeadLookups(NamedTuple):
    """What a request that waits reads. `lead`: the lead with this normalised address; None: unknown.

    `first_arrival`: the business time at which the event with this id arrived first; None: it is not recorded yet.
    """

    lead: Callable[[Connection, str], LeadView | None]
    first_arrival: Callable[[Connection, str], datetime | None]


def seconds_of(target: bytes) -> float | None:
    """Return the seconds that a request may wait, by the query of its target. None: it does not wait. Raises `Problem` 422."""
    query = target.partition(b"?")[2].decode("latin-1")
    if "wait=" not in query:
        return None
    try:
        values = parse_qs(query, max_num_fields=FIELDS_MAX).get("wait")
    except ValueError:
        raise _malformed(f"the query has more than {FIELDS_MAX} fields") from None
    if not values:
        return None
    text = values[-1].removesuffix("s")
    digits = text.replace(".", "", 1)
    if not (digits.isascii() and digits.isdigit()) or len(text) > TEXT_MAX:
        raise _malformed("`wait` is no time")
    return min(float(text), SECONDS_MAX)


def seconds_of_vendor(target: bytes) -> float:
    """Return the seconds that a delivery may wait. A value that is no time is 0: its sender cannot mend the address."""
    try:
        return seconds_of(target) or 0.0
    except Problem:
        return 0.0


def _malformed(mistake: str) -> Problem:
    detail = f"write seconds, {SECONDS_MAX:.0f} at most, such as wait=5"
    return Problem(
        422, "Unprocessable Content", f"{mistake}; {detail}.", errors=[{"pointer": "query:wait", "detail": detail}]
    )


class Waiters:
    """The requests of a process that wait. Nothing that goes wrong while one waits changes that its event is stored."""

    def __init__(self, reads: Reader, find: LeadLookups | None) -> None:
        """`find`: None: the process cannot look up leads, so no request waits."""
        self._reads, self._find = reads, find
        self._looking: set[asyncio.Task[Reply | None]] = set()

    async def answer(self, accepted: Accepted, reply: Reply, seconds: float) -> Reply:
        """Return the effect of an accepted event, once it is known. After `seconds`, or for several events: `reply`."""
        if self._find is None or len(accepted.events) != 1 or reply.status != 202 or reply.replayed:
            return reply
        email = accepted.events[0].external.email
        if email is None or accepted.events[0].type in ABOUT_NO_LEAD or len(self._looking) >= WAITERS_MAX:
            return reply
        look = asyncio.create_task(self._look(self._find, accepted, email, seconds))
        self._looking.add(look)
        look.add_done_callback(self._looking.discard)
        try:
            await asyncio.wait({look}, timeout=seconds + GRACE_SECONDS)
        except asyncio.CancelledError:
            look.cancel()
            raise
        return (
            look.result() if look.done() else None
        ) or reply  # a database that hangs keeps its place until it answers

    async def _look(self, find: LeadLookups, accepted: Accepted, email: str, seconds: float) -> Reply | None:
        try:
            return await self._wait(find, accepted, email, seconds)
        except StorageError:  # logged by the storage
            return None
        except Exception as failure:  # noqa: BLE001  # the event is stored, so its sender must not get an error
            _log.error("effect not read", error_type=type(failure).__name__)
            return None

    async def _wait(self, find: LeadLookups, accepted: Accepted, email: str, seconds: float) -> Reply | None:
        event = accepted.events[0]
        now = asyncio.get_running_loop().time
        end, pause = now() + seconds, FIRST_PAUSE_SECONDS
        while True:
            lead = await self._reads(lambda connection: _affected(connection, find, event, email))
            if lead is not None:
                return effect(accepted.ids, lead)
            if now() + pause > end:
                return None
            await asyncio.sleep(pause)
            pause = min(2 * pause, PAUSE_SECONDS_MAX)


def _affected(connection: Connection, find: LeadLookups, event: ParsedEvent, email: str) -> LeadView | None:
    """Return the lead once it has the effect of the event. A repeated event has none, so the effect of the first one counts."""
    lead, since = find.lead(connection, email), event.external.received_at
    if lead is None or lead.updated_at >= since - SKEW:
        return lead
    first = find.first_arrival(connection, event.event_id)
    if first is None or not first < since < first + _REPEATED:
        return None
    return lead if lead.updated_at >= first - SKEW else None
