"""Events beyond the quota of their source: kept, and not handled until a person releases them."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from firsthour.kernel.time_units import micros, moment
from firsthour.runtime.storage import statements
from firsthour.runtime.storage.records import Row
from firsthour.runtime.storage.unit import Unit
from schemas.topics import EVENTS

ROWS_MAX: Final = 100_000
"""Events of one source in quarantine. Beyond that, requests of the source are answered 429."""
DAYS_KEPT: Final = 30
RELEASED_AT_ONCE: Final = 500
_DAY: Final = 86_400_000_000  # microseconds

events = sa.Table(
    "gateway_quarantine",
    statements.metadata,
    sa.Column("event_id", statements.Text, primary_key=True),
    sa.Column("source", statements.Text, nullable=False),
    sa.Column("type", statements.Text, nullable=False),
    sa.Column("key", statements.Text, nullable=False),  # the strongest identifier of the person
    sa.Column("at", statements.Integer, nullable=False),  # of arrival, in real time
    sa.Column("body", statements.Bytes, nullable=False),  # the record
    sa.Index("gateway_quarantine_by_source", "source", "at", "event_id"),
    sa.Index("gateway_quarantine_by_age", "at"),
)
_LIMIT: Final = sa.bindparam("limit", type_=sa.Integer)
_ORDER: Final = (events.c.source, events.c.at, events.c.event_id)
_ADD = statements.Sql(
    lambda f: f.insert(events).values({c.name: sa.bindparam(c.name) for c in events.columns}).on_conflict_do_nothing()
)
_OLDEST = statements.Sql(
    lambda _: (
        sa.select(events)
        .where(events.c.source == sa.bindparam("source"))
        .order_by(*_ORDER)
        .limit(_LIMIT)
        .with_for_update()
    )
)
_REMOVE = statements.Sql(lambda f: sa.delete(events).where(f.is_any_of(events.c.event_id, "events")))
_COUNTS = statements.Sql(
    lambda _: sa.select(events.c.source, sa.func.count(), sa.func.min(events.c.at)).group_by(events.c.source)
)
_PAGE = statements.Sql(
    lambda _: (
        sa.select(events.c.event_id, events.c.source, events.c.type, events.c.key, events.c.at)
        .where(
            sa.tuple_(*_ORDER)
            > sa.tuple_(sa.bindparam("source"), sa.bindparam("at", type_=sa.BigInteger), sa.bindparam("event"))
        )
        .order_by(*_ORDER)
        .limit(_LIMIT)
    )
)
_DELETE = statements.Sql(
    lambda _: sa.delete(events).where(
        events.c.event_id.in_(
            sa.select(events.c.event_id)
            .where(events.c.at < sa.bindparam("before"))
            .order_by(events.c.at)
            .limit(_LIMIT)
            .with_for_update(skip_locked=True)
        )
    )
)

QuarantinePlace = tuple[str, int, str]
"""The place of an event in the list: source, time of arrival, id."""
FIRST: Final[QuarantinePlace] = ("", 0, "")


def keep(unit: Unit, source: str, rows: Sequence[tuple[str, Row]]) -> None:
    """Keep these rows, each with the type of its event. One that is kept already, because it was sent again, is left out."""
    at = micros(unit.clock.real())
    values = [
        {"event_id": row.event_id, "source": source, "type": type, "key": row.key, "at": at, "body": row.body}
        for type, row in rows
    ]
    unit.store(_ADD.work(unit.connection, values))


def release(unit: Unit, source: str) -> list[datetime]:
    """Append the oldest events of a source to the log, at most `RELEASED_AT_ONCE`. Return the real times of their arrivals."""
    rows = _OLDEST.all(unit.connection, source=source, limit=RELEASED_AT_ONCE)
    unit.rows.extend(Row(EVENTS, row.key, row.event_id, bytes(row.body)) for row in rows)
    _remove(unit, rows)
    return [moment(row.at) for row in rows]


def drop(unit: Unit, source: str) -> int:
    """Remove the oldest events of a source, at most `RELEASED_AT_ONCE`. Return their number."""
    return _remove(unit, _OLDEST.all(unit.connection, source=source, limit=RELEASED_AT_ONCE))


def _remove(unit: Unit, rows: Sequence[Any]) -> int:
    if rows:
        _REMOVE.run(unit.connection, events=[row.event_id for row in rows])
    return len(rows)


def page(connection: Connection, after: QuarantinePlace, limit: int) -> Sequence[Any]:
    """Return the next events in quarantine, by source and time of arrival."""
    source, at, event = after
    return _PAGE.all(connection, source=source, at=at, event=event, limit=limit)


def numbers(connection: Connection) -> dict[str, tuple[int, int]]:
    """Return the number of events of each source in quarantine, and the arrival of the oldest (microseconds)."""
    return {row[0]: (row[1], row[2]) for row in _COUNTS.all(connection)}


def delete_old_quarantine(unit: Unit, limit: int) -> int:
    """Delete up to `limit` events older than `DAYS_KEPT`. Return their number."""
    return _DELETE.run(unit.connection, before=micros(unit.clock.real()) - DAYS_KEPT * _DAY, limit=limit)
