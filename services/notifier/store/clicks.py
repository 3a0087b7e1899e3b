"""The statements about clicks of people on pages."""

from collections.abc import Collection, Mapping
from datetime import timedelta
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from firsthour.kernel.time_units import micros, moment
from firsthour.runtime.storage import statements
from firsthour.runtime.storage.unit import Unit
from services.notifier.domain.click import Click, PagedAs, StoredClick
from services.notifier.store.columns import optional_micros, optional_moment
from services.notifier.store.tables import clicks, pages

CLICK_DAYS = 21
"""How long a click is kept: a replay within this time is recognised."""
_DAY_US = 86_400_000_000

_PAGED_AS = statements.Sql(
    lambda _: (
        sa.select(pages.c.epoch, pages.c.kind)
        .where(
            pages.c.lead_id == sa.bindparam("lead"),
            sa.or_(pages.c.person == sa.bindparam("person"), pages.c.kind == "channel"),
        )
        .distinct()
    )
)
_CLICKED = statements.Sql(lambda _: sa.select(pages.c.lead_id, pages.c.epoch).where(pages.c.id == sa.bindparam("id")))
_SOME_CLICKS = statements.Sql(lambda f: sa.select(clicks).where(f.is_any_of(clicks.c.id, "ids")))
_USED = statements.Sql(
    lambda _: sa.select(clicks.c.id).where(clicks.c.id == sa.bindparam("id"), clicks.c.refused.is_(None))
)
_REPEATED = statements.Sql(
    lambda _: (
        sa.select(clicks.c.id)
        .where(
            clicks.c.day >= sa.bindparam("today") - 1,  # the clicks of two days are few, and found by their index
            clicks.c.lead_id == sa.bindparam("lead"),
            clicks.c.person == sa.bindparam("who"),
            clicks.c.action == sa.bindparam("what"),
            clicks.c.epoch == sa.bindparam("of"),
            clicks.c.at >= sa.bindparam("since"),
            clicks.c.at <= sa.bindparam("until"),
            clicks.c.refused.is_(None),
        )
        .limit(1)
    )
)
_ADD_CLICK = statements.Sql(
    lambda f: f.insert(clicks).values({c.name: sa.bindparam(c.name) for c in clicks.columns}).on_conflict_do_nothing()
)
_REFUSE_CLICKS = statements.Sql(
    lambda _: sa.update(clicks).where(clicks.c.id == sa.bindparam("click")).values(refused=sa.bindparam("why"))
)
_FORGET_CLICKS = statements.Sql(
    lambda _: sa.delete(clicks).where(
        clicks.c.id.in_(
            sa.select(clicks.c.id)
            .where(clicks.c.day < sa.bindparam("before"))
            .order_by(clicks.c.day)
            .limit(sa.bindparam("limit", type_=sa.Integer))
            .with_for_update(skip_locked=True)
        )
    )
)


class ClickedPage(NamedTuple):
    """The page under a click: its lead and its assignment."""

    lead_id: str
    epoch: int


def clicked_page(connection: Connection, id: str) -> ClickedPage | None:
    """Return the page of this id, without locks; None: there is none."""
    row = _CLICKED.first(connection, id=id) if id else None
    return None if row is None else ClickedPage(row[0], row[1])


def paged_as(connection: Connection, lead: str, person: str) -> frozenset[PagedAs]:
    """Return the pages to this person about this lead. A page to a channel is one to each of its readers."""
    return frozenset(PagedAs(row[0], row[1]) for row in _PAGED_AS.all(connection, lead=lead, person=person))


def find_clicks(unit: Unit, ids: Collection[str]) -> dict[str, StoredClick]:
    """Return the stored clicks of these ids."""
    rows = _SOME_CLICKS.all(unit.connection, ids=sorted(set(ids)))
    return {
        row.id: StoredClick(row.lead_id, row.epoch, row.person, row.action, moment(row.at), optional_moment(row.until))
        for row in rows
    }


def is_used(connection: Connection, id: str) -> bool:
    """Return whether this click was received before. One that the router refused has had no effect, and does not count."""
    return _USED.first(connection, id=id) is not None


def is_repeated(unit: Unit, click: Click, within: timedelta) -> bool:
    """Return whether this person did the same to this assignment of the lead shortly before or after this click."""
    row = _REPEATED.first(
        unit.connection,
        today=micros(unit.clock.real()) // _DAY_US,
        lead=click.lead_id,
        who=click.person,
        what=click.action,
        of=click.epoch,
        since=micros(click.at - within),
        until=micros(click.at + within),
    )
    return row is not None


def add_click(unit: Unit, id: str, click: StoredClick, source: str) -> None:
    """Store a click at the end of the unit."""
    unit.store(_ADD_CLICK.work(unit.connection, [_row(unit, id, click, source)]))


def claim_click(unit: Unit, id: str, click: StoredClick, source: str) -> bool:
    """Store a click now. Return whether it is new. Of two units at once, the later waits for the earlier."""
    return _ADD_CLICK.run(unit.connection, **_row(unit, id, click, source)) == 1


def _row(unit: Unit, id: str, click: StoredClick, source: str) -> dict[str, Any]:
    return {
        **click._asdict(),
        "id": id,
        "source": source,
        "at": micros(click.at),
        "until": optional_micros(click.until),
        "refused": None,
        "day": micros(unit.clock.real()) // _DAY_US,
    }


def refuse_clicks(unit: Unit, reasons: Mapping[str, str]) -> None:
    """Store why the router refused these clicks, by their ids."""
    rows = [{"click": id, "why": why} for id, why in sorted(reasons.items())]
    unit.store(_REFUSE_CLICKS.work(unit.connection, rows))


def forget_clicks(unit: Unit, limit: int) -> int:
    """Remove the clicks that are older than `CLICK_DAYS`."""
    return _FORGET_CLICKS.run(unit.connection, before=micros(unit.clock.real()) // _DAY_US - CLICK_DAYS, limit=limit)
