"""The SQL of fields that were seen and not understood: their names by source, never their values, for 35 days."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from firsthour.kernel.time_units import micros
from firsthour.runtime.storage import statements
from firsthour.runtime.storage.unit import Unit
from schemas.conditions.fields import EVENT_FIELDS
from schemas.events.base import Event
from schemas.events.outside import ExternalEvent

NAMES_MAX: Final = 200  # of one source
OTHERS: Final = ""
"""The name under which further names of a source are counted together."""
DAYS_KEPT: Final = 35
_DAY: Final = 86_400_000_000  # microseconds
_CUSTOM: Final = "custom."

fields = sa.Table(
    "reporting_fields",
    statements.metadata,
    sa.Column("source", statements.Text, primary_key=True),
    sa.Column("name", statements.Text, primary_key=True),
    sa.Column("events", statements.Integer, nullable=False),
    sa.Column("first_at", statements.Integer, nullable=False),
    sa.Column("last_at", statements.Integer, nullable=False),
    sa.Index("reporting_fields_by_age", "last_at"),
    sqlite_with_rowid=False,
)


def _count(dialect: statements.SqlDialect) -> Any:
    insert = dialect.insert(fields).values({c.name: sa.bindparam(c.name) for c in fields.columns})
    return insert.on_conflict_do_update(
        index_elements=["source", "name"],
        set_={"events": fields.c.events + insert.excluded.events, "last_at": insert.excluded.last_at},
    )


_COUNT = statements.Sql(_count)
_NAMES = statements.Sql(
    lambda f: sa.select(fields.c.source, fields.c.name).where(f.is_any_of(fields.c.source, "sources"))
)
_OF_SOURCE = statements.Sql(
    lambda _: (
        sa.select(fields)
        .where(fields.c.source == sa.bindparam("source"))
        .order_by(fields.c.events.desc(), fields.c.name)
        .limit(2 * NAMES_MAX)
    )
)
_DELETE = statements.Sql(
    lambda _: sa.delete(fields).where(
        sa.tuple_(fields.c.source, fields.c.name).in_(
            sa.select(fields.c.source, fields.c.name)
            .where(fields.c.last_at < sa.bindparam("before"))
            .order_by(fields.c.last_at)
            .limit(sa.bindparam("limit", type_=sa.Integer))
            .with_for_update(skip_locked=True)
        )
    )
)


def count_fields(unit: Unit, events: Iterable[Event]) -> None:
    """Count the custom facts of outside events by source and name, at the end of the unit.

    A source has at most `NAMES_MAX` names; further ones are counted together. Units that run at once may exceed this by
    the names of one batch.
    """
    counted: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for event in events:
        if isinstance(event, ExternalEvent):
            for name in event.person:
                if name.startswith(_CUSTOM) and (bare := name[len(_CUSTOM) :]) not in EVENT_FIELDS:
                    counted[event.source][bare] += 1
    if not counted:
        return
    known: dict[str, set[str]] = defaultdict(set)
    for row in _NAMES.all(unit.connection, sources=sorted(counted)):
        known[row.source].add(row.name)
    now = micros(unit.now)
    rows: dict[tuple[str, str], int] = defaultdict(int)
    for source, names in counted.items():
        for name, number in names.items():
            if name not in known[source] and len(known[source]) >= NAMES_MAX:
                name = OTHERS
            known[source].add(name)
            rows[source, name] += number
    unit.store(
        _COUNT.work(
            unit.connection,
            [
                {"source": source, "name": name, "events": number, "first_at": now, "last_at": now}
                for (source, name), number in sorted(rows.items())
            ],
        )
    )


def fields_of(connection: Connection, source: str) -> list[Any]:
    """Return the fields of a source, the most frequent first. The name `OTHERS` stands for names beyond the bound."""
    return list(_OF_SOURCE.all(connection, source=source))


def delete_old_fields(unit: Unit, limit: int) -> int:
    """Delete up to `limit` fields that were not seen for `DAYS_KEPT` days. Return their number."""
    return _DELETE.run(unit.connection, before=micros(unit.now) - DAYS_KEPT * _DAY, limit=limit)
