"""Waits until what had been said when it began has been heard, stage by stage along the road of a lead."""

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
LOOK_SECONDS: Final = 0.05
TRY_SECONDS: Final = 1.0  # between questions to brokers that do not answer
LAST_LOOK_SECONDS: Final = 5.0  # at brokers, after the wait
ROAD: Final = (topics.EVENTS, topics.LEADS, topics.ROUTES, topics.ACTIONS, topics.ROUTES, topics.LEADS, topics.PAGES)
"""Topics in the order in which one thing leads to another; routes and leads come again after an action."""

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
_STAND = statements.Sql(
    lambda _: sa.select(cursors.c.consumer, cursors.c.partition, cursors.c.position).where(
        cursors.c.topic == sa.bindparam("topic")
    )
)


async def wait(resources: Resources) -> tuple[str, ...]:
    """Who is still behind after `WAIT_SECONDS` (real), a line each; nobody, if all is well.

    The end of each topic is read after the stage before it was heard, so it holds whatever that stage said. Where `log`
    is an outbox, it is read once the rows that were in it are published.
    """
    ends = _Ends(resources)
    try:
        async with asyncio.timeout(WAIT_SECONDS):
            for topic in ROAD:
                await _published(resources, topic)
                await _heard(resources, topic, await ends.of(topic))
    except TimeoutError:
        return await _who(resources, ends)
    return ()


async def _published(resources: Resources, topic: str) -> None:
    if not resources.settings.distributed:
        return
    newest = await resources.reads(lambda connection: int(_NEWEST.first(connection, topic=topic)[0]))
    while await _unpublished(resources, topic, newest):  # noqa: ASYNC110  # another process publishes: nobody tells
        await asyncio.sleep(LOOK_SECONDS)


async def _unpublished(resources: Resources, topic: str, newest: int) -> int:
    return await resources.reads(lambda connection: int(_UNPUBLISHED.first(connection, topic=topic, newest=newest)[0]))


async def _heard(resources: Resources, topic: str, ends: Mapping[int, int]) -> None:
    while await _behind(resources, topic, ends):  # noqa: ASYNC110  # cursors are rows: nobody tells of them
        await asyncio.sleep(LOOK_SECONDS)


async def _behind(resources: Resources, topic: str, ends: Mapping[int, int]) -> dict[str, list[int]]:
    """Of each consumer that has not read to these ends, how many positions are missing in each partition it lacks."""

    def look(connection: Connection) -> Sequence[tuple[str, int, int]]:
        return [(row[0], row[1], row[2]) for row in _STAND.all(connection, topic=topic)]

    at = {(consumer, partition): position for consumer, partition, position in await resources.reads(look)}
    found = {
        consumer: [end - at.get((consumer, n), 0) for n, end in ends.items() if end > at.get((consumer, n), 0)]
        for consumer in topics.READ_BY[topic]
    }
    return {consumer: missing for consumer, missing in found.items() if missing}


@dataclass
class _Ends:
    """Where topics end, by partition. `trouble`: why the brokers did not say, when last asked."""

    resources: Resources
    trouble: str | None = field(default=None)

    async def of(self, topic: str) -> dict[int, int]:
        """Asks until there is an answer."""
        if not self.resources.settings.distributed:
            return {0: await self.resources.log.end(topic, 0)}
        while True:
            try:
                found = await kafka_admin.ends(self.resources.settings)
            except UnreachableError as refused:
                self.trouble = str(refused)
            except MovedError:
                self.trouble = "partitions change their leader"
            else:
                self.trouble = None
                return {partition: end for (name, partition), end in found.items() if name == topic}
            await asyncio.sleep(TRY_SECONDS)


async def _who(resources: Resources, ends: _Ends) -> tuple[str, ...]:
    found: list[str] = []
    try:
        async with asyncio.timeout(LAST_LOOK_SECONDS):
            for topic in dict.fromkeys(ROAD):
                found += await _who_of(resources, topic, ends)
    except TimeoutError:
        found.append(f"nobody knows how far the topics go: {ends.trouble or 'the brokers do not answer'}")
    return tuple(found) or ("everybody read on, and there was always more",)


async def _who_of(resources: Resources, topic: str, ends: _Ends) -> list[str]:
    if not resources.settings.distributed:
        return [f"{name} has not read all of {topic}" for name in await _behind(resources, topic, await ends.of(topic))]
    newest = await resources.reads(lambda connection: int(_NEWEST.first(connection, topic=topic)[0]))
    unpublished = await _unpublished(resources, topic, newest)
    said = [f"{topic}: {unpublished} records wait to be published"] if unpublished else []
    at_ends = await ends.of(topic)
    for name, missing in (await _behind(resources, topic, at_ends)).items():
        said.append(
            f"{name} has not read all of {topic}: {sum(missing)} records to go in "
            f"{len(missing)} of {len(at_ends)} partitions"
        )
    return said
