"""Readers of Kafka: the cursor decides, foreign records become dead letters, memory is bounded."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from firsthour.bootstrap.runners import keep_running
from firsthour.runtime.eventlog import kafka_buffer, kafka_consumer
from firsthour.runtime.eventlog.kafka_consumer import KafkaLog
from firsthour.runtime.observability.metrics import Telemetry
from firsthour.runtime.processing.worker import Worker
from firsthour.runtime.storage.records import Place, Record, Row
from firsthour.runtime.storage.unit import Unit
from schemas import topics
from tests.backends import Backends, execute
from tests.contract.conftest import LOOK_SECONDS, PostgresBackend, drain, emitting, opened_distributed, step
from tests.dead_letters import waiting_letters

KEYS = ("lead 4", "lead 1")  # of partitions 0 and 1, where there are two
FOREIGN = (
    b"\xff not even text",
    b"",
    b"[]",
    b"{}",
    b'{"hello": "world"}',
    b'{"id": "a\\u0000b"}',
    b"[" * 100_000,
)


FETCHED_BYTES_MAX = 2 * 1024 * 1024  # that the client may hand over at once


class CommittedHandler:
    """A handler that stores the ids of the records of committed units."""

    def __init__(self) -> None:
        self.handled: list[str] = []

    def __call__(self, batch: Sequence[Record], unit: Unit) -> None:
        assert all(record.event for record in batch)
        unit.after.append(lambda: self.handled.extend(record.event_id for record in batch))

    async def has(self, records: int) -> None:
        """Wait until this number of records is handled."""
        async with asyncio.timeout(60):
            while len(self.handled) < records:
                await asyncio.sleep(LOOK_SECONDS)


@pytest.fixture
async def process(backends: Backends) -> AsyncIterator[PostgresBackend]:
    async with backends.installation(partitions=1) as place, opened_distributed(place) as system:
        yield system


@asynccontextmanager
async def running(*logs: KafkaLog) -> AsyncIterator[None]:
    """Run these readers during the block."""
    tasks = [asyncio.create_task(keep_running(log)) for log in logs]
    yield
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition that the broker, another process, will fulfil."""
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(LOOK_SECONDS)


def in_group(process: PostgresBackend, service: str = "consumer") -> KafkaLog:
    """Return a reader that is a member of the service's consumer group."""
    return KafkaLog(service, [topics.LEADS], process.options, process.place.prefix)


def reads(
    process: PostgresBackend, log: KafkaLog, handler: CommittedHandler, partitions: tuple[int, ...] = (0,)
) -> Worker:
    return Worker("consumer", topics.LEADS, handler, log, process.units, Telemetry(), partitions)


# --- the cursor decides -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("group_offset", [0, 3, 5])
async def test_reader_starts_at_its_cursor_not_at_the_group_offset(process: PostgresBackend, group_offset: int) -> None:
    await process.say(*"abcde")
    await commit_group_offset(process, group_offset)
    cursor = "INSERT INTO cursors VALUES ('consumer', 'leads', 0, 2)"
    await process.units.run(lambda unit: execute(unit, cursor))
    handler, log = CommittedHandler(), in_group(process)
    async with running(log):
        await until(lambda: bool(log.ours))
        worker = reads(process, log, handler)
        while len(handler.handled) < 3:
            await worker.wait()
            await worker.step()
    assert handler.handled == ["c", "d", "e"]


async def commit_group_offset(process: PostgresBackend, offset: int) -> None:
    """Commit an offset of the consumer group in Kafka."""
    group = f"{process.place.prefix}consumer"
    client = AIOKafkaConsumer(**process.options, group_id=group, enable_auto_commit=False)
    await client.start()
    tp = TopicPartition(f"{process.place.prefix}leads", 0)
    client.assign([tp])
    await client.commit({tp: offset})
    await client.stop()


async def test_two_workers_of_one_partition_handle_each_event_once_in_order(
    process: PostgresBackend,
) -> None:
    one, other = CommittedHandler(), CommittedHandler()
    workers = [await process.worker(one), await process.worker(other)]
    tasks = [asyncio.create_task(worker.run()) for worker in workers]
    names = [str(n) for n in range(120)]
    for n in range(0, 120, 4):
        await process.say(*names[n : n + 4])
    await until(lambda: len(one.handled) + len(other.handled) >= len(names))
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert sorted(one.handled + other.handled, key=int) == names
    assert [sorted(each.handled, key=int) for each in (one, other)] == [one.handled, other.handled]


async def test_zombie_with_an_old_batch_commits_nothing(process: PostgresBackend) -> None:
    zombie_saw, handler = CommittedHandler(), CommittedHandler()
    await process.say("a", "b")
    zombie = await process.worker(zombie_saw)
    assert await zombie.lag() == 2
    await zombie.wait()  # it has the records, and then is stopped for longer than its session lasts
    await drain(await process.worker(handler))
    await process.say("c")
    await drain(await process.worker(handler))
    assert await zombie.step()
    assert (zombie_saw.handled, handler.handled) == ([], ["a", "b", "c"])
    assert not await step(zombie), "the zombie has read the position of the cursor"


async def test_redelivered_batch_has_no_effect(process: PostgresBackend) -> None:
    handler = CommittedHandler()
    await process.say("a", "b")
    worker = await drain(await process.worker(handler))
    again = await process.worker(handler)  # after a rebalance the new owner reads from the beginning
    await process.say("c")
    await drain(again)
    await drain(worker)
    assert handler.handled == ["a", "b", "c"]


async def test_worker_of_several_partitions_continues_with_those_still_assigned(backends: Backends) -> None:
    both_saw, handler = CommittedHandler(), CommittedHandler()
    async with backends.installation(partitions=2) as place, opened_distributed(place) as process:
        await process.say("a", key=KEYS[0])
        await process.say("b", key=KEYS[1])
        both = reads(process, await process.reader("consumer"), both_saw, (0, 1))
        assert await both.lag() == 2
        other = reads(process, await process.reader("consumer"), handler, (1,))
        await drain(other)  # partition 1 belongs to the other reader now
        await step(both)
        assert both_saw.handled == []
        await drain(both)
        assert (both_saw.handled, handler.handled) == (["a"], ["b"])


# --- foreign records --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [*FOREIGN, None], ids=range(len(FOREIGN) + 1))
async def test_foreign_record_becomes_dead_letter_with_its_coordinates(
    process: PostgresBackend, value: bytes | None
) -> None:
    handler = CommittedHandler()
    await process.say("a")
    await foreign(process, value)
    await process.say("b")
    await drain(await process.worker(handler))
    assert handler.handled == ["a", "b"]
    [letter] = await process.reads(waiting_letters)
    assert (letter.body, letter.tries) == (value or b"", 1)
    assert letter.source == f"{process.place.prefix}leads/0/1"


@pytest.mark.parametrize(
    ("written", "instead"),
    [(b'.touched:1"', b'.touched:2"'), (b'"id":"x"', b'"id":"a\\u0000b"'), (b'"lead_id":"lead"', b'"lead_id":7')],
)
async def test_malformed_record_becomes_dead_letter(process: PostgresBackend, written: bytes, instead: bytes) -> None:
    handler = CommittedHandler()
    await process.units.run(emitting(["x"], "lead"))
    [[body]] = await process.rows("SELECT body FROM log")
    assert written in body
    await process.units.run(lambda unit: execute(unit, "DELETE FROM log"))
    await foreign(process, body.replace(written, instead))
    await process.say("b")
    await drain(await process.worker(handler))
    assert handler.handled == ["b"]
    [letter] = await process.reads(waiting_letters)
    assert letter.body == body.replace(written, instead)


async def test_foreign_record_does_not_affect_other_partitions(backends: Backends) -> None:
    handler = CommittedHandler()
    async with backends.installation(partitions=2) as place, opened_distributed(place) as process:
        await process.say("a", "b", key=KEYS[1])
        await foreign(process, b"{}")
        await process.say("c", key=KEYS[0])
        await drain(reads(process, await process.reader("consumer"), handler, (0, 1)))
        assert sorted(handler.handled) == ["a", "b", "c"]
        [letter] = await process.reads(waiting_letters)
        assert letter.source == f"{process.place.prefix}leads/0/0"


async def foreign(process: PostgresBackend, value: bytes | None) -> None:
    """Append a record of another program, whose key is not UTF-8."""
    client = AIOKafkaProducer(**process.options)
    await client.start()
    metadata: Any = await client.send_and_wait(f"{process.place.prefix}leads", value, key=b"\xff\x00", partition=0)
    await client.stop()
    process._noted((topics.LEADS, 0), metadata.offset + 1)


# --- memory -----------------------------------------------------------------------------------------------------------


async def test_records_in_memory_are_bounded_after_a_rebalance(backends: Backends) -> None:
    many = 4 * kafka_buffer.BUFFER_HIGH
    async with backends.installation(partitions=2) as place, opened_distributed(place) as process:
        rows = [Row(topics.LEADS, key, f"{key}.{n}", b"{}") for n in range(many) for key in KEYS]
        for n in range(0, len(rows), 500):
            await process.append(*rows[n : n + 500])
        first, second = in_group(process), in_group(process)
        async with running(first):
            await until(lambda: len(first.ours) == 2)
            await until_full(first)
            async with running(second):
                await until(lambda: len(first.ours) == len(second.ours) == 1)
                await until_full(first)
                await until_full(second)
                for log in (first, second):
                    [place_] = log.ours
                    assert await count(log, place_) == many


async def test_records_in_memory_are_bounded_in_bytes(
    process: PostgresBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    size, many = 100_000, 80
    monkeypatch.setattr(kafka_buffer, "BUFFER_BYTES", kafka_buffer.BUFFER_BYTES_MIN)
    for n in range(many):
        await process.append(Row(topics.LEADS, KEYS[0], f"e{n}", b"x" * size))
    log, place = in_group(process), (topics.LEADS, 0)
    async with running(log):
        await until(lambda: bool(log.ours))
        await log.fetch(*place, 0, 1)
        await until(lambda: log.held(place) * size >= kafka_buffer.BUFFER_BYTES_MIN)
        for _ in range(50):
            await asyncio.sleep(LOOK_SECONDS)  # more might come from the broker
        assert log.held(place) * size <= kafka_buffer.BUFFER_BYTES_MIN + FETCHED_BYTES_MAX
        assert await count(log, place) == many


async def until_full(log: KafkaLog) -> None:
    """Wait until the buffers are full without a reader, and check that they do not grow further."""
    for topic, partition in log.ours:
        await log.fetch(topic, partition, 0, 1)
    await until(lambda: all(log.held(place) >= kafka_buffer.BUFFER_HIGH for place in log.ours))
    for _ in range(50):
        await asyncio.sleep(LOOK_SECONDS)  # more might come from the broker
    assert all(log.held(place) < kafka_buffer.BUFFER_HIGH + kafka_consumer.POLLED_MAX for place in log.ours)


async def count(log: KafkaLog, place: Place) -> int:
    """Read to the end, check that the positions have no gap, and return the number of records."""
    after = 0
    while after < await log.end(*place):
        await log.ready(*place, after)
        batch = await log.fetch(*place, after, 700)
        assert [record.position for record in batch] == list(range(after + 1, after + 1 + len(batch)))
        after = batch[-1].position
    return after
