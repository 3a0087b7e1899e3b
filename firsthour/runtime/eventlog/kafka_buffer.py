"""The records of a partition that were fetched from Kafka and wait in memory for a worker."""

from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Final

from firsthour.runtime.storage.records import Record
from schemas.envelope import UnknownEventError

BUFFER_HIGH: Final = 1_000  # records of a partition in memory: fetching pauses
BUFFER_LOW: Final = 250  # fetching resumes
BUFFER_BYTES: Final = 64 * 1024 * 1024  # of all partitions together
BUFFER_BYTES_MIN: Final = 1024 * 1024  # of one partition, however many there are


ReadRecord = Callable[[int, Any], Record]
"""Makes a record of its position and the message of the client."""


class PartitionBuffer:
    """The fetched records of one partition: every record beyond `floor`, up to `end`, is in memory."""

    def __init__(self, read: ReadRecord | None = None) -> None:
        """`read`: makes a record of a message. None: the messages are events of ours."""
        self._read = read or record_of
        self.records: deque[Record] = deque()
        self.size = 0  # bytes of their bodies
        self.floor = self.end = 0
        self.sought = False  # whether the client reads from the position of the worker
        self.paused = False

    def restart(self, after: int) -> None:
        """Drop every record; the next one is the first beyond `after`."""
        self.records.clear()
        self.size = 0
        self.floor = self.end = after

    def drop_to(self, after: int) -> None:
        """Drop the records up to `after`."""
        while self.records and self.records[0].position <= after:
            self.size -= len(self.records.popleft().body)
        self.floor = after

    def add(self, messages: Iterable[Any]) -> None:
        """Add the messages of the client that are beyond `end`."""
        for message in messages:
            position = message.offset + 1
            if position > self.end:
                record = self._read(position, message)
                self.records.append(record)
                self.size += len(record.body)
                self.end = position

    def add_gap(self, gap: Record) -> None:
        """Add the positions beyond `end` at which there is nothing to read."""
        self.records.append(gap)
        self.end = gap.position

    def is_low(self, bytes_max: int) -> bool:
        """Return whether fetching should resume."""
        return len(self.records) <= BUFFER_LOW and self.size <= bytes_max // 4

    def is_full(self, bytes_max: int) -> bool:
        """Return whether fetching should pause."""
        return len(self.records) >= BUFFER_HIGH or self.size >= bytes_max


def bytes_max(partitions: int) -> int:
    """Return the bytes of one partition in memory at which fetching pauses, if so many partitions are assigned."""
    return max(BUFFER_BYTES_MIN, BUFFER_BYTES // max(1, partitions))


def record_of(position: int, message: Any) -> Record:
    """Return the record of a message. If the message is not one of our events, its place serves as the event's id."""
    record = Record(position, (message.key or b"").decode(errors="replace"), "", message.value or b"")
    try:
        record.event_id = record.envelope.id
    except UnknownEventError:
        record.event_id = f"{message.topic}/{message.partition}/{message.offset}"
    return record
