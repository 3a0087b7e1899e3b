"""The statements of the outbox: lock partitions, read the rows of `log` that wait for Kafka, and measure how long they wait.

A row leaves the table only once the broker has acknowledged it, or once it is a dead letter. A row is deleted by its place
in the table (`ctid`) and its id: if another row is now in that place, nothing is deleted.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from operator import itemgetter
from typing import Any, Final, NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from firsthour.kernel.time_units import moment
from firsthour.runtime.storage import statements
from firsthour.runtime.storage.records import Place, log
from schemas import topics

ROWS_AT_ONCE: Final = 500  # of a partition
BYTES_AT_ONCE: Final = 1024 * 1024  # of a partition, beyond the first row
LOCKS: Final = 0x1EAD_0000  # the first half of the advisory locks' keys; the topic's number is added
WARNING_AGE: Final = timedelta(seconds=30)
NOT_READY_AGE: Final = timedelta(seconds=120)

_ID: Final = itemgetter(2)
_NUMBER: Final = {topic: n for n, topic in enumerate(topics.ALL)}


class OutboxRow(NamedTuple):
    """A row of the outbox."""

    topic: str
    partition: int
    id: int
    at: tuple[int, int]  # block and offset
    key: str
    event_id: str
    body: bytes

    @property
    def place(self) -> Place:
        """Its topic and partition."""
        return self.topic, self.partition


@dataclass(frozen=True)
class LockedRows:
    """The partitions that one statement locked, and their oldest rows."""

    rows: Mapping[Place, Sequence[OutboxRow]]  # of each locked partition, oldest first; empty: none wait

    @property
    def full(self) -> set[Place]:
        """The partitions that may have more rows."""
        return {
            place
            for place, rows in self.rows.items()
            if len(rows) >= ROWS_AT_ONCE or sum(len(row.body) for row in rows) >= BYTES_AT_ONCE
        }


def _lock_rows(_: statements.SqlDialect) -> Any:
    """Lock the requested partitions that are free, and read their oldest rows, up to a number and a size.

    A row that the previous holder has just deleted may be among them; it is delivered twice. A row of a key is never read
    without all earlier rows of that key.
    """
    requested = statements.unnest(
        "requested", kinds=("kind", sa.Integer), topics=("topic", sa.Text), partitions=("partition", sa.BigInteger)
    )
    lock = sa.func.pg_try_advisory_xact_lock(requested.c.kind, sa.cast(requested.c.partition, sa.Integer))
    locked = sa.select(requested.c.topic, requested.c.partition).where(lock).cte("locked").prefix_with("MATERIALIZED")
    lies_at: sa.ColumnElement[Any] = sa.literal_column("log.ctid")
    size = sa.func.octet_length(log.c.body)
    oldest = (
        sa.select(
            lies_at.label("lies_at"),
            log.c.id,
            log.c.key,
            log.c.event_id,
            log.c.body,
            (sa.func.sum(size).over(order_by=log.c.id) - size).label("before"),
        )
        .select_from(log)
        .where(log.c.topic == locked.c.topic, log.c.partition == locked.c.partition)
        .order_by(log.c.id)
        .limit(sa.bindparam("limit", type_=sa.Integer))
        .lateral("oldest")
    )
    columns = (oldest.c.id, oldest.c.lies_at, oldest.c.key, oldest.c.event_id, oldest.c.body)
    within = oldest.c.before < sa.bindparam("bytes", type_=sa.BigInteger)
    return sa.select(locked.c.topic, locked.c.partition, *columns).select_from(locked.outerjoin(oldest, within))


def _waiting(_: statements.SqlDialect) -> Any:
    """Find the requested partitions with rows, and when the oldest row of each was appended."""
    requested = statements.unnest("requested", topics=("topic", sa.Text), partitions=("partition", sa.BigInteger))
    oldest = (
        sa.select(log.c.at)
        .where(log.c.topic == requested.c.topic, log.c.partition == requested.c.partition)
        .order_by(log.c.id)
        .limit(1)
        .lateral("oldest")
    )
    return sa.select(requested.c.topic, requested.c.partition, oldest.c.at).select_from(
        requested.join(oldest, sa.true())
    )


LOCK_ROWS = statements.Sql(_lock_rows)
WAITING = statements.Sql(_waiting)


def lock_values(places: Iterable[Place]) -> dict[str, Any]:
    """Return the parameters of `LOCK_ROWS`."""
    names, partitions = zip(*sorted(places), strict=True)
    return {
        "kinds": [LOCKS + _NUMBER[topic] for topic in names],
        "topics": list(names),
        "partitions": list(partitions),
        "limit": ROWS_AT_ONCE,
        "bytes": BYTES_AT_ONCE,
    }


def waiting_values(partitions: int) -> dict[str, Any]:
    """Return the parameters of `WAITING` for every partition of every topic."""
    places = [(topic, partition) for topic in topics.ALL for partition in range(partitions)]
    return {"topics": [topic for topic, _ in places], "partitions": [partition for _, partition in places]}


def since(answer: Iterable[Any]) -> dict[Place, int]:
    """Return when the oldest row of each partition in the answer of `WAITING` was appended (microseconds)."""
    return {(row[0], row[1]): row[2] for row in answer}


def locked_rows(answer: Iterable[Any]) -> LockedRows:
    """Return the rows in the answer of `LOCK_ROWS`, by partition and in order. A row without an id is a locked partition
    without rows. The rows are sorted here, in memory; PostgreSQL might sort them on disk."""
    rows: dict[Place, list[OutboxRow]] = {}
    for row in answer:
        waiting = rows.setdefault((row[0], row[1]), [])
        if row[2] is not None:
            waiting.append(OutboxRow(*row))
    for waiting in rows.values():
        waiting.sort(key=_ID)
    return LockedRows(rows)


def end_of_round(rows: Sequence[OutboxRow]) -> str:
    """Return the text that deletes these rows and commits, in one round trip. All its values are numbers, so none is bound."""
    if not rows:
        return "COMMIT"
    places = ",".join([f'"({row.at[0]},{row.at[1]})"' for row in rows])
    ids = ",".join([str(int(row.id)) for row in rows])
    return f"DELETE FROM log WHERE ctid = ANY('{{{places}}}'::tid[]) AND id = ANY('{{{ids}}}'::bigint[]); COMMIT"  # noqa: S608


# --- how long rows have waited -----------------------------------------------------------------------------------------


class OutboxAge(NamedTuple):
    """How long the oldest unpublished row has waited, and in which partition."""

    waited: timedelta
    place: Place

    def __str__(self) -> str:
        seconds = int(self.waited.total_seconds())
        return f"the oldest unpublished record of {self.place[0]}/{self.place[1]} has waited {seconds} s"


def age(oldest: Mapping[Place, int], now: datetime) -> OutboxAge | None:
    """Return the greatest age among the oldest rows (microseconds, by partition); None: no row waits."""
    if not oldest:
        return None
    place = min(oldest, key=lambda candidate: oldest[candidate])
    return OutboxAge(max(timedelta(0), now - moment(oldest[place])), place)


def look(connection: Connection, partitions: int, now: datetime) -> OutboxAge | None:
    """Return the age of the oldest unpublished row in the database. Tools call it."""
    return age(since(WAITING.all(connection, **waiting_values(partitions))), now)
