"""Counts the outcomes of requests by source: in memory, stored in bulk, so that no event costs a commit of its own."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from firsthour.kernel.time_units import micros, moment
from firsthour.runtime.storage import statements
from firsthour.runtime.storage.unit import Unit
from services.gateway.domain.mapping import ParsedEvent

ACCEPTED: Final = "accepted"
LATER: Final = "later"
"""Events that were kept at first: of dead letters that were retried, and those released from quarantine. They make no surge."""
UNMAPPED: Final = "unmapped"
ROBOT: Final = "robot"
UNMATCHED: Final = "nothing matched"
QUARANTINED: Final = "quarantined"
SURGE: Final = "surge"
"""Events of a source that was beyond twice its quota. They are counted under their own outcome too."""
NOT_COMPLETED: Final = "not completed"
IMPORTED: Final = "import:"
"""The beginning of the name under which the rows of lists are counted, by kind of list: a list has any name, each a new one."""
REASONS: Final[Mapping[int, str]] = {
    400: "malformed",
    401: "unverified",
    403: "forbidden",
    404: "unknown",
    409: "conflict",
    413: "too large",
    415: "media type",
    422: UNMAPPED,
    429: "limit",
    503: "unavailable",
}
"""The reason of a refusal, by the status of its answer."""
OTHER: Final = "other"
HOUR: Final = 3_600_000_000  # microseconds
HOURS_KEPT: Final = 35 * 24

counts = sa.Table(
    "gateway_sources",
    statements.metadata,
    sa.Column("source", statements.Text, primary_key=True),
    sa.Column("hour", statements.Integer, primary_key=True),  # since the epoch, in business time
    sa.Column("outcome", statements.Text, primary_key=True),  # `accepted`, or the reason of a refusal
    sa.Column("number", statements.Integer, nullable=False),  # of events; of requests that were refused as a whole
    sa.Column("last_at", statements.Integer, nullable=False),
    sa.Column("lag", statements.Integer),  # from the last accepted event to its arrival, in microseconds
    sa.Index("gateway_sources_by_hour", "hour"),
    sqlite_with_rowid=False,
)


def _add(dialect: statements.SqlDialect) -> Any:
    insert = dialect.insert(counts).values({c.name: sa.bindparam(c.name) for c in counts.columns})
    is_newer = insert.excluded.last_at >= counts.c.last_at
    return insert.on_conflict_do_update(
        index_elements=["source", "hour", "outcome"],
        set_={
            "number": counts.c.number + insert.excluded.number,
            "last_at": sa.case((is_newer, insert.excluded.last_at), else_=counts.c.last_at),
            "lag": sa.case((is_newer, insert.excluded.lag), else_=counts.c.lag),
        },
    )


_ADD = statements.Sql(_add)
_SINCE = statements.Sql(lambda _: sa.select(counts).where(counts.c.hour >= sa.bindparam("hour")))
_DELETE = statements.Sql(
    lambda _: sa.delete(counts).where(
        sa.tuple_(counts.c.source, counts.c.hour, counts.c.outcome).in_(
            sa.select(counts.c.source, counts.c.hour, counts.c.outcome)
            .where(counts.c.hour < sa.bindparam("before"))
            .order_by(counts.c.hour)
            .limit(sa.bindparam("limit", type_=sa.Integer))
            .with_for_update(skip_locked=True)
        )
    )
)


class OutcomeCount(msgspec.Struct, gc=False):
    """Events of one source with one outcome, since the counts were stored last. `event`: the last accepted one."""

    number: int = 0
    event: ParsedEvent | None = None


class SourceCounts:
    """The counts of a process that are not stored yet. Sources are those of the configuration, and API keys."""

    def __init__(self) -> None:
        self._pending: dict[tuple[str, str], OutcomeCount] = defaultdict(OutcomeCount)

    def accept(self, source: str, events: Sequence[ParsedEvent]) -> None:
        """Count accepted events."""
        count = self._pending[source, ACCEPTED]
        count.number += len(events)
        count.event = events[-1]

    def refuse(self, source: str, status: int) -> None:
        """Count a request that was answered with this status. A request of an unknown source is not counted."""
        if source:
            self.note(source, REASONS.get(status, OTHER))

    def note(self, source: str, outcome: str, number: int = 1) -> None:
        """Count events with this outcome."""
        self._pending[source, outcome].number += number

    def take(self) -> Mapping[tuple[str, str], OutcomeCount]:
        """Return the counts and begin anew."""
        taken, self._pending = self._pending, defaultdict(OutcomeCount)
        return taken

    def put_back(self, taken: Mapping[tuple[str, str], OutcomeCount]) -> None:
        """Add counts that could not be stored."""
        for key, earlier in taken.items():
            count = self._pending[key]
            count.number += earlier.number
            count.event = count.event or earlier.event


def store(taken: Mapping[tuple[str, str], OutcomeCount]) -> Callable[[Unit], None]:
    """Return the work that adds these counts to the stored ones, in the hour of the unit."""

    def work(unit: Unit) -> None:
        now = micros(unit.now)
        rows = [
            {
                "source": source,
                "hour": now // HOUR,
                "outcome": outcome,
                "number": count.number,
                "last_at": now if count.event is None else micros(count.event.external.received_at),
                "lag": None if count.event is None else _lag(count.event),
            }
            for (source, outcome), count in sorted(taken.items())
        ]
        unit.store(_ADD.work(unit.connection, rows))

    return work


def count_later(unit: Unit, source: str, number: int, arrived_at: datetime) -> None:
    """Count events that were kept at first and are accepted in this unit. `arrived_at`: the business time of the last one."""
    key = {"source": source, "hour": micros(unit.now) // HOUR, "outcome": LATER}
    unit.store(_ADD.work(unit.connection, [{**key, "number": number, "last_at": micros(arrived_at), "lag": None}]))


def _lag(event: ParsedEvent) -> int:
    return max(0, micros(event.external.received_at) - micros(event.at))


class SourceSummary(msgspec.Struct):
    """What a source sent. `lag`: from the last event to its arrival. None: no event is known."""

    accepted: int = 0
    refused: dict[str, int] = msgspec.field(default_factory=dict)
    last_at: datetime | None = None
    lag: timedelta | None = None


def summaries(connection: Connection, now: datetime, hours: int) -> dict[str, SourceSummary]:
    """Return what each source sent in the last `hours`; the time of its last event reaches further back."""
    hour = micros(now) // HOUR
    by_source: dict[str, SourceSummary] = defaultdict(SourceSummary)
    for row in sorted(_SINCE.all(connection, hour=hour - HOURS_KEPT), key=lambda row: row.hour):
        summary = by_source[row.source]
        is_accepted, at = row.outcome in (ACCEPTED, LATER), moment(row.last_at)
        if is_accepted and (summary.last_at is None or at >= summary.last_at):
            summary.last_at = at
            summary.lag = None if row.lag is None else timedelta(microseconds=row.lag)
        if row.hour <= hour - hours or row.outcome == SURGE:
            continue
        if is_accepted:
            summary.accepted += row.number
        else:
            summary.refused[row.outcome] = summary.refused.get(row.outcome, 0) + row.number
    return by_source


def delete_old_source_counts(unit: Unit, limit: int) -> int:
    """Delete up to `limit` counts older than `HOURS_KEPT`. Return their number."""
    return _DELETE.run(unit.connection, before=micros(unit.now) // HOUR - HOURS_KEPT, limit=limit)
