"""The SQL of the funnel: the passes of leads, and the tally of each day of which nothing has changed since.

A pass belongs to the day on which it began. A unit that changes a pass marks its day. The mark of a day is one row for each
slot of lead ids, so that units of several partitions do not wait for each other.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, Final
from zlib import crc32

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from firsthour.runtime.storage import statements
from firsthour.runtime.storage.unit import Unit
from services.reporting.domain.funnel import FunnelPass

DAY_US: Final = 86_400_000_000
_SLOTS: Final = 12

passes = sa.Table(
    "reporting_funnel",
    statements.metadata,
    sa.Column("lead_id", statements.Text, primary_key=True),
    sa.Column("cycle", statements.Integer, primary_key=True, autoincrement=False),
    sa.Column("start_at", statements.Integer, nullable=False),
    sa.Column("source", statements.Text),
    sa.Column("campaign", statements.Text),
    sa.Column("form", statements.Text),
    sa.Column("persona", statements.Text),
    sa.Column("grade", statements.Text),
    sa.Column("rep", statements.Text),
    sa.Column("team", statements.Text),
    sa.Column("status", statements.Text),
    sa.Column("status_at", statements.Integer, nullable=False),
    sa.Column("ended", statements.Text),
    sa.Column("steps", statements.Text, nullable=False),  # JSON: the first time of each step
    sa.Index("reporting_funnel_by_start", "start_at", "lead_id", "cycle"),
    sqlite_with_rowid=False,
)
days = sa.Table(
    "reporting_funnel_days",
    statements.metadata,
    sa.Column("day", statements.Integer, primary_key=True, autoincrement=False),  # since the epoch
    sa.Column("layout", statements.Text, nullable=False),  # of the steps that were counted
    sa.Column("made", statements.Text, nullable=False),  # another one each time
    sa.Column("body", statements.Bytes, nullable=False),
    sqlite_with_rowid=False,
)
marks = sa.Table(
    "reporting_funnel_marks",
    statements.metadata,
    sa.Column("day", statements.Integer, primary_key=True, autoincrement=False),
    sa.Column("slot", statements.Integer, primary_key=True, autoincrement=False),
    sa.Column("change", statements.Text, nullable=False),  # of the last unit
    sqlite_with_rowid=False,
)
_LOAD = statements.Sql(
    lambda f: sa.select(passes).where(f.is_any_of(passes.c.lead_id, "leads")).order_by(passes.c.lead_id, passes.c.cycle)
)
_SAVE = statements.Sql(lambda f: f.upsert(passes, ["lead_id", "cycle"]))
_DELETE_LEAD = statements.Sql(lambda f: sa.delete(passes).where(f.is_any_of(passes.c.lead_id, "leads")))
_DELETE_OLD = statements.Sql(
    lambda _: sa.delete(passes).where(
        sa.tuple_(passes.c.lead_id, passes.c.cycle).in_(
            sa.select(passes.c.lead_id, passes.c.cycle)
            .where(passes.c.start_at < sa.bindparam("before"))
            .order_by(passes.c.start_at)
            .limit(sa.bindparam("limit", type_=sa.Integer))
            .with_for_update(skip_locked=True)
        )
    )
)
_DELETE_OLD_DAYS = statements.Sql(lambda _: sa.delete(days).where(days.c.day < sa.bindparam("before")))
_MARK = statements.Sql(lambda f: f.upsert(marks, ["day", "slot"]))
_times = msgspec.json.Decoder(dict[str, int]).decode
_to_json = msgspec.json.Encoder(order="deterministic").encode


def find_passes(connection: Connection, leads: Collection[str]) -> dict[str, list[FunnelPass]]:
    """Return the passes of each of these leads, the first one first."""
    found: dict[str, list[FunnelPass]] = {lead: [] for lead in leads}
    for row in _LOAD.all(connection, leads=sorted(leads)):
        values = {name: row._mapping[name] for name in FunnelPass.__struct_fields__}
        found[row.lead_id].append(FunnelPass(**{**values, "steps": steps_in(values["steps"])}))
    return found


def steps_in(text: str) -> dict[str, int]:
    """Return the stored times of the steps."""
    return _times(text)


def save_passes(unit: Unit, changed: Iterable[FunnelPass], before: Iterable[FunnelPass] = ()) -> None:
    """Store these passes, and mark their days. `before`: as they were, for the days that they leave.

    They are stored at once: a unit of the embedded profile may go on with the records of another topic.
    """
    rows = sorted(changed, key=lambda one: (one.lead_id, one.cycle))
    marked = {(one.start_at // DAY_US, crc32(one.lead_id.encode()) % _SLOTS) for one in (*rows, *before)}
    if not marked:
        return
    change = unit.new_id()
    stored = [{**msgspec.structs.asdict(one), "steps": _to_json(one.steps).decode()} for one in rows]
    work = [{"day": day, "slot": slot, "change": change} for day, slot in sorted(marked)]
    statements.execute_combined(unit.connection, _SAVE.work(unit.connection, stored), _MARK.work(unit.connection, work))


def delete_passes(unit: Unit, leads: Collection[str]) -> None:
    """Delete all passes of these leads."""
    if leads:
        _DELETE_LEAD.run(unit.connection, leads=sorted(leads))


def delete_before(unit: Unit, before: int, limit: int) -> int:
    """Delete up to `limit` passes from before that time (microseconds), and the tallies of days before it."""
    _DELETE_OLD_DAYS.run(unit.connection, before=before // DAY_US)
    return _DELETE_OLD.run(unit.connection, before=before, limit=limit)


# --- reading ------------------------------------------------------------------------------------------------------

DIMENSIONS: Final = ("source", "campaign", "form", "persona", "grade", "rep", "team")
Filters = Mapping[str, str]
"""The value of each dimension that must hold; an empty text: it is unknown."""


def _bound(name: str) -> Any:
    return sa.bindparam(name, type_=sa.BigInteger)


def _text(name: str) -> Any:
    return sa.cast(sa.bindparam(name, type_=sa.Text), sa.Text)


def _conditions() -> list[Any]:
    c = passes.c
    filters = [sa.or_(_text(name).is_(None), sa.func.coalesce(c[name], "") == _text(name)) for name in DIMENSIONS]
    return [
        c.start_at >= _bound("start"),
        c.start_at < _bound("end"),
        *filters,
    ]


def _counted(key: str) -> statements.Sql:
    c = passes.c
    group = c[key] if key else sa.literal_column("''")
    columns = (group.label("key"), c.cycle, c.start_at, c.status, c.status_at, c.ended, c.steps)
    return statements.Sql(lambda _: sa.select(*columns).where(*_conditions()))


_COUNTED: Final = {key: _counted(key) for key in ("", *DIMENSIONS)}


def _listed(dialect: statements.SqlDialect) -> Any:
    """Build the list behind a figure, in order of time: passes that reached a step, stand in a status or ended in a way."""
    c = passes.c
    position = sa.func.instr if dialect.name == "sqlite" else sa.func.strpos
    place = sa.tuple_(c.start_at, c.lead_id, c.cycle)
    after = sa.tuple_(_bound("after_start"), _text("after_lead"), _bound("after_cycle"))
    return (
        sa.select(passes)
        .where(
            *_conditions(),
            c.cycle >= _bound("cycle_from"),
            c.cycle <= _bound("cycle_to"),
            place > after,
            sa.or_(_text("step").is_(None), position(c.steps, _text("step")) > 0),
            sa.or_(_text("standing").is_(None), c.status == _text("standing")),
            sa.or_(_text("ended").is_(None), c.ended == _text("ended")),
        )
        .order_by(c.start_at, c.lead_id, c.cycle)
        .limit(sa.bindparam("limit", type_=sa.Integer))
    )


_LISTED = statements.Sql(_listed)
CYCLES: Final[Mapping[str, tuple[int, int]]] = {"first": (1, 1), "later": (2, 2**31), "all": (1, 2**31)}


def counted_rows(connection: Connection, key: str, period: tuple[int, int], filters: Filters) -> Iterable[Any]:
    """Return the columns that are counted, of passes that began in a period. `key`: the column of the group; empty: none."""
    return _COUNTED[key].all(connection, **_values(period, filters))


_NEXT: Final = statements.Sql(
    lambda _: (
        sa.select(passes.c.start_at)
        .where(passes.c.start_at >= _bound("start"), passes.c.start_at < _bound("end"))
        .order_by(passes.c.start_at)
        .limit(1)
    )
)


def days_with_passes(connection: Connection, period: tuple[int, int]) -> Iterator[int]:
    """Yield the days of a period on which a pass began. Each is one look-up, so that empty days cost nothing."""
    at, end = period
    while (row := _NEXT.first(connection, start=at, end=end)) is not None:
        day = row.start_at // DAY_US
        yield day
        at = (day + 1) * DAY_US


def _values(period: tuple[int, int], filters: Filters) -> dict[str, Any]:
    return {"start": period[0], "end": period[1], **{name: filters.get(name) for name in DIMENSIONS}}


PassPosition = tuple[int, str, int]
"""Start (microseconds), lead and cycle."""


def listed_passes(
    connection: Connection,
    period: tuple[int, int],
    cycles: tuple[int, int],
    filters: Filters,
    after: PassPosition,
    limit: int,
    *,
    step: str | None = None,
    standing: str | None = None,
    ended: str | None = None,
) -> list[FunnelPass]:
    """Return the next passes of a list, by their start. None: every value is listed."""
    key = None if step is None else f"{_to_json(step).decode()}:"
    rows = _LISTED.all(
        connection,
        **_values(period, filters),
        cycle_from=cycles[0],
        cycle_to=cycles[1],
        after_start=after[0],
        after_lead=after[1],
        after_cycle=after[2],
        limit=limit,
        step=key,
        standing=standing,
        ended=ended,
    )
    names = FunnelPass.__struct_fields__
    return [
        FunnelPass(**{**{name: row._mapping[name] for name in names}, "steps": steps_in(row.steps)}) for row in rows
    ]
