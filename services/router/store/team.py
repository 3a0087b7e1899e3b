"""The statements about pools and reps."""

from collections import Counter
from collections.abc import Collection, Mapping
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from firsthour.runtime.storage import statements
from services.router.domain.team_state import INITIAL_ROTATION, Presence, RotationState, TeamState
from services.router.store.tables import HOLDS, leads, pools, reps
from services.router.store.waiting import select_waited_for

_POOLS = statements.Sql(lambda _: sa.select(pools.c.pool, pools.c.lags).order_by(pools.c.pool).with_for_update())
_READ_POOLS = statements.Sql(lambda f: sa.select(pools.c.pool, pools.c.lags).where(f.is_any_of(pools.c.pool, "pools")))
_REPS = statements.Sql(lambda _: sa.select(reps))
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
_OPEN_OF_SOURCES = statements.Sql(
    lambda f: (
        sa.select(leads.c.source, leads.c.owner, sa.func.count())
        .where(f.is_any_of(leads.c.source, "sources"), HOLDS)
        .group_by(leads.c.source, leads.c.owner)
    )
)
_OF_REP, _WAITED_FOR = 1, 2


def _kind(number: int) -> sa.ColumnElement[int]:
    return sa.literal_column(str(number), sa.Integer)


def _team_state(f: statements.SqlDialect) -> Any:
    """Select and lock the reps, and select the pools with a waiting lead: two queries in one round trip.

    The first column is the number of the query. On SQLite all reps are one text of JSON, because a team may be large, and a
    row of a result takes longer than its decoding.
    """
    there = sa.select(reps).order_by(reps.c.rep).with_for_update().cte("there")
    c = there.c
    if f.name == "sqlite":
        presence = sa.func.json_array(c.open, c.state, c.until, c.said, c.updated_at, c.version, c.reason)
        all_reps = sa.func.json_group_array(sa.func.json_array(c.rep, presence)).label("text")
        return sa.union_all(sa.select(_kind(_OF_REP), all_reps), select_waited_for(f, _kind(_WAITED_FOR)))
    no_text, no_number = sa.cast(sa.null(), sa.Text), sa.cast(sa.null(), statements.Integer)
    return sa.union_all(
        sa.select(_kind(_OF_REP), c.rep, c.state, c.open, c.said, c.until, c.updated_at, c.version, c.reason),
        select_waited_for(f, _kind(_WAITED_FOR), no_text, no_number, no_text, *(no_number,) * 3, no_text),
    )


_TEAM_STATE = statements.Sql(_team_state)

_encode = msgspec.json.Encoder().encode
_lags = msgspec.json.Decoder(dict[str, int]).decode
_decode_reps = msgspec.json.Decoder(list[tuple[str, Presence]]).decode
_decode_rotation = msgspec.json.Decoder(RotationState).decode

ChangedRotations = Mapping[str, RotationState]
"""The rotation of each pool in which a member took a turn."""


def lock_team_state(
    connection: Connection, pool_ids: Collection[str], rep_ids: Collection[str]
) -> tuple[TeamState, set[str]]:
    """Lock pools, then reps, each in the order of their ids. Return their state, and the pools with a waiting lead.

    A new pool or rep gets a row first, because only rows can be locked.
    """
    rotations = _pools(connection)
    if missing := sorted(set(pool_ids) - rotations.keys()):
        _ADD_POOL.many(connection, [{"pool": pool} for pool in missing])
        rotations = _pools(connection)
    by_rep, pools_waited_for = _lock_reps(connection, pool_ids)
    if missing := sorted(set(rep_ids) - by_rep.keys()):
        _ADD_REP.many(connection, [{"rep": rep} for rep in missing])
        by_rep, pools_waited_for = _lock_reps(connection, pool_ids)
    return TeamState(by_rep, {pool: _rotation(rotations[pool]) for pool in pool_ids}), pools_waited_for


def _lock_reps(connection: Connection, pool_ids: Collection[str]) -> tuple[dict[str, Presence], set[str]]:
    rows = _TEAM_STATE.all(connection, pools=sorted(pool_ids))
    if connection.dialect.name == "sqlite":
        decoded = next(dict(_decode_reps(text)) for kind, text in rows if kind == _OF_REP)
        return decoded, {pool for kind, pool in rows if kind == _WAITED_FOR}
    by_rep: dict[str, Presence] = {}
    pools_waited_for: set[str] = set()
    for kind, name, state, number, published_state, until, updated_at, version, reason in rows:
        if kind == _OF_REP:
            by_rep[name] = Presence(number, state, until, published_state, updated_at, version, reason)
        else:
            pools_waited_for.add(name)
    return by_rep, pools_waited_for


def read_team_state(connection: Connection, pool_ids: Collection[str], sources: Collection[str]) -> TeamState:
    """Return pools and reps without a lock. `sources`: those whose open leads are counted."""
    stored = read_rotations(connection, pool_ids)
    pools = {pool: stored.get(pool, INITIAL_ROTATION) for pool in pool_ids}
    return TeamState(presences(connection), pools, open_leads_of(connection, sources) if sources else {})


def read_rotations(connection: Connection, pool_ids: Collection[str]) -> dict[str, RotationState]:
    """Return the rotation of each of these pools that has one, without a lock."""
    return {row[0]: _rotation(row[1]) for row in _READ_POOLS.all(connection, pools=sorted(pool_ids))}


def open_leads_of(connection: Connection, sources: Collection[str]) -> dict[str, Counter[str]]:
    """Return the open leads of each rep that came from each of these sources."""
    loads: dict[str, Counter[str]] = {source: Counter() for source in sources}
    for source, rep, number in _OPEN_OF_SOURCES.all(connection, sources=sorted(sources)):
        loads[source][rep] = number
    return loads


def _pools(connection: Connection) -> dict[str, str]:
    return {row[0]: row[1] for row in _POOLS.all(connection)}


def _rotation(text: str) -> RotationState:
    return _decode_rotation(text) if text.startswith("[") else RotationState(_lags(text))  # `{`: of an older release


def presences(connection: Connection) -> dict[str, Presence]:
    """Return the presence of every rep with a row, without a lock."""
    return {row[0]: _presence(row) for row in _REPS.all(connection)}


def _presence(row: Row[Any]) -> Presence:
    return Presence(row.open, row.state, row.until, row.said, row.updated_at, row.version, row.reason)


def update_rotations(changed: ChangedRotations) -> statements.Work:
    """Return the work that stores the rotation of these pools."""
    return _SAVE_POOL, [(_encode(changed[pool]).decode(), pool) for pool in sorted(changed)]


def upsert_presences(changed: Mapping[str, Presence]) -> statements.Work:
    """Return the work that stores the presence of these reps."""
    return _SAVE_REP, [
        (rep, row.open, row.state, row.until, row.published_state, row.updated_at, row.version, row.reason)
        for rep, row in sorted(changed.items())
    ]
