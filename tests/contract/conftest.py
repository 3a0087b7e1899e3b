"""The backends every promise is tried on. Embedded: one SQLite file; the next piece adds PostgreSQL and Kafka here."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from schemas import topics
from schemas.events import LeadTouched
from services.runtime import auth, db, deadletters, housekeeping, log, meta  # noqa: F401  # their tables
from services.runtime.clock import HandClock
from services.runtime.config import Config
from services.runtime.log import TableLog
from services.runtime.reads import SqliteReads
from services.runtime.service import Handler
from services.runtime.sqlite import SqliteUnits, reader_engine, writer_engine
from services.runtime.telemetry import Telemetry
from services.runtime.unit import Unit
from services.runtime.worker import Worker

NO_CONFIG = cast(Config, SimpleNamespace(version="none"))


@dataclass
class Backend:
    """A database, an event log over it, and a clock moved by hand."""

    units: SqliteUnits
    reads: SqliteReads
    log: TableLog
    clock: HandClock
    file: Path

    async def say(self, *names: str, key: str = "lead", topic: str = topics.LEADS) -> None:
        """Commit one unit that emits an event of each id."""

        def work(unit: Unit) -> None:
            for name in names:
                touched = LeadTouched(lead_id=key, at=unit.now, channel="phone", answered=True)
                unit.emit(touched, key=key, id=name)

        await self.units.run(work)

    def worker(self, handler: Handler, consumer: str = "consumer") -> Worker:
        return Worker(consumer, topics.LEADS, handler, self.log, self.units, Telemetry())

    async def rows(self, question: str) -> list[tuple[Any, ...]]:
        return await self.reads(lambda c: [tuple(row) for row in c.exec_driver_sql(question)])


async def open_backend(file: Path, *, keep: int = 2_000, pages_max: int | None = None) -> Backend:
    engine = writer_engine(file)
    db.metadata.create_all(engine)
    engine.dispose()
    clock = HandClock()
    reads = SqliteReads(reader_engine(file))
    units = SqliteUnits(writer_engine(file, pages_max=pages_max), clock, lambda: NO_CONFIG)
    ends = await reads(lambda connection: {topic: log.end(connection, topic) for topic in topics.ALL})
    table = TableLog(reads, ends, keep=keep)
    units.appended = table.appended
    units.start()
    return Backend(units, reads, table, clock, file)


@pytest.fixture
async def backend(tmp_path: Path) -> AsyncIterator[Backend]:
    opened = await open_backend(tmp_path / "spine.db")
    yield opened
    await opened.units.close()
    opened.reads.close()


@pytest.fixture
def reopened(tmp_path: Path) -> Callable[..., Any]:
    """Opens the same file again, as a process does after a crash."""
    return open_backend
