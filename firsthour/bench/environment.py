"""The database and the topics of a measurement of the distributed profile, removed at its end.

The bench never uses those of the installation: it creates a database beside the one in the settings, and topics with a prefix
of its own.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

import asyncpg
from pydantic import SecretStr

from firsthour.bench import kafka
from firsthour.bench.fixtures import KEY, REPS, events, furnish
from firsthour.runtime.clock import HostClock, SharedClock
from firsthour.runtime.config import reading
from firsthour.runtime.config.reading import NAMES
from firsthour.runtime.connectivity import connection_options
from firsthour.runtime.eventlog import kafka_admin
from firsthour.runtime.eventlog.kafka_producer import KafkaProducer
from firsthour.runtime.settings import Settings
from firsthour.runtime.storage import config_versions
from firsthour.runtime.storage.migrate import migrate
from firsthour.runtime.storage.postgres import PostgresUnits
from firsthour.runtime.storage.postgres_connections import ConnectionPool, open_engine
from firsthour.runtime.storage.records import Row, partition_of
from schemas.topics import EVENTS
from services.router.store.team import lock_team_state

CHUNK: Final = 2_000
COPY_TRIES: Final = 20
COPY_SECONDS: Final = 0.5
_FORGET: Final[Mapping[str, Any]] = {
    "slack_bot_token": None,
    "slack_signing_secret": None,
    "slack_app_token": None,
    "smtp_url": None,
}


async def connect(settings: Settings, **session: str) -> Any:
    """Return a connection of the driver to the database. `session`: settings of the connection."""
    at = connection_options.postgres(settings)
    return await asyncpg.connect(
        host=at.host,
        port=at.port,
        user=at.user,
        password=at.password,
        database=at.database,
        ssl=connection_options.tls(at),
        server_settings=session or None,
        statement_cache_size=512,
    )


async def execute(settings: Settings, statement: str) -> None:
    """Execute a statement outside a transaction."""
    connection = await connect(settings)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


async def _execute_with_retries(settings: Settings, statement: str) -> None:
    """Execute, with retries while the original is in use: the server's housekeeping sometimes connects to it."""
    for left in reversed(range(COPY_TRIES)):
        try:
            await execute(settings, statement)
            return
        except asyncpg.ObjectInUseError:
            if not left:
                raise
            await asyncio.sleep(COPY_SECONDS)


async def server_releases(settings: Settings) -> str:
    """Return name and release of the broker and of the database."""
    connection = await connect(settings)
    try:
        version = await connection.fetchval("SHOW server_version")
    finally:
        await connection.close()
    return f"{await kafka.broker(settings)}, PostgreSQL {version.split()[0]}"


class BenchDatabase:
    """A database with tables and configuration, from which each round gets a copy. `bench_database` creates it."""

    def __init__(self, server_settings: Settings, home: Path, mark: str) -> None:
        self.server_settings = server_settings
        self.home = home
        self.mark = mark
        self._count = 0

    def settings(self, name: str) -> Settings:
        """Return settings for a database and topics of this name, without creating them."""
        url = urlsplit(
            self.server_settings.database_url.get_secret_value() if self.server_settings.database_url else ""
        )
        changed = {
            "database_url": SecretStr(urlunsplit(url._replace(path=f"/firsthour_bench_{self.mark}_{name}"))),
            "kafka_prefix": f"firsthour-bench-{self.mark}-{name}.",
            "config_dir": self.home / "config",
            "data_dir": self.home / name,
            "admin_key": SecretStr(KEY),
        }
        return self.server_settings.model_copy(update={**_FORGET, **changed})

    @asynccontextmanager
    async def fresh(self) -> AsyncIterator[Settings]:
        """Create a copy of the database, and empty topics; return their settings."""
        self._count += 1
        settings = self.settings(f"r{self._count}")
        copy, base = database(settings), database(self.settings("base"))
        await _execute_with_retries(self.server_settings, f'CREATE DATABASE "{copy}" TEMPLATE "{base}"')
        try:
            await kafka_admin.create_topics(settings)
            yield settings
        finally:
            await kafka.drop_topics(settings)
            await execute(self.server_settings, f'DROP DATABASE IF EXISTS "{copy}" WITH (FORCE)')


def database(settings: Settings) -> str:
    """Return the name of the database."""
    return connection_options.postgres(settings).database


@contextmanager
def bench_database(
    server_settings: Settings,
    home: Path,
    *,
    ladder: Sequence[Mapping[str, object]] | None = None,
    reps: int = REPS,
) -> Iterator[BenchDatabase]:
    """Create a database with tables and configuration, and drop it at the end."""
    ground = BenchDatabase(server_settings, furnish(home, ladder=ladder, reps=reps), secrets.token_hex(4))
    base = ground.settings("base")
    asyncio.run(_create_base(server_settings, base))
    try:
        yield ground
    finally:
        asyncio.run(execute(server_settings, f'DROP DATABASE IF EXISTS "{database(base)}" WITH (FORCE)'))


async def _create_base(server_settings: Settings, base: Settings) -> None:
    await execute(server_settings, f'CREATE DATABASE "{database(base)}"')
    url, arguments = connection_options.database(base)
    engine = open_engine(url, arguments, size=1)
    async with engine.begin() as connection:
        await connection.run_sync(migrate)
    await engine.dispose()
    files = reading.load(base.config_dir)
    texts = {name: (base.config_dir / name).read_bytes() for name in NAMES}
    pool, partitions = ConnectionPool(url, arguments, size=1), base.kafka_partitions
    units = PostgresUnits(pool, SharedClock(), lambda *_: files, partitions=partitions)
    await units.run(lambda unit: config_versions.apply(unit, files, texts, None))
    pools, reps = files.team.pool_by_id, files.team.rep_by_id
    await units.run(
        lambda unit: lock_team_state(unit.connection, pools, reps)
    )  # creates the rows: units that find no row to lock run into deadlocks
    await units.close()


async def fill(
    settings: Settings,
    count: int,
    *,
    readers: int | None,
    first: int = 0,
    form_interval: int = 5,
    now: datetime | None = None,
) -> None:
    """Publish `count` made-up events to the topic `events`. Return once the broker has acknowledged all of them."""
    when = now or HostClock().real()
    async with producing(settings) as producer:
        for start in range(first, first + count, CHUNK):
            size = min(CHUNK, first + count - start)
            made = events(size, when, readers=readers, first=start, form_interval=form_interval)
            await put(
                settings, producer, EVENTS, [(partition_of(row.key, settings.kafka_partitions), row) for row in made]
            )


@asynccontextmanager
async def producing(settings: Settings) -> AsyncIterator[KafkaProducer]:
    """Open a producer of the product, which sends whole batches."""
    producer = KafkaProducer(
        connection_options.kafka_options(settings), settings.kafka_prefix, settings.kafka_partitions
    )
    try:
        yield producer
    finally:
        await producer.close()


async def put(settings: Settings, producer: KafkaProducer, topic: str, rows: Iterable[tuple[int, Row]]) -> None:
    """Publish rows of one topic, each with its partition."""
    parts: dict[int, list[tuple[str, bytes]]] = {}
    for partition, row in rows:
        parts.setdefault(partition, []).append((row.key, row.body))
    async with asyncio.TaskGroup() as group:
        for partition, records in parts.items():
            group.create_task(producer.publish(topic, partition, records))


async def positions(connection: Any, consumer: str, topic: str = EVENTS) -> tuple[int, bool]:
    """Return how many records of the topic the consumer has handled, and whether all emitted rows are on Kafka."""
    row = await connection.fetchrow(
        "SELECT (SELECT coalesce(sum(position), 0) FROM cursors WHERE consumer = $1 AND topic = $2),"
        " NOT EXISTS (SELECT FROM log)",
        consumer,
        topic,
    )
    return int(row[0]), bool(row[1])


async def rows(settings: Settings) -> dict[str, int]:
    """Return the number of rows of each table."""
    connection = await connect(settings)
    try:
        names = [
            row[0] for row in await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        ]
        return {name: await connection.fetchval(f'SELECT count(*) FROM "{name}"') for name in names}  # noqa: S608  # ours
    finally:
        await connection.close()
