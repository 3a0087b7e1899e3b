"""Units commit while the broker is stopped or dead; their events are published in order once it answers."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence

import pytest

from devtools import kafka as local_kafka
from devtools.kafka import Broker, KafkaCluster
from firsthour.runtime.storage.records import Record
from firsthour.runtime.storage.unit import Unit
from tests.backends import Backends
from tests.contract.conftest import LOOK_SECONDS, PostgresBackend, emitting, opened_distributed

SECONDS_MAX = 60.0
KEYS = ("one", "two", "three")


@pytest.fixture(scope="module")
def broker(kafka_here: str) -> Iterator[Broker]:
    """One that may be stopped."""
    with local_kafka.start(version=kafka_here) as cluster:
        yield cluster.brokers[0]


@pytest.fixture(scope="module")
def there(broker: Broker, backends: Backends) -> Backends:
    """Backends over that broker."""
    return Backends(KafkaCluster(broker.bootstrap, ""), backends.server, "away")


@pytest.fixture
async def process(there: Backends) -> AsyncIterator[PostgresBackend]:
    """One that publishes and reads."""
    async with there.installation(partitions=1) as place, opened_distributed(place) as made:
        yield made


async def nothing_waits(process: PostgresBackend) -> None:
    """Until everything is published."""
    async with asyncio.timeout(SECONDS_MAX):
        while await process.rows("SELECT 1 FROM log LIMIT 1"):
            await asyncio.sleep(LOOK_SECONDS)


class LeadUpdates:
    """Units that each say one more thing of a lead, and what a reader hears of it."""

    def __init__(self, process: PostgresBackend) -> None:
        self.process = process
        self.said: list[str] = []
        self.heard: list[str] = []

    async def go_on(self, units: int) -> None:
        for _ in range(units):
            key = KEYS[len(self.said) % len(KEYS)]
            name = f"{key}.{len(self.said)}"
            async with asyncio.timeout(2):  # whatever the broker does
                await self.process.units.run(emitting([name], key))
            self.said.append(name)

    def __call__(self, batch: Sequence[Record], unit: Unit) -> None:
        unit.after.append(lambda: self.heard.extend(record.event_id for record in batch))

    async def all_heard(self) -> None:
        async with asyncio.timeout(SECONDS_MAX):
            while len(self.heard) < len(self.said):
                await asyncio.sleep(LOOK_SECONDS)
        assert self.heard == self.said


@pytest.mark.parametrize("how", ["stopped", "killed"])
async def test_units_commit_without_broker_and_their_events_follow_in_order(
    process: PostgresBackend, broker: Broker, how: str
) -> None:
    life = LeadUpdates(process)
    tasks = [
        asyncio.create_task(process.publisher.run()),
        asyncio.create_task((await process.worker(life)).run()),
    ]
    await life.go_on(20)
    await life.all_heard()
    await nothing_waits(process)  # heard is not yet acknowledged
    broker.pause() if how == "stopped" else broker.kill()
    await life.go_on(40)
    assert [row[0] for row in await process.rows("SELECT event_id FROM log ORDER BY id")] == life.said[20:]
    if how == "stopped":
        broker.resume()
    else:
        async with asyncio.timeout(SECONDS_MAX):
            while process.publisher.trouble is None:
                await asyncio.sleep(LOOK_SECONDS)
        await life.go_on(10)
        await asyncio.to_thread(broker.start)
    await life.go_on(10)
    await nothing_waits(process)
    await life.all_heard()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
