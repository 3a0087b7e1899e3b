"""Input that could not be understood, handled or published, kept unchanged so that it can be corrected and retried.

Letters are dropped by age. If the letters of one source take more bytes than its budget, the oldest are dropped: first
the posts of robots and resolved letters, so that a flood does not push out the letter of a person.
"""

import re
import traceback
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final, NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from firsthour.kernel.time_units import micros, moment
from firsthour.runtime.clock import new_id
from firsthour.runtime.settings import Settings
from firsthour.runtime.storage import statements
from firsthour.runtime.storage.records import Row
from firsthour.runtime.version import VERSION
from schemas.envelope import RecordTooLargeError, UnknownEventError

GATEWAY: Final = "gateway"
PUBLISHER: Final = "publisher"
ROW_BYTES: Final = 512  # of a letter, without its content
_HOME: Final = Path(__file__).parents[3]
_OURS: Final = tuple(_HOME / name for name in ("firsthour", "schemas", "services"))
ROOM_ROWS: Final = 1_000  # letters that are dropped at most for a new one; together at least as large as the largest

dead_letters = sa.Table(
    "dead_letters",
    statements.metadata,
    sa.Column("id", statements.Text, primary_key=True),
    sa.Column("at", statements.Integer, nullable=False),
    sa.Column(
        "consumer", statements.Text, nullable=False
    ),  # the service that failed; `gateway`: the input never became an event
    sa.Column("origin", statements.Text, nullable=False),  # topic/partition/position, or the request's path
    sa.Column("source", statements.Text, nullable=False),  # the authenticated source, or the id of the record's event
    sa.Column("content_type", statements.Text, nullable=False),
    sa.Column("body", statements.Bytes, nullable=False),  # raw, as received; empty once dropped
    sa.Column("error", statements.Text, nullable=False),
    sa.Column("code", statements.Text, nullable=False),  # version of FirstHour that failed
    sa.Column("state", statements.Text, nullable=False),  # waiting, retried, dropped
    sa.Column("changed_at", statements.Integer, nullable=False),
    sa.Column("tries", statements.Integer, nullable=False),
    sa.Column(
        "key", statements.Text, nullable=False, server_default=""
    ),  # of the record; empty: the input never became an event
    sa.Column("budget", statements.Text, nullable=False, server_default=""),  # the budget that its bytes count against
    sa.Column("rank", statements.Integer, nullable=False, server_default="1"),  # 0: dropped before all others
    sa.Column("bytes", statements.Integer, nullable=False, server_default="0"),
    sa.Index("dead_letters_by_state", "state", "at"),
    sa.Index("dead_letters_by_age", "at"),
    sa.Index("dead_letters_by_budget", "budget", "rank", "at"),
)
totals = sa.Table(
    "dead_letter_totals",
    statements.metadata,
    sa.Column("budget", statements.Text, primary_key=True),
    sa.Column("bytes", statements.Integer, nullable=False),
)

_INSERT = statements.Sql(
    lambda f: f.insert(dead_letters).values({c.name: sa.bindparam(c.name) for c in dead_letters.columns})
)
_GET = statements.Sql(lambda _: sa.select(dead_letters).where(dead_letters.c.id == sa.bindparam("id")))


def _list(_: statements.SqlDialect) -> Any:
    columns = [column for column in dead_letters.columns if column.name != "body"]
    return (
        sa.select(*columns, sa.func.length(dead_letters.c.body).label("size"))
        .where(
            dead_letters.c.state == sa.bindparam("state"),
            dead_letters.c.at >= sa.bindparam("at", type_=sa.BigInteger),
            sa.or_(dead_letters.c.at > sa.bindparam("at"), dead_letters.c.id > sa.bindparam("id", type_=sa.Text)),
        )
        .order_by(dead_letters.c.at, dead_letters.c.id)
        .limit(sa.bindparam("limit", type_=sa.Integer))
    )


_LIST = statements.Sql(_list)
_CHANGE = statements.Sql(
    lambda _: (
        sa.update(dead_letters)
        .where(dead_letters.c.id == sa.bindparam("letter"))
        .values(
            state=sa.bindparam("state"),
            changed_at=sa.bindparam("changed_at"),
            error=sa.bindparam("error"),
            rank=sa.bindparam("rank_"),
            tries=dead_letters.c.tries + 1,
        )
    )
)
_DROP = statements.Sql(
    lambda _: (
        sa.update(dead_letters)
        .where(dead_letters.c.id == sa.bindparam("letter"), dead_letters.c.state == "waiting")
        .values(
            state="dropped",
            changed_at=sa.bindparam("changed_at"),
            body=b"",
            rank=0,
            bytes=ROW_BYTES,
        )
    )
)
_COUNT = statements.Sql(
    lambda _: (
        sa.select(dead_letters.c.consumer, sa.func.count())
        .where(dead_letters.c.state == "waiting")
        .group_by(dead_letters.c.consumer)
    )
)


def _add(dialect: statements.SqlDialect) -> Any:
    insert = dialect.insert(totals).values(budget=sa.bindparam("budget"), bytes=sa.bindparam("bytes"))
    total = totals.c.bytes + insert.excluded.bytes
    return insert.on_conflict_do_update(index_elements=["budget"], set_={"bytes": total}).returning(totals.c.bytes)


_ADD = statements.Sql(_add)
_OLDEST = statements.Sql(
    lambda _: (
        sa.select(dead_letters.c.id, dead_letters.c.budget, dead_letters.c.bytes)
        .where(dead_letters.c.budget == sa.bindparam("budget"))
        .order_by(dead_letters.c.rank, dead_letters.c.at)
        .limit(sa.bindparam("limit", type_=sa.Integer))
        .with_for_update(skip_locked=True)
    )
)
_OLD = statements.Sql(
    lambda _: (
        sa.select(dead_letters.c.id, dead_letters.c.budget, dead_letters.c.bytes)
        .where(dead_letters.c.at < sa.bindparam("before"))
        .order_by(dead_letters.c.at)
        .limit(sa.bindparam("limit", type_=sa.Integer))
        .with_for_update(skip_locked=True)
    )
)
_REMOVE = statements.Sql(lambda f: sa.delete(dead_letters).where(f.is_any_of(dead_letters.c.id, "letters")))


@dataclass(frozen=True)
class Retention:
    """How long letters are kept, and how many bytes of each source."""

    age: timedelta = timedelta(days=30)
    bytes_max: int = 64 * 1024 * 1024


DEFAULT: Final = Retention()


def retention_of(settings: Settings) -> Retention:
    """Return the retention of the settings."""
    return Retention(timedelta(days=settings.deadletter_days), settings.deadletter_bytes_max)


class Cursor(NamedTuple):
    """The position of a letter in a list."""

    at: int  # microseconds
    id: str

    def __str__(self) -> str:
        return f"{self.at}-{self.id}"


BEGINNING: Final = Cursor(0, "")
CURSOR: Final = re.compile(r"(\d{1,18})-([0-9a-z-]{1,60})", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class _Letter:
    """The fields of a dead letter that are listed and shown; each is a column."""

    id: str
    at: datetime
    consumer: str
    origin: str
    source: str
    content_type: str
    error: str
    code: str
    state: str
    tries: int


@dataclass(frozen=True, kw_only=True)
class Summary(_Letter):
    """A dead letter without its body."""

    bytes: int  # of the body

    @property
    def cursor(self) -> Cursor:
        """The position of the letter in a list."""
        return Cursor(micros(self.at), self.id)


@dataclass(frozen=True, kw_only=True)
class DeadLetter(_Letter):
    """One input that could not be handled. `body` is raw."""

    body: bytes
    key: str
    budget: str
    kept_bytes: int


def dead_letter(
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
    key: str = "",
    tries: int = 1,
    robot: bool = False,
    retention: Retention = DEFAULT,
) -> str:
    """Keep `body` as a dead letter, and return its id.

    Args:
        connection: inside a transaction.
        at: real time.
        consumer: the service that failed, or `GATEWAY`, or `PUBLISHER`.
        origin: topic/partition/position of the record, or the path of the request.
        source: the authenticated source, or the id of the record's event.
        body: raw, as received.
        error: the reason, without personal data.
        code: the version of FirstHour that failed.
        content_type: of the body.
        key: of the record; empty: the input never became an event.
        tries: of its handler.
        robot: dropped first when space is needed.
        retention: the bounds of dead letters.
    """
    letter, error = new_id(), _storable(error)
    budget = f"{consumer}:{source}" if consumer == GATEWAY else consumer
    size = ROW_BYTES + sum(map(len, (body, error, origin, source, content_type, key)))
    row = {
        "id": letter,
        "at": micros(at),
        "consumer": consumer,
        "origin": origin,
        "source": source,
        "content_type": content_type,
        "body": body,
        "error": error,
        "code": code,
        "state": "waiting",
        "changed_at": micros(at),
        "tries": tries,
        "key": key,
        "budget": budget,
        "rank": 0 if robot else 1,
        "bytes": size,
    }
    _INSERT.run(connection, **row)
    excess = _add_to(connection, budget, size) - retention.bytes_max
    if excess > 0:
        _make_room(connection, budget, excess)
    return letter


def reason(failure: Exception) -> str:
    """Return why a handler failed: the kind of the failure and where it was raised.

    Its own text is left out: a driver quotes statements with their values, and a `KeyError` the missing key.
    """
    if isinstance(failure, UnknownEventError | RecordTooLargeError):
        return f"{type(failure).__name__}: {failure}"  # our own text
    error, where = getattr(failure, "orig", failure), ""
    code = getattr(error, "sqlstate", None) or getattr(error, "sqlite_errorname", None)
    for frame in traceback.extract_tb(failure.__traceback__):
        path = Path(frame.filename)
        if any(path.is_relative_to(ours) for ours in _OURS):
            where = f" at {path.relative_to(_HOME).as_posix()}:{frame.lineno}"
    return f"{type(failure).__name__}{f' {code}' if code else ''}{where}"


def dead_letter_refused(
    connection: Connection, row: Row, place: str, why: str, *, at: datetime, retention: Retention
) -> None:
    """Keep a record that the broker will never take. `place`: topic, partition, and the id of its row if it has one."""
    dead_letter(
        connection,
        at=at,
        consumer=PUBLISHER,
        origin=place,
        source=row.event_id,
        key=row.key,
        body=row.body,
        error=f"refused by the broker: {why}, {len(row.body)} bytes",
        code=VERSION,
        retention=retention,
    )


def _add_to(connection: Connection, budget: str, size: int) -> int:
    """Add bytes to the total of a budget. Return the new total."""
    return int(_ADD.first(connection, budget=budget, bytes=size)[0])


def _make_room(connection: Connection, budget: str, size: int) -> None:
    """Remove letters of this budget until `size` bytes are free."""
    removed, room = [], 0
    for row in _OLDEST.all(connection, budget=budget, limit=ROOM_ROWS):
        removed.append(row)
        room += row.bytes
        if room >= size:
            break
    _remove(connection, removed)


def expire(connection: Connection, before: datetime, limit: int) -> int:
    """Remove up to `limit` letters from before that time. Return their number."""
    expired = _OLD.all(connection, before=micros(before), limit=limit)
    _remove(connection, expired)
    return len(expired)


def _remove(connection: Connection, letters: Sequence[Any]) -> None:
    if not letters:
        return
    _REMOVE.run(connection, letters=[row.id for row in letters])
    room: Counter[str] = Counter()
    for row in letters:
        room[row.budget] += row.bytes
    for budget, size in sorted(room.items()):
        _add_to(connection, budget, -size)


def get(connection: Connection, letter: str) -> DeadLetter | None:
    """Return a dead letter in any state; None: there is none with this id."""
    row = _GET.first(connection, id=letter)
    return _letter(row) if row else None


def listed(
    connection: Connection, state: str = "waiting", limit: int = 100, after: Cursor = BEGINNING
) -> list[Summary]:
    """Return the oldest `limit` letters in `state` after that position."""
    rows = _LIST.all(connection, state=state, limit=limit, at=after.at, id=after.id)
    return [_summary(row) for row in rows]


def counts(connection: Connection) -> dict[str, int]:
    """Return the number of waiting letters, by consumer."""
    return {str(consumer): int(n) for consumer, n in _COUNT.all(connection)}


def change(connection: Connection, letter: str, state: str, at: datetime, error: str) -> None:
    """Store the outcome of a retry."""
    rank = 1 if state == "waiting" else 0
    _CHANGE.run(connection, letter=letter, state=state, changed_at=micros(at), error=_storable(error), rank_=rank)


def drop(connection: Connection, letter: DeadLetter, at: datetime) -> None:
    """Drop a letter: its body is erased, and its row is kept until it expires."""
    if _DROP.run(connection, letter=letter.id, changed_at=micros(at)):
        _add_to(connection, letter.budget, ROW_BYTES - letter.kept_bytes)


def _storable(error: str) -> str:
    """The error as text that both databases can store. Characters that cannot be encoded are replaced; the body still has
    them."""
    return error[:2_000].encode(errors="replace").decode()


def _summary(row: Any) -> Summary:
    return Summary(**_columns(row), bytes=row.size)


def _letter(row: Any) -> DeadLetter:
    return DeadLetter(**_columns(row), body=bytes(row.body), key=row.key, budget=row.budget, kept_bytes=row.bytes)


def _columns(row: Any) -> dict[str, Any]:
    """The fields of `_Letter`, from a row."""
    known = row._mapping
    return {field.name: known[field.name] for field in fields(_Letter)} | {"at": moment(known["at"])}
