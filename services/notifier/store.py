"""The only SQL of the notifier: clocks, pages, attempts, and who is here."""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from operator import attrgetter, itemgetter
from typing import Any, NamedTuple

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from firsthour.kernel.time_units import micros, moment
from firsthour.runtime.storage import statements
from firsthour.runtime.storage.unit import Unit
from schemas.events import LeadCard, RepAvailabilityChanged
from services.notifier.domain.clock import Availability, Cancel, ResponseClock
from services.notifier.domain.ladder import read, written
from services.notifier.domain.page import TO_OWNER, Page

clocks = sa.Table(
    "notifier_clocks",
    statements.metadata,
    sa.Column("lead_id", statements.Text, primary_key=True),
    sa.Column("version", statements.Integer, nullable=False),
    sa.Column("epoch", statements.Integer, nullable=False),
    sa.Column("rep", statements.Text),
    sa.Column("urgency", statements.Text, nullable=False),
    sa.Column("submit_at", statements.Integer, nullable=False),
    sa.Column("promise_at", statements.Integer, nullable=False),
    sa.Column("assigned_at", statements.Integer),
    sa.Column("next_rung", statements.Integer, nullable=False),
    sa.Column("due_at", statements.Integer),  # the next rung or the end of the promise, whichever is first
    sa.Column("state", statements.Text, nullable=False),  # live, met, missed (live, but the promise is over), over
    sa.Column("touched_at", statements.Integer),
    sa.Column("opted_out", statements.Integer, nullable=False),
    sa.Column("accepted", statements.Integer, nullable=False),
    sa.Column("missed_at", statements.Integer),
    sa.Column("card", statements.Text, nullable=False),
    sa.Column("reassignments", statements.Integer, nullable=False),
    sa.Column("updated_at", statements.Integer, nullable=False),
    sa.Column("ladder", statements.Text),  # the rungs it started under, as JSON; none: of an older release
    sa.Column("fired_at", statements.Integer),  # when the rung before `next_rung` was reached
    sa.Column(
        "rung_told_at", statements.Integer
    ),  # when that rung was told or ended otherwise; none: its page is on its way
    sa.Column("told_at", statements.Integer),  # when the owner was first told of this assignment
    sa.Column("untold_at", statements.Integer),  # when a page to the owner first ended without telling them
    sa.Column("rep_version", statements.Integer, nullable=False, server_default="0"),
    sa.Index("notifier_clocks_by_due", "due_at"),
)
pages = sa.Table(
    "notifier_pages",
    statements.metadata,
    sa.Column("id", statements.Text, primary_key=True),
    sa.Column("lead_id", statements.Text, nullable=False),
    sa.Column("epoch", statements.Integer, nullable=False),
    sa.Column("rung", statements.Integer, nullable=False),
    sa.Column("kind", statements.Text, nullable=False),  # owner, manager, reassigned
    sa.Column("person", statements.Text, nullable=False),  # rep id; empty: there was nobody to tell
    sa.Column("channels", statements.Text, nullable=False),
    sa.Column("channel_index", statements.Integer, nullable=False),
    sa.Column(
        "state", statements.Text, nullable=False
    ),  # pending, sending, sent, cancelled; failed: by an older release
    sa.Column("due_at", statements.Integer, nullable=False),  # business time: lateness counts from it
    sa.Column("next_at", statements.Integer),  # real time: when to look at it again; none once it has ended
    sa.Column("first_try_at", statements.Integer),  # real time, of the current channel
    sa.Column("lease_until", statements.Integer),  # real time
    sa.Column("tries", statements.Integer, nullable=False),
    sa.Column("deliveries", statements.Integer, nullable=False),
    sa.Column("provider_id", statements.Text),
    sa.Column("error", statements.Text),
    sa.Column("created_at", statements.Integer, nullable=False),
    sa.Column("sent_at", statements.Integer),
    sa.Column("refusals", statements.Integer, nullable=False, server_default="0"),
    sa.UniqueConstraint("lead_id", "epoch", "rung", "person", name="notifier_pages_once"),
    sa.Index("notifier_pages_by_next", "next_at"),
    sa.Index("notifier_pages_by_time", "created_at", "id"),
)
attempts = sa.Table(
    "notifier_attempts",
    statements.metadata,
    sa.Column("page_id", statements.Text, primary_key=True),
    sa.Column("n", statements.Integer, primary_key=True),
    sa.Column("channel", statements.Text, nullable=False),
    sa.Column("at", statements.Integer, nullable=False),  # real time
    sa.Column(
        "outcome", statements.Text, nullable=False
    ),  # sent, try_again, gave_up, unusable, unknown (the sender crashed)
    sa.Column("detail", statements.Text),
)
reps = sa.Table(
    "notifier_reps",
    statements.metadata,
    sa.Column("rep", statements.Text, primary_key=True),
    sa.Column("state", statements.Text, nullable=False),
    sa.Column("until", statements.Integer),
    sa.Column("at", statements.Integer, nullable=False),
    sa.Column("version", statements.Integer, nullable=False, server_default="0"),
)

_LOCK_CLOCKS = statements.Sql(
    lambda f: (
        sa.select(clocks).where(f.is_any_of(clocks.c.lead_id, "leads")).order_by(clocks.c.lead_id).with_for_update()
    )
)
_DUE_CLOCKS = statements.Sql(
    lambda _: (
        sa.select(clocks)
        .where(clocks.c.due_at <= sa.bindparam("now"))
        .order_by(clocks.c.due_at, clocks.c.lead_id)
        .limit(sa.bindparam("limit", type_=sa.Integer))
        .with_for_update(skip_locked=True)
    )
)
_NEXT_CLOCK = statements.Sql(
    lambda _: sa.select(sa.func.min(clocks.c.due_at)).where(clocks.c.due_at > sa.bindparam("now"))
)
_SAVE_CLOCKS = statements.Sql(lambda f: f.upsert(clocks, ["lead_id"]))
_SOME_CLOCKS = statements.Sql(lambda f: sa.select(clocks).where(f.is_any_of(clocks.c.lead_id, "leads")))

_ADD_PAGES = statements.Sql(
    lambda f: f.insert(pages).values({c.name: sa.bindparam(c.name) for c in pages.columns}).on_conflict_do_nothing()
)


def _before_new(f: statements.SqlDialect) -> Any:
    """Which pages are there already, and who is here: two questions in one round trip. Rows of the first say no state."""
    number = sa.cast(sa.null(), statements.Integer)
    there = sa.select(pages.c.id, sa.cast(sa.null(), sa.Text), number, number.label("version"))
    return sa.union_all(
        there.where(f.is_any_of(pages.c.id, "pages")),
        sa.select(reps.c.rep, reps.c.state, reps.c.until, reps.c.version).where(f.is_any_of(reps.c.rep, "reps")),
    )


_BEFORE_NEW = statements.Sql(_before_new)
_CANCEL_PAGES = statements.Sql(
    lambda _: (
        sa.update(pages)
        .where(
            pages.c.lead_id == sa.bindparam("lead"),
            pages.c.epoch <= sa.bindparam("to_epoch"),
            pages.c.state == "pending",
            pages.c.rung < sa.bindparam("below", type_=sa.Integer),
            sa.or_(sa.bindparam("to", type_=sa.Text) == "", pages.c.person == sa.bindparam("to", type_=sa.Text)),
            sa.or_(
                sa.bindparam("all_kinds", type_=sa.Integer) == 1, *(pages.c.kind == kind for kind in sorted(TO_OWNER))
            ),
        )
        .values(state="cancelled", error=sa.bindparam("why"), next_at=None, lease_until=None)
    )
)
_PEEK = statements.Sql(
    lambda _: (
        sa.select(pages.c.id, pages.c.lead_id, pages.c.next_at)
        .where(pages.c.next_at.is_not(None))
        .order_by(pages.c.next_at)
        .limit(sa.bindparam("limit", type_=sa.Integer))
    )
)
_LOCK_PAGES = statements.Sql(
    lambda f: (
        sa.select(pages, reps.c.state.label("standing"), reps.c.until, reps.c.version)
        .select_from(pages.outerjoin(reps, reps.c.rep == pages.c.person))
        .where(f.is_any_of(pages.c.id, "ids"))
        .order_by(pages.c.id)
        .with_for_update(of=pages)
    )
)
_MUTABLE = (
    "channel_index",
    "state",
    "next_at",
    "first_try_at",
    "lease_until",
    "tries",
    "refusals",
    "deliveries",
    "provider_id",
    "error",
    "sent_at",
)
_CHANGE_PAGES = statements.Sql(
    lambda _: (
        sa.update(pages)
        .where(pages.c.id == sa.bindparam("page"))
        .values({name: sa.bindparam(name) for name in _MUTABLE})
    )
)
_LATE = statements.Sql(
    lambda _: (
        sa.select(pages.c.id)
        .where(pages.c.next_at > sa.bindparam("at"), pages.c.state == "pending")
        .order_by(pages.c.next_at)
        .limit(sa.bindparam("limit", type_=sa.Integer))
        .with_for_update(skip_locked=True)
    )
)
_HURRY = statements.Sql(
    lambda _: sa.update(pages).where(pages.c.id == sa.bindparam("page")).values(next_at=sa.bindparam("at"))
)
_ADD_ATTEMPTS = statements.Sql(lambda f: f.upsert(attempts, ["page_id", "n"]))


def _save_reps(dialect: statements.SqlDialect) -> Any:
    insert = dialect.insert(reps).values({c.name: sa.bindparam(c.name) for c in reps.columns})
    return insert.on_conflict_do_update(
        index_elements=["rep"],
        set_={name: insert.excluded[name] for name in ("state", "until", "at", "version")},
        where=sa.tuple_(insert.excluded["version"], insert.excluded["at"])
        >= sa.tuple_(reps.c["version"], reps.c["at"]),
    )


_SAVE_REPS = statements.Sql(_save_reps)


def _newest_first(*where: sa.ColumnElement[bool]) -> sa.Select[Any]:
    at, id = sa.bindparam("at", type_=sa.BigInteger), sa.bindparam("id", type_=sa.Text)
    return (
        sa.select(pages)
        .where(*where, sa.or_(pages.c.created_at < at, sa.and_(pages.c.created_at == at, pages.c.id < id)))
        .order_by(pages.c.created_at.desc(), pages.c.id.desc())
        .limit(sa.bindparam("limit", type_=sa.Integer))
    )


_LISTED = statements.Sql(lambda _: _newest_first())
_LISTED_OF_LEAD = statements.Sql(lambda _: _newest_first(pages.c.lead_id == sa.bindparam("lead")))
_BUSINESS = (
    "submit_at",
    "promise_at",
    "assigned_at",
    "due_at",
    "touched_at",
    "missed_at",
    "updated_at",
    "fired_at",
    "rung_told_at",
    "told_at",
    "untold_at",
)
_PAGE_TIMES = ("due_at", "next_at", "first_try_at", "lease_until", "created_at", "sent_at")

_PLACE = itemgetter(0, 1)

_json = msgspec.json.Encoder().encode
_card = msgspec.json.Decoder(LeadCard).decode
_channels = msgspec.json.Decoder(tuple[str, ...]).decode


class WaitingPage(NamedTuple):
    """A page that somebody must look at, and when (real time)."""

    id: str
    lead_id: str
    next_at: datetime


class Attempt(NamedTuple):
    """One delivery and how it went, at a moment of real time."""

    page_id: str
    n: int
    channel: str
    at: datetime
    outcome: str
    detail: str | None


# --- clocks ------------------------------------------------------------------------------------------------------


def lock_clocks(unit: Unit, leads: Collection[str]) -> dict[str, ResponseClock]:
    """The clocks of these leads, locked; none for a lead that never was handed over."""
    rows = unit.lock(_LOCK_CLOCKS, leads=sorted(leads))
    return {row.lead_id: _clock(row) for row in rows}


def due_clocks(unit: Unit, now: datetime, limit: int) -> list[ResponseClock]:
    """Clocks that are due, soonest first, locked; those that somebody else holds are left to them."""
    return [_clock(row) for row in unit.lock(_DUE_CLOCKS, now=micros(now), limit=limit)]


def next_due(unit: Unit, now: datetime) -> datetime | None:
    """When the next clock after `now` is due."""
    row = _NEXT_CLOCK.first(unit.connection, now=micros(now))
    return _moment(row[0]) if row else None


def save_clocks(unit: Unit, changed: Iterable[ResponseClock]) -> None:
    """Store these clocks, at the unit's end."""
    rows = [_clock_row(clock) for clock in sorted(changed, key=attrgetter("lead_id"))]
    unit.store(_SAVE_CLOCKS.work(unit.connection, rows))


def find_clocks(connection: Connection, leads: Collection[str]) -> dict[str, ResponseClock]:
    """The clocks of these leads, to look at."""
    return {row.lead_id: _clock(row) for row in _SOME_CLOCKS.all(connection, leads=list(leads))}


# --- pages -------------------------------------------------------------------------------------------------------


def before_new(unit: Unit, new: Collection[Page]) -> tuple[set[str], dict[str, Availability]]:
    """Those of these pages that exist already, and what was last said of the people they are for."""
    if not new:
        return set(), {}
    ids, people = sorted(page.id for page in new), sorted({page.person for page in new})
    rows = _BEFORE_NEW.all(unit.connection, pages=ids, reps=people)
    standing = {row[0]: Availability(row[1], _moment(row[2]), row[3]) for row in rows if row[1] is not None}
    return {row[0] for row in rows if row[1] is None}, standing


def add_pages(unit: Unit, new: Iterable[Page]) -> None:
    """Store new pages, at the unit's end; one that is there already stays as it is."""
    rows = [_page_row(page) for page in sorted(new, key=attrgetter("id"))]
    unit.store(_ADD_PAGES.work(unit.connection, rows))


def cancel_pages(unit: Unit, cancels: Iterable[Cancel]) -> None:
    """Pages that wait are not sent any more: of those that were stored before this unit."""
    rows = [
        {
            "lead": c.lead_id,
            "to_epoch": c.epoch,
            "below": c.below,
            "to": c.person or "",
            "all_kinds": 0 if c.owners_only else 1,
            "why": c.why,
        }
        for c in cancels
    ]
    unit.store(_CANCEL_PAGES.work(unit.connection, rows))


def peek(unit: Unit, limit: int) -> list[WaitingPage]:
    """The pages that must be looked at soonest, not locked."""
    return [WaitingPage(row[0], row[1], moment(row[2])) for row in _PEEK.all(unit.connection, limit=limit)]


def lock_pages(unit: Unit, ids: Collection[str]) -> list[tuple[Page, Availability | None]]:
    """These pages, locked, each with what was last said of its person."""
    rows = _LOCK_PAGES.all(unit.connection, ids=sorted(ids))
    return [
        (_page(row), Availability(row.standing, _moment(row.until), row.version) if row.standing else None)
        for row in rows
    ]


def change_pages(unit: Unit, changed: Iterable[Page]) -> None:
    """Store what may change of these pages, at the unit's end."""
    unit.store(_CHANGE_PAGES.work(unit.connection, [{"page": page.id, **_page_row(page)} for page in changed]))


def hurry(unit: Unit, at: datetime, limit: int) -> int:
    """Have up to `limit` pages that wait for a later moment looked at now, `at` (real time); how many there were."""
    late = [row[0] for row in _LATE.all(unit.connection, at=micros(at), limit=limit)]
    _HURRY.many(unit.connection, [{"page": id, "at": micros(at)} for id in late])
    return len(late)


def add_attempts(unit: Unit, new: Iterable[Attempt]) -> None:
    """Store attempts, at the unit's end; what is known better now replaces what was said of the same one."""
    rows = [{**attempt._asdict(), "at": micros(attempt.at)} for attempt in sorted(new, key=_PLACE)]
    unit.store(_ADD_ATTEMPTS.work(unit.connection, rows))


def listed(
    connection: Connection, lead: str | None, before: tuple[int, str] | None, limit: int
) -> list[tuple[Page, int]]:
    """Pages, newest first, each with its place (microseconds) for the next `before`."""
    at, id = before or (2**62, "")
    statement = _LISTED if lead is None else _LISTED_OF_LEAD
    rows = statement.all(connection, lead=lead, at=at, id=id, limit=limit)
    return [(_page(row), row.created_at) for row in rows]


# --- people ------------------------------------------------------------------------------------------------------


def save_reps(unit: Unit, changed: Sequence[RepAvailabilityChanged]) -> None:
    """Store availability. The version says which is the newer, since the host's clock may have been set back; the time
    counts among records without one."""
    _SAVE_REPS.many(
        unit.connection,
        [
            {"rep": r.rep, "state": r.state, "until": _micros(r.until), "at": micros(r.at), "version": r.version}
            for r in sorted(changed, key=attrgetter("rep"))
        ],
    )


# --- rows --------------------------------------------------------------------------------------------------------


def _micros(at: datetime | None) -> int | None:
    return None if at is None else micros(at)


def _moment(us: int | None) -> datetime | None:
    return None if us is None else moment(us)


def _clock_row(clock: ResponseClock) -> dict[str, Any]:
    row = msgspec.structs.asdict(clock)
    row |= {name: _micros(row[name]) for name in _BUSINESS}
    row |= {"opted_out": int(clock.opted_out), "accepted": int(clock.accepted), "card": _json(clock.card).decode()}
    row["ladder"] = None if clock.ladder is None else written(clock.ladder)
    return row


def _clock(row: Row[Any]) -> ResponseClock:
    known = {name: row._mapping[name] for name in ResponseClock.__struct_fields__}
    known |= {name: _moment(known[name]) for name in _BUSINESS}
    known |= {"opted_out": bool(known["opted_out"]), "accepted": bool(known["accepted"]), "card": _card(known["card"])}
    known["ladder"] = None if known["ladder"] is None else read(known["ladder"])
    return ResponseClock(**known)


def _page_row(page: Page) -> dict[str, Any]:
    row = msgspec.structs.asdict(page)
    row |= {name: _micros(row[name]) for name in _PAGE_TIMES}
    row["channels"] = _json(page.channels).decode()
    return row


def _page(row: Row[Any]) -> Page:
    known = {name: row._mapping[name] for name in Page.__struct_fields__}
    known |= {name: _moment(known[name]) for name in _PAGE_TIMES}
    known["channels"] = _channels(known["channels"])
    return Page(**known)
