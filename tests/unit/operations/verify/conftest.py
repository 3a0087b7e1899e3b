"""Installations whose rows a test changes: embedded, and as they are in PostgreSQL."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from sqlalchemy.ext.asyncio import create_async_engine

from devtools.postgres import PostgresServer
from firsthour.runtime.storage.sqlite_engines import writer_engine
from tests.data_directory import DATABASE
from tests.hand_clock import HandClock
from tests.shared import named
from tests.unit.operations.corruptible_database import EmbeddedRows, InstallationRows, PostgresRows, fill
from tests.unit.operations.harness import OperationsHarness
from tests.unit.operations.worlds import live

POSTGRES_DATABASE = named("verify_rows")


class FilledFile:
    """A SQLite file, filled by the first test that needs it."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._clock: HandClock | None = None

    async def open(self) -> tuple[Path, HandClock]:
        """Return the file, and a clock at the time of the rows."""
        if self._clock is None:
            harness = OperationsHarness(self._directory)
            await harness.open()
            await live(harness)
            await harness.close()
            self._clock = harness.clock
        return self._directory / "data" / DATABASE, HandClock(self._clock.now)


class FilledDatabase:
    """A database of PostgreSQL, filled by the first test that needs it."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._clock: HandClock | None = None

    async def open(self, directory: Path) -> tuple[str, HandClock]:
        """Return the URL, and a clock at the time of the rows. `directory`: for the installation that they come from."""
        if self._clock is None:
            harness = OperationsHarness(directory)
            await harness.open()
            await live(harness)
            await fill(self._url, harness)
            await harness.close()
            self._clock = harness.clock
        return self._url.replace("postgresql:", "postgresql+asyncpg:"), HandClock(self._clock.now)


@pytest.fixture(scope="session")
def filled_file(tmp_path_factory: pytest.TempPathFactory) -> FilledFile:
    """Tests roll back their changes, so all of them share the file."""
    return FilledFile(tmp_path_factory.mktemp("filled"))


@pytest.fixture(scope="session")
def filled(postgres: PostgresServer) -> Iterator[FilledDatabase]:
    """Tests roll back their changes, so all of them share the database."""
    postgres.drop(POSTGRES_DATABASE)
    yield FilledDatabase(postgres.create(POSTGRES_DATABASE))
    postgres.drop(POSTGRES_DATABASE)


@pytest.fixture
async def distributed(filled: FilledDatabase, tmp_path: Path) -> AsyncIterator[PostgresRows]:
    url, clock = await filled.open(tmp_path)
    engine = create_async_engine(url)
    async with engine.connect() as connection:
        yield PostgresRows(connection, clock)
    await engine.dispose()


@pytest.fixture
async def embedded(filled_file: FilledFile) -> AsyncIterator[EmbeddedRows]:
    file, clock = await filled_file.open()
    engine = writer_engine(file)
    with engine.connect() as connection:
        yield EmbeddedRows(connection, clock)
    engine.dispose()


@pytest.fixture(params=["embedded", "distributed"])
def database(request: pytest.FixtureRequest) -> InstallationRows:
    rows: InstallationRows = request.getfixturevalue(request.param)
    return rows
