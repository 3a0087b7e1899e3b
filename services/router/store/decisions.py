"""The statements about assignments and decisions."""

from collections.abc import Iterable
from functools import partial
from typing import Any

import msgspec
import sqlalchemy as sa
from msgspec.structs import astuple
from sqlalchemy.engine import Connection, Row

from firsthour.kernel.time_units import moment
from firsthour.runtime.storage import statements
from services.router.domain.decision import Inputs, considered, decide, outcomes
from services.router.domain.rotation import Rotations, StoredInputs
from services.router.store.tables import assignments, decisions

_LIMIT = sa.bindparam("limit", type_=sa.Integer)
_INSERT_ASSIGNMENT = statements.Sql(
    lambda _: sa.insert(assignments).values({c.name: sa.bindparam(c.name) for c in assignments.columns})
)
_CLOSE_ASSIGNMENT = statements.Sql(
    lambda _: (
        sa.update(assignments)
        .where(assignments.c.lead_id == sa.bindparam("lead"), assignments.c.epoch == sa.bindparam("ended"))
        .values({name: sa.bindparam(name) for name in ("closed_at", "closed_by", "close_reason")})
    )
)
_BY_REP = statements.Sql(
    lambda _: (
        sa.select(assignments.c.rep, sa.func.count())
        .where(assignments.c.pool == sa.bindparam("pool"), assignments.c.opened_at >= sa.bindparam("since"))
        .group_by(assignments.c.rep)
    )
)
_INSERT_DECISION = statements.Sql(
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


_BODY = statements.Sql(lambda _: sa.select(decisions.c.body).where(decisions.c.id == sa.bindparam("id")))
_DECISIONS = _decisions()
_DECISIONS_BEFORE = _decisions(
    sa.tuple_(*_DECISION_ORDER)
    < sa.tuple_(sa.bindparam("epoch", type_=sa.BigInteger), sa.bindparam("at", type_=sa.BigInteger), sa.bindparam("id"))
)

_encode = msgspec.json.Encoder().encode

DecisionPosition = tuple[int, int, str]
"""Epoch, time (microseconds) and id of a decision."""


class Assignment(msgspec.Struct, gc=False):
    """One assignment of a lead: the columns of `router_assignments`, in their order. `stored`: the row exists already."""

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
    """A decision to store."""

    id: str
    lead_id: str
    epoch: int
    at: int
    agreement: str
    chosen: str | None
    inputs: StoredInputs


class DecisionBody(msgspec.Struct, frozen=True, gc=False):
    """The parts of a stored decision that no query selects by. Everything else follows from the inputs."""

    inputs: StoredInputs


decode_body = msgspec.json.Decoder(DecisionBody).decode


def close_assignments(connection: Connection, rows: Iterable[Assignment]) -> None:
    """Store the ends of these assignments at once, before any new assignment is stored."""
    _CLOSE_ASSIGNMENT.many(
        connection,
        [
            {
                "lead": row.lead_id,
                "ended": row.epoch,
                "closed_at": row.closed_at,
                "closed_by": row.closed_by,
                "close_reason": row.close_reason,
            }
            for row in rows
        ],
    )


def insert_assignments(rows: Iterable[Assignment]) -> statements.Work:
    """Return the work that stores new assignments."""
    return _INSERT_ASSIGNMENT, [astuple(row)[:-1] for row in rows]


def assignments_by_rep(connection: Connection, pool: str, since: int) -> dict[str, int]:
    """Return how many leads each rep got from a pool since a time (microseconds)."""
    return {row[0]: row[1] for row in _BY_REP.all(connection, pool=pool, since=since)}


def insert_decisions(rows: Iterable[StoredDecision]) -> statements.Work:
    """Return the work that stores decisions with all their inputs."""
    return _INSERT_DECISION, [
        (
            row.id,
            row.lead_id,
            row.epoch,
            row.at,
            row.agreement,
            row.chosen,
            _encode(DecisionBody(row.inputs)).decode(),
        )
        for row in rows
    ]


def decisions_of(
    connection: Connection, lead: str, before: DecisionPosition | None, limit: int
) -> list[tuple[DecisionPosition, dict[str, Any]]]:
    """Return the next `limit` decisions about one lead as returned over HTTP, newest first, each with its position.

    Args:
        before: the position of the last decision already returned. None: begin with the newest.
    """
    if before is None:
        rows = _DECISIONS.all(connection, lead=lead, limit=limit)
    else:
        epoch, at, id = before
        rows = _DECISIONS_BEFORE.all(connection, lead=lead, epoch=epoch, at=at, id=id, limit=limit)
    rotations = Rotations(partial(find_inputs, connection))
    return [
        ((row.epoch, row.at, row.id), _as_answer(row, rotations.inputs(decode_body(row.body).inputs))) for row in rows
    ]


def find_inputs(connection: Connection, id: str) -> StoredInputs | None:
    """Return the stored inputs of a decision. None: there is no such decision."""
    row = _BODY.first(connection, id=id)
    return None if row is None else decode_body(row[0]).inputs


def _as_answer(row: Row[Any], inputs: Inputs) -> dict[str, Any]:
    decision = decide(inputs)
    return {
        "id": row.id,
        "epoch": row.epoch,
        "at": moment(row.at),
        "agreement": row.agreement,
        "chosen": row.chosen,
        "rule": decision.rule,
        "pool": decision.pool,
        "why": decision.why,
        "rules": msgspec.to_builtins([*outcomes(inputs)]),
        "considered": msgspec.to_builtins([*considered(inputs)]),
        "inputs": msgspec.to_builtins(inputs),
    }
