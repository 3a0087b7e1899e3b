"""What could not be understood or handled, kept whole so that it can be corrected and tried again."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from services.runtime import db
from services.runtime.clock import micros, moment, new_id

dead_letters = sa.Table(
    "dead_letters",
    db.metadata,
    sa.Column("id", db.Text, primary_key=True),
    sa.Column("at", db.Integer, nullable=False),
    sa.Column("consumer", db.Text, nullable=False),  # the service that failed; `gateway` for what never became an event
    sa.Column("origin", db.Text, nullable=False),  # topic/partition/position, or the request's path
    sa.Column("source", db.Text, nullable=False),  # the authenticated source, or the record's key
    sa.Column("content_type", db.Text, nullable=False),
    sa.Column("body", db.Bytes, nullable=False),  # raw, as received
    sa.Column("error", db.Text, nullable=False),
    sa.Column("code", db.Text, nullable=False),  # version of FirstHour that failed
    sa.Column("state", db.Text, nullable=False),  # waiting, retried, dropped
    sa.Column("changed_at", db.Integer, nullable=False),
    sa.Column("tries", db.Integer, nullable=False),
    sa.Index("dead_letters_by_state", "state", "at"),
)

_INSERT = db.Sql(lambda f: f.insert(dead_letters).values({c.name: sa.bindparam(c.name) for c in dead_letters.columns}))
_GET = db.Sql(lambda _: sa.select(dead_letters).where(dead_letters.c.id == sa.bindparam("id")))
_LIST = db.Sql(
    lambda _: (
        sa.select(dead_letters)
        .where(dead_letters.c.state == sa.bindparam("state"))
        .order_by(dead_letters.c.at, dead_letters.c.id)
        .limit(sa.bindparam("limit", type_=sa.Integer))
    )
)
_CHANGE = db.Sql(
    lambda _: (
        sa.update(dead_letters)
        .where(dead_letters.c.id == sa.bindparam("letter"))
        .values(
            state=sa.bindparam("state"),
            changed_at=sa.bindparam("changed_at"),
            error=sa.bindparam("error"),
            tries=dead_letters.c.tries + sa.case((sa.bindparam("state") == "dropped", 0), else_=1),
        )
    )
)
_COUNT = db.Sql(
    lambda _: (
        sa.select(dead_letters.c.consumer, sa.func.count())
        .where(dead_letters.c.state == "waiting")
        .group_by(dead_letters.c.consumer)
    )
)


@dataclass(frozen=True)
class DeadLetter:
    """One thing that was received and could not be handled. `body` is raw."""

    id: str
    at: datetime
    consumer: str
    origin: str
    source: str
    content_type: str
    body: bytes
    error: str
    code: str
    state: str = "waiting"
    tries: int = 1


def bury(
    connection: Connection,
    *,
    at: datetime,
    consumer: str,
    origin: str,
    source: str,
    body: bytes,
    error: str,
    code: str,
    content_type: str = "application/cloudevents+json",
    tries: int = 1,
) -> str:
    """Keep `body`; the new dead letter's id. `at` is real time."""
    letter = new_id()
    row = {
        "id": letter,
        "at": micros(at),
        "consumer": consumer,
        "origin": origin,
        "source": source,
        "content_type": content_type,
        "body": body,
        "error": _storable(error),
        "code": code,
        "state": "waiting",
        "changed_at": micros(at),
        "tries": tries,
    }
    _INSERT.run(connection, **row)
    return letter


def get(connection: Connection, letter: str) -> DeadLetter | None:
    """One dead letter, whatever its state."""
    row = _GET.first(connection, id=letter)
    return _letter(row) if row else None


def listed(connection: Connection, state: str = "waiting", limit: int = 100) -> list[DeadLetter]:
    """The oldest `limit` letters in `state`."""
    return [_letter(row) for row in _LIST.all(connection, state=state, limit=limit)]


def counts(connection: Connection) -> dict[str, int]:
    """How many wait, by consumer."""
    return {str(consumer): int(n) for consumer, n in _COUNT.all(connection)}


def change(connection: Connection, letter: str, state: str, at: datetime, error: str) -> None:
    """Say what became of a letter."""
    _CHANGE.run(connection, letter=letter, state=state, changed_at=micros(at), error=_storable(error))


def _storable(error: str) -> str:
    """As text of any database; what cannot be encoded is lost, the body has it still."""
    return error[:2_000].encode(errors="replace").decode()


def _letter(row: Any) -> DeadLetter:
    known = row._mapping
    return DeadLetter(
        id=known["id"],
        at=moment(known["at"]),
        consumer=known["consumer"],
        origin=known["origin"],
        source=known["source"],
        content_type=known["content_type"],
        body=bytes(known["body"]),
        error=known["error"],
        code=known["code"],
        state=known["state"],
        tries=known["tries"],
    )
