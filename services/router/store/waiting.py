"""The statements about the queue. They lock nothing."""

from collections.abc import Collection
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from firsthour.runtime.storage import statements
from schemas.events.routes import HELD_BACK
from services.router.store.tables import WAITS, leads

_LIMIT = sa.bindparam("limit", type_=sa.Integer)


def select_waited_for(f: statements.SqlDialect, *beside: sa.ColumnElement[Any]) -> sa.Select[Any]:
    """Select the pools, of the parameter `pools`, with a waiting lead.

    Args:
        beside: further columns. The pool is the second column, after the first of these.
    """
    pools = f.unnest("pools").subquery()
    waits = sa.exists().where(leads.c.queue_pool == pools.c.value).correlate(pools)
    return sa.select(*beside[:1], pools.c.value, *beside[1:]).where(waits)


_POOLS_WAITED_FOR = statements.Sql(select_waited_for)
_IN_ORDER = (leads.c.urgency_rank, leads.c.submit_at, leads.c.lead_id)
_PLACE = sa.tuple_(*_IN_ORDER)
_AFTER = sa.tuple_(
    sa.bindparam("rank", type_=sa.Integer), sa.bindparam("submit", type_=sa.BigInteger), sa.bindparam("after_id")
)
_BELOW = sa.bindparam("below", type_=sa.Integer)
_EVERY_RANK = 2**31 - 1
_WAITING = statements.Sql(
    lambda f: (
        sa.select(*_IN_ORDER)
        .where(WAITS, f.is_any_of(leads.c.queue_pool, "pools"), _PLACE > _AFTER, leads.c.urgency_rank < _BELOW)
        .order_by(*_IN_ORDER)
        .limit(_LIMIT)
    )
)
_ALL_WAITING = statements.Sql(
    lambda _: (
        sa.select(*_IN_ORDER)
        .where(WAITS, leads.c.queue_pool != HELD_BACK, _PLACE > _AFTER)
        .order_by(*_IN_ORDER)
        .limit(_LIMIT)
    )
)
_WAITING_BY_POOL = statements.Sql(
    lambda _: sa.select(leads.c.queue_pool, sa.func.count()).where(WAITS).group_by(leads.c.queue_pool)
)

Place = tuple[int, int, str]
"""A place in the queue: urgency rank, submit (microseconds), lead id."""

FIRST: Place = (-1, 0, "")


def pools_waited_for(connection: Connection, pools: Collection[str]) -> set[str]:
    """Return the pools, of `pools`, with a waiting lead."""
    return {row[0] for row in _POOLS_WAITED_FOR.all(connection, pools=sorted(pools))}


def waiting(
    connection: Connection, pools: Collection[str] | None, after: Place, limit: int, *, below: int = _EVERY_RANK
) -> list[Place]:
    """Return the next `limit` places in the queue of these pools (None: of all but those held back), by urgency, then by submit.

    Args:
        below: Of `pools`, only the places before this rank.
    """
    rank, submit, after_id = after
    place = {"rank": rank, "submit": submit, "after_id": after_id, "limit": limit}
    if pools is None:
        rows = _ALL_WAITING.all(connection, **place)
    else:
        rows = _WAITING.all(connection, pools=sorted(pools), below=below, **place)
    return [(row[0], row[1], row[2]) for row in rows]


def waiting_by_pool(connection: Connection) -> dict[str, int]:
    """Return the number of waiting leads by pool."""
    return {row[0]: row[1] for row in _WAITING_BY_POOL.all(connection)}
