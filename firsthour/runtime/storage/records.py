"""Records, and the tables that carry them: the log of events, the cursors of its readers, and the events they have seen."""

from typing import NamedTuple
from zlib import crc32

import sqlalchemy as sa

from firsthour.runtime.storage import statements
from firsthour.runtime.storage.packing import packed
from schemas.envelope import Envelope, decode, event_of
from schemas.events.base import Event

log = sa.Table(
    "log",
    statements.metadata,
    sa.Column("id", statements.Integer, primary_key=True, autoincrement=True),
    sa.Column("topic", statements.Text, nullable=False),
    sa.Column("partition", statements.Integer, nullable=False),
    sa.Column("key", statements.Text, nullable=False),
    sa.Column("event_id", statements.Text, nullable=False),
    sa.Column("at", statements.Integer, nullable=False),  # when it was appended, for retention
    sa.Column("body", statements.Bytes, nullable=False),  # packed on the embedded profile: see `packing`
    sa.Index("log_by_place", "topic", "partition", "id"),
    sqlite_autoincrement=True,  # a position is never used twice, even after the newest rows were purged
)

cursors = sa.Table(
    "cursors",
    statements.metadata,
    sa.Column("consumer", statements.Text, primary_key=True),
    sa.Column("topic", statements.Text, primary_key=True),
    sa.Column("partition", statements.Integer, primary_key=True),
    sa.Column("position", statements.Integer, nullable=False),
)

seen = sa.Table(
    "seen",
    statements.metadata,
    sa.Column("consumer", statements.Text, primary_key=True),
    sa.Column("event_id", statements.Text, primary_key=True),
    sa.Column("day", statements.Integer, nullable=False),  # days since the epoch: rows are removed by the day
    sa.Index("seen_by_day", "day"),
    sqlite_with_rowid=False,
)

Place = tuple[str, int]
"""A topic and the number of one of its partitions."""


def partition_of(key: str, partitions: int) -> int:
    """Return the partition of a key. It never changes: all records of a key are in one partition, in order."""
    return crc32(key.encode()) % partitions


class Row(NamedTuple):
    """A row to append to the log."""

    topic: str
    key: str
    event_id: str
    body: bytes


class Record:
    """A record for a reader. `position` orders the records of a partition; positions have gaps."""

    __slots__ = ("_envelope", "_event", "_packed", "body", "event_id", "key", "position")

    def __init__(
        self,
        position: int,
        key: str,
        event_id: str,
        body: bytes,
        event: Event | None = None,
        stored: bytes | None = None,
    ) -> None:
        """`event`: the event of the body, if it is known already. `stored`: its packed form, likewise."""
        self.position = position
        self.key = key
        self.event_id = event_id
        self.body = body
        self._envelope: Envelope | None = None  # decoded once, at the first use
        self._event = event
        self._packed = stored

    @property
    def packed(self) -> bytes:
        """The stored form of the body."""
        if self._packed is None:
            self._packed = packed(self.body)
        return self._packed

    @property
    def envelope(self) -> Envelope:
        """The decoded envelope. Raises `UnknownEventError` when the body is not one of our events."""
        if self._envelope is None:
            self._envelope = decode(self.body)
        return self._envelope

    @property
    def event(self) -> Event:
        """The decoded event. Raises `UnknownEventError` when the body is not one of our events."""
        if self._event is None:
            self._event = event_of(self.envelope)
        return self._event
