"""The progress of each consumer through the topics.

Embedded, the `log` table is the event log, and a cursor is the id of a row. In a distributed installation `log` is an
outbox, and its rows are deleted once they are published. A cursor then counts the records of one partition of a topic.
"""

from collections.abc import Mapping
from functools import cached_property
from typing import Final

from firsthour.operations.verify.queries import Queries
from firsthour.runtime.storage.records import partition_of
from schemas import topics

_CURSORS: Final = "SELECT consumer, topic, partition, position FROM cursors"
_UNREAD: Final = "SELECT count(*) FROM log WHERE topic = :topic AND id > :id"
_ANY_UNREAD: Final = "SELECT 1 FROM log WHERE topic = :topic AND id > :id LIMIT 1"
_ANY_UNPUBLISHED: Final = "SELECT 1 FROM log WHERE topic = :topic LIMIT 1"


class ConsumerProgress:
    """The cursors of all consumers."""

    def __init__(self, queries: Queries) -> None:
        self._queries = queries

    @cached_property
    def _cursors(self) -> Mapping[tuple[str, str], dict[int, int]]:
        cursors: dict[tuple[str, str], dict[int, int]] = {}
        for row in self._queries.ask(_CURSORS):
            cursors.setdefault((row.consumer, row.topic), {})[row.partition] = row.position
        return cursors

    @cached_property
    def partitions(self) -> int:
        """The number of partitions of each topic. A consumer has a cursor in each from its first read on."""
        return 1 + max((max(positions) for positions in self._cursors.values()), default=0)

    def read_to(self, consumer: str, topic: str, partition: int = 0) -> int:
        """Return the position up to which the consumer has read."""
        return self._cursors.get((consumer, topic), {}).get(partition, 0)

    def has_read(self, consumer: str, topic: str, key: str, position: int) -> bool:
        """Return whether the consumer has read the record with this key and position."""
        return position <= self.read_to(consumer, topic, partition_of(key, self.partitions))

    def ahead(self, consumer: str, other: str, topic: str) -> dict[int, int]:
        """Return the partitions in which `consumer` has read further than `other`, with the positions of `other`."""
        positions = self._cursors.get((consumer, topic), {})
        others = {partition: self.read_to(other, topic, partition) for partition in positions}
        return {partition: at for partition, at in others.items() if at < positions[partition]}

    def unread(self) -> dict[tuple[str, str], int]:
        """Return the number of unread records by consumer and topic.

        The database of a distributed installation does not know the ends of the topics. There, a record counts if
        another consumer of the topic has read it.
        """
        counts: dict[tuple[str, str], int] = {}
        for topic, consumers in topics.READ_BY.items():
            for consumer in consumers:
                if count := self._unread_of(consumer, topic):
                    counts[consumer, topic] = count
        return counts

    def _unread_of(self, consumer: str, topic: str) -> int:
        if not self._queries.distributed:
            return int(self._queries.ask(_UNREAD, topic=topic, id=self.read_to(consumer, topic))[0][0])
        return max(
            sum(
                self.read_to(other, topic, partition) - at
                for partition, at in self.ahead(other, consumer, topic).items()
            )
            for other in topics.READ_BY[topic]
        )

    def has_unread(self, topic: str) -> bool:
        """Return whether a record of the topic is not published, or not read by every consumer."""
        if self._queries.distributed:
            return bool(self._queries.ask(_ANY_UNPUBLISHED, topic=topic))
        position = min(self.read_to(consumer, topic) for consumer in topics.READ_BY[topic])
        return bool(self._queries.ask(_ANY_UNREAD, topic=topic, id=position))
