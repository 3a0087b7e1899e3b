"""The SQL of the tallies of days: read them, find the days that must be counted again, and replace the tally of one."""

from collections.abc import Mapping
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from firsthour.runtime.storage import statements
from firsthour.runtime.storage.unit import Unit
from services.reporting.funnel_passes import days, marks

_FIND = statements.Sql(
    lambda _: sa.select(days.c.day, days.c.layout, days.c.body).where(
        days.c.day >= sa.bindparam("first", type_=sa.BigInteger), days.c.day < sa.bindparam("end", type_=sa.BigInteger)
    )
)
_MARKED = statements.Sql(
    lambda _: (
        sa.select(marks.c.day)
        .where(
            marks.c.day >= sa.bindparam("first", type_=sa.BigInteger),
            marks.c.day < sa.bindparam("end", type_=sa.BigInteger),
        )
        .distinct()
        .order_by(marks.c.day)
    )
)
_OF_OTHERS = statements.Sql(
    lambda _: sa.select(days.c.day).where(days.c.layout != sa.bindparam("layout")).order_by(days.c.day).limit(1)
)
_MADE = statements.Sql(lambda _: sa.select(days.c.made).where(days.c.day == sa.bindparam("the_day")))
_LOCK_MADE = statements.Sql(
    lambda _: sa.select(days.c.made).where(days.c.day == sa.bindparam("the_day")).with_for_update()
)
_CHANGES = statements.Sql(
    lambda _: sa.select(marks.c.slot, marks.c.change).where(marks.c.day == sa.bindparam("the_day"))
)
_LOCK_CHANGES = statements.Sql(
    lambda _: (
        sa.select(marks.c.slot, marks.c.change)
        .where(marks.c.day == sa.bindparam("the_day"))
        .order_by(marks.c.slot)
        .with_for_update()
    )
)
_SAVE = statements.Sql(lambda f: f.upsert(days, ["day"]))
_UNMARK = statements.Sql(lambda _: sa.delete(marks).where(marks.c.day == sa.bindparam("the_day")))


class DayState(NamedTuple):
    """What was known of a day when it was counted: its tally before, and its marks by slot."""

    made: str | None  # None: it had no tally
    marks: Mapping[int, str]


def find_days(connection: Connection, first: int, end: int, layout: str) -> dict[int, bytes]:
    """Return the tallies of the days from `first` to before `end` that hold for this layout, and that have no mark."""
    marked = set(marked_days(connection, first, end))
    rows = _FIND.all(connection, first=first, end=end)
    return {row.day: bytes(row.body) for row in rows if row.layout == layout and row.day not in marked}


def marked_days(connection: Connection, first: int, end: int) -> list[int]:
    """Return the days with a change since their last tally."""
    return [row.day for row in _MARKED.all(connection, first=first, end=end)]


def day_of_another_layout(connection: Connection, layout: str) -> int | None:
    """Return a day whose tally is of other steps. None: there is none."""
    row = _OF_OTHERS.first(connection, layout=layout)
    return None if row is None else int(row.day)


def state_of(connection: Connection, day: int) -> DayState:
    """Return what is known of a day."""
    made = _MADE.first(connection, the_day=day)
    rows = _CHANGES.all(connection, the_day=day)
    return DayState(None if made is None else made.made, {row.slot: row.change for row in rows})


def replace_day(unit: Unit, day: int, state: DayState, layout: str, body: bytes) -> bool:
    """Store the tally of a day and remove its marks, unless the day has changed since `state`. Return whether it was stored."""
    rows = _LOCK_CHANGES.all(unit.connection, the_day=day)
    made = _LOCK_MADE.first(unit.connection, the_day=day)
    now = DayState(None if made is None else made.made, {row.slot: row.change for row in rows})
    if now != state:
        return False
    _UNMARK.run(unit.connection, the_day=day)
    row = {"day": day, "layout": layout, "made": unit.new_id(), "body": body}
    unit.store(_SAVE.work(unit.connection, [row]))
    return True
