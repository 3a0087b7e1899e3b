"""Backends for tests on the distributed profile: a database and topics that nobody else uses meanwhile.

Databases are copied from one with our tables and dropped again. Topics are made once and handed on: whoever comes next
begins at their ends, as the cursors in the new database say.
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
"""An order far from that of bytes: capitals beside small letters, digits by their value, punctuation ignored."""
_CURSOR: Final = "INSERT INTO cursors (consumer, topic, partition, position) VALUES ($1, $2, $3, $4)"


@dataclass
class Installation:
    """A database with our tables, and five topics."""

    database_url: str
    bootstrap: str
    prefix: str
    partitions: int = PARTITIONS
    first_positions: dict[Place, int] = field(default_factory=dict)  # the positions before our first records
    replication: int | None = None

    def settings(self, **given: object) -> Settings:
        """With which processes find it."""
        return settings.load(
            database_url=self.database_url,
            kafka_bootstrap=self.bootstrap,
            kafka_prefix=self.prefix,
            kafka_partitions=self.partitions,
            kafka_replication=self.replication,
            **given,
        )


@dataclass
class Backends:
    """Where to get one."""

    cluster: KafkaCluster
    server: PostgresServer
    name: str = named("place")  # what they are called, with a number behind it
    template: str = TEMPLATE
    replication: int | None = None  # copies of each partition
    _numbers: "count[int]" = field(default_factory=count)
    _free: list[tuple[str, dict[Place, int]]] = field(default_factory=list)

    @asynccontextmanager
    async def installation(self, *, partitions: int | None = None) -> AsyncIterator[Installation]:
        """One for the length of the block. With so many `partitions`: of topics that are empty, and that nobody gets
        afterwards."""
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
                place.first_positions = {(topic, n): 0 for topic in topics.ALL for n in range(place.partitions)}
            yield place
            if partitions is None:
                self._free.append((place.prefix, await kafka_admin.ends(place.settings())))
        finally:
            await connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
            await connection.close()


async def _set_cursors(place: Installation) -> None:
    """Every consumer stands at the end of what others left."""
    rows = [(who, topic, n, at) for (topic, n), at in place.first_positions.items() for who in topics.READ_BY[topic]]
    connection = await asyncpg.connect(place.database_url)
    await connection.executemany(_CURSOR, rows)
    await connection.close()


async def _prepare(url: str) -> None:
    assert all_services({}, None)  # every store has been imported
    engine = create_async_engine(asyncpg_url(url), poolclass=NullPool)
    async with engine.begin() as connection:
        await connection.run_sync(migrate)


def execute(unit: Unit, statement: str) -> Sequence[Any]:
    """A statement in a unit, on either database; the rows of its answer, if it has any."""
    connection: Connection | statements.DriverConnection = unit.connection
    if isinstance(connection, statements.DriverConnection):
        return connection.rows(statement, ())
    found = connection.exec_driver_sql(statement)
    return found.all() if found.returns_rows else []


def asyncpg_url(url: str) -> sa.URL:
    """As SQLAlchemy wants it."""
    return sa.make_url(url).set(drivername="postgresql+asyncpg")


@pytest.fixture(scope="session")
def backends(kafka: KafkaCluster, postgres: PostgresServer) -> Iterator[Backends]:
    """The real ones, shared by all tests."""
    postgres.drop(TEMPLATE)
    asyncio.run(_prepare(postgres.create(TEMPLATE)))
    yield Backends(kafka, postgres)
    postgres.drop(TEMPLATE)


@pytest.fixture(scope="session")
def icu_backends(kafka: KafkaCluster, postgres: PostgresServer) -> Iterator[Backends]:
    """The same with databases that compare texts by an ICU locale."""
    postgres.drop(ICU_TEMPLATE)
    try:
        url = postgres.create(ICU_TEMPLATE, icu=ICU)
    except QueryError as refused:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(f"this PostgreSQL has no ICU ({refused}); take the packages of the distribution")
    asyncio.run(_prepare(url))
    yield Backends(kafka, postgres, named("icu"), ICU_TEMPLATE)
    postgres.drop(ICU_TEMPLATE)


@pytest.fixture(params=["embedded", "distributed"])
def profile(request: pytest.FixtureRequest) -> Backends | None:
    """Where Kafka and PostgreSQL are; None: everything in one process."""
    if request.param == "embedded":
        return None
    found: Backends = request.getfixturevalue("backends")
    return found


embedded = pytest.mark.parametrize("profile", ["embedded"], indirect=True)
"""A test of what only the one process on its one file has."""
distributed = pytest.mark.parametrize("profile", ["distributed"], indirect=True)
"""A test of what is only there past one machine."""
