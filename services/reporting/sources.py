"""The SQL of sources: how many outside events each has sent in each hour, for 35 days."""

from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from operator import itemgetter
from typing import Any, Final

import sqlalchemy as sa

from firsthour.kernel.time_units import micros
from firsthour.runtime.storage import statements
from firsthour.runtime.storage.unit import Unit
from schemas.events.base import Event
from schemas.events.outside import ExternalEvent

HOUR: Final = 3_600_000_000  # microseconds
HOURS_KEPT: Final = 35 * 24

sources = sa.Table(
    "reporting_sources",
    statements.metadata,
    sa.Column("source", statements.Text, primary_key=True),
    sa.Column("hour", statements.Integer, primary_key=True),  # since the epoch
    sa.Column("events", statements.Integer, nullable=False),
    sa.Index("reporting_sources_by_hour", "hour"),
    sqlite_with_rowid=False,
)


def _count(dialect: statements.SqlDialect) -> Any:
    insert = dialect.insert(sources).values({c.name: sa.bindparam(c.name) for c in sources.columns})
    return insert.on_conflict_do_update(
        index_elements=["source", "hour"], set_={"events": sources.c.events + insert.excluded.events}
    )


_COUNT = statements.Sql(_count)
_DELETE = statements.Sql(
    lambda _: sa.delete(sources).where(
        sa.tuple_(sources.c.source, sources.c.hour).in_(
            sa.select(sources.c.source, sources.c.hour)
            .where(sources.c.hour < sa.bindparam("before"))
            .order_by(sources.c.hour)
            .limit(sa.bindparam("limit", type_=sa.Integer))
            .with_for_update(skip_locked=True)
        )
    )
)


def hour_of(at: datetime) -> int:
    """Return the number of the hour since the epoch."""
    return micros(at) // HOUR


def count_sources(unit: Unit, events: Iterable[Event]) -> None:
    """Count outside events by source and hour, at the end of the unit."""
    counted = Counter(
        (event.source, hour_of(event.received_at)) for event in events if isinstance(event, ExternalEvent)
    )
    rows = [
        {"source": source, "hour": hour, "events": n}
        for (source, hour), n in sorted(counted.items(), key=itemgetter(0))
    ]
    unit.store(_COUNT.work(unit.connection, rows))


def delete_old_counts(unit: Unit, limit: int) -> int:
    """Delete up to `limit` counts older than `HOURS_KEPT`. Return their number."""
    return _DELETE.run(unit.connection, before=hour_of(unit.now) - HOURS_KEPT, limit=limit)
