"""A database that accepts connections and does not answer: a stopped server, or a network that drops packets.

Every wait has an end, so that workers tell why they wait, `/readyz` tells it too, and work goes on when answers come again.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest
import sqlalchemy as sa

from devtools import postgres as local_postgres
from devtools.postgres import PostgresServer
from firsthour.bootstrap.database_monitor import DatabaseMonitor
from firsthour.bootstrap.distributed import open_distributed
from firsthour.kernel.time_units import moment
from firsthour.runtime import settings
from firsthour.runtime.clock import HostClock
from firsthour.runtime.connectivity import connection_options
from firsthour.runtime.observability.metrics import Telemetry
from firsthour.runtime.processing.worker import Worker
from firsthour.runtime.storage import statements
from firsthour.runtime.storage.config_versions import AppliedConfig
from firsthour.runtime.storage.postgres import PostgresUnits
from firsthour.runtime.storage.postgres_connections import ConnectionPool, open_engine
from firsthour.runtime.storage.postgres_reader import PostgresReader, StatementReader
from firsthour.runtime.storage.records import Record
from firsthour.runtime.storage.unit import StorageError, Unit
from schemas import topics
from tests.backends import Backends, execute
from tests.contract.conftest import NO_CONFIG
from tests.hand_clock import HandClock

T = TypeVar("T")
_NOW = statements.Sql(lambda _: sa.select(sa.literal_column(statements.MICROSECONDS)))
SHORT = {"command_timeout": 0.5}
"""Of a statement. A server that lives answers these within milliseconds."""


@pytest.fixture(scope="module")
def server(postgres_here: None) -> Iterator[PostgresServer]:
    """A server for these tests only, because they stop it."""
    with local_postgres.start(durable=False) as server:
        yield server


@pytest.fixture
def own_settings(server: PostgresServer) -> settings.Settings:
    return settings.load(database_url=server.url(), kafka_bootstrap="127.0.0.1:1")


@asynccontextmanager
async def silent(server: PostgresServer) -> AsyncIterator[None]:
    server.pause()
    try:
        yield
    finally:
        server.resume()


def units_of(own_settings: settings.Settings, *, connections: int) -> PostgresUnits:
    """Return units whose statements wait `SHORT` for an answer."""
    url, arguments = connection_options.database(own_settings)
    pool = ConnectionPool(url, arguments | SHORT, size=connections)
    return PostgresUnits(pool, HandClock(), lambda *_: NO_CONFIG, partitions=1, ask=None)


async def until(condition: Callable[[], T | None]) -> T:
    """Return the first result of `condition` that is true. The test's timeout limits the wait."""
    while not (value := condition()):
        await asyncio.sleep(0.01)
    return value


def one(unit: Unit) -> Sequence[Any]:
    return execute(unit, "SELECT 1")


async def test_unit_ends_and_later_units_run_once_the_database_answers(
    server: PostgresServer, own_settings: settings.Settings
) -> None:
    units = units_of(own_settings, connections=2)
    await asyncio.gather(units.run(one), units.run(one))  # two connections stay open
    async with silent(server):
        for _ in range(2):
            with pytest.raises(StorageError, match=r"does not answer|cannot be reached"):
                await units.run(one)
        was = units.alive
    assert len(await units.run(one)) == 1
    assert (was, units.alive) == (False, True)
    await units.close()


async def test_unit_cut_off_halfway_is_rolled_back(server: PostgresServer, own_settings: settings.Settings) -> None:
    units = units_of(own_settings, connections=1)
    await units.run(lambda unit: execute(unit, "CREATE TABLE cut_off (n int)"))

    def half(unit: Unit) -> None:
        execute(unit, "INSERT INTO cut_off VALUES (1)")
        server.pause()
        execute(unit, "INSERT INTO cut_off VALUES (2)")

    try:
        with pytest.raises(StorageError, match="does not answer"):
            await units.run(half)
    finally:
        server.resume()
    assert [tuple(row) for row in await units.run(lambda unit: execute(unit, "SELECT count(*) FROM cut_off"))] == [(0,)]
    await units.close()


async def test_query_of_a_reader_ends(server: PostgresServer, own_settings: settings.Settings) -> None:
    url, arguments = connection_options.database(own_settings)
    reads = PostgresReader(open_engine(url, arguments | SHORT, size=1))
    assert await reads(lambda connection: connection.execute(sa.text("SELECT 1")).scalar_one()) == 1
    async with silent(server):
        with pytest.raises(StorageError, match="does not answer"):
            await reads(lambda connection: connection.execute(sa.text("SELECT 1")).scalar_one())
    assert await reads(lambda connection: connection.execute(sa.text("SELECT 1")).scalar_one()) == 1
    await reads.close()


async def test_database_probe_ends_with_any_statement_timeout(
    server: PostgresServer, own_settings: settings.Settings, tmp_path: Path
) -> None:
    url, arguments = connection_options.database(own_settings)
    clock = HostClock()
    reads = StatementReader(ConnectionPool(url, arguments, size=1))
    watch = DatabaseMonitor(reads, AppliedConfig(clock, tmp_path, None), clock, Telemetry(), answer_seconds=0.5)
    watch._look = lambda connection: moment(_NOW.first(connection)[0])  # type: ignore[method-assign]
    await watch.step()
    assert watch.database == "ok"
    async with silent(server):
        await watch.step()
        assert watch.database == "the database does not answer"
    await watch.step()
    assert watch.database == "ok"
    await reads.close()


async def test_worker_reports_that_it_waits_for_the_database(
    server: PostgresServer, own_settings: settings.Settings
) -> None:
    units = units_of(own_settings, connections=1)
    await units.run(one)

    class Reading(Worker):
        """A worker whose step is one unit."""

        async def wait(self) -> None:
            await asyncio.sleep(0)

        async def step(self) -> bool:
            await self._units.run(one)
            went_on.set()
            return True

    def nothing(batch: Sequence[Record], unit: Unit) -> None:
        raise AssertionError("no record comes")

    went_on = asyncio.Event()
    unused: Any = None
    worker = Reading("router", "leads", nothing, unused, units, Telemetry())
    async with silent(server):
        running = asyncio.create_task(worker.run())
        assert await until(lambda: worker.waits_for) == "the database does not answer"
        went_on.clear()
    await went_on.wait()
    assert await until(lambda: worker.waits_for is None)
    running.cancel()
    await asyncio.wait({running})
    await units.close()


async def test_consumer_is_not_stuck_while_its_worker_waits_for_the_database(
    backends: Backends, tmp_path: Path
) -> None:
    async with backends.installation() as place:
        system = await open_distributed(
            place.settings(data_dir=tmp_path), ("router",), {}, clock=HandClock(), fixed=True
        )
        first = (topics.LEADS, 0)
        for crew in system.crews:
            crew.assigned({first})
        assert {log.waits(first) for log in system.logs} == {None}
        for worker in system.workers:
            worker.waits_for = "the database does not answer"
        assert {log.waits(first) for log in system.logs} == {"the database does not answer"}
        await system.close()
