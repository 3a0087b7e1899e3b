"""Waits until every event that was accepted before has been handled, topic by topic along the path of a lead."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple, Protocol

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from firsthour.runtime.processing.service import Resources
from firsthour.runtime.storage import statements
from firsthour.runtime.storage.records import cursors
from schemas import topics

WAIT_SECONDS: Final = 30.0
POLL_SECONDS: Final = 0.05
REPORT_SECONDS: Final = 5.0  # to find out what is behind, after the wait
PATH: Final = (topics.EVENTS, topics.LEADS, topics.ROUTES, topics.ACTIONS, topics.ROUTES, topics.LEADS, topics.PAGES)
"""Topics in the order of cause and effect. An action leads to further routes and leads."""
READ_BY: Final = {topics.INBOUND: topics.EMITTED_BY[topics.EVENTS], **topics.READ_BY}
"""The consumers of each topic, with that to which other programs write."""

_POSITIONS = statements.Sql(
    lambda _: sa.select(cursors.c.consumer, cursors.c.partition, cursors.c.position).where(
        cursors.c.topic == sa.bindparam("topic")
    )
)


class ConsumerLag(NamedTuple):
    """How many records of a topic a consumer has not handled yet."""

    consumer: str
    topic: str
    records: int


class TopicEnds(Protocol):
    """The ends of topics."""

    problem: str | None
    """Why the last question had no answer; None: it had one."""

    path: Sequence[str]
    """The topics, in the order in which they are waited for."""

    async def of(self, topic: str) -> Mapping[int, int]:
        """Return the end of each partition, once there is an answer."""

    async def published(self, topic: str) -> None:
        """Return once the records of this topic that are in the outbox now are published."""

    async def unpublished(self, topic: str) -> int:
        """Return the number of records of this topic in the outbox."""


class TableEnds:
    """The ends of topics in the `log` table, which is no outbox."""

    def __init__(self, resources: Resources) -> None:
        self._log = resources.log
        self.problem: str | None = None
        self.path: Sequence[str] = PATH

    async def of(self, topic: str) -> Mapping[int, int]:
        return {0: await self._log.end(topic, 0)}

    async def published(self, topic: str) -> None:
        return

    async def unpublished(self, topic: str) -> int:
        return 0


async def wait(resources: Resources, ends: TopicEnds) -> tuple[str, ...]:
    """Wait until all consumers have read to these ends, `WAIT_SECONDS` (real) at most.

    The end of a topic is read after the topic before it was read, so it includes all effects of that one. Records in an
    outbox are waited for first.

    Returns:
        A line for each consumer that is still behind; empty if there is none.
    """
    try:
        async with asyncio.timeout(WAIT_SECONDS):
            for topic in ends.path:
                await ends.published(topic)
                end = await ends.of(topic)
                while await _behind(resources, topic, end):  # noqa: ASYNC110  # a cursor is a row, which signals nothing
                    await asyncio.sleep(POLL_SECONDS)
    except TimeoutError:
        return await _report(resources, ends)
    return ()


async def lags(resources: Resources, ends: TopicEnds) -> list[ConsumerLag]:
    """Return how many records each consumer has not handled yet, in the order of the path of a lead."""
    found: list[ConsumerLag] = []
    for topic in dict.fromkeys(ends.path):
        missing = await _missing(resources, topic, await ends.of(topic))
        found += [ConsumerLag(consumer, topic, sum(counts)) for consumer, counts in missing.items()]
    return found


async def _behind(resources: Resources, topic: str, ends: Mapping[int, int]) -> dict[str, list[int]]:
    """Return the consumers that have not read to these ends, with the number of missing positions in each partition."""
    missing = await _missing(resources, topic, ends)
    behind = {consumer: [count for count in counts if count] for consumer, counts in missing.items()}
    return {consumer: counts for consumer, counts in behind.items() if counts}


async def _missing(resources: Resources, topic: str, ends: Mapping[int, int]) -> dict[str, list[int]]:
    """Return the number of missing positions of each consumer of the topic, partition by partition."""

    def look(connection: Connection) -> Sequence[tuple[str, int, int]]:
        return [(row[0], row[1], row[2]) for row in _POSITIONS.all(connection, topic=topic)]

    positions = {(consumer, partition): position for consumer, partition, position in await resources.reads(look)}
    return {
        consumer: [max(0, end - positions.get((consumer, n), 0)) for n, end in ends.items()]
        for consumer in READ_BY[topic]
    }


async def _report(resources: Resources, ends: TopicEnds) -> tuple[str, ...]:
    lines: list[str] = []
    try:
        async with asyncio.timeout(REPORT_SECONDS):
            for topic in dict.fromkeys(ends.path):
                lines += await _lines_of(resources, topic, ends)
    except TimeoutError:
        lines.append(f"the ends of the topics are unknown: {ends.problem or 'the brokers do not answer'}")
    return tuple(lines) or ("all services are reading, but new records keep arriving",)


async def _lines_of(resources: Resources, topic: str, ends: TopicEnds) -> list[str]:
    unpublished = await ends.unpublished(topic)
    lines = [f"{topic}: {unpublished} records wait to be published"] if unpublished else []
    end = await ends.of(topic)
    for consumer, missing in (await _behind(resources, topic, end)).items():
        where = f" in {len(missing)} of {len(end)} partitions" if len(end) > 1 else ""
        lines.append(f"{consumer} has not read all of {topic}: {sum(missing)} records to go{where}")
    return lines
