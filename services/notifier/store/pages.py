"""The statements about pages and the attempts to send them."""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime, timedelta
from operator import attrgetter, itemgetter
from typing import Any, NamedTuple, get_args

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from firsthour.kernel.time_units import micros, moment
from firsthour.kernel.visibility import VisibleLeads
from firsthour.runtime.storage import statements
from firsthour.runtime.storage.unit import Unit
from firsthour.runtime.storage.visible_leads import is_visible
from services.notifier.domain.clock_step import Cancel, Scope, in_scope
from services.notifier.domain.objection import Availability
from services.notifier.domain.page import FIRST, LEASE, REST, Kind, Page
from services.notifier.store.columns import optional_micros, optional_moment
from services.notifier.store.tables import MESSAGES, attempts, pages, reps

_ADD_PAGES = statements.Sql(
    lambda f: f.insert(pages).values({c.name: sa.bindparam(c.name) for c in pages.columns}).on_conflict_do_nothing()
)


def _stored_before(f: statements.SqlDialect) -> Any:
    """Select the stored pages and the availability of recipients in one round trip. A row of a page has no state."""
    number = sa.cast(sa.null(), statements.Integer)
    stored = sa.select(pages.c.id, sa.cast(sa.null(), sa.Text), number, number.label("version"))
    return sa.union_all(
        stored.where(f.is_any_of(pages.c.id, "pages")),
        sa.select(reps.c.rep, reps.c.state, reps.c.until, reps.c.version).where(f.is_any_of(reps.c.rep, "reps")),
    )


_STORED_BEFORE = statements.Sql(_stored_before)
_CANCEL_PAGES = statements.Sql(
    lambda _: (
        sa.update(pages)
        .where(
            pages.c.lead_id == sa.bindparam("lead"),
            pages.c.epoch <= sa.bindparam("to_epoch"),
            pages.c.state == "pending",
            pages.c.rung < sa.bindparam("below", type_=statements.Integer),
            sa.or_(sa.bindparam("to", type_=sa.Text) == "", pages.c.person == sa.bindparam("to", type_=sa.Text)),
            sa.or_(
                *(
                    sa.and_(
                        sa.bindparam("scope", type_=sa.Text) == scope,
                        sa.or_(*(pages.c.kind == kind for kind in get_args(Kind) if in_scope(kind, scope))),
                    )
                    for scope in get_args(Scope)
                )
            ),
        )
        .values(state="cancelled", error=sa.bindparam("why"), next_at=None)
    )
)


def _peek(f: statements.SqlDialect) -> Any:
    """Find the pages to look at first, of each rank.

    Pages of full destinations are left out, except those that waited for their turn until `stale` and have another channel.
    """
    is_full, stale = f.is_any_of(pages.c.destination, "full"), sa.bindparam("stale", type_=sa.BigInteger)
    has_another = sa.and_(pages.c.channels.like("%,%"), pages.c.first_try_at <= stale, pages.c.next_at <= stale)
    parts = [
        sa.select(pages.c.id, pages.c.lead_id, pages.c.next_at, pages.c.rank, pages.c.person, pages.c.rung)
        .where(pages.c.next_at.is_not(None), pages.c.rank == sa.literal_column(str(rank)), condition)
        .order_by(pages.c.next_at)
        .limit(sa.bindparam("limit", type_=sa.Integer))
        .subquery()
        for rank in (FIRST, REST)
        for condition in (sa.not_(is_full), sa.and_(is_full, has_another))
    ]
    return sa.union_all(*(sa.select(part) for part in parts))


_PEEK = statements.Sql(_peek)
_MESSAGES_TO = statements.Sql(
    lambda f: sa.select(pages.c.id, pages.c.person, pages.c.claimed_at, pages.c.destination, pages.c.rung).where(
        f.is_any_of(pages.c.person, "people"), MESSAGES, pages.c.claimed_at > sa.bindparam("since", type_=sa.BigInteger)
    )
)
_WAITING_FOR = statements.Sql(
    lambda f: (
        sa.select(pages.c.id, pages.c.lead_id, pages.c.next_at, pages.c.rank, pages.c.person, pages.c.rung)
        .where(f.is_any_of(pages.c.person, "people"), pages.c.next_at.is_not(None), pages.c.state == "pending")
        .order_by(pages.c.rank, pages.c.due_at, pages.c.id)
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
    "channels",
    "channel_index",
    "state",
    "next_at",
    "first_try_at",
    "tries",
    "refusals",
    "deliveries",
    "provider_id",
    "error",
    "sent_at",
    "destination",
    "delay",
    "claimed_at",
    "carrier",
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
        .where(
            pages.c.next_at > sa.bindparam("at"),
            sa.or_(pages.c.state == "pending", pages.c.next_at > sa.bindparam("leased", type_=sa.BigInteger)),
        )
        .order_by(pages.c.rank, pages.c.next_at)
        .limit(sa.bindparam("limit", type_=sa.Integer))
        .with_for_update(skip_locked=True)
    )
)
_AHEAD = statements.Sql(
    lambda _: (
        sa.select(pages.c.id)
        .where(
            pages.c.next_at > sa.bindparam("at"),
            sa.or_(
                pages.c.created_at > sa.bindparam("now"),
                sa.and_(
                    pages.c.next_at > sa.bindparam("latest"), pages.c.delay != "quiet_hours", pages.c.delay != "budget"
                ),
            ),
        )
        .limit(sa.bindparam("limit", type_=sa.Integer))
        .with_for_update(skip_locked=True)
    )
)
_HURRY = statements.Sql(
    lambda _: (
        sa.update(pages)
        .where(pages.c.id == sa.bindparam("page"))
        .values(
            next_at=sa.case(
                (pages.c.state == "sending", sa.bindparam("leased", type_=sa.BigInteger)),
                else_=sa.bindparam("at", type_=sa.BigInteger),
            )
        )
    )
)
_PUT_OFF = statements.Sql(
    lambda _: (
        sa.update(pages)
        .where(pages.c.id == sa.bindparam("page"), pages.c.next_at.is_not(None))
        .values(next_at=sa.bindparam("at"), error=sa.bindparam("why"))
    )
)
_ADD_ATTEMPTS = statements.Sql(lambda f: f.upsert(attempts, ["page_id", "n"]))


def _newest_first(*where: sa.ColumnElement[bool]) -> sa.Select[Any]:
    at, id = sa.bindparam("at", type_=sa.BigInteger), sa.bindparam("id", type_=sa.Text)
    return (
        sa.select(pages)
        .where(*where, sa.or_(pages.c.created_at < at, sa.and_(pages.c.created_at == at, pages.c.id < id)))
        .order_by(pages.c.created_at.desc(), pages.c.id.desc())
        .limit(sa.bindparam("limit", type_=sa.Integer))
    )


_SOME_PAGES = statements.Sql(lambda f: sa.select(pages).where(f.is_any_of(pages.c.id, "ids")))
_ONE = statements.Sql(lambda _: sa.select(pages).where(pages.c.id == sa.bindparam("id")))
_LISTED = statements.Sql(lambda _: _newest_first())
_LISTED_OF_LEAD = statements.Sql(lambda _: _newest_first(pages.c.lead_id == sa.bindparam("lead")))
_VISIBLE = statements.Sql(lambda f: _newest_first(is_visible(f, pages.c.lead_id)))
_VISIBLE_OF_LEAD = statements.Sql(
    lambda f: _newest_first(pages.c.lead_id == sa.bindparam("lead"), is_visible(f, pages.c.lead_id))
)
_PAGE_TIMES = ("due_at", "next_at", "first_try_at", "created_at", "sent_at", "claimed_at")
_KEY = itemgetter(0, 1)
_json = msgspec.json.Encoder().encode
_channels = msgspec.json.Decoder(tuple[str, ...]).decode


class WaitingPage(NamedTuple):
    """A page that has not ended, and when to look at it (real time)."""

    id: str
    lead_id: str
    next_at: datetime
    rank: int
    person: str
    rung: int


class SentMessage(NamedTuple):
    """A message to a person: the page that it is about, and when that was claimed (business time)."""

    page_id: str
    person: str
    at: datetime
    channel: str
    rung: int


class Attempt(NamedTuple):
    """One attempt to send a page, and its outcome; `at` in real time."""

    page_id: str
    n: int
    channel: str
    at: datetime
    outcome: str
    detail: str | None


def lookup_new(unit: Unit, new: Collection[Page]) -> tuple[set[str], dict[str, Availability]]:
    """Return the ids of these pages that are stored already, and the availability of their recipients."""
    if not new:
        return set(), {}
    ids, people = sorted(page.id for page in new), sorted({page.person for page in new})
    rows = _STORED_BEFORE.all(unit.connection, pages=ids, reps=people)
    availability = {row[0]: Availability(row[1], optional_moment(row[2]), row[3]) for row in rows if row[1] is not None}
    return {row[0] for row in rows if row[1] is None}, availability


def add_pages(unit: Unit, new: Iterable[Page]) -> None:
    """Store new pages at the end of the unit. A page that is stored already stays unchanged."""
    rows = [_page_row(page) for page in sorted(new, key=attrgetter("id"))]
    unit.store(_ADD_PAGES.work(unit.connection, rows))


def cancel_pages(unit: Unit, cancels: Iterable[Cancel]) -> None:
    """Cancel pending pages that were stored before this unit."""
    rows = [
        {
            "lead": c.lead_id,
            "to_epoch": c.epoch,
            "below": c.below,
            "to": c.person or "",
            "scope": c.scope,
            "why": c.why,
        }
        for c in cancels
    ]
    unit.store(_CANCEL_PAGES.work(unit.connection, rows))


def peek_pages(unit: Unit, limit: int, full: Sequence[str], stale: datetime) -> list[WaitingPage]:
    """Return the pages to look at first, up to `limit` of each rank, without locks.

    Args:
        full: Destinations whose pages are left out.
        stale: Real time. Pages that have waited since then for one of these destinations, and have another, are found.
    """
    rows = _PEEK.all(unit.connection, limit=limit, full=list(full), stale=micros(stale))
    return [_waiting_page(row) for row in rows]


def _waiting_page(row: Sequence[Any]) -> WaitingPage:
    return WaitingPage(row[0], row[1], moment(row[2]), row[3], row[4], row[5])


def find_messages(unit: Unit, people: Collection[str], since: datetime) -> list[SentMessage]:
    """Return the messages to these people that were claimed after `since` (business time)."""
    rows = _MESSAGES_TO.all(unit.connection, people=sorted(people), since=micros(since)) if people else ()
    return [SentMessage(row[0], row[1], moment(row[2]), row[3], row[4]) for row in rows]


def waiting_for(unit: Unit, people: Collection[str], limit: int) -> list[WaitingPage]:
    """Return the pages to these people that are not being sent, whether they are due or not, without locks."""
    return [_waiting_page(row) for row in _WAITING_FOR.all(unit.connection, people=sorted(people), limit=limit)]


def lock_pages(unit: Unit, ids: Collection[str]) -> list[tuple[Page, Availability | None]]:
    """Lock and return these pages, each with the availability of its recipient."""
    rows = _LOCK_PAGES.all(unit.connection, ids=sorted(ids))
    return [
        (_page(row), Availability(row.standing, optional_moment(row.until), row.version) if row.standing else None)
        for row in rows
    ]


def change_pages(unit: Unit, changed: Iterable[Page]) -> None:
    """Store the mutable columns of these pages at the end of the unit."""
    unit.store(_CHANGE_PAGES.work(unit.connection, [{"page": page.id, **_page_row(page)} for page in changed]))


def hurry_pages(unit: Unit, at: datetime, limit: int) -> int:
    """Make up to `limit` pages that wait for a later time due at `at` (real time). Return their number.

    A page that is being sent keeps its lease, unless that ends later than any lease: the host's clock was set back.
    """
    return _hurried(unit, _LATE.all(unit.connection, at=micros(at), leased=micros(at + LEASE), limit=limit), at)


def hurry_pages_ahead(unit: Unit, at: datetime, wait_max: timedelta, limit: int) -> int:
    """Make up to `limit` pages due at `at` whose times a host's clock has set that was ahead. Return their number.

    These are pages that were created later than now, or that wait longer than any retry does.

    Args:
        wait_max: The longest wait before a retry.
    """
    now = micros(unit.clock.business() + LEASE)
    rows = _AHEAD.all(unit.connection, at=micros(at), now=now, latest=micros(at + wait_max), limit=limit)
    return _hurried(unit, rows, at)


def _hurried(unit: Unit, rows: Sequence[Any], at: datetime) -> int:
    times = {"at": micros(at), "leased": micros(at + LEASE)}  # a page that is being sent now must not be sent twice
    _HURRY.many(unit.connection, [{"page": row[0], **times} for row in rows])
    return len(rows)


def put_off_pages(unit: Unit, ids: Collection[str], until: datetime, why: str) -> None:
    """Look at these pages again at `until` (real time), without reading them."""
    rows = [{"page": id, "at": micros(until), "why": why} for id in sorted(ids)]
    _PUT_OFF.many(unit.connection, rows)


def add_attempts(unit: Unit, new: Iterable[Attempt]) -> None:
    """Store attempts at the end of the unit. A later outcome of the same attempt replaces the earlier one."""
    rows = [{**attempt._asdict(), "at": micros(attempt.at)} for attempt in sorted(new, key=_KEY)]
    unit.store(_ADD_ATTEMPTS.work(unit.connection, rows))


def list_pages(
    connection: Connection,
    lead: str | None,
    before: tuple[int, str] | None,
    limit: int,
    visible: VisibleLeads | None = None,
) -> list[tuple[Page, int]]:
    """Return pages, newest first, each with its creation time (microseconds) for the next `before`.

    `visible`: only pages about these leads. None: all.
    """
    at, id = before or (2**62, "")
    if visible is None:
        statement, arrays = _LISTED if lead is None else _LISTED_OF_LEAD, dict[str, list[str]]()
    else:
        statement, arrays = _VISIBLE if lead is None else _VISIBLE_OF_LEAD, visible.arrays
    rows = statement.all(connection, lead=lead, at=at, id=id, limit=limit, **arrays)
    return [(_page(row), row.created_at) for row in rows]


def find_page(connection: Connection, id: str) -> Page | None:
    """Return one page, without locks; None: there is none."""
    row = _ONE.first(connection, id=id)
    return None if row is None else _page(row)


def find_pages(connection: Connection, ids: Collection[str]) -> dict[str, Page]:
    """Return the pages of these ids, without locks."""
    return {row.id: _page(row) for row in _SOME_PAGES.all(connection, ids=sorted(ids))}


def _page_row(page: Page) -> dict[str, Any]:
    row = msgspec.structs.asdict(page)
    row |= {name: optional_micros(row[name]) for name in _PAGE_TIMES}
    row |= {"channels": _json(page.channels).decode(), "destination": page.channel}
    return row


def _page(row: Row[Any]) -> Page:
    values = {name: row._mapping[name] for name in Page.__struct_fields__}
    values |= {name: optional_moment(values[name]) for name in _PAGE_TIMES}
    values["channels"] = _channels(values["channels"])
    return Page(**values)
