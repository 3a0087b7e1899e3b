"""Waits until all services have handled the records so far, topic by topic along the path of a lead."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from firsthour.runtime.connectivity.diagnosis import UnreachableError
from firsthour.runtime.connectivity.kafka import MovedError
from firsthour.runtime.eventlog import kafka_admin
from firsthour.runtime.processing.service import Resources
from firsthour.runtime.storage import statements
from firsthour.runtime.storage.records import cursors, log
from schemas import topics

WAIT_SECONDS: Final = 30.0
POLL_SECONDS: Final = 0.05
RETRY_SECONDS: Final = 1.0  # while the brokers do not answer
REPORT_SECONDS: Final = 5.0  # to find out what is behind, after the wait
PATH: Final = (topics.EVENTS, topics.LEADS, topics.ROUTES, topics.ACTIONS, topics.ROUTES, topics.LEADS, topics.PAGES)
"""Topics in the order of cause and effect. Routes and leads come again, because actions cause them too."""

_NEWEST = statements.Sql(
    lambda _: sa.select(sa.func.coalesce(sa.func.max(log.c.id), 0)).where(log.c.topic == sa.bindparam("topic"))
)
_UNPUBLISHED = statements.Sql(
    lambda _: (
        sa.select(sa.func.count())
        .select_from(log)
        .where(log.c.topic == sa.bindparam("topic"), log.c.id <= sa.bindparam("newest"))
    )
)
_POSITIONS = statements.Sql(
    lambda _: sa.select(cursors.c.consumer, cursors.c.partition, cursors.c.position).where(
        cursors.c.topic == sa.bindparam("topic")
    )
)


async def wait(resources: Resources) -> tuple[str, ...]:
    """Wait, at most `WAIT_SECONDS` (real). Return a line for each consumer that is behind; empty: none is.

    The end of each topic is read after the topic before it is handled, so it includes the records caused by that topic. In
    a distributed installation it is read after the rows of the outbox are published.
    """
    ends = _TopicEnds(resources)
    try:
        async with asyncio.timeout(WAIT_SECONDS):
            for topic in PATH:
                await _wait_published(resources, topic)
                await _wait_read(resources, topic, await ends.of(topic))
    except TimeoutError:
        return await _report(resources, ends)
    return ()


async def _wait_published(resources: Resources, topic: str) -> None:
    if not resources.settings.distributed:
        return
    newest = await resources.reads(lambda connection: int(_NEWEST.first(connection, topic=topic)[0]))
    while await _unpublished(resources, topic, newest):  # noqa: ASYNC110  # another process publishes, without a signal
        await asyncio.sleep(POLL_SECONDS)


async def _unpublished(resources: Resources, topic: str, newest: int) -> int:
    return await resources.reads(lambda connection: int(_UNPUBLISHED.first(connection, topic=topic, newest=newest)[0]))


async def _wait_read(resources: Resources, topic: str, ends: Mapping[int, int]) -> None:
    while await _behind(resources, topic, ends):  # noqa: ASYNC110  # cursors are rows, without a signal
        await asyncio.sleep(POLL_SECONDS)


async def _behind(resources: Resources, topic: str, ends: Mapping[int, int]) -> dict[str, list[int]]:
    """Return, by consumer, the number of unread positions in each partition that it has not read to its end."""

    def positions(connection: Connection) -> Sequence[tuple[str, int, int]]:
        return [(row[0], row[1], row[2]) for row in _POSITIONS.all(connection, topic=topic)]

    read_to = {(consumer, partition): position for consumer, partition, position in await resources.reads(positions)}
    missing = {
        consumer: [
            end - read_to.get((consumer, n), 0) for n, end in ends.items() if end > read_to.get((consumer, n), 0)
        ]
        for consumer in topics.READ_BY[topic]
    }
    return {consumer: counts for consumer, counts in missing.items() if counts}


@dataclass
class _TopicEnds:
    """The ends of the topics, by partition. `problem`: why the brokers did not answer the last request."""

    resources: Resources
    problem: str | None = field(default=None)

    async def of(self, topic: str) -> dict[int, int]:
        """Return the ends of one topic. Repeats until the brokers answer."""
        if not self.resources.settings.distributed:
            return {0: await self.resources.log.end(topic, 0)}
        while True:
            try:
                ends = await kafka_admin.ends(self.resources.settings)
            except UnreachableError as error:
                self.problem = str(error)
            except MovedError:
                self.problem = "partitions change their leader"
            else:
                self.problem = None
                return {partition: end for (name, partition), end in ends.items() if name == topic}
            await asyncio.sleep(RETRY_SECONDS)


async def _report(resources: Resources, ends: _TopicEnds) -> tuple[str, ...]:
    lines: list[str] = []
    try:
        async with asyncio.timeout(REPORT_SECONDS):
            for topic in dict.fromkeys(PATH):
                lines += await _report_topic(resources, topic, ends)
    except TimeoutError:
        lines.append(f"the ends of the topics are unknown: {ends.problem or 'the brokers do not answer'}")
    return tuple(lines) or ("all services are reading, but new records keep arriving",)


async def _report_topic(resources: Resources, topic: str, ends: _TopicEnds) -> list[str]:
    if not resources.settings.distributed:
        return [f"{name} has not read all of {topic}" for name in await _behind(resources, topic, await ends.of(topic))]
    newest = await resources.reads(lambda connection: int(_NEWEST.first(connection, topic=topic)[0]))
    unpublished = await _unpublished(resources, topic, newest)
    lines = [f"{topic}: {unpublished} records wait to be published"] if unpublished else []
    at_ends = await ends.of(topic)
    for name, missing in (await _behind(resources, topic, at_ends)).items():
        lines.append(
            f"{name} has not read all of {topic}: {sum(missing)} records to go in "
            f"{len(missing)} of {len(at_ends)} partitions"
        )
    return lines
