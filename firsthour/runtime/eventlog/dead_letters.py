"""Dead letters: input that could not be understood, handled or published, stored unchanged for correction and retry.

Dead letters are removed by age. If those of one source take more bytes than its budget, the oldest are removed. Posts of
robots and resolved dead letters are removed first, so that a flood does not remove the post of a person.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from sqlalchemy.engine import Connection

from firsthour.kernel.time_units import micros, moment
from firsthour.runtime.clock import new_id
from firsthour.runtime.eventlog.dead_letter_statements import (
    ADD_BYTES,
    CHANGE,
    COUNT,
    COUNT_OF_BUDGETS,
    COUNT_TO_RETRY,
    DROP,
    GET,
    INSERT,
    LIST,
    LIST_OF_BUDGETS,
    LIST_TO_RETRY,
    LOCK,
    NEWEST_OF_BUDGET,
    OLDER_THAN,
    OLDEST_OF_BUDGET,
    OPEN_STATES,
    REMOVE,
    ROW_BYTES,
)
from firsthour.runtime.settings import Settings
from firsthour.runtime.storage.records import Row
from firsthour.runtime.storage.unit import Unit
from firsthour.runtime.version import VERSION

GATEWAY: Final = "gateway"
PUBLISHER: Final = "publisher"
UNMATCHED: Final = "unmatched"
REMOVED_ROWS_MAX: Final = (
    1_000  # to free bytes for a new dead letter; 1,000 rows take at least as many bytes as the largest one
)


@dataclass(frozen=True)
class Retention:
    """How long dead letters are stored, and how many bytes of each source."""

    age: timedelta = timedelta(days=30)
    bytes_max: int = 64 * 1024 * 1024


DEFAULT: Final = Retention()


def retention_of(settings: Settings) -> Retention:
    """Return the retention of the settings."""
    return Retention(timedelta(days=settings.deadletter_days), settings.deadletter_bytes_max)


class Cursor(NamedTuple):
    """The position of a dead letter in a list."""

    at: int  # microseconds
    id: str

    def __str__(self) -> str:
        return f"{self.at}-{self.id}"


BEGINNING: Final = Cursor(0, "")
CURSOR: Final = re.compile(r"(\d{1,18})-([0-9a-z-]{1,60})", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class _DeadLetterFields:
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
class Summary(_DeadLetterFields):
    """A dead letter without its body."""

    bytes: int  # of the body

    @property
    def cursor(self) -> Cursor:
        """The position of this dead letter in a list."""
        return Cursor(micros(self.at), self.id)


@dataclass(frozen=True, kw_only=True)
class DeadLetter(_DeadLetterFields):
    """A dead letter with its body, as received."""

    body: bytes
    key: str
    budget: str
    row_bytes: int


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
    state: str = "waiting",
    retention: Retention = DEFAULT,
) -> str:
    """Store `body` as a dead letter, and return its id.

    Args:
        connection: a connection inside a transaction.
        at: the real time.
        consumer: the service that failed, or `GATEWAY`, or `PUBLISHER`.
        origin: topic/partition/position of the record, or the path of the request.
        source: the authenticated source, or the id of the record's event.
        body: the raw bytes, as received.
        error, code: the reason, without personal data, and the version of FirstHour that failed.
        content_type: the type of the body.
        key: the key of the record; empty: the input never became an event.
        tries: the number of tries of its handler.
        robot: a robot posted it; it is removed before other dead letters when its budget is exceeded.
        state: `unmatched`: no entry of the mapping matched it, which is no fault; such input has a budget of its own.
        retention: the bounds of dead letters.
    """
    letter_id, error = new_id(), _storable(error)
    budget = budget_of(source, state) if consumer == GATEWAY else consumer
    size = ROW_BYTES + sum(map(len, (body, error, origin, source, content_type, key)))
    row = {
        "id": letter_id,
        "at": micros(at),
        "consumer": consumer,
        "origin": origin,
        "source": source,
        "content_type": content_type,
        "body": body,
        "error": error,
        "code": code,
        "state": state,
        "changed_at": micros(at),
        "tries": tries,
        "key": key,
        "budget": budget,
        "rank": 0 if robot else 1,
        "bytes": size,
    }
    INSERT.run(connection, **row)
    _free(connection, budget, _add_to(connection, budget, size) - retention.bytes_max)
    return letter_id


def dead_letter_rejected(
    connection: Connection, row: Row, origin: str, reason: str, *, at: datetime, retention: Retention
) -> None:
    """Store a record that the broker rejects permanently. `origin`: topic, partition, and the id of its row if it has one."""
    dead_letter(
        connection,
        at=at,
        consumer=PUBLISHER,
        origin=origin,
        source=row.event_id,
        key=row.key,
        body=row.body,
        error=f"rejected by the broker: {reason}, {len(row.body)} bytes",
        code=VERSION,
        retention=retention,
    )


def _add_to(connection: Connection, budget: str, size: int) -> int:
    """Add bytes to the total of a budget. Return the new total."""
    return int(ADD_BYTES.first(connection, budget=budget, bytes=size)[0])


def _free(connection: Connection, budget: str, size: int) -> None:
    """Remove dead letters of this budget until `size` bytes are free."""
    if size <= 0:
        return
    rows, freed = [], 0
    for row in OLDEST_OF_BUDGET.all(connection, budget=budget, limit=REMOVED_ROWS_MAX):
        rows.append(row)
        freed += row.bytes
        if freed >= size:
            break
    _remove(connection, rows)


def expire(connection: Connection, before: datetime, limit: int) -> int:
    """Remove up to `limit` dead letters from before that time. Return their number."""
    rows = OLDER_THAN.all(connection, before=micros(before), limit=limit)
    _remove(connection, rows)
    return len(rows)


def _remove(connection: Connection, rows: Sequence[Any]) -> None:
    if not rows:
        return
    REMOVE.run(connection, ids=[row.id for row in rows])
    freed: Counter[str] = Counter()
    for row in rows:
        freed[row.budget] += row.bytes
    for budget, size in sorted(freed.items()):
        _add_to(connection, budget, -size)


def get(connection: Connection, letter_id: str) -> DeadLetter | None:
    """Return a dead letter in any state; None: there is none with this id."""
    row = GET.first(connection, id=letter_id)
    return _from_row(row) if row else None


def lock(unit: Unit, letter_id: str) -> DeadLetter | None:
    """Return a dead letter, locked: another unit that retries it waits, and then finds it resolved."""
    rows = unit.lock(LOCK, id=letter_id)
    return _from_row(rows[0]) if rows else None


def budget_of(source: str, state: str = "waiting") -> str:
    """Return the budget of the input of this source."""
    return f"{UNMATCHED}:{source}" if state == UNMATCHED else f"{GATEWAY}:{source}"


def keep_newest(connection: Connection, budget: str, of_key: int, total: int) -> None:
    """Remove all but the newest `of_key` dead letters of each key, and all but the newest `total`."""
    kept: Counter[str] = Counter()
    excess = []
    for row in NEWEST_OF_BUDGET.all(connection, budget=budget, limit=REMOVED_ROWS_MAX):
        if kept[row.key] < of_key and kept.total() < total:
            kept[row.key] += 1
        else:
            excess.append(row)
    _remove(connection, excess)


def find_by_state(
    connection: Connection, state: str = "waiting", limit: int = 100, after: Cursor = BEGINNING, source: str = ""
) -> list[Summary]:
    """Return the oldest `limit` dead letters in `state` after that position. `source`: only the input of this source."""
    place = {"state": state, "limit": limit, "at": after.at, "id": after.id}
    rows = (
        LIST_OF_BUDGETS.all(connection, budgets=[budget_of(source), budget_of(source, UNMATCHED)], **place)
        if source
        else LIST.all(connection, **place)
    )
    return [_summary(row) for row in rows]


def find_to_retry(connection: Connection, budget: str, limit: int, after: Cursor) -> list[Summary]:
    """Return the oldest `limit` dead letters of this budget after that position that wait, without posts of robots."""
    rows = LIST_TO_RETRY.all(connection, budget=budget, limit=limit, at=after.at, id=after.id)
    return [_summary(row) for row in rows]


def count_to_retry(connection: Connection, budget: str, after: Cursor) -> int:
    """Return the number of dead letters that `find_to_retry` finds after that position."""
    return int(COUNT_TO_RETRY.first(connection, budget=budget, at=after.at, id=after.id)[0])


def counts(connection: Connection) -> dict[str, int]:
    """Return the number of waiting dead letters, by consumer."""
    return {str(consumer): int(n) for consumer, n in COUNT.all(connection)}


def counts_of_sources(connection: Connection) -> dict[tuple[str, str], int]:
    """Return the number of dead letters that can be retried, by source and state, without posts of robots."""
    states = {GATEWAY: "waiting", UNMATCHED: UNMATCHED}
    numbers: dict[tuple[str, str], int] = {}
    for budget, number in COUNT_OF_BUDGETS.all(connection):
        prefix, _, source = budget.partition(":")
        if source:  # a service has a budget without a colon
            numbers[source, states[prefix]] = int(number)
    return numbers


def store_outcome(connection: Connection, letter_id: str, state: str, at: datetime, error: str) -> None:
    """Store the outcome of a retry."""
    rank = 1 if state in OPEN_STATES else 0
    CHANGE.run(
        connection, letter_id=letter_id, state=state, changed_at=micros(at), error=_storable(error), new_rank=rank
    )


def drop(connection: Connection, dead_letter: DeadLetter, at: datetime) -> None:
    """Erase the body of a dead letter. Its row stays until it expires."""
    if DROP.run(connection, letter_id=dead_letter.id, changed_at=micros(at)):
        _add_to(connection, dead_letter.budget, ROW_BYTES - dead_letter.row_bytes)


def _storable(error: str) -> str:
    """Return the error as text that both databases can store. Characters that cannot be encoded are replaced."""
    return error[:2_000].encode(errors="replace").decode()


def _summary(row: Any) -> Summary:
    return Summary(**_columns(row), bytes=row.size)


def _from_row(row: Any) -> DeadLetter:
    return DeadLetter(**_columns(row), body=bytes(row.body), key=row.key, budget=row.budget, row_bytes=row.bytes)


def _columns(row: Any) -> dict[str, Any]:
    """Return the fields of `_DeadLetterFields` from a row."""
    columns = row._mapping
    return {field.name: columns[field.name] for field in fields(_DeadLetterFields)} | {"at": moment(columns["at"])}
