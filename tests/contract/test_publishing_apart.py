"""The promises of publishers for partitions: one that is refused, slow or without a leader delays no other, and a record that
the broker will never take becomes a dead letter."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from devtools import kafka as local_kafka
from devtools.kafka import KafkaCluster
from firsthour.runtime.connectivity import connection_options
from firsthour.runtime.eventlog import outbox, outbox_round, publisher, sending
from firsthour.runtime.eventlog.dead_letters import PUBLISHER
from firsthour.runtime.eventlog.producer import BrokerError, RecordRejectedError
from firsthour.runtime.eventlog.publisher import Publisher
from firsthour.runtime.storage.postgres_connections import ConnectionPool
from firsthour.runtime.storage.records import Place, Record, partition_of
from firsthour.runtime.storage.unit import StorageError, Unit
from schemas import topics
from schemas.events.leads import LeadTouched
from tests.backends import Backends, Installation, execute
from tests.contract.conftest import LOOK_SECONDS, PostgresBackend, emitting, opened_distributed, read_all
from tests.dead_letters import waiting_letters

KEYS = ("lead 4", "lead 1")  # of partitions 0 and 1, where there are two
SLOW = (topics.LEADS, 0)


class PartitionedProducer:
    """Stands where the broker does. It never answers for `silent` partitions, and refuses for good records that hold `poison`."""

    def __init__(self) -> None:
        self.ids: dict[Place, list[str]] = {}
        self.silent: set[Place] = set()
        self.failing: set[Place] = set()
        self.poison = b"poison"
        self.asked: list[Place] = []

    async def publish(self, topic: str, partition: int, rows: Sequence[tuple[str, bytes]]) -> None:
        place = (topic, partition)
        self.asked.append(place)
        if place in self.silent:
            await asyncio.Event().wait()
        if place in self.failing:
            raise BrokerError("no leader")
        for n, (_, body) in enumerate(rows):
            if self.poison in body:
                raise RecordRejectedError("MessageSizeTooLargeError", n)
            self.ids.setdefault(place, []).append(Record(0, "", "", body).envelope.id)

    async def has(self, place: Place, *ids: str) -> None:
        """Wait until these ids are the last acknowledged ones of the partition."""
        async with asyncio.timeout(60):
            while self.ids.get(place, [])[-len(ids) :] != list(ids):
                await asyncio.sleep(LOOK_SECONDS)


@pytest.fixture
async def place(backends: Backends) -> AsyncIterator[Installation]:
    async with backends.installation(partitions=2) as place:
        yield place


@asynccontextmanager
async def running(
    writer: PostgresBackend, sink: PartitionedProducer, apart: PartitionedProducer | None = None
) -> AsyncIterator[Publisher]:
    """Run a publisher during the block."""
    instance = publisher_of(writer, sink, apart)
    task = asyncio.create_task(instance.run())
    yield instance
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await instance._runner.close()


def publisher_of(
    writer: PostgresBackend, sink: PartitionedProducer, apart: PartitionedProducer | None = None
) -> Publisher:
    url, arguments = connection_options.database(writer.place.settings())
    pool = ConnectionPool(url, arguments, size=publisher.CONNECTIONS)
    return Publisher(pool, sink, writer.place.partitions, apart=apart, clock=writer.clock)


async def say(writer: PostgresBackend, by: Publisher, *names: str, key: str) -> None:
    """Commit one unit, and wake its publisher."""
    await writer.units.run(emitting(names, key))
    by.wake([(topics.LEADS, KEYS.index(key))])


def refused(name: str, channel: str = "poison") -> Callable[[Unit], None]:
    """Return the work of a unit that emits a record that the broker rejects."""

    def work(unit: Unit) -> None:
        unit.emit(LeadTouched(lead_id=KEYS[0], at=unit.now, channel=channel, answered=True), key=KEYS[0], id=name)

    return work


@pytest.mark.parametrize("how", ["silent", "failing"])
async def test_partition_without_an_answer_delays_no_other(
    writer: PostgresBackend, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "SEND_SECONDS", 1.0)
    sink = PartitionedProducer()
    getattr(sink, how).add(SLOW)
    async with running(writer, sink) as instance:
        await say(writer, instance, "a0", key=KEYS[0])
        await say(writer, instance, "b0", key=KEYS[1])
        await sink.has((topics.LEADS, 1), "b0")
        async with asyncio.timeout(30):
            while SLOW not in instance._troubled:  # from here on it is tried beside the others
                await asyncio.sleep(LOOK_SECONDS)
        trouble, rounds = instance.trouble, len(sink.asked)
        for n in range(1, 40):
            await say(writer, instance, f"b{n}", key=KEYS[1])
            await sink.has((topics.LEADS, 1), f"b{n}")
        tried = sink.asked[rounds:].count(SLOW)
        assert trouble is not None
        assert trouble.startswith("leads/0")
        assert tried < 20, "it is tried again with pauses"
        assert SLOW not in sink.ids
        sink.silent.clear()
        sink.failing.clear()
        await sink.has(SLOW, "a0")
        await say(writer, instance, "a1", key=KEYS[0])
        await sink.has(SLOW, "a0", "a1")
        assert instance.trouble is None


async def test_partitions_in_trouble_are_sent_by_a_separate_client(writer: PostgresBackend) -> None:
    sink, apart = PartitionedProducer(), PartitionedProducer()
    sink.failing.add(SLOW)
    async with running(writer, sink, apart) as instance:
        await say(writer, instance, "a0", key=KEYS[0])
        await apart.has(SLOW, "a0")
        assert sink.ids == {}


async def test_failed_rows_stay_while_other_partitions_are_published(writer: PostgresBackend) -> None:
    sink = PartitionedProducer()
    sink.failing.add(SLOW)
    alone = publisher_of(writer, sink)
    await writer.units.run(emitting(["a"], KEYS[0]))
    await writer.units.run(emitting(["b"], KEYS[1]))
    with pytest.raises(BrokerError, match="no leader"):
        await alone.step()
    assert await writer.rows("SELECT event_id FROM log ORDER BY id") == [("a",)]
    sink.failing.clear()
    assert await alone.step()
    assert sink.ids == {SLOW: ["a"], (topics.LEADS, 1): ["b"]}
    await alone.close()


# --- refused for good -------------------------------------------------------------------------------------------------


async def test_rejected_record_becomes_dead_letter_and_later_rows_keep_order(
    writer: PostgresBackend,
) -> None:
    sink = PartitionedProducer()
    alone = publisher_of(writer, sink)
    await writer.units.run(emitting(["a", "b"], KEYS[0]))
    await writer.units.run(refused("large"))
    await writer.units.run(emitting(["c", "d"], KEYS[0]))
    assert await alone.step()
    assert sink.ids[SLOW] == ["a", "b", "c", "d"]
    assert await writer.rows("SELECT 1 FROM log") == []
    [letter] = await writer.reads(waiting_letters)
    assert (letter.consumer, letter.source, letter.key) == (PUBLISHER, "large", KEYS[0])
    assert letter.origin.startswith("leads/0/")
    assert b"poison" in letter.body
    assert "MessageSizeTooLargeError" in letter.error
    await alone.close()


async def test_rejected_record_of_a_rolled_back_round_counts_once(writer: PostgresBackend) -> None:
    sink = PartitionedProducer()
    alone = publisher_of(writer, sink)
    await writer.units.run(refused("large"))
    await writer.units.run(emitting(["a"], KEYS[0]))
    await writer.units.run(lambda unit: execute(unit, "ALTER TABLE dead_letters RENAME TO elsewhere"))
    for _ in range(outbox_round.REJECTED_IN_A_ROW_MAX + 1):
        with pytest.raises(StorageError):
            await alone.step()
    await writer.units.run(lambda unit: execute(unit, "ALTER TABLE elsewhere RENAME TO dead_letters"))
    assert await alone.step()
    assert sink.ids == {SLOW: ["a"]}
    assert [letter.source for letter in await writer.reads(waiting_letters)] == ["large"]
    await alone.close()


async def test_topic_that_rejects_every_record_fails_after_ten_dead_letters(writer: PostgresBackend) -> None:
    sink = PartitionedProducer()
    sink.poison = b"lead"
    alone = publisher_of(writer, sink)
    await writer.units.run(emitting([str(n) for n in range(outbox_round.REJECTED_IN_A_ROW_MAX + 5)], KEYS[0]))
    with pytest.raises(BrokerError, match=r"correct max\.message\.bytes"):
        await alone.step()
    assert len(await writer.reads(waiting_letters)) == outbox_round.REJECTED_IN_A_ROW_MAX
    assert len(await writer.rows("SELECT 1 FROM log")) == 5
    sink.poison = b"poison"
    assert await alone.step()
    assert await writer.rows("SELECT 1 FROM log") == []
    await alone.close()


async def test_broker_rejects_one_record_of_a_batch_and_stores_the_others(writer: PostgresBackend) -> None:
    await limit(writer.place, 20_000)
    await writer.units.run(emitting([f"before {n}" for n in range(100)], KEYS[0]))
    await writer.units.run(refused("large", "x" * 40_000))
    await writer.units.run(emitting(["after"], KEYS[0]))
    assert await writer.publisher.step()
    ids = [record.event_id for record in await read_all(writer)]
    assert list(dict.fromkeys(ids)) == [*(f"before {n}" for n in range(100)), "after"]
    [letter] = await writer.reads(waiting_letters)
    assert letter.source == "large"


async def limit(place: Installation, size: int) -> None:
    """Set the largest size of a record on `leads`."""
    admin = AIOKafkaAdminClient(bootstrap_servers=place.bootstrap)
    await admin.start()
    configs = {"max.message.bytes": str(size)}
    await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, f"{place.prefix}leads", configs)])
    await admin.close()


# --- a broker that is gone --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def three(kafka_here: str) -> Iterator[KafkaCluster]:
    """Brokers of which one may be stopped."""
    with local_kafka.start(version=kafka_here, brokers=3, options=local_kafka.QUICK) as cluster:
        yield cluster


async def test_leaderless_partition_does_not_delay_others(three: KafkaCluster, backends: Backends) -> None:
    there = Backends(KafkaCluster(three.bootstrap, ""), backends.server, "leaderless", replication=1)
    async with there.installation(partitions=3) as place, opened_distributed(place) as process:
        keys = {partition_of(f"lead {n}", 3): f"lead {n}" for n in range(50)}
        leaders = await leaders_of(process)
        gone = leaders[0]
        well = next(n for n, leader in leaders.items() if leader != gone)
        task = asyncio.create_task(process.publisher.run())
        broker = next(broker for broker in three.brokers if broker.id == gone)
        broker.kill()
        await process.units.run(emitting(["unled"], keys[0]))
        for n in range(20):
            await process.units.run(emitting([f"led {n}"], keys[well]))
        async with asyncio.timeout(60):
            while await waiting_ids(process) != ["unled"]:
                await asyncio.sleep(LOOK_SECONDS)
        await asyncio.to_thread(broker.start)
        async with asyncio.timeout(60):
            while await waiting_ids(process):
                await asyncio.sleep(LOOK_SECONDS)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def leaders_of(process: PostgresBackend) -> dict[int, int]:
    """Return the leader of each partition of `leads`."""
    client = await process.producer._started()
    name = f"{process.place.prefix}leads"
    await client.partitions_for(name)
    return {n: client.client.cluster.leader_for_partition(TopicPartition(name, n)) for n in range(3)}


async def waiting_ids(process: PostgresBackend) -> list[str]:
    return [row[0] for row in await process.rows("SELECT event_id FROM log ORDER BY id")]


# --- how long rows wait -----------------------------------------------------------------------------------------------


async def test_age_of_oldest_unpublished_row_is_reported(writer: PostgresBackend) -> None:
    sink = PartitionedProducer()
    sink.failing.add(SLOW)
    alone = publisher_of(writer, sink)
    await writer.units.run(emitting(["a"], KEYS[0]))
    writer.clock.advance(seconds=45)
    await writer.units.run(emitting(["b"], KEYS[1]))
    with pytest.raises(BrokerError):
        await alone.step()
    age = alone.age()
    assert age is not None
    assert (age.place, alone.age_seconds()) == (SLOW, 45.0)
    assert await writer.reads(lambda connection: outbox.look(connection, 2, writer.clock.real())) == age
    sink.failing.clear()
    await alone.step()
    assert (alone.age(), alone.age_seconds()) == (None, 0.0)
    await alone.close()
