"""The backends every promise is tried on: one SQLite file, and PostgreSQL with Kafka."""

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
from firsthour.runtime.storage import statements
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
from tests.hand_clock import HandClock

NO_CONFIG = cast(Config, SimpleNamespace(version="none"))
LOOK_SECONDS: Final = 0.001
CONNECTIONS: Final = 16


class Backend(Protocol):
    """A database, an event log over it, and a clock moved by hand."""

    clock: HandClock

    @property
    def units(self) -> Units: ...

    @property
    def reads(self) -> Reader: ...

    @property
    def log(self) -> EventLog: ...

    async def say(self, *names: str, key: str = "lead") -> None:
        """Commit one unit that emits an event of each id, and see that readers can have it."""

    async def append(self, *rows: Row) -> None:
        """These rows, whatever they are, where readers find them."""

    async def worker(self, handler: Handler, consumer: str = "consumer") -> Worker:
        """A reader of `leads` with a view of the log of its own."""

    async def rows(self, question: str) -> list[tuple[Any, ...]]:
        """Straight from the tables."""


def emitting(names: Sequence[str], key: str) -> Callable[[Unit], None]:
    """A unit's work: it emits an event of each id."""

    def work(unit: Unit) -> None:
        for name in names:
            unit.emit(LeadTouched(lead_id=key, at=unit.now, channel="phone", answered=True), key=key, id=name)

    return work


async def step(worker: Worker) -> bool:
    """One step of this reader, once what it lags behind has come from wherever it is; whether there was anything."""
    if await worker.lag() > 0:
        await worker.wait()
    return await worker.step()


async def drain(worker: Worker) -> Worker:
    """Let this reader read everything there is."""
    while await step(worker):
        pass
    return worker


async def read_all(backend: Backend, after: int = 0, limit: int = 10, partition: int = 0) -> list[Record]:
    """Every record of `leads`, a few at a time."""
    found: list[Record] = []
    end = await backend.log.end(topics.LEADS, partition)
    while after < end:
        await backend.log.ready(topics.LEADS, partition, after)
        batch = await backend.log.fetch(topics.LEADS, partition, after, limit)
        assert 0 < len(batch) <= limit
        found += batch
        after = batch[-1].position
    return found


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
    """On this file, new or of before."""
    engine = writer_engine(file)
    statements.metadata.create_all(engine)
    engine.dispose()
    clock = HandClock()
    reads = SqliteReader(reader_engine(file))
    units = SqliteUnits(writer_engine(file, pages_max=pages_max), clock, lambda: NO_CONFIG)
    ends = await reads(lambda connection: {topic: log.end(connection, topic) for topic in topics.ALL})
    table = TableLog(reads, ends, keep=keep)
    units.appended = table.appended
    units.start()
    return SqliteBackend(units, reads, table, clock, file)


# --- PostgreSQL and Kafka ---------------------------------------------------------------------------------------------


@dataclass
class PostgresBackend:
    """One process among others: what it holds of a database and of topics with one partition."""

    place: Installation
    clock: HandClock = field(default_factory=HandClock)
    ends: dict[Place, int] = field(default_factory=dict)
    logs: list[KafkaLog] = field(default_factory=list)
    _running: list[asyncio.Task[None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        given = self.place.settings()
        url, arguments = connection_options.database(given)
        self.options = connection_options.kafka_options(given)
        self.pool = ConnectionPool(url, arguments, size=CONNECTIONS)
        of = self.place.partitions
        self.units = PostgresUnits(self.pool, self.clock, lambda *_: NO_CONFIG, partitions=of, ask=None)
        self.reads = PostgresReader(open_engine(url, arguments, size=2))
        self.producer = KafkaProducer(self.options, self.place.prefix, self.place.partitions, self._noted)
        self.publisher = Publisher(ConnectionPool(url, arguments, size=2), self.producer, of)
        self.units.emitted = self.publisher.wake

    def _noted(self, place: Place, position: int) -> None:
        self.ends[place] = max(position, self.ends.get(place, 0))
        for known in self.logs:
            known.note(place, position)

    async def open(self) -> "PostgresBackend":
        self.log = await self.reader("reader")
        return self

    async def reader(self, service: str, partitions: int | None = None) -> KafkaLog:
        """A view of its own of what is on the topics `leads` and `events`."""
        wanted = partitions or self.place.partitions
        made = KafkaLog(service, [topics.LEADS, topics.EVENTS], self.options, self.place.prefix, fixed=wanted)
        for place, position in self.ends.items():
            made.note(place, position)
        self.logs.append(made)
        self._running.append(asyncio.create_task(keep_running(made)))
        while not made.ours:
            await asyncio.sleep(LOOK_SECONDS)  # the broker is another process
        return made

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
    """One process more at this place."""
    made = await PostgresBackend(place).open()
    try:
        yield made
    finally:
        await made.close()


@pytest.fixture
async def writer(place: Installation) -> AsyncIterator[PostgresBackend]:
    """A process that commits units at the place of the test's file. No publisher is told."""
    async with opened_distributed(place) as made:
        made.units.emitted = lambda places: None
        yield made


@pytest.fixture(params=["embedded", "distributed", "icu"])
def profile(request: pytest.FixtureRequest) -> Backends | None:
    """As everywhere, and on a database that compares texts by an ICU locale."""
    if request.param == "embedded":
        return None
    found: Backends = request.getfixturevalue("backends" if request.param == "distributed" else "icu_backends")
    return found


# --- whichever --------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def opened_backend(directory: Path, profile: Backends | None) -> AsyncIterator[Backend]:
    """Empty, for the length of the block."""
    if profile is None:
        made = await open_embedded(directory / "spine.db")
        yield made
        await made.units.close()
        made.reads.close()
        return
    async with profile.installation(partitions=1) as place, opened_distributed(place) as other:
        yield other


@pytest.fixture
async def backend(tmp_path: Path, profile: Backends | None) -> AsyncIterator[Backend]:
    """Both, one after the other."""
    async with opened_backend(tmp_path, profile) as made:
        yield made
