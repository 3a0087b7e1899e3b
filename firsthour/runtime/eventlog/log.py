"""The event log: an append-only sequence of records for each partition of a topic.

`EventLog` is the interface for readers. On the embedded profile, the table `log` is the event log. On the distributed
profile, the rows of the same table are published to Kafka, and readers read Kafka.
"""

import asyncio
from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Protocol

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from firsthour.runtime.storage import statements
from firsthour.runtime.storage.packing import unpacked
from firsthour.runtime.storage.reader import Reader
from firsthour.runtime.storage.records import Record, log

_READ = statements.Sql(
    lambda _: (
        sa.select(log.c.id, log.c.key, log.c.event_id, log.c.body)
        .where(
            log.c.topic == sa.bindparam("topic"),
            log.c.partition == sa.bindparam("partition"),
            log.c.id > sa.bindparam("after"),
        )
        .order_by(log.c.id)
        .limit(sa.bindparam("limit", type_=sa.Integer))
    )
)
_END = statements.Sql(
    lambda _: sa.select(sa.func.coalesce(sa.func.max(log.c.id), 0)).where(
        log.c.topic == sa.bindparam("topic"), log.c.partition == sa.bindparam("partition")
    )
)


LINGER_SECONDS: Final = 0.2
"""Real time for which the records of a bulk topic are collected, so that they share a unit. Its readers tolerate the delay."""


class EventLog(Protocol):
    """The interface for readers.

    The records of a partition come in the order in which their units committed. Each record comes at least once, and no
    record between two positions is missing.
    """

    first_position: int
    """A position minus this one is the number that operators see: on Kafka the offset, in the table the row id."""

    async def ready(self, topic: str, partition: int, after: int) -> None:
        """Return once there is a record beyond `after`."""

    async def ready_any(self, topic: str, after: Mapping[int, int]) -> None:
        """Return once there is a record beyond its position in any of these partitions. A position may move meanwhile."""

    async def fetch(self, topic: str, partition: int, after: int, limit: int) -> Sequence[Record]:
        """Return up to `limit` records beyond `after`, and at most the bytes of a batch, without waiting."""

    async def end(self, topic: str, partition: int) -> int:
        """Return the position of the newest record; 0: there is none."""


BATCH_BYTES_MAX = 4 * 1024 * 1024
"""Bytes of the records that a reader gets at once, which bounds the memory of a batch. A larger record comes alone."""
TAIL_BYTES_MAX = 8 * 1024 * 1024  # bytes of the records in memory, for each topic


def within(records: Iterable[Record]) -> list[Record]:
    """Return the first of these records, of at most `BATCH_BYTES_MAX`. The very first is returned whatever its size."""
    batch: list[Record] = []
    size = 0
    for record in records:
        size += len(record.body)
        if batch and size > BATCH_BYTES_MAX:
            break
        batch.append(record)
    return batch


class Tail:
    """The newest records of one topic in memory, so that a reader without lag reads no table.

    It holds every record beyond `floor`; older ones are only in the table. Bounded in number and in bytes.
    """

    def __init__(self, floor: int, records_max: int) -> None:
        self.floor = floor
        self.records: deque[Record] = deque()
        self.records_max = records_max
        self.size = 0  # bytes of the bodies of `records`
        self.end = floor
        self.more = asyncio.Event()

    def add(self, records: Sequence[Record]) -> None:
        self.records.extend(records)
        self.size += sum([len(record.body) for record in records])
        self.end = records[-1].position
        while len(self.records) > self.records_max or self.size > TAIL_BYTES_MAX:
            oldest = self.records.popleft()
            self.floor, self.size = oldest.position, self.size - len(oldest.body)
        self.more.set()

    def beyond(self, after: int, limit: int) -> list[Record] | None:
        """Return the records beyond `after`; None: some of them are only in the table."""
        if after < self.floor:
            return None
        start = bisect_right(self.records, after, key=lambda record: record.position)
        stop = min(start + limit, len(self.records))
        # By index, because a deque finds the newest from its end.
        return within(self.records[i] for i in range(start, stop))


class TableLog:
    """The table `log` as event log: one partition, whose positions are row ids. The writer reports the rows it appended."""

    first_position = 0  # positions are row ids

    def __init__(self, reads: Reader, ends: Mapping[str, int], records_max: int = 2_000) -> None:
        self._reads = reads
        self._tails = {topic: Tail(end, records_max) for topic, end in ends.items()}

    def appended(self, rows: Sequence[tuple[str, Record]]) -> None:
        """Add new rows. Called on the loop after each commit, in commit order."""
        by_topic: dict[str, list[Record]] = {}
        for topic, record in rows:
            by_topic.setdefault(topic, []).append(record)
        for topic, records in by_topic.items():
            self._tails[topic].add(records)

    async def ready(self, topic: str, partition: int, after: int) -> None:
        await self.ready_any(topic, {0: after})

    async def ready_any(self, topic: str, after: Mapping[int, int]) -> None:
        tail = self._tails[topic]
        while tail.end <= after[0]:
            tail.more.clear()
            await tail.more.wait()

    async def fetch(self, topic: str, partition: int, after: int, limit: int) -> Sequence[Record]:
        tail = self._tails[topic]
        if tail.end <= after:
            return []
        newest = tail.beyond(after, limit)
        if newest is not None:
            return newest
        return await self._reads(lambda connection: read(connection, topic, partition, after, limit))

    async def end(self, topic: str, partition: int) -> int:
        return self._tails[topic].end


def read(connection: Connection, topic: str, partition: int, after: int, limit: int) -> list[Record]:
    """Return records of the table beyond `after`, in order."""
    text, bound = _READ.bound(
        connection.dialect, {"topic": topic, "partition": partition, "after": after, "limit": limit}
    )
    with connection.exec_driver_sql(text, bound) as rows:  # row by row: the result may be larger than memory
        return within(Record(position, key, event_id, unpacked(body)) for position, key, event_id, body in rows)


def end(connection: Connection, topic: str, partition: int = 0) -> int:
    """Return the position of the newest record of the partition in the table; 0: there is none."""
    row = _END.first(connection, topic=topic, partition=partition)
    return int(row[0]) if row else 0
