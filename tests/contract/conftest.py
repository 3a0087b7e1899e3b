"""The backends of the contract tests: one SQLite file, and PostgreSQL with Kafka."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final, Protocol, cast

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from firsthour.bootstrap.runners import keep_running
from firsthour.kernel.config import Config
from firsthour.runtime.connectivity import connection_options  # their tables
from firsthour.runtime.eventlog import log
from firsthour.runtime.eventlog.kafka_consumer import KafkaLog
from firsthour.runtime.eventlog.kafka_producer import KafkaProducer
from firsthour.runtime.eventlog.log import EventLog, TableLog
from firsthour.runtime.eventlog.publisher import Publisher
from firsthour.runtime.observability.metrics import Telemetry
from firsthour.runtime.processing.service import Handler
from firsthour.runtime.processing.worker import Worker
from firsthour.runtime.storage.postgres import PostgresUnits
from firsthour.runtime.storage.postgres_connections import ConnectionPool, open_engine
from firsthour.runtime.storage.postgres_reader import PostgresReader
from firsthour.runtime.storage.reader import Reader, SqliteReader
from firsthour.runtime.storage.records import Place, Record, Row
from firsthour.runtime.storage.sqlite import SqliteUnits
from firsthour.runtime.storage.sqlite_engines import reader_engine, writer_engine
from firsthour.runtime.storage.unit import Unit, Units
from schemas import topics
from schemas.events.leads import LeadTouched
from tests.backends import Backends, Installation
from tests.empty_tables import create_tables
from tests.hand_clock import HandClock

NO_CONFIG = cast(Config, SimpleNamespace(version="none"))
LOOK_SECONDS: Final = 0.001
CONNECTIONS: Final = 16


class Backend(Protocol):
    """A database with its event log, and a clock that tests move."""

    clock: HandClock

    @property
    def units(self) -> Units: ...

    @property
    def reads(self) -> Reader: ...

    @property
    def log(self) -> EventLog: ...

    async def say(self, *names: str, key: str = "lead") -> None:
        """Commit one unit that emits an event with each id, and publish the events."""

    async def append(self, *rows: Row) -> None:
        """Append rows to the log, with any content."""

    async def worker(self, handler: Handler, consumer: str = "consumer") -> Worker:
        """Return a worker on `leads` with its own view of the log."""

    async def rows(self, question: str) -> list[tuple[Any, ...]]:
        """Return rows of the tables."""


def emitting(names: Sequence[str], key: str) -> Callable[[Unit], None]:
    """Return the work of a unit that emits an event with each id."""

    def work(unit: Unit) -> None:
        for name in names:
            unit.emit(LeadTouched(lead_id=key, at=unit.now, channel="phone", answered=True), key=key, id=name)

    return work


async def step(worker: Worker) -> bool:
    """Run one step of the worker after its records have arrived. Return whether it handled any."""
    if await worker.lag() > 0:
        await worker.wait()
    return await worker.step()


async def drain(worker: Worker) -> Worker:
    """Run the worker until it has read all records."""
    while await step(worker):
        pass
    return worker


async def read_all(backend: Backend, after: int = 0, limit: int = 10, partition: int = 0) -> list[Record]:
    """Return every record of `leads`, read `limit` at a time."""
    records: list[Record] = []
    end = await backend.log.end(topics.LEADS, partition)
    while after < end:
        await backend.log.ready(topics.LEADS, partition, after)
        batch = await backend.log.fetch(topics.LEADS, partition, after, limit)
        assert 0 < len(batch) <= limit
        records += batch
        after = batch[-1].position
    return records


# --- one process, one file --------------------------------------------------------------------------------------------


@dataclass
class SqliteBackend:
    """One SQLite file."""

    units: SqliteUnits
    reads: SqliteReader
    log: TableLog
    clock: HandClock
    file: Path

    async def say(self, *names: str, key: str = "lead") -> None:
        await self.units.run(emitting(names, key))

    async def append(self, *rows: Row) -> None:
        await self.units.append(list(rows))

    async def worker(self, handler: Handler, consumer: str = "consumer") -> Worker:
        return Worker(consumer, topics.LEADS, handler, self.log, self.units, Telemetry())

    async def rows(self, question: str) -> list[tuple[Any, ...]]:
        return await self.reads(lambda c: [tuple(row) for row in c.execute(sa.text(question))])


async def open_embedded(file: Path, *, keep: int = 2_000, pages_max: int | None = None) -> SqliteBackend:
    """Open a new or an existing file."""
    create_tables(file)
    clock = HandClock()
    reads = SqliteReader(reader_engine(file))
    units = SqliteUnits(writer_engine(file, pages_max=pages_max), clock, lambda: NO_CONFIG)
    ends = await reads(lambda connection: {topic: log.end(connection, topic) for topic in topics.ALL})
    table = TableLog(reads, ends, records_max=keep)
    units.appended = table.appended
    units.start()
    return SqliteBackend(units, reads, table, clock, file)


# --- PostgreSQL and Kafka ---------------------------------------------------------------------------------------------


@dataclass
class PostgresBackend:
    """One process of a distributed installation, with its connections and its views of the topics."""

    place: Installation
    clock: HandClock = field(default_factory=HandClock)
    ends: dict[Place, int] = field(default_factory=dict)
    logs: list[KafkaLog] = field(default_factory=list)
    _running: list[asyncio.Task[None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        settings = self.place.settings()
        url, arguments = connection_options.database(settings)
        self.options = connection_options.kafka_options(settings)
        self.pool = ConnectionPool(url, arguments, size=CONNECTIONS)
        partitions = self.place.partitions
        self.units = PostgresUnits(self.pool, self.clock, lambda *_: NO_CONFIG, partitions=partitions, ask=None)
        self.reads = PostgresReader(open_engine(url, arguments, size=2))
        self.producer = KafkaProducer(self.options, self.place.prefix, self.place.partitions, self._noted)
        self.publisher = Publisher(ConnectionPool(url, arguments, size=2), self.producer, partitions)
        self.units.emitted = self.publisher.wake

    def _noted(self, place: Place, position: int) -> None:
        self.ends[place] = max(position, self.ends.get(place, 0))
        for view in self.logs:
            view.note(place, position)

    async def open(self) -> "PostgresBackend":
        self.log = await self.reader("reader")
        return self

    async def reader(self, service: str, partitions: int | None = None) -> KafkaLog:
        """Return a new view of the topics `leads` and `events`."""
        fixed = partitions or self.place.partitions
        view = KafkaLog(service, [topics.LEADS, topics.EVENTS], self.options, self.place.prefix, fixed=fixed)
        for place, position in self.ends.items():
            view.note(place, position)
        self.logs.append(view)
        self._running.append(asyncio.create_task(keep_running(view)))
        while not view.ours:
            await asyncio.sleep(LOOK_SECONDS)  # the broker gives no signal
        return view

    async def say(self, *names: str, key: str = "lead") -> None:
        await self.units.run(emitting(names, key))
        await self.publisher.step()

    async def append(self, *rows: Row) -> None:
        await self.producer.send(rows)

    async def worker(self, handler: Handler, consumer: str = "consumer") -> Worker:
        view = await self.reader(consumer)
        return Worker(consumer, topics.LEADS, handler, view, self.units, Telemetry())

    async def rows(self, question: str) -> list[tuple[Any, ...]]:
        def ask(connection: Connection) -> list[tuple[Any, ...]]:
            return [tuple(row) for row in connection.execute(sa.text(question))]

        return await self.reads(ask)

    async def close(self) -> None:
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        await self.publisher.close()
        await self.producer.close()
        await self.units.close()
        await self.reads.close()


@asynccontextmanager
async def opened_distributed(place: Installation) -> AsyncIterator[PostgresBackend]:
    """Open one more process of this installation."""
    process = await PostgresBackend(place).open()
    try:
        yield process
    finally:
        await process.close()


@pytest.fixture
async def writer(place: Installation) -> AsyncIterator[PostgresBackend]:
    """A process that commits units without waking a publisher."""
    async with opened_distributed(place) as process:
        process.units.emitted = lambda places: None
        yield process


# Every text column compares as bytes, as test_collation.py shows, so a collation changes no result of the other tests.
@pytest.fixture(params=["embedded", "distributed", pytest.param("icu", marks=pytest.mark.long)])
def profile(request: pytest.FixtureRequest) -> Backends | None:
    """The profile of a test. `icu`: distributed, on a database that sorts text by an ICU locale."""
    if request.param == "embedded":
        return None
    backends: Backends = request.getfixturevalue("backends" if request.param == "distributed" else "icu_backends")
    return backends


# --- either one -------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def opened_backend(directory: Path, profile: Backends | None) -> AsyncIterator[Backend]:
    """Open an empty backend for the time of the context."""
    if profile is None:
        embedded = await open_embedded(directory / "spine.db")
        yield embedded
        await embedded.units.close()
        embedded.reads.close()
        return
    async with profile.installation(partitions=1) as place, opened_distributed(place) as process:
        yield process


@pytest.fixture
async def backend(tmp_path: Path, profile: Backends | None) -> AsyncIterator[Backend]:
    """The backend of the profile."""
    async with opened_backend(tmp_path, profile) as backend:
        yield backend
