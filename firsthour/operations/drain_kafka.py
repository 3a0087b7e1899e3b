"""The ends of Kafka topics, and the outbox before them, for the wait until all services have handled them."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

import sqlalchemy as sa

from firsthour.operations.drain import PATH, POLL_SECONDS
from firsthour.runtime.connectivity.diagnosis import UnreachableError
from firsthour.runtime.connectivity.kafka import MovedError
from firsthour.runtime.eventlog import kafka_admin
from firsthour.runtime.processing.service import Resources
from firsthour.runtime.storage import statements
from firsthour.runtime.storage.records import log
from schemas.topics import INBOUND

RETRY_SECONDS: Final = 1.0  # while the brokers do not answer

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


class KafkaEnds:
    """The ends of topics as the brokers know them."""

    def __init__(self, resources: Resources) -> None:
        self._settings = resources.settings
        self._reads = resources.reads
        self.problem: str | None = None
        self.path: Sequence[str] = (INBOUND, *PATH)

    async def of(self, topic: str) -> Mapping[int, int]:
        while True:
            try:
                ends = await kafka_admin.ends(self._settings)
            except UnreachableError as error:
                self.problem = str(error)
            except MovedError:
                self.problem = "partitions change their leader"
            else:
                self.problem = None
                return {partition: end for (name, partition), end in ends.items() if name == topic}
            await asyncio.sleep(RETRY_SECONDS)

    async def published(self, topic: str) -> None:
        newest = await self._newest(topic)
        while await self._count(topic, newest):  # noqa: ASYNC110  # another process publishes, without a signal
            await asyncio.sleep(POLL_SECONDS)

    async def unpublished(self, topic: str) -> int:
        return await self._count(topic, await self._newest(topic))

    async def _newest(self, topic: str) -> int:
        return await self._reads(lambda connection: int(_NEWEST.first(connection, topic=topic)[0]))

    async def _count(self, topic: str, newest: int) -> int:
        return await self._reads(lambda connection: int(_UNPUBLISHED.first(connection, topic=topic, newest=newest)[0]))
