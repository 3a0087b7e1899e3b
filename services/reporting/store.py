"""The SQL of reporting: every event and record for 400 days, and the status of each lead."""

from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from firsthour.runtime.storage import statements
from firsthour.runtime.storage.unit import Unit

history = sa.Table(
    "reporting_history",
    statements.metadata,
    sa.Column("id", statements.Text, primary_key=True),  # of the event
    sa.Column("topic", statements.Text, nullable=False),
    sa.Column("type", statements.Text, nullable=False),
    sa.Column("lead_id", statements.Text),  # NULL: an outside event; the record that it caused names the lead
    sa.Column("cause", statements.Text),  # the outside event that caused this record; NULL: none
    sa.Column("at", statements.Integer, nullable=False),
    sa.Column(
        "heard_at", statements.Integer, nullable=False
    ),  # the start of the retention: not `at`, because an import may contain events of earlier years
    sa.Column("position", statements.Integer, nullable=False),
    sa.Column("body", statements.Bytes, nullable=False),  # packed: see `firsthour.runtime.storage.packing`
    sa.Index("reporting_history_by_lead", "lead_id", "at"),
    sa.Index("reporting_history_by_age", "heard_at"),
    sqlite_with_rowid=False,
)
statuses = sa.Table(
    "reporting_statuses",
    statements.metadata,
    sa.Column("lead_id", statements.Text, primary_key=True),
    sa.Column("status", statements.Text, nullable=False),
    sa.Column("version", statements.Integer, nullable=False),
    sqlite_with_rowid=False,
)

_INSERT = statements.Sql(
    lambda f: f.insert(history).values({c.name: sa.bindparam(c.name) for c in history.columns}).on_conflict_do_nothing()
)


def _status(dialect: statements.SqlDialect) -> Any:
    insert = dialect.insert(statuses).values({c.name: sa.bindparam(c.name) for c in statuses.columns})
    return insert.on_conflict_do_update(
        index_elements=["lead_id"],
        set_={"status": insert.excluded.status, "version": insert.excluded.version},
        where=insert.excluded.version > statuses.c.version,
    )


_STATUS = statements.Sql(_status)
_COUNTS = statements.Sql(lambda _: sa.select(statuses.c.status, sa.func.count()).group_by(statuses.c.status))
_DELETE = statements.Sql(
    lambda _: sa.delete(history).where(
        history.c.id.in_(
            sa.select(history.c.id)
            .where(history.c.heard_at < sa.bindparam("before"))
            .order_by(history.c.heard_at)
            .limit(sa.bindparam("limit", type_=sa.Integer))
            .with_for_update(skip_locked=True)
        )
    )
)


_BODY = statements.Sql(lambda _: sa.select(history.c.body).where(history.c.id == sa.bindparam("id")))
TimelinePosition = tuple[int, int, str]
"""Time (microseconds), position on the topic, id."""

_IN_ORDER = (history.c.at, history.c.position, history.c.id)
_BEFORE = sa.tuple_(*_IN_ORDER) < sa.tuple_(
    sa.bindparam("at", type_=sa.BigInteger), sa.bindparam("position", type_=sa.BigInteger), sa.bindparam("id")
)


def _timeline(*where: sa.ColumnElement[bool]) -> statements.Sql:
    """Build the timeline of one lead, newest first: its records, and the outside events that caused them."""
    limit = sa.bindparam("limit", type_=sa.Integer)
    of_lead = history.c.lead_id == sa.bindparam("lead")
    causes = sa.select(history.c.cause).where(of_lead, history.c.cause.is_not(None))

    def newest(condition: sa.ColumnElement[bool]) -> Any:
        rows = sa.select(history).where(condition, *where).order_by(*(column.desc() for column in _IN_ORDER))
        return sa.select(rows.limit(limit).subquery())

    def build(_: statements.SqlDialect) -> Any:
        both = sa.union(newest(of_lead), newest(history.c.id.in_(causes))).subquery()
        newest_first = (both.c.at.desc(), both.c.position.desc(), both.c.id.desc())
        return sa.select(both).order_by(*newest_first).limit(limit)

    return statements.Sql(build)


_TIMELINE = _timeline()
_TIMELINE_BEFORE = _timeline(_BEFORE)


def insert_history(unit: Unit, rows: Sequence[Mapping[str, object]]) -> None:
    """Store history rows at the end of the unit. A row that exists already stays unchanged."""
    unit.store(_INSERT.work(unit.connection, sorted(rows, key=itemgetter("id"))))


def set_statuses(unit: Unit, rows: Sequence[Mapping[str, object]]) -> None:
    """Store the status of leads at the end of the unit. An older version never overwrites a newer one."""
    unit.store(_STATUS.work(unit.connection, sorted(rows, key=itemgetter("lead_id"))))


def delete_before(unit: Unit, before: int, limit: int) -> int:
    """Delete up to `limit` rows stored before that time (microseconds). Return their number."""
    return _DELETE.run(unit.connection, before=before, limit=limit)


def counts(connection: Connection) -> dict[str, int]:
    """Return the number of leads per status."""
    return {row[0]: int(row[1]) for row in _COUNTS.all(connection)}


def body_of(connection: Connection, id: str) -> bytes | None:
    """Return the packed record with this id. None: it is not recorded."""
    row = _BODY.first(connection, id=id)
    return None if row is None else bytes(row.body)


def timeline(connection: Connection, lead: str, before: TimelinePosition | None, limit: int) -> Sequence[Any]:
    """Return the timeline of one lead, newest first. `before` None: begin with the newest."""
    if before is None:
        return _TIMELINE.all(connection, lead=lead, limit=limit)
    at, position, id = before
    return _TIMELINE_BEFORE.all(connection, lead=lead, at=at, position=position, id=id, limit=limit)
