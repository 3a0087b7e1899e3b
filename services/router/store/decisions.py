"""The statements about assignments and decisions."""

from collections.abc import Iterable
from typing import Any

import msgspec
import sqlalchemy as sa
from msgspec.structs import astuple
from sqlalchemy.engine import Connection, Row

from firsthour.kernel.time_units import moment
from firsthour.runtime.storage import statements
from services.router.domain.decision import Decision, Inputs, considered, outcomes
from services.router.store.tables import assignments, decisions

_LIMIT = sa.bindparam("limit", type_=sa.Integer)
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
    """Return the statement for the decisions about one lead, newest first."""
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

_encode = msgspec.json.Encoder().encode

DecidedAt = tuple[int, int, str]
"""Epoch, time (microseconds) and id of a decision."""


class Assignment(msgspec.Struct, gc=False):
    """One ownership of a lead: the columns of `router_assignments`, in their order. `stored`: the row exists already."""

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
    """A decision to be stored."""

    id: str
    lead_id: str
    epoch: int
    at: int
    agreement: str
    decision: Decision
    inputs: Inputs


class _Body(msgspec.Struct, frozen=True, gc=False):
    """The parts of a stored decision that no query selects by. The reps considered follow from the inputs."""

    rule: str | None
    pool: str | None
    why: str
    inputs: Inputs


_body = msgspec.json.Decoder(_Body).decode


def close_assignments(connection: Connection, ended: Iterable[Assignment]) -> None:
    """Store the ends of these assignments now, before any beginning is stored."""
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


def insert_assignments(begun: Iterable[Assignment]) -> statements.Work:
    """Return the work that stores the beginnings of assignments."""
    return _OPEN_ASSIGNMENT, [astuple(one)[:-1] for one in begun]


def insert_decisions(decided: Iterable[StoredDecision]) -> statements.Work:
    """Return the work that stores decisions with all their inputs."""
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
    """Return the next `limit` decisions about one lead as answered over HTTP, newest first, each with its place.

    Args:
        before: the place of the last decision already returned. None: begin with the newest.
    """
    if before is None:
        rows = _DECISIONS.all(connection, lead=lead, limit=limit)
    else:
        epoch, at, id = before
        rows = _DECISIONS_BEFORE.all(connection, lead=lead, epoch=epoch, at=at, id=id, limit=limit)
    return [((row.epoch, row.at, row.id), _as_answer(row, _body(row.body))) for row in rows]


def _as_answer(row: Row[Any], body: _Body) -> dict[str, Any]:
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
