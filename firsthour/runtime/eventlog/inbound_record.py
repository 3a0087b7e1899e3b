"""Records that other programs wrote: they have headers, and no envelope of ours."""

from typing import Any

from firsthour.runtime.storage.records import Record


class InboundRecord(Record):
    """A record of another program. Its id is its place: topic, partition and offset."""

    __slots__ = ("headers",)

    def __init__(
        self, position: int, key: str, place: str, body: bytes, headers: tuple[tuple[str, bytes], ...]
    ) -> None:
        super().__init__(position, key, place, body)
        self.headers = headers


def inbound_record(position: int, topic: str, message: Any) -> InboundRecord:
    """Return the record of a message of the client. `topic`: as named in our code."""
    headers = tuple((str(name), bytes(value or b"")) for name, value in message.headers or ())
    key = bytes(message.key or b"").decode(errors="replace")
    return InboundRecord(position, key, f"{topic}/{message.partition}/{message.offset}", message.value or b"", headers)
