"""Leads as returned over HTTP, read from the view `leads`.

A migration creates the view. Tables of several services are joined only there.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

import msgspec
import sqlalchemy as sa
from pydantic import BaseModel
from sqlalchemy.engine import Connection

from firsthour.kernel.config import Config
from firsthour.kernel.normalisation.emails import normalise_email
from firsthour.kernel.normalisation.malformed import MalformedError
from firsthour.kernel.time_units import micros, moment
from firsthour.kernel.visibility import VisibleLeads
from firsthour.runtime.storage import statements
from firsthour.runtime.storage.visible_leads import is_visible
from schemas.events.routes import HELD_BACK
from schemas.http import ClockView, LeadView, Listing, OwnerView, QueueView, ScoreView, TouchCounts

RUNNING: Final = frozenset({"live", "missed"})
"""The states of a clock whose ladder goes on."""

view = sa.table(
    "leads",
    *(
        sa.column(name)
        for name in [
            "id",
            "email",
            "status",
            "epoch",
            "owner",
            "queue_pool",
            "queue_reason",
            "queue_since",
            "created_at",
            "updated_at",
            "state",
            "promise_at",
            "clock_state",
            "next_rung",
            "pauses",
            "snoozed_until",
        ]
    ),
)


class LeadFilter(BaseModel):
    """The filter of the list: all conditions that are set must hold. Ids grow with time: the newest lead has the greatest."""

    email: str | None = None
    status: str | None = None
    owner: str | None = None
    limit: int = 50
    cursor: str | None = None


class _ShownState(msgspec.Struct):
    """The part of the router's state that is shown."""

    facts: dict[str, str | int | float | bool] = {}
    score: dict[str, float | str] = {}
    rests_until: int | None = None
    attempts: int = 0  # all touches
    conversations: int = 0


_Pause = tuple[str, int, int]  # kind, start, end
_pauses = msgspec.json.Decoder(tuple[_Pause, ...]).decode
_state = msgspec.json.Decoder(_ShownState).decode
_ONE = statements.Sql(lambda _: sa.select(view).where(view.c.id == sa.bindparam("lead")))


def _addresses(dialect: statements.SqlDialect) -> Any:
    if dialect.name == "sqlite":
        domain = sa.func.substr(view.c.email, sa.func.instr(view.c.email, "@") + 1)
    else:
        domain = sa.func.split_part(view.c.email, "@", 2)
    each = sa.bindparam("each", type_=sa.Integer)
    limit = sa.bindparam("limit", type_=sa.Integer)
    numbered = (
        sa.select(
            view.c.email,
            sa.func.row_number().over(partition_by=domain, order_by=view.c.email).label("place"),
            sa.func.count().over(partition_by=domain).label("leads"),
            domain.label("domain"),
        )
        .where(dialect.is_any_of(domain, "domains"))
        .subquery()
    )
    columns = numbered.c
    first = sa.select(columns.email, columns.leads).where(columns.place <= each)
    return first.order_by(columns.domain, columns.email).limit(limit)


_ADDRESSES = statements.Sql(_addresses)


def _page(*names: str) -> statements.Sql:
    conditions = [
        view.c.id < sa.bindparam(name) if name == "cursor" else view.c[name] == sa.bindparam(name) for name in names
    ]
    return statements.Sql(
        lambda _: (
            sa.select(view).where(*conditions).order_by(view.c.id.desc()).limit(sa.bindparam("limit", type_=sa.Integer))
        )
    )


_FILTERS = ("email", "status", "owner", "cursor")
_PAGES = {
    names: _page(*names)
    for names in (tuple(f for n, f in enumerate(_FILTERS) if bits >> n & 1) for bits in range(1 << len(_FILTERS)))
}


def _visible_page(*names: str) -> statements.Sql:
    """Build a page of the leads that a rep sees: the newest of each owner and queue, and of these the newest."""
    one = view.alias("one")
    limit = sa.bindparam("limit", type_=sa.Integer)
    conditions = [one.c.id < sa.bindparam(n) if n == "cursor" else one.c[n] == sa.bindparam(n) for n in names]

    def newest(dialect: statements.SqlDialect, column: str, array: str) -> Any:
        each = dialect.unnest(array).subquery(f"each_of_{array}")
        ids = sa.select(one.c.id).where(one.c[column] == each.c[0], *conditions).order_by(one.c.id.desc()).limit(limit)
        if dialect.name == "sqlite":
            two = view.alias("two")
            return sa.select(two.c.id).select_from(each.join(two, two.c.id.in_(ids.correlate(each))))
        lateral = ids.correlate(each).lateral(f"newest_of_{array}")
        return sa.select(lateral.c.id).select_from(each.join(lateral, sa.true()))

    def build(dialect: statements.SqlDialect) -> Any:
        ids = sa.union_all(newest(dialect, "owner", "owners"), newest(dialect, "queue_pool", "pools"))
        return sa.select(view).where(view.c.id.in_(ids)).order_by(view.c.id.desc()).limit(limit)

    return statements.Sql(build)


_VISIBLE_PAGES = {names: _visible_page(*names) for names in _PAGES}
_running = sa.table("running_clocks", sa.column("id"), sa.column("promise_at"))
ALWAYS_US: Final = 2**62
_LIMIT = sa.bindparam("limit", type_=sa.Integer)


def _by_clock(*where: sa.ColumnElement[bool]) -> Any:
    return (
        sa.select(view)
        .where(
            view.c.id.in_(
                sa.select(
                    sa.select(_running.c.id)
                    .where(
                        _running.c.promise_at > sa.bindparam("after", type_=sa.BigInteger),
                        _running.c.promise_at <= sa.bindparam("until", type_=sa.BigInteger),
                        *where,
                    )
                    .order_by(_running.c.promise_at, _running.c.id)
                    .limit(_LIMIT)
                    .subquery()
                    .c.id
                )
            )
        )
        .order_by(view.c.promise_at, view.c.id)
    )


def _in_queue(*where: sa.ColumnElement[bool]) -> Any:
    return (
        sa.select(view)
        .where(view.c.queue_pool.is_not(None), *where)
        .order_by(view.c.queue_pool, view.c.queue_since, view.c.id)
        .limit(_LIMIT)
    )


_BY_CLOCK = statements.Sql(lambda _: _by_clock())
_IN_QUEUE = statements.Sql(lambda _: _in_queue())
_VISIBLE_BY_CLOCK = statements.Sql(lambda f: _by_clock(is_visible(f, _running.c.id)))
_VISIBLE_IN_QUEUE = statements.Sql(lambda f: _in_queue(f.is_any_of(view.c.queue_pool, "pools")))


def running(
    connection: Connection,
    limit: int,
    config: Config,
    now: datetime,
    visible: VisibleLeads | None,
    within: int | None = None,
) -> Listing[LeadView]:
    """Return the leads with a running clock, the next promise first.

    Args:
        connection: the snapshot.
        limit: the length of the list, at most.
        config: the configuration in force.
        now: business time.
        visible: only these leads. None: all.
        within: only promises that end within so many minutes. None: all.
    """
    at = micros(now)
    after, until = (-ALWAYS_US, ALWAYS_US) if within is None else (at, at + within * 60_000_000)
    values = {"limit": limit, "after": after, "until": until}
    rows = (
        _BY_CLOCK.all(connection, **values)
        if visible is None
        else _VISIBLE_BY_CLOCK.all(connection, **values, **visible.arrays)
    )
    return listing(rows, limit, config, now)


def queued(
    connection: Connection, limit: int, config: Config, now: datetime, visible: VisibleLeads | None
) -> Listing[LeadView]:
    """Return the leads that wait in a queue, pool by pool, the longest first. `now`, `visible`: as above."""
    rows = (
        _IN_QUEUE.all(connection, limit=limit)
        if visible is None
        else _VISIBLE_IN_QUEUE.all(connection, limit=limit, pools=sorted(visible.pools))
    )
    return listing(rows, limit, config, now)


def page(
    connection: Connection, criteria: LeadFilter, config: Config, now: datetime, visible: VisibleLeads | None = None
) -> Listing[LeadView]:
    """Return one page of the list. An address is normalised as in events, so that any spelling matches.

    Args:
        now: business time.
        visible: only these leads. None: all.
    """
    values: dict[str, Any] = {
        "status": criteria.status,
        "owner": criteria.owner,
        "email": criteria.email,
        "cursor": criteria.cursor,
    }
    if criteria.email is not None:
        try:
            values["email"] = normalise_email(criteria.email)
        except MalformedError:
            return Listing[LeadView](items=[])
    names = tuple(name for name in _FILTERS if values[name] is not None)
    given = {name: values[name] for name in names} | {"limit": criteria.limit + 1}
    rows = (
        _PAGES[names].all(connection, **given)
        if visible is None
        else _VISIBLE_PAGES[names].all(connection, **given, **visible.arrays)
    )
    return listing(rows, criteria.limit, config, now)


def listing(rows: Sequence[Any], limit: int, config: Config, now: datetime) -> Listing[LeadView]:
    """Return rows of the view as one page; one row more than `limit` says that there are further ones."""
    items = [_lead(row, config, micros(now)) for row in rows[:limit]]
    return Listing[LeadView](items=items, next=items[-1].id if len(rows) > limit else None)


class DomainLeads(NamedTuple):
    """The leads with an address of one domain: `addresses` are the first of them, `number` is that of all."""

    addresses: list[str]
    number: int


def addresses_at(
    connection: Connection, domains: list[str], each: int, limit: int
) -> tuple[dict[str, DomainLeads], bool]:
    """Return the leads at these domains that have some, and whether these are all. It reads every lead once.

    At most `each` addresses of a domain, and `limit` in all. A domain of which some would be missing by that is left out.
    """
    rows = _ADDRESSES.all(connection, domains=domains, each=each, limit=limit + 1)
    found: dict[str, DomainLeads] = {}
    for row in rows[:limit]:
        found.setdefault(row.email.rpartition("@")[2], DomainLeads([], row.leads)).addresses.append(row.email)
    whole = {name: one for name, one in found.items() if len(one.addresses) == min(each, one.number)}
    return whole, len(rows) <= limit


def find(connection: Connection, lead: str, config: Config, now: datetime) -> LeadView | None:
    """Return one lead. None: unknown. `now`: business time."""
    row = _ONE.first(connection, lead=lead)
    return None if row is None else _lead(row, config, micros(now))


def _lead(row: Any, config: Config, now: int) -> LeadView:
    state = _state(row.state)
    facts = state.facts
    name = facts.get("name") or " ".join(str(facts[f]) for f in ("first_name", "last_name") if f in facts)
    company = facts.get("company.name")
    return LeadView(
        id=row.id,
        email=row.email,
        name=str(name) or None,
        company=None if company is None else str(company),
        status=row.status,
        status_team=config.agreement.lifecycle.statuses.get(row.status),
        score=_score(state.score),
        owner=_owner(row.owner, config),
        queue=_queue(row),
        clock=_clock(row, now),
        touches=TouchCounts(attempts=state.attempts - state.conversations, conversations=state.conversations),
        epoch=row.epoch,
        rests_until=None if state.rests_until is None else moment(state.rests_until),
        created_at=moment(row.created_at),
        updated_at=moment(row.updated_at),
    )


def _score(score: dict[str, float | str]) -> ScoreView:
    numbers = {part: float(score.get(part, 0.0)) for part in ("fit", "engagement", "total")}
    return ScoreView(**numbers, grade=str(score.get("grade") or "") or None)


def _owner(rep: str | None, config: Config) -> OwnerView | None:
    if rep is None:
        return None
    row = config.team.rep_by_id.get(rep)
    return OwnerView(id=rep, name=row.name if row else rep, email=row.email if row else None)


def _queue(row: Any) -> QueueView | None:
    if row.queue_pool is None:
        return None
    return QueueView(pool=row.queue_pool, reason=row.queue_reason or "", since=moment(row.queue_since))


def _clock(row: Any, now: int) -> ClockView | None:
    """Return the response clock. None: the lead has no clock, or the clock has ended."""
    if row.clock_state is None or row.clock_state == "over":
        return None
    running = row.clock_state in RUNNING
    if running and row.queue_pool == HELD_BACK:
        return ClockView(due_at=None, state="held", rung=None)
    pauses = [end for _, start, end in _pauses(row.pauses) if start <= now < end] if running else []
    snoozed = running and row.snoozed_until is not None and row.snoozed_until > now
    return ClockView(
        due_at=moment(row.promise_at),
        state=row.clock_state,
        rung=row.next_rung - 1 if row.next_rung else None,
        paused_until=moment(pauses[-1]) if pauses else None,
        snoozed_until=moment(row.snoozed_until) if snoozed else None,
    )
