"""Records that other programs wrote: they have headers, and no envelope of ours.

A program may write in transactions. The marks at their ends, and the records of those that were aborted, take positions at which there
is nothing to read. A gap moves the cursor past them, so that the topic counts as read.
"""

from typing import Any

from firsthour.runtime.storage.records import Record


class InboundRecord(Record):
    """A record of another program. Its id is its place: topic, partition and offset."""

    __slots__ = ("headers", "written_at")

    def __init__(
        self,
        position: int,
        key: str,
        place: str,
        body: bytes,
        headers: tuple[tuple[str, bytes], ...],
        written_at: float | None = None,
    ) -> None:
        """`written_at`: seconds since 1970, by the clock of its producer or of the broker. None: unknown."""
        super().__init__(position, key, place, body)
        self.headers = headers
        self.written_at = written_at


class InboundGap(Record):
    """Positions without a record, up to `position`."""

    __slots__ = ()


def inbound_gap(position: int) -> InboundGap:
    """Return the gap that ends at this position."""
    return InboundGap(position, "", "", b"")


def inbound_record(position: int, topic: str, message: Any) -> InboundRecord:
    """Return the record of a message of the client. `topic`: as named in our code."""
    headers = tuple((str(name), bytes(value or b"")) for name, value in message.headers or ())
    key = bytes(message.key or b"").decode(errors="replace")
    place = f"{topic}/{message.partition}/{message.offset}"
    written_at = message.timestamp / 1_000 if message.timestamp >= 0 else None  # -1: a producer of an old protocol
    return InboundRecord(position, key, place, message.value or b"", headers, written_at)
