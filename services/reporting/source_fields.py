"""The SQL of fields that were seen and not understood: their names by source, never their values, for 35 days."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import chain
from typing import Any, Final, Protocol

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from firsthour.kernel.time_units import micros
from firsthour.runtime.storage import statements
from firsthour.runtime.storage.unit import Unit
from schemas.conditions.fields import EVENT_FIELDS
from schemas.events.base import Event
from schemas.events.outside import ExternalEvent

NAMES_MAX: Final = 200  # of one source
NEWEST_KEPT: Final = 50
"""Of them, the names that came last. They stay however seldom they are, so that a new field is always listed."""
STORED_MAX: Final = 400
"""Names of one source that are stored until the tick makes room."""
ADDED_MAX: Final = 50  # by one unit
CROWDED: Final = "reporting.fields"
"""The tick that makes room."""
CHECK_SECONDS: Final = 60.0
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
        .limit(2 * STORED_MAX)
    )
)
_LOCK = statements.Sql(
    lambda _: (
        sa.select(fields).where(fields.c.source == sa.bindparam("source")).order_by(fields.c.name).with_for_update()
    )
)
_CROWDED = statements.Sql(
    lambda _: (
        sa.select(fields.c.source)
        .where(fields.c.name != OTHERS)
        .group_by(fields.c.source)
        .having(sa.func.count() > NAMES_MAX)
        .order_by(fields.c.source)
        .limit(2)
    )
)
_REMOVE = statements.Sql(
    lambda f: sa.delete(fields).where(fields.c.source == sa.bindparam("source"), f.is_any_of(fields.c.name, "names"))
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


class StoredField(Protocol):
    """A row of the table."""

    @property
    def name(self) -> str: ...
    @property
    def events(self) -> int: ...
    @property
    def first_at(self) -> int: ...
    @property
    def last_at(self) -> int: ...


def count_fields(unit: Unit, events: Iterable[Event]) -> None:
    """Count the custom facts of outside events by source and name, at the end of the unit.

    A unit adds at most `ADDED_MAX` names to a source; the events of further ones are counted together. Units that run at
    once may exceed `STORED_MAX` by the names of one batch.
    """
    sent: dict[str, list[list[str]]] = defaultdict(list)
    for event in events:
        if isinstance(event, ExternalEvent):
            names = [
                bare
                for name in event.person
                if name.startswith(_CUSTOM) and (bare := name[len(_CUSTOM) :]) not in EVENT_FIELDS
            ]
            if names:
                sent[event.source].append(names)
    if not sent:
        return
    known: dict[str, set[str]] = defaultdict(set)
    for row in _NAMES.all(unit.connection, sources=sorted(sent)):
        if row.name != OTHERS:
            known[row.source].add(row.name)
    now = micros(unit.now)
    rows: list[dict[str, Any]] = []
    for source, of_events in sorted(sent.items()):
        added = _added(of_events, known[source])
        counted: Counter[str] = Counter()
        for name in chain.from_iterable(of_events):
            counted[name if name in known[source] or name in added else OTHERS] += 1
        rows += [_row(source, name, number, now) for name, number in sorted(counted.items())]
        if len(known[source]) + len(added) > NAMES_MAX:
            unit.wake(CROWDED)
    unit.store(_COUNT.work(unit.connection, rows))


def _added(of_events: Sequence[Sequence[str]], known: set[str]) -> set[str]:
    """Return the new names that are stored. Those of events with few fields come first: a flood of names has many."""
    beside: dict[str, int] = {}
    for names in of_events:
        for name in names:
            if name not in known:
                beside[name] = min(len(names), beside.get(name, len(names)))
    room = max(0, min(ADDED_MAX, STORED_MAX - len(known)))
    if len(beside) <= room:
        return set(beside)
    counted = Counter(chain.from_iterable(of_events))
    return set(sorted(beside, key=lambda name: (beside[name], -counted[name]))[:room])


def _row(source: str, name: str, events: int, at: int) -> dict[str, Any]:
    return {"source": source, "name": name, "events": events, "first_at": at, "last_at": at}


def surplus(rows: Sequence[StoredField]) -> list[StoredField]:
    """Return the fields beyond `NAMES_MAX`: the seldom ones, and of these the oldest. The newest are never among them."""
    names = [row for row in rows if row.name != OTHERS]
    older = sorted(names, key=lambda row: (row.first_at, row.name))[: max(0, len(names) - NEWEST_KEPT)]
    seldom = sorted(older, key=lambda row: (row.events, row.last_at, row.name))
    return seldom[: max(0, len(names) - NAMES_MAX)]


def make_room(unit: Unit) -> datetime | None:
    """Remove the surplus of one source, and count its events under `OTHERS`. Return the time of the next run."""
    crowded = _CROWDED.all(unit.connection)
    if not crowded:
        return None
    source = crowded[0].source
    given_way = surplus(unit.lock(_LOCK, source=source))  # locked in the order in which units count
    if given_way:
        _REMOVE.run(unit.connection, source=source, names=[row.name for row in given_way])
        events = sum(row.events for row in given_way)
        unit.store(_COUNT.work(unit.connection, [_row(source, OTHERS, events, micros(unit.now))]))
    return unit.now if len(crowded) > 1 else None


def fields_of(connection: Connection, source: str) -> tuple[list[Any], int]:
    """Return the fields of a source, the most frequent first, and the number of events of names beyond the bound."""
    rows = _OF_SOURCE.all(connection, source=source)
    beyond = {row.name: row.events for row in (*surplus(rows), *(row for row in rows if row.name == OTHERS))}
    return [row for row in rows if row.name not in beyond], sum(beyond.values())


def delete_old_fields(unit: Unit, limit: int) -> int:
    """Delete up to `limit` fields that were not seen for `DAYS_KEPT` days. Return their number."""
    return _DELETE.run(unit.connection, before=micros(unit.now) - DAYS_KEPT * _DAY, limit=limit)
