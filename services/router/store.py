"""The only SQL of the router: leads, assignments, decisions, pools and reps."""

from collections.abc import Collection, Iterable, Mapping
from operator import attrgetter
from typing import Any

import msgspec
import sqlalchemy as sa
from msgspec.structs import astuple
from sqlalchemy.engine import Connection, Row

from firsthour.kernel.time_units import moment
from firsthour.runtime.storage import statements
from firsthour.runtime.storage.unit import Unit
from services.router.domain.decision import Decision, Inputs, considered, outcomes
from services.router.domain.lead import HELD, Lead, LeadState
from services.router.domain.team_state import Lags, Presence, TeamState

leads = sa.Table(
    "router_leads",
    statements.metadata,
    sa.Column("lead_id", statements.Text, primary_key=True),
    sa.Column("status", statements.Text, nullable=False),
    sa.Column("version", statements.Integer, nullable=False),
    sa.Column("epoch", statements.Integer, nullable=False),
    sa.Column("owner", statements.Text),
    sa.Column("pool", statements.Text),
    sa.Column("queue_pool", statements.Text),
    sa.Column("queue_reason", statements.Text),
    sa.Column("queue_since", statements.Integer),
    sa.Column("urgency", statements.Text, nullable=False),
    sa.Column("urgency_rank", statements.Integer, nullable=False),
    sa.Column("submit_at", statements.Integer),
    sa.Column("touched_at", statements.Integer),
    sa.Column("scoring_version", statements.Integer, nullable=False),
    sa.Column("email", statements.Text),
    sa.Column("created_at", statements.Integer, nullable=False),
    sa.Column("updated_at", statements.Integer, nullable=False),
    sa.Column("state", statements.Text, nullable=False),
    sa.Index("router_leads_by_status", "status", "lead_id"),
)
_OWNED = leads.c.owner.is_not(None)
_KNOWN = leads.c.email.is_not(None)
sa.Index("router_leads_by_owner", leads.c.owner, leads.c.lead_id, sqlite_where=_OWNED, postgresql_where=_OWNED)
sa.Index("router_leads_by_email", leads.c.email, sqlite_where=_KNOWN, postgresql_where=_KNOWN)
_WAITS = leads.c.queue_pool.is_not(None)
sa.Index(
    "router_leads_in_queue",
    leads.c.queue_pool,
    leads.c.urgency_rank,
    leads.c.submit_at,
    sqlite_where=_WAITS,
    postgresql_where=_WAITS,
)
assignments = sa.Table(
    "router_assignments",
    statements.metadata,
    sa.Column("lead_id", statements.Text, primary_key=True),
    sa.Column("epoch", statements.Integer, primary_key=True),
    sa.Column("rep", statements.Text, nullable=False),
    sa.Column("pool", statements.Text),
    sa.Column("rule", statements.Text),
    sa.Column("decision_id", statements.Text, nullable=False),
    sa.Column("opened_at", statements.Integer, nullable=False),
    sa.Column("closed_at", statements.Integer),
    sa.Column("closed_by", statements.Text),
    sa.Column("close_reason", statements.Text),
)
_OPEN = assignments.c.closed_at.is_(None)
sa.Index("router_one_open", assignments.c.lead_id, unique=True, sqlite_where=_OPEN, postgresql_where=_OPEN)
sa.Index("router_open_by_rep", assignments.c.rep, sqlite_where=_OPEN, postgresql_where=_OPEN)
decisions = sa.Table(
    "router_decisions",
    statements.metadata,
    sa.Column("id", statements.Text, primary_key=True),
    sa.Column("lead_id", statements.Text, nullable=False),
    sa.Column("epoch", statements.Integer, nullable=False),
    sa.Column("at", statements.Integer, nullable=False),
    sa.Column("agreement", statements.Text, nullable=False),
    sa.Column("chosen", statements.Text),
    sa.Column("body", statements.Text, nullable=False),
    sa.Index("router_decisions_by_lead", "lead_id", "epoch"),
)
turns = sa.Table(  # of the release before; lags replace it
    "router_turns",
    statements.metadata,
    sa.Column("pool", statements.Text, primary_key=True),
    sa.Column("rep", statements.Text, primary_key=True),
    sa.Column("pass", statements.Integer, nullable=False),
)
pools = sa.Table(
    "router_pools",
    statements.metadata,
    sa.Column("pool", statements.Text, primary_key=True),
    sa.Column("virtual", statements.Integer, nullable=False),  # of the release before
    sa.Column(
        "lags", statements.Text, nullable=False, server_default="{}"
    ),  # of its members, as JSON; zeros are left out
)
reps = sa.Table(
    "router_reps",
    statements.metadata,
    sa.Column("rep", statements.Text, primary_key=True),
    sa.Column("open", statements.Integer, nullable=False),
    sa.Column("state", statements.Text, nullable=False),
    sa.Column("until", statements.Integer),
    sa.Column("said", statements.Text, nullable=False),  # the state last told on `routes`
    sa.Column("updated_at", statements.Integer, nullable=False),
    sa.Column(
        "version", statements.Integer, nullable=False, server_default="0"
    ),  # raised with every change told on `routes`
    sa.Column("reason", statements.Text),  # of the state
)

_LIMIT = sa.bindparam("limit", type_=sa.Integer)
_LOCK = statements.Sql(
    lambda f: sa.select(leads).where(f.is_any_of(leads.c.lead_id, "leads")).order_by(leads.c.lead_id).with_for_update()
)
_ONE = statements.Sql(lambda _: sa.select(leads).where(leads.c.lead_id == sa.bindparam("lead")))
_SAVE = statements.Sql(lambda f: f.upsert(leads, ["lead_id"]))
_LEARN = statements.Sql(  # the hot path: no column that an index knows
    lambda _: (
        sa.update(leads)
        .where(leads.c.lead_id == sa.bindparam("lead"))
        .values({name: sa.bindparam(name) for name in ("scoring_version", "updated_at", "state")})
    )
)
_OPEN_ASSIGNMENT = statements.Sql(
    lambda _: sa.insert(assignments).values({c.name: sa.bindparam(c.name) for c in assignments.columns})
)
_CLOSE = statements.Sql(
    lambda _: (
        sa.update(assignments)
        .where(assignments.c.lead_id == sa.bindparam("lead"), assignments.c.epoch == sa.bindparam("ended"))
        .values({name: sa.bindparam(name) for name in ("closed_at", "closed_by", "close_reason")})
    )
)
_DECIDED = statements.Sql(
    lambda _: sa.insert(decisions).values({c.name: sa.bindparam(c.name) for c in decisions.columns})
)
_DECISION_ORDER = (decisions.c.epoch, decisions.c.at, decisions.c.id)


def _decisions(*where: sa.ColumnElement[bool]) -> statements.Sql:
    """Of one lead, newest first."""
    return statements.Sql(
        lambda _: (
            sa.select(decisions)
            .where(decisions.c.lead_id == sa.bindparam("lead"), *where)
            .order_by(*(column.desc() for column in _DECISION_ORDER))
            .limit(_LIMIT)
        )
    )


_DECISIONS = _decisions()
_DECISIONS_BEFORE = _decisions(
    sa.tuple_(*_DECISION_ORDER)
    < sa.tuple_(sa.bindparam("epoch", type_=sa.BigInteger), sa.bindparam("at", type_=sa.BigInteger), sa.bindparam("id"))
)
_POOLS = statements.Sql(lambda _: sa.select(pools.c.pool, pools.c.lags).order_by(pools.c.pool).with_for_update())
_PEEK_REPS = statements.Sql(lambda _: sa.select(reps))
_ADD_POOL = statements.Sql(
    lambda f: f.insert(pools).values(pool=sa.bindparam("pool"), virtual=0).on_conflict_do_nothing()
)
_ADD_REP = statements.Sql(
    lambda f: (
        f.insert(reps)
        .values(rep=sa.bindparam("rep"), open=0, state="available", said="available", updated_at=0, version=0)
        .on_conflict_do_nothing()
    )
)
_SAVE_POOL = statements.Sql(
    lambda _: sa.update(pools).where(pools.c.pool == sa.bindparam("turned")).values(lags=sa.bindparam("lags"))
)
_SAVE_REP = statements.Sql(lambda f: f.upsert(reps, ["rep"]))


def _waited_for(f: statements.SqlDialect, *beside: sa.ColumnElement[Any]) -> sa.Select[Any]:
    """Those of the pools asked for that some lead waits for, each between the first column `beside` and the others."""
    asked = f.unnest("pools").subquery()
    waits = sa.exists().where(leads.c.queue_pool == asked.c.value).correlate(asked)
    return sa.select(*beside[:1], asked.c.value, *beside[1:]).where(waits)


_POOLS_WAITED_FOR = statements.Sql(_waited_for)
_OF_REP, _WAITED_FOR = 1, 2


def _kind(number: int) -> sa.ColumnElement[int]:
    return sa.literal_column(str(number), sa.Integer)


def _team_state(f: statements.SqlDialect) -> Any:
    """Reps (which are locked by it) and pools that are waited for: two questions in one round trip, each row with the
    number of the question it answers."""
    there = sa.select(reps).order_by(reps.c.rep).with_for_update().cte("there")
    no_text, no_number = sa.cast(sa.null(), sa.Text), sa.cast(sa.null(), statements.Integer)
    return sa.union_all(
        sa.select(
            _kind(_OF_REP),
            there.c.rep,
            there.c.state,
            there.c.open,
            there.c.said,
            there.c.until,
            there.c.updated_at,
            there.c.version,
            there.c.reason,
        ),
        _waited_for(f, _kind(_WAITED_FOR), no_text, no_number, no_text, *(no_number,) * 3, no_text),
    )


_TEAM_STATE = statements.Sql(_team_state)
_IN_ORDER = (leads.c.urgency_rank, leads.c.submit_at, leads.c.lead_id)
_PLACE = sa.tuple_(*_IN_ORDER)
_AFTER = sa.tuple_(
    sa.bindparam("rank", type_=sa.Integer), sa.bindparam("submit", type_=sa.BigInteger), sa.bindparam("after_id")
)
_WAITING = statements.Sql(
    lambda f: (
        sa.select(*_IN_ORDER)
        .where(_WAITS, f.is_any_of(leads.c.queue_pool, "pools"), _PLACE > _AFTER)
        .order_by(*_IN_ORDER)
        .limit(_LIMIT)
    )
)
_ALL_WAITING = statements.Sql(
    lambda _: sa.select(*_IN_ORDER).where(_WAITS, _PLACE > _AFTER).order_by(*_IN_ORDER).limit(_LIMIT)
)
_WAITING_BY_POOL = statements.Sql(
    lambda _: sa.select(leads.c.queue_pool, sa.func.count()).where(_WAITS).group_by(leads.c.queue_pool)
)
_HELD = sa.tuple_(leads.c.owner, leads.c.lead_id)
_HELD_AFTER = sa.tuple_(sa.bindparam("after_rep"), sa.bindparam("after_id"))
_HELD_BY = statements.Sql(
    lambda f: (
        sa.select(leads.c.owner, leads.c.lead_id)
        .where(f.is_any_of(leads.c.owner, "reps"), f.is_any_of(leads.c.status, "statuses"), _HELD > _HELD_AFTER)
        .order_by(leads.c.owner, leads.c.lead_id)
        .limit(_LIMIT)
    )
)

_COLUMNS = len(leads.columns)

_encode = msgspec.json.Encoder().encode
_state = msgspec.json.Decoder(LeadState).decode
_lags = msgspec.json.Decoder(dict[str, int]).decode

Place = tuple[int, int, str]
"""In the queue: urgency rank, submit (microseconds), lead id."""

FIRST: Place = (-1, 0, "")

Holding = tuple[str, str]
"""Owner and lead id."""

FIRST_HELD: Holding = ("", "")

DecidedAt = tuple[int, int, str]
"""Epoch, time (microseconds) and id of a decision."""


class Assignment(msgspec.Struct, gc=False):
    """One ownership of a lead: the columns of `router_assignments`, in their order. `stored`: there is a row of it."""

    lead_id: str
    epoch: int
    rep: str = ""
    pool: str | None = None
    rule: str | None = None
    decision_id: str = ""
    opened_at: int = 0
    closed_at: int | None = None
    closed_by: str | None = None
    close_reason: str | None = None
    stored: bool = False


class StoredDecision(msgspec.Struct, frozen=True, gc=False):
    """A decision to keep."""

    id: str
    lead_id: str
    epoch: int
    at: int
    agreement: str
    decision: Decision
    inputs: Inputs


class _Body(msgspec.Struct, frozen=True, gc=False):
    """Of a stored decision what nobody searches by. Who was considered follows from the inputs."""

    rule: str | None
    pool: str | None
    why: str
    inputs: Inputs


_body = msgspec.json.Decoder(_Body).decode


# --- leads --------------------------------------------------------------------------------------------------------


def lock(unit: Unit, wanted: Collection[str]) -> dict[str, Lead]:
    """Those of these leads that are known, locked, sorted by id."""
    return {row[0]: _lead(row) for row in unit.lock(_LOCK, leads=sorted(wanted))}


def find(connection: Connection, lead: str) -> Lead | None:
    """One lead, to look at."""
    row = _ONE.first(connection, lead=lead)
    return _lead(row) if row else None


def _lead(row: Row[Any]) -> Lead:
    columns: list[Any] = [*row[:_COLUMNS]]
    columns[-1] = _state(columns[-1])
    return Lead(*columns)


def save(connection: Connection, changed: Iterable[Lead], learned: Iterable[Lead]) -> None:
    """Store leads: those that changed whole, of the others what scoring said of them."""
    statements.execute_combined(connection, _whole(changed), _of_scoring(learned))


def _whole(changed: Iterable[Lead]) -> statements.Work:
    ordered = sorted(changed, key=attrgetter("id"))
    return _SAVE, [(*astuple(lead)[:-1], _encode(lead.state).decode()) for lead in ordered]


def _of_scoring(learned: Iterable[Lead]) -> statements.Work:
    rows = [(lead.scoring_version, lead.updated_at, _encode(lead.state).decode(), lead.id) for lead in learned]
    return _LEARN, rows


def held_by(connection: Connection, reps: Collection[str], after: Holding, limit: int) -> list[Holding]:
    """The next `limit` leads that are open load of these reps, by owner and id."""
    rep, lead = after
    rows = _HELD_BY.all(connection, reps=sorted(reps), statuses=sorted(HELD), after_rep=rep, after_id=lead, limit=limit)
    return [(row[0], row[1]) for row in rows]


# --- the queue ----------------------------------------------------------------------------------------------------


def pools_waited_for(connection: Connection, known: Collection[str]) -> set[str]:
    """Those of these pools for which some lead waits. Peeks."""
    return {row[0] for row in _POOLS_WAITED_FOR.all(connection, pools=sorted(known))}


def waiting(connection: Connection, pools: Collection[str] | None, after: Place, limit: int) -> list[Place]:
    """The next `limit` places in the queue of these pools (None: of all), hottest first, then by submit. Peeks."""
    rank, submit, after_id = after
    place = {"rank": rank, "submit": submit, "after_id": after_id, "limit": limit}
    if pools is None:
        rows = _ALL_WAITING.all(connection, **place)
    else:
        rows = _WAITING.all(connection, pools=sorted(pools), **place)
    return [(row[0], row[1], row[2]) for row in rows]


def waiting_by_pool(connection: Connection) -> dict[str, int]:
    """How many leads wait, by pool."""
    return {row[0]: row[1] for row in _WAITING_BY_POOL.all(connection)}


# --- assignments and decisions ------------------------------------------------------------------------------------


def close(connection: Connection, ended: Iterable[Assignment]) -> None:
    """Store the ends of these assignments: before any beginning, so that a lead never has two open ones."""
    _CLOSE.many(
        connection,
        [
            {
                "lead": one.lead_id,
                "ended": one.epoch,
                "closed_at": one.closed_at,
                "closed_by": one.closed_by,
                "close_reason": one.close_reason,
            }
            for one in ended
        ],
    )


def _opened(begun: Iterable[Assignment]) -> statements.Work:
    return _OPEN_ASSIGNMENT, [astuple(one)[:-1] for one in begun]


def _decided(decided: Iterable[StoredDecision]) -> statements.Work:
    """Decisions with everything they were made from."""
    return _DECIDED, [
        (
            one.id,
            one.lead_id,
            one.epoch,
            one.at,
            one.agreement,
            (made := one.decision).chosen,
            _encode(_Body(made.rule, made.pool, made.why, one.inputs)).decode(),
        )
        for one in decided
    ]


def decisions_of(
    connection: Connection, lead: str, before: DecidedAt | None, limit: int
) -> list[tuple[DecidedAt, dict[str, Any]]]:
    """The decisions about one lead as they are answered over HTTP, newest first (None: from the newest on), each with its
    place."""
    if before is None:
        rows = _DECISIONS.all(connection, lead=lead, limit=limit)
    else:
        epoch, at, id = before
        rows = _DECISIONS_BEFORE.all(connection, lead=lead, epoch=epoch, at=at, id=id, limit=limit)
    return [((row.epoch, row.at, row.id), _told(row, _body(row.body))) for row in rows]


def _told(row: Row[Any], body: _Body) -> dict[str, Any]:
    return {
        "id": row.id,
        "epoch": row.epoch,
        "at": moment(row.at),
        "agreement": row.agreement,
        "chosen": row.chosen,
        "rule": body.rule,
        "pool": body.pool,
        "why": body.why,
        "rules": msgspec.to_builtins([*outcomes(body.inputs)]),
        "considered": msgspec.to_builtins([*considered(body.inputs)]),
        "inputs": msgspec.to_builtins(body.inputs),
    }


# --- pools and reps -----------------------------------------------------------------------------------------------


def lock_team_state(
    connection: Connection, known_pools: Collection[str], known_reps: Collection[str]
) -> tuple[TeamState, set[str]]:
    """Pools, then reps, each locked in order of their ids; and those of the pools for which some lead waits. New ones get
    their row first: only a row can be locked."""
    lags = _pools(connection)
    if new := sorted(set(known_pools) - lags.keys()):
        _ADD_POOL.many(connection, [{"pool": pool} for pool in new])
        lags = _pools(connection)
    rows = _TEAM_STATE.all(connection, pools=sorted(known_pools))
    if new := sorted(set(known_reps) - {row[1] for row in rows if row[0] == _OF_REP}):
        _ADD_REP.many(connection, [{"rep": rep} for rep in new])
        rows = _TEAM_STATE.all(connection, pools=sorted(known_pools))
    presences: dict[str, Presence] = {}
    waited_for: set[str] = set()
    for kind, name, state, number, said, until, updated_at, version, reason in rows:
        if kind == _OF_REP:
            presences[name] = Presence(number, state, until, said, updated_at, version, reason)
        else:
            waited_for.add(name)
    return TeamState(presences, {pool: _lags(lags[pool]) for pool in known_pools}), waited_for


def _pools(connection: Connection) -> dict[str, str]:
    return {row[0]: row[1] for row in _POOLS.all(connection)}


def presences(connection: Connection) -> dict[str, Presence]:
    """Every rep of whom something is known beside the team file. Peeks."""
    return {row[0]: _presence(row) for row in _PEEK_REPS.all(connection)}


def _presence(row: Row[Any]) -> Presence:
    return Presence(row.open, row.state, row.until, row.said, row.updated_at, row.version, row.reason)


Turned = Mapping[str, Lags]
"""Pools whose turn it was, each with its lags."""


def _turned(changed: Turned) -> statements.Work:
    return _SAVE_POOL, [(_encode(lags).decode(), pool) for pool, lags in sorted(changed.items())]


def _present(changed: Mapping[str, Presence]) -> statements.Work:
    return _SAVE_REP, [
        (rep, one.open, one.state, one.until, one.said, one.updated_at, one.version, one.reason)
        for rep, one in sorted(changed.items())
    ]


# --- all of it ----------------------------------------------------------------------------------------------------


class RoutingChanges(msgspec.Struct, frozen=True):
    """What a unit has to store."""

    leads: Collection[Lead] = ()
    learned: Collection[Lead] = ()  # none of `leads`: scoring said something of them, nothing else changed
    assignments: Collection[Assignment] = ()
    decided: Collection[StoredDecision] = ()
    turned: Turned = {}
    reps: Mapping[str, Presence] = {}


def store_changes(unit: Unit, changes: RoutingChanges) -> None:
    """Store everything at the unit's end, in a constant number of statements; what ends is stored now."""
    close(unit.connection, [one for one in changes.assignments if one.stored])
    unit.store(
        _whole(changes.leads),
        _of_scoring(changes.learned),
        _opened([one for one in changes.assignments if not one.stored]),
        _decided(changes.decided),
        _turned(changes.turned),
        _present(changes.reps),
    )
