"""The live stream of what happens to leads: `GET /v1/stream`, and the signal that something has changed.

One reader of a process looks at the newest rows of the history while there are viewers, and hands them to all of them. A row is
found by the time at which reporting stored it. Rows commit out of order, so the rows of the last `OVERLAP_US` are looked at again.
A row that commits later than that is not in the stream: it is a signal, and the lists are the record.
"""

import asyncio
import contextlib
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any, Final

import msgspec
import sqlalchemy as sa
from fastapi import APIRouter, Depends, Header, Request, Response
from sqlalchemy.engine import Connection

from firsthour.kernel.time_units import micros, moment
from firsthour.kernel.visibility import VisibleLeads
from firsthour.runtime.http.auth import needs, principal_of
from firsthour.runtime.http.event_streams import HEARTBEAT, EventStreamResponse, event_bytes
from firsthour.runtime.http.principal import READ, Principal
from firsthour.runtime.http.problem import Problem
from firsthour.runtime.http.visibility import visible_leads
from firsthour.runtime.processing.service import Resources
from firsthour.runtime.storage import statements
from firsthour.runtime.storage.unit import StorageError
from firsthour.runtime.storage.visible_leads import standings
from schemas.events.routes import RepAvailabilityChanged
from schemas.topics import LEADS, PAGES, ROUTES
from services.reporting.handlers import STREAM
from services.reporting.store import history

TOPICS: Final = frozenset({LEADS, ROUTES, PAGES})
POLL_SECONDS: Final = 0.1
"""Real time between two looks over Kafka. On one machine the reader is also woken by each commit of reporting."""
HEARTBEAT_SECONDS: Final = 15.0
OVERLAP_US: Final = 1_000_000  # real time
ROWS_AT_ONCE: Final = 2_000
KEPT: Final = 5_000  # changes in memory: a viewer that is further behind starts anew
LAST_ID_CHARS_MAX: Final = 100

Standing = tuple[str | None, str | None]
"""The owner of a lead, and the pool for which it waits."""
UNKNOWN: Final[Standing] = (None, None)
_encode = msgspec.json.Encoder().encode
_SINCE = statements.Sql(
    lambda _: (
        sa.select(history.c.id, history.c.topic, history.c.type, history.c.lead_id, history.c.at, history.c.heard_at)
        .where(history.c.heard_at >= sa.bindparam("since"))
        .order_by(history.c.heard_at, history.c.id)
        .limit(sa.bindparam("limit", type_=sa.Integer))
    )
)


@dataclass(frozen=True)
class LeadChange:
    """One row of the history about a lead. `number`: grows with each change that this process has read.

    `lead`: empty for a change of a rep. The stream leaves it out, and pages that show the team are rendered again.
    """

    number: int
    id: str
    heard_at: int
    lead: str
    topic: str
    type: str
    at: datetime
    owner: str | None = None  # of the lead, when the row was read
    queue_pool: str | None = None

    def is_visible(self, visible: VisibleLeads | None) -> bool:
        """Return whether a viewer who sees these leads sees the change. None: all leads."""
        return visible is None or visible.includes(self.owner, self.queue_pool)

    def encoded(self) -> bytes:
        """Return the event of the stream."""
        body = {"id": self.id, "lead": self.lead, "topic": self.topic, "type": self.type, "at": self.at}
        return event_bytes(_encode(body), event="lead", id=f"{self.heard_at}.{self.id}")


def rows_since(connection: Connection, since: int) -> Sequence[Any]:
    """Return the oldest rows that were stored at `since` (microseconds) or later, at most `ROWS_AT_ONCE`."""
    return _SINCE.all(connection, since=since, limit=ROWS_AT_ONCE)


def is_shown(row: Any) -> bool:
    """Return whether a row of the history is about a lead, and on a topic that viewers see."""
    return row.lead_id is not None and row.topic in TOPICS


def is_of_team(row: Any) -> bool:
    """Return whether a row of the history tells of a rep who is away or back."""
    return row.lead_id is None and row.type == RepAvailabilityChanged.TYPE


def change_of(row: Any, number: int, standing: Standing) -> LeadChange:
    """Return the change that a row of the history tells."""
    return LeadChange(number, row.id, row.heard_at, row.lead_id or "", row.topic, row.type, moment(row.at), *standing)


def _with_standings(connection: Connection, since: int) -> tuple[Sequence[Any], Mapping[str, Standing]]:
    """Return the rows since a time, and the owner and queue of their leads."""
    rows = rows_since(connection, since)
    return rows, standings(connection, [row.lead_id for row in rows if is_shown(row)])


class ChangeFeed:
    """The reader of a process. It is idle while there are no viewers."""

    name = STREAM

    def __init__(self, resources: Resources) -> None:
        self._resources = resources
        self._woken, self._changed = asyncio.Event(), asyncio.Event()
        self._changes: deque[LeadChange] = deque(maxlen=KEPT)
        self._seen: OrderedDict[str, None] = OrderedDict()
        self._since: int | None = None  # None: there were no viewers
        self.viewers = 0
        self._reps = 0  # viewers of the stream who are reps
        self.number = 0  # of the newest change

    def wake(self) -> None:
        """Look at the history now, if there are viewers."""
        self._woken.set()

    async def step(self) -> bool:
        """Read what is new. Return whether there was anything."""
        if self.viewers == 0:
            self._since = None
            return False
        overlap = OVERLAP_US / self._resources.clock.real_seconds(timedelta(seconds=1))
        if self._since is None:
            self._since = micros(self._resources.clock.business())
        since = int(self._since - overlap)
        rows, standing_of = await self._resources.reads(lambda connection: self._read(connection, since))
        fresh = self._note(rows, standing_of)
        if len(rows) == ROWS_AT_ONCE:
            self._since = max(self._since, int(rows[-1].heard_at + overlap))  # there is more: go on behind them
            self.wake()
        elif rows:
            self._since = max(self._since, rows[-1].heard_at)
        if fresh:
            self._changed.set()
            self._changed = asyncio.Event()
        return bool(fresh)

    def _read(self, connection: Connection, since: int) -> tuple[Sequence[Any], Mapping[str, Standing]]:
        """Return the rows since a time. Owners and queues are read only for viewers who do not see all leads."""
        if self._reps and self._resources.config.current.agreement.visibility.reps != "all":
            return _with_standings(connection, since)
        return rows_since(connection, since), {}

    def _note(self, rows: Sequence[Any], standing_of: Mapping[str, Standing]) -> list[LeadChange]:
        """Add the rows that were not seen before. Return those that viewers see."""
        fresh: list[LeadChange] = []
        for row in rows:
            if row.id in self._seen:
                continue
            self._seen[row.id] = None
            if is_shown(row) or is_of_team(row):
                self.number += 1
                fresh.append(change_of(row, self.number, standing_of.get(row.lead_id, UNKNOWN)))
        while len(self._seen) > 2 * KEPT:
            self._seen.popitem(last=False)
        self._changes.extend(fresh)
        return fresh

    async def run(self) -> None:
        """Read for ever, while there are viewers."""
        while True:
            self._woken.clear()
            with contextlib.suppress(StorageError):  # logged by the storage; the rows come with the next look
                await self.step()
            seconds = None if self.viewers == 0 else POLL_SECONDS
            try:
                async with asyncio.timeout(seconds):
                    await self._woken.wait()
            except TimeoutError:
                pass

    # --- viewers ------------------------------------------------------------------------------------------------------

    def enter(self) -> None:
        """Add a viewer. Call `leave` at its end."""
        self.viewers += 1
        self.wake()

    def leave(self) -> None:
        """Remove a viewer."""
        self.viewers -= 1

    async def next(self, after: int, seconds: float) -> int:
        """Return the number of the newest change once it is beyond `after`, or after `seconds` of real time."""
        if self.number <= after:
            try:
                async with asyncio.timeout(seconds):
                    await self._changed.wait()
            except TimeoutError:
                pass
        return self.number

    def beyond(self, after: int) -> list[LeadChange] | None:
        """Return the changes beyond a number. None: some of them are no longer in memory."""
        if self.number - after > len(self._changes):
            return None
        return [change for change in self._changes if change.number > after]

    async def events(
        self, last_id: str | None, is_allowed: Callable[[], bool], principal: Principal
    ) -> AsyncIterator[bytes]:
        """Yield the events of a viewer, from `last_id` on. Without it, from now on.

        An event may come twice; its id tells. `reset`: changes are missing, or the viewer sees other leads since the agreement or
        the team has changed, so load what you show again. The events end before the first one that the viewer may no longer see.

        Args:
            last_id: the id of the last event that the viewer has had.
            is_allowed: returns whether the viewer may still see leads.
            principal: the viewer, who gets the changes of the leads that they see.
        """
        self.enter()
        is_rep = principal.rep is not None
        self._reps += is_rep
        try:
            after, examined_at = self.number, asyncio.get_running_loop().time()
            visible = self._visible_to(principal)
            yield b"retry: 2000\n\n"
            async for part in self._resumed(last_id, principal):
                yield part
            while True:
                newest = await self.next(after, HEARTBEAT_SECONDS)
                now = asyncio.get_running_loop().time()
                changes = self.beyond(after)
                if changes != [] or now >= examined_at + HEARTBEAT_SECONDS:
                    if not is_allowed():
                        return
                    examined_at = now
                after, before, visible = newest, visible, self._visible_to(principal)
                if changes is None or visible != before:
                    yield event_bytes(b"{}", event="reset")
                else:
                    seen = [one for one in changes if one.lead and one.is_visible(visible)]
                    yield b"".join(one.encoded() for one in seen) or HEARTBEAT
        finally:
            self._reps -= is_rep
            self.leave()

    def _visible_to(self, principal: Principal) -> VisibleLeads | None:
        return visible_leads(self._resources.config.current, principal)

    async def _resumed(self, last_id: str | None, principal: Principal) -> AsyncIterator[bytes]:
        """Yield what happened since the last event that the viewer has had."""
        if last_id is None:
            return
        at, _, id = last_id.partition(".")
        if not at.isdecimal() or len(at) > 18:
            yield event_bytes(b"{}", event="reset")
            return
        rows, standing_of = await self._resources.reads(lambda connection: _with_standings(connection, int(at)))
        if len(rows) == ROWS_AT_ONCE:
            yield event_bytes(b"{}", event="reset")
            return
        visible = self._visible_to(principal)
        for row in rows:
            if row.id != id and is_shown(row):
                change = change_of(row, 0, standing_of.get(row.lead_id, UNKNOWN))
                if change.is_visible(visible):
                    yield change.encoded()


def stream_router(feed: ChangeFeed) -> APIRouter:
    """Return the route of the stream."""
    api = APIRouter(tags=["leads"])

    @api.get("/v1/stream", response_class=EventStreamResponse, responses={200: {"content": {"text/event-stream": {}}}})
    async def stream(
        request: Request,
        principal: Annotated[Principal, Depends(needs(READ))],
        last_event_id: Annotated[str | None, Header(max_length=LAST_ID_CHARS_MAX)] = None,
    ) -> Response:
        """What happens to leads, as server-sent events: `lead` with the id of the lead, the type and the time.

        An event may come twice; its id tells. `reset`: the viewer was away for too long, or reads too slowly, so that events
        are missing. The stream is a signal, and the lists are the record. A rep gets the changes of the leads that they see."""

        def is_allowed() -> bool:
            try:
                return principal_of(request).allows(READ)
            except Problem:
                return False

        return EventStreamResponse(feed.events(last_event_id, is_allowed, principal), principal.id)

    return api
