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
    async with there.installation(partitions=1) as place, opened_distributed(place) as system:
        yield system


async def nothing_waits(process: PostgresBackend) -> None:
    """Wait until all rows are published."""
    async with asyncio.timeout(SECONDS_MAX):
        while await process.rows("SELECT 1 FROM log LIMIT 1"):
            await asyncio.sleep(LOOK_SECONDS)


class LeadUpdates:
    """Units that emit an event of a lead each, and a handler of these events."""

    def __init__(self, process: PostgresBackend) -> None:
        self.process = process
        self.event_ids: list[str] = []
        self.handled: list[str] = []

    async def run_units(self, units: int) -> None:
        for _ in range(units):
            key = KEYS[len(self.event_ids) % len(KEYS)]
            name = f"{key}.{len(self.event_ids)}"
            async with asyncio.timeout(2):  # a unit does not wait for the broker
                await self.process.units.run(emitting([name], key))
            self.event_ids.append(name)

    def __call__(self, batch: Sequence[Record], unit: Unit) -> None:
        unit.after.append(lambda: self.handled.extend(record.event_id for record in batch))

    async def wait_until_all_handled(self) -> None:
        async with asyncio.timeout(SECONDS_MAX):
            while len(self.handled) < len(self.event_ids):
                await asyncio.sleep(LOOK_SECONDS)
        assert self.handled == self.event_ids


@pytest.mark.parametrize("how", ["stopped", "killed"])
async def test_units_commit_without_broker_and_their_events_follow_in_order(
    process: PostgresBackend, broker: Broker, how: str
) -> None:
    updates = LeadUpdates(process)
    tasks = [
        asyncio.create_task(process.publisher.run()),
        asyncio.create_task((await process.worker(updates)).run()),
    ]
    await updates.run_units(20)
    await updates.wait_until_all_handled()
    await nothing_waits(process)  # a handled record may still be unacknowledged
    broker.pause() if how == "stopped" else broker.kill()
    await updates.run_units(40)
    assert [row[0] for row in await process.rows("SELECT event_id FROM log ORDER BY id")] == updates.event_ids[20:]
    if how == "stopped":
        broker.resume()
    else:
        async with asyncio.timeout(SECONDS_MAX):
            while process.publisher.trouble is None:
                await asyncio.sleep(LOOK_SECONDS)
        await updates.run_units(10)
        await asyncio.to_thread(broker.start)
    await updates.run_units(10)
    await nothing_waits(process)
    await updates.wait_until_all_handled()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
