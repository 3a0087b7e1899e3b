"""Any number of publishers: the rows of a key are sent in the order of their commits, and each row is sent."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from firsthour.runtime.connectivity import connection_options
from firsthour.runtime.eventlog import outbox_round, publisher
from firsthour.runtime.eventlog.producer import BrokerError
from firsthour.runtime.eventlog.publisher import Publisher
from firsthour.runtime.storage.postgres_connections import ConnectionPool
from firsthour.runtime.storage.records import Record
from firsthour.runtime.storage.unit import Unit
from schemas import topics
from schemas.events.leads import LeadTouched
from tests.backends import Backends, Installation, asyncpg_url, execute
from tests.contract.conftest import PostgresBackend, drain, emitting, opened_distributed, read_all

KEYS = tuple(f"lead {n}" for n in range(7))
UNITS = 210
INSERT = "INSERT INTO log (topic, partition, key, event_id, at, body) VALUES ('leads', 0, 'lead', '{}', 0, '{}')"
COUNT = (
    "INSERT INTO meta VALUES ('{}', '1') ON CONFLICT (name) DO UPDATE SET value = (meta.value::int + 1)::text"
    " RETURNING value"
)


class BlockingProducer:
    """A broker that answers while `open`, and records the bodies that it acknowledged."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.asked = asyncio.Event()
        self.open = asyncio.Event()
        self.open.set()
        self.takes: int | None = None  # that many bodies of a call, and then it fails
        self.wanted: tuple[int, asyncio.Event] = (0, asyncio.Event())

    async def publish(self, topic: str, partition: int, rows: Sequence[tuple[str, bytes]]) -> None:
        self.asked.set()
        await self.open.wait()
        self.bodies += [body for _, body in rows[: self.takes]]
        if len(self.bodies) >= self.wanted[0]:
            self.wanted[1].set()
        if self.takes is not None:
            raise BrokerError("gone in the middle")

    async def has(self, bodies: int) -> None:
        """Return once it has that many bodies."""
        self.wanted = (bodies, asyncio.Event())
        if len(self.bodies) < bodies:
            await self.wanted[1].wait()


@pytest.fixture
async def place(backends: Backends) -> AsyncIterator[Installation]:
    async with backends.installation(partitions=1) as place:
        yield place


@asynccontextmanager
async def publishing(place: Installation, sink: BlockingProducer) -> AsyncIterator[Publisher]:
    """Yield the publisher of a process on this installation."""
    url, arguments = connection_options.database(place.settings())
    instance = Publisher(ConnectionPool(url, arguments, size=2), sink, place.partitions)
    yield instance
    sink.takes = None
    sink.open.set()
    await instance.close()


async def held(by: Publisher, sink: BlockingProducer, writer: PostgresBackend) -> asyncio.Task[None]:
    """Run a publisher that holds its partition, because `sink` answers only after `sink.open` is set."""
    await writer.units.run(emitting(["a"], "lead"))
    sink.open.clear()
    running = asyncio.create_task(by.run())
    by.wake([(topics.LEADS, 0)])
    await sink.asked.wait()
    return running


async def waiting(writer: PostgresBackend) -> list[str]:
    """Return the ids of the unpublished events."""
    return [row[0] for row in await writer.rows("SELECT event_id FROM log ORDER BY id")]


async def test_partition_is_published_by_one_process_at_a_time(place: Installation, writer: PostgresBackend) -> None:
    one, other = BlockingProducer(), BlockingProducer()
    async with publishing(place, one) as first, publishing(place, other) as second:
        await writer.units.run(emitting(["a", "b"], "lead"))
        one.open.clear()
        holds = asyncio.create_task(first.step())
        await one.asked.wait()
        assert not await second.step()
        one.open.set()
        assert await holds
        assert (len(one.bodies), len(other.bodies)) == (2, 0)
        assert await waiting(writer) == []


async def test_rows_committed_while_a_partition_was_held_are_published(
    place: Installation, writer: PostgresBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publisher, "SWEEP_SECONDS", 3_600.0)  # no sweep finds the row
    sink, other = BlockingProducer(), BlockingProducer()
    async with publishing(place, sink) as first, publishing(place, other) as second:
        running = [await held(first, sink, writer)]
        await writer.units.run(emitting(["b"], "lead"))
        running.append(asyncio.create_task(second.run()))
        second.wake([(topics.LEADS, 0)])  # as after a commit: it tries at once, but the other publisher has the lock
        while not second.held:
            await asyncio.sleep(0)
        assert (len(sink.bodies), len(other.bodies)) == (0, 0)
        sink.open.set()
        async with asyncio.timeout(20):
            await other.has(1)
        assert (len(sink.bodies), len(other.bodies)) == (1, 1)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def test_partition_held_for_long_is_tried_less_often_until_released(
    place: Installation, writer: PostgresBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[Any] = []
    ask = outbox_round._fetch

    async def counted(*args: Any, **kwargs: Any) -> list[Any]:
        tries.append(args)
        return await ask(*args, **kwargs)

    monkeypatch.setattr(publisher, "SWEEP_SECONDS", 3_600.0)
    monkeypatch.setattr(outbox_round, "_fetch", counted)
    sink, other = BlockingProducer(), BlockingProducer()
    async with publishing(place, sink) as first, publishing(place, other) as second:
        running = [await held(first, sink, writer)]
        running.append(asyncio.create_task(second.run()))
        second.wake([(topics.LEADS, 0)])
        while not second.held:
            await asyncio.sleep(0)
        second.held_since -= 0.2  # as if it had been so for a while
        assert publisher.HELD_SECONDS < 0.1 <= second.pause()
        second.held_since = since = second.held_since - 3_600.0
        enough = len(tries) + 3
        while len(tries) < enough:
            second.wake([(topics.LEADS, 0)])  # an attempt after a commit does not shorten the pause
            await asyncio.sleep(0)
        assert (second.held, second.held_since) == ({(topics.LEADS, 0)}, since)
        assert second.pause() == publisher.HELD_SECONDS_MAX
        sink.open.set()
        while second.held:
            await asyncio.sleep(0)
        assert second.pause() < publisher.HELD_SECONDS_MAX
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def test_rows_without_a_wake_are_published_by_the_sweep(
    place: Installation, writer: PostgresBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publisher, "SWEEP_SECONDS", 0.01)
    sink = BlockingProducer()
    async with publishing(place, sink) as alone:
        await writer.units.run(emitting(["a"], "lead"))  # and its process died before it could publish
        running = asyncio.create_task(alone.run())
        async with asyncio.timeout(20):
            await sink.has(1)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_sweep_leaves_fresh_rows_to_the_process_that_committed_them(
    place: Installation, writer: PostgresBackend
) -> None:
    async with publishing(place, BlockingProducer()) as other:
        await other._sweep()
        await writer.units.run(emitting(["a"], "lead"))
        await other._sweep()
        assert other._ready() == set()
        await other._sweep()  # a second later, the process has not published it
        assert [topic for topic, _ in other._ready()] == [topics.LEADS]


async def test_row_committed_after_a_row_with_higher_id_is_published(
    place: Installation, writer: PostgresBackend
) -> None:
    sink = BlockingProducer()
    engine = create_async_engine(asyncpg_url(place.database_url), poolclass=NullPool)
    async with publishing(place, sink) as alone, engine.connect() as slow:
        await slow.exec_driver_sql(INSERT.format("first", "first"))
        await writer.units.run(emitting(["second"], "lead"))
        assert await alone.step()
        assert await waiting(writer) == []
        await slow.commit()
        assert await alone.step()
        assert [body[:5] for body in sink.bodies][1:] == [b"first"]


async def test_new_rows_reuse_the_space_of_published_rows(
    place: Installation, writer: PostgresBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def pages_after(rows: int) -> int:
        """Return the pages of the outbox after this number of rows was published, a hundred at a time."""
        async with publishing(place, BlockingProducer()) as alone:
            for start in range(0, rows, 100):
                await writer.units.run(emitting([str(start + n) for n in range(100)], "lead"))
                assert await alone.step()
                if alone.vacuuming:
                    await alone.vacuuming
        [[size]] = await writer.rows("SELECT pg_relation_size('log')")
        return int(size) // 8192

    await writer.units.run(lambda unit: execute(unit, "ALTER TABLE log SET (autovacuum_enabled = off)"))
    monkeypatch.setattr(outbox_round, "VACUUM_ROWS", 500)
    at_first = await pages_after(500)
    assert await pages_after(2_000) <= 2 * at_first
    monkeypatch.setattr(outbox_round, "VACUUM_ROWS", 1_000_000)
    assert await pages_after(2_000) > 4 * at_first


async def test_send_failure_keeps_all_rows_in_order(place: Installation, writer: PostgresBackend) -> None:
    sink = BlockingProducer()
    async with publishing(place, sink) as alone:
        await writer.units.run(emitting(["a", "b", "c"], "lead"))
        sink.takes = 2
        with pytest.raises(BrokerError):
            await alone.step()
        assert await waiting(writer) == ["a", "b", "c"]
        sink.takes = None
        assert await alone.step()
        ids = [Record(0, "", "", body).envelope.id for body in sink.bodies]
        assert ids == ["a", "b", "a", "b", "c"]


class DiesAfterTheAnswer(BlockingProducer):
    """The real broker has it, and the process ends before it can say so in the database."""

    def __init__(self, writer: PostgresBackend) -> None:
        super().__init__()
        self.writer = writer

    async def publish(self, topic: str, partition: int, rows: Sequence[tuple[str, bytes]]) -> None:
        if self.asked.is_set():
            raise BrokerError("the dead send nothing")
        await self.writer.producer.publish(topic, partition, rows)
        self.asked.set()
        await asyncio.Event().wait()


async def test_crash_between_answer_and_delete_resends_rows_that_count_once(
    place: Installation, writer: PostgresBackend
) -> None:
    handled: list[str] = []

    def handler(batch: Sequence[Record], unit: Unit) -> None:
        unit.after.append(lambda: handled.extend(record.event_id for record in batch))

    sink = DiesAfterTheAnswer(writer)
    async with publishing(place, sink) as dying:
        await writer.units.run(emitting(["a", "b"], "lead"))
        life = asyncio.create_task(dying.step())
        await sink.asked.wait()
        life.cancel()
        await asyncio.gather(life, return_exceptions=True)
        assert await waiting(writer) == ["a", "b"]
    await writer.units.run(emitting(["c"], "lead"))
    assert await writer.publisher.step()
    assert [record.event_id for record in await read_all(writer)] == ["a", "b", "a", "b", "c"]
    await drain(await writer.worker(handler))
    assert handled == ["a", "b", "c"]


async def test_rows_of_a_key_arrive_in_commit_order_from_any_publisher(backends: Backends) -> None:
    def counted(key: str, unit: Unit) -> None:
        """Number the units of a lead. Each locks the row of the counter, so the numbers have the order of the commits."""
        [[number]] = execute(unit, COUNT.format(key))
        unit.emit(LeadTouched(lead_id=key, at=unit.now, channel="phone", answered=True), key=key, id=f"{key}.{number}")

    async with (
        backends.installation(partitions=2) as place,
        opened_distributed(place) as one,
        opened_distributed(place) as other,
    ):
        both = [asyncio.create_task(process.publisher.run()) for process in (one, other)]
        work = [
            process.units.run(partial(counted, key))
            for n in range(UNITS // 2)
            for process, key in ((one, KEYS[n % 7]), (other, KEYS[n * 3 % 7]))
        ]
        await asyncio.gather(*work)
        for task in both:
            task.cancel()
        await asyncio.gather(*both, return_exceptions=True)
        await one.publisher.step()
        records = [record for n in range(2) for record in await read_all(one, partition=n)]
    for key in KEYS:
        sent = [int(record.event_id.rpartition(".")[2]) for record in records if record.key == key]
        numbers = list(dict.fromkeys(sent))  # a publisher stopped before the delete sends rows again
        assert numbers == list(range(1, len(numbers) + 1)), key
    assert len({record.event_id for record in records}) == UNITS
