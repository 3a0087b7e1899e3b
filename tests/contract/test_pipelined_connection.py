"""BEGIN travels with the first statement of a transaction, and COMMIT with its last one."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final

import asyncpg
import pytest

from devtools import postgres as local_postgres
from firsthour.runtime import settings
from firsthour.runtime.connectivity import connection_options
from firsthour.runtime.storage import postgres_pipeline
from firsthour.runtime.storage.postgres import PostgresUnits
from firsthour.runtime.storage.postgres_connections import ConnectionPool
from firsthour.runtime.storage.postgres_pipeline import PipelinedConnection, PipelinedTransport
from firsthour.runtime.storage.records import Row
from firsthour.runtime.storage.unit import Unit
from schemas import topics
from tests.backends import Backends, execute
from tests.contract.conftest import NO_CONFIG
from tests.hand_clock import HandClock

ADD: Final = "INSERT INTO numbers VALUES ($1) RETURNING n"
STORED: Final = "SELECT n FROM numbers ORDER BY n"
BUSY_ONCE: Final = (
    "CREATE SEQUENCE tries",
    """CREATE FUNCTION busy() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN IF nextval('tries') = 1 THEN RAISE SQLSTATE '40001'; END IF; RETURN NEW; END $$""",
    "CREATE TRIGGER busy BEFORE INSERT ON log FOR EACH ROW EXECUTE FUNCTION busy()",
)


class CountingTransport:
    """The transport below a pipelined one, with the number of writes: each is a round trip."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self.writes = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def write(self, data: bytes) -> None:
        self.writes += 1
        self._inner.write(data)


@pytest.fixture(scope="module", params=["disable", "prefer, without TLS", "prefer", "require"])
def url(request: pytest.FixtureRequest, postgres_here: None) -> Iterator[str]:
    """The URL of a server, with or without TLS."""
    mode, _, without = request.param.partition(", ")
    with local_postgres.start(durable=False, secure=not without) as server:
        yield server.url() + f"?sslmode={mode}"


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[PipelinedConnection]:
    """Open a connection, and create an empty table."""
    own = settings.load(database_url=url, kafka_bootstrap="127.0.0.1:1")
    pool = ConnectionPool(*connection_options.database(own), size=1)
    connection = await pool.take()
    await connection.execute("DROP TABLE IF EXISTS numbers; CREATE TABLE numbers (n int PRIMARY KEY)")
    yield connection
    pool.give(connection, clean=False)


@pytest.fixture
async def raw(url: str) -> AsyncIterator[PipelinedConnection]:
    """A connection with an empty table."""
    async with opened(url) as connection:
        yield connection


def counted(connection: PipelinedConnection) -> CountingTransport:
    """Count the writes of this connection from now on."""
    transport = connection._pipeline
    assert isinstance(transport, PipelinedTransport)
    counting = CountingTransport(transport.wrapped)
    transport.wrapped = counting
    return counting


async def stored(connection: PipelinedConnection) -> list[int]:
    return [row.n for row in await connection.fetch(STORED)]


async def test_transaction_costs_a_round_trip_for_each_statement(raw: PipelinedConnection) -> None:
    counting = counted(raw)
    for n in range(2):  # the first time, the driver prepares the statements
        counting.writes = 0
        await raw.begin()
        assert [row.n for row in await raw.fetch(ADD, 2 * n)] == [2 * n]
        assert raw.is_in_transaction()
        raw.commit_with_next()
        assert [row.n for row in await raw.fetch(ADD, 2 * n + 1)] == [2 * n + 1]
        await raw.commit()
        assert not raw.is_in_transaction()
    assert counting.writes == 2
    assert await stored(raw) == [0, 1, 2, 3]


async def test_last_statement_that_fails_commits_nothing(raw: PipelinedConnection) -> None:
    await raw.execute("INSERT INTO numbers VALUES (1)")
    for n in (2, 3):
        await raw.begin()
        await raw.fetch(ADD, n)
        raw.commit_with_next()
        with pytest.raises(asyncpg.UniqueViolationError):
            await raw.fetch(ADD, 1)
        await raw.rollback()
    assert (raw.is_in_transaction(), await stored(raw)) == (False, [1])


async def test_transaction_without_statements_costs_nothing(raw: PipelinedConnection) -> None:
    counting = counted(raw)
    for end in (raw.commit, raw.rollback):
        await raw.begin()
        await end()
    assert counting.writes == 0
    await raw.fetch(ADD, 1)  # begins no transaction
    assert not raw.is_in_transaction()


async def test_first_statement_without_parameters_is_in_the_transaction(raw: PipelinedConnection) -> None:
    await raw.begin()
    await raw.execute("INSERT INTO numbers VALUES (1)")
    assert raw.is_in_transaction()
    await raw.rollback()
    assert await stored(raw) == []


async def test_statement_that_fails_first_is_rolled_back(raw: PipelinedConnection) -> None:
    await raw.begin()
    with pytest.raises(asyncpg.UndefinedTableError):
        await raw.fetch("SELECT $1::int FROM nowhere", 1)
    await raw.rollback()
    await raw.begin()
    await raw.fetch(ADD, 1)
    await raw.commit()
    assert await stored(raw) == [1]


async def test_transactions_are_kept_if_the_driver_connects_in_another_way(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_pipeline, "Protocol", ())  # no protocol is recognised
    monkeypatch.delattr(postgres_pipeline._ConnectingLoop, "start_tls")
    async with opened(url) as connection:
        await connection.begin()
        await connection.fetch(ADD, 1)
        assert connection.is_in_transaction()
        await connection.rollback()
        await connection.begin()
        connection.commit_with_next()
        await connection.fetch(ADD, 2)
        await connection.commit()
        assert (connection.is_in_transaction(), await stored(connection)) == (False, [2])


async def test_unit_whose_last_statement_meets_a_conflict_is_repeated_and_committed_once(backends: Backends) -> None:
    async with backends.installation() as place:
        pool = ConnectionPool(*connection_options.database(place.settings()), size=1)
        units = PostgresUnits(pool, HandClock(), lambda *_: NO_CONFIG, partitions=place.partitions, ask=None)
        for statement in BUSY_ONCE:
            await units.run(partial(execute, statement=statement))
        runs: list[Unit] = []

        def work(unit: Unit) -> None:
            runs.append(unit)
            unit.rows.append(Row(topics.LEADS, "lead", "once", b"{}"))

        await units.run(work)
        rows = await units.run(lambda unit: execute(unit, "SELECT event_id FROM log"))
        assert (len(runs), [tuple(row) for row in rows]) == (2, [("once",)])
        await units.close()
