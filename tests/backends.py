"""Backends for tests on the distributed profile: a database and topics for the sole use of one test.

A database is a copy of a template that holds the tables; it is dropped after the test. Topics are created once and used by
one test after another: the cursors in a new database start at the ends of the topics.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Final

import asyncpg
import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from devtools.kafka import KafkaCluster
from devtools.postgres import PostgresServer, QueryError
from firsthour.bootstrap.services import all_services
from firsthour.runtime import settings
from firsthour.runtime.eventlog import kafka_admin
from firsthour.runtime.settings import Settings
from firsthour.runtime.storage import statements
from firsthour.runtime.storage.migrate import migrate
from firsthour.runtime.storage.records import Place
from firsthour.runtime.storage.unit import Unit
from schemas import topics
from tests.shared import named

PARTITIONS: Final = 2
TEMPLATE: Final = named("tables")
ICU_TEMPLATE: Final = named("tables_icu")
ICU: Final = "de-u-kn-true-ka-shifted"
"""A collation that differs from the order of bytes: it ignores case and punctuation, and sorts digits by value."""
_CURSOR: Final = "INSERT INTO cursors (consumer, topic, partition, position) VALUES ($1, $2, $3, $4)"


@dataclass
class Installation:
    """A database with the tables of all services, and five topics."""

    database_url: str
    bootstrap: str
    prefix: str
    partitions: int = PARTITIONS
    first_positions: dict[Place, int] = field(default_factory=dict)  # the ends of the topics before this test
    replication: int | None = None

    def settings(self, **values: object) -> Settings:
        """Return the settings of a process of this installation."""
        return settings.load(
            database_url=self.database_url,
            kafka_bootstrap=self.bootstrap,
            kafka_prefix=self.prefix,
            kafka_partitions=self.partitions,
            kafka_replication=self.replication,
            **values,
        )


@dataclass
class Backends:
    """Creates installations on one broker and one database server."""

    cluster: KafkaCluster
    server: PostgresServer
    name: str = named("place")  # prefix of the names of databases and topics; a number follows
    template: str = TEMPLATE
    replication: int | None = None  # copies of each partition
    _numbers: "count[int]" = field(default_factory=count)
    _free: list[tuple[str, dict[Place, int]]] = field(default_factory=list)

    @asynccontextmanager
    async def installation(self, *, partitions: int | None = None) -> AsyncIterator[Installation]:
        """Yield an installation. With `partitions`, its topics are new and are not used again."""
        name = f"{self.name}_{next(self._numbers)}"
        connection = await asyncpg.connect(self.server.url())
        try:
            await connection.execute(f"CREATE DATABASE {name} TEMPLATE {self.template}")
            url = self.server.url(name)
            place = Installation(
                url, self.cluster.bootstrap, f"{name}.", partitions or PARTITIONS, replication=self.replication
            )
            if self._free and partitions is None:
                place.prefix, place.first_positions = self._free.pop()
                await _set_cursors(place)
            else:
                await kafka_admin.create_topics(place.settings())
                place.first_positions = {(topic, n): 0 for topic in topics.CREATED for n in range(place.partitions)}
            yield place
            if partitions is None:
                self._free.append((place.prefix, await kafka_admin.ends(place.settings())))
        finally:
            await connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
            await connection.close()


async def _set_cursors(place: Installation) -> None:
    """Set every cursor to the end of the records of earlier tests."""
    rows = [
        (consumer, topic, partition, position)
        for (topic, partition), position in place.first_positions.items()
        for consumer in topics.READ_BY.get(topic, ("gateway",))
    ]
    connection = await asyncpg.connect(place.database_url)
    await connection.executemany(_CURSOR, rows)
    await connection.close()


async def _prepare(url: str) -> None:
    assert all_services({}, None)  # imports every store, so that the metadata has all tables
    engine = create_async_engine(asyncpg_url(url), poolclass=NullPool)
    async with engine.begin() as connection:
        await connection.run_sync(migrate)


def execute(unit: Unit, statement: str) -> Sequence[Any]:
    """Execute a statement in a unit, on either database. Return its rows, if it has any."""
    connection: Connection | statements.DriverConnection = unit.connection
    if isinstance(connection, statements.DriverConnection):
        return connection.rows(statement, ())
    result = connection.exec_driver_sql(statement)
    return result.all() if result.returns_rows else []


def asyncpg_url(url: str) -> sa.URL:
    """Return the URL with the driver asyncpg, for SQLAlchemy."""
    return sa.make_url(url).set(drivername="postgresql+asyncpg")


@pytest.fixture(scope="session")
def backends(kafka: KafkaCluster, postgres: PostgresServer) -> Iterator[Backends]:
    """Installations on the broker and the server that all tests share."""
    postgres.drop(TEMPLATE)
    asyncio.run(_prepare(postgres.create(TEMPLATE)))
    yield Backends(kafka, postgres)
    postgres.drop(TEMPLATE)


@pytest.fixture(scope="session")
def icu_backends(kafka: KafkaCluster, postgres: PostgresServer) -> Iterator[Backends]:
    """Installations whose databases compare texts by an ICU locale."""
    postgres.drop(ICU_TEMPLATE)
    try:
        url = postgres.create(ICU_TEMPLATE, icu=ICU)
    except QueryError as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(f"this PostgreSQL has no ICU ({error}); install PostgreSQL from the packages of the distribution")
    asyncio.run(_prepare(url))
    yield Backends(kafka, postgres, named("icu"), ICU_TEMPLATE)
    postgres.drop(ICU_TEMPLATE)


@pytest.fixture(params=["embedded", "distributed"])
def profile(request: pytest.FixtureRequest) -> Backends | None:
    """The backends of the distributed profile; None: the embedded profile."""
    if request.param == "embedded":
        return None
    distributed_backends: Backends = request.getfixturevalue("backends")
    return distributed_backends


embedded = pytest.mark.parametrize("profile", ["embedded"], indirect=True)
"""Mark of a test that applies to the embedded profile only."""
distributed = pytest.mark.parametrize("profile", ["distributed"], indirect=True)
"""Mark of a test that applies to the distributed profile only."""
every_collation = pytest.mark.parametrize("profile", ["embedded", "distributed", "icu"], indirect=True)
"""Mark of a contract test whose result can differ on a database with an ICU collation."""
