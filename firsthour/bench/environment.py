"""Where the distributed profile is measured: a database and topics of the bench's own, gone when it is over.

The installation's are never touched: the database is made next to the one in the settings, and the topics have a prefix
that nobody else has.
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
from firsthour.bench.fixtures import KEY, events, furnish
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
_FORGET: Final[Mapping[str, Any]] = {"slack_bot_token": None, "slack_signing_secret": None, "smtp_url": None}


async def connect(place: Settings, **settings: str) -> Any:
    """A plain connection to the database of `place`."""
    at = connection_options.postgres(place)
    return await asyncpg.connect(
        host=at.host,
        port=at.port,
        user=at.user,
        password=at.password,
        database=at.database,
        ssl=connection_options.tls(at),
        server_settings=settings or None,
        statement_cache_size=512,
    )


async def execute(place: Settings, statement: str) -> None:
    """One statement, outside a transaction."""
    connection = await connect(place)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


async def _copied(place: Settings, statement: str) -> None:
    """Execute, with retries while the original is in use: the server's own housekeeping connects to it for moments."""
    for left in reversed(range(COPY_TRIES)):
        try:
            await execute(place, statement)
            return
        except asyncpg.ObjectInUseError:
            if not left:
                raise
            await asyncio.sleep(COPY_SECONDS)


async def found(place: Settings) -> str:
    """Broker and database, by name and release."""
    connection = await connect(place)
    try:
        version = await connection.fetchval("SHOW server_version")
    finally:
        await connection.close()
    return f"{await kafka.broker(place)}, PostgreSQL {version.split()[0]}"


class Ground:
    """A filled-in database that rounds are copied from. `around()` makes it."""

    def __init__(self, given: Settings, home: Path, mark: str) -> None:
        self.given = given
        self.home = home
        self.mark = mark
        self._count = 0

    def place(self, name: str) -> Settings:
        """Settings for a database and topics of that name, neither of which is made by this."""
        url = urlsplit(self.given.database_url.get_secret_value() if self.given.database_url else "")
        changed = {
            "database_url": SecretStr(urlunsplit(url._replace(path=f"/firsthour_bench_{self.mark}_{name}"))),
            "kafka_prefix": f"firsthour-bench-{self.mark}-{name}.",
            "config_dir": self.home / "config",
            "data_dir": self.home / name,
            "admin_key": SecretStr(KEY),
        }
        return self.given.model_copy(update={**_FORGET, **changed})

    @asynccontextmanager
    async def fresh(self) -> AsyncIterator[Settings]:
        """A copy of the database, and empty topics."""
        self._count += 1
        place = self.place(f"r{self._count}")
        copy, base = database(place), database(self.place("base"))
        await _copied(self.given, f'CREATE DATABASE "{copy}" TEMPLATE "{base}"')
        try:
            await kafka_admin.create_topics(place)
            yield place
        finally:
            await kafka.drop_topics(place)
            await execute(self.given, f'DROP DATABASE IF EXISTS "{copy}" WITH (FORCE)')


def database(place: Settings) -> str:
    """The name of its database."""
    return connection_options.postgres(place).database


@contextmanager
def around(given: Settings, home: Path, *, ladder: Sequence[Mapping[str, object]] | None = None) -> Iterator[Ground]:
    """Tables and configuration, ready to be copied. Everything is gone at the end."""
    ground = Ground(given, furnish(home, ladder=ladder), secrets.token_hex(4))
    base = ground.place("base")
    asyncio.run(_make(given, base))
    try:
        yield ground
    finally:
        asyncio.run(execute(given, f'DROP DATABASE IF EXISTS "{database(base)}" WITH (FORCE)'))


async def _make(given: Settings, base: Settings) -> None:
    await execute(given, f'CREATE DATABASE "{database(base)}"')
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
    )  # who can lock no row runs into deadlocks
    await units.close()


async def fill(
    place: Settings,
    count: int,
    *,
    readers: int | None,
    first: int = 0,
    one_asks_in: int = 5,
    now: datetime | None = None,
) -> None:
    """Put so many made-up events on the `events` topic of `place`, all acknowledged when it returns."""
    when = now or HostClock().real()
    async with producing(place) as producer:
        for start in range(first, first + count, CHUNK):
            size = min(CHUNK, first + count - start)
            made = events(size, when, readers=readers, first=start, one_asks_in=one_asks_in)
            await put(place, producer, EVENTS, [(partition_of(row.key, place.kafka_partitions), row) for row in made])


@asynccontextmanager
async def producing(place: Settings) -> AsyncIterator[KafkaProducer]:
    """A producer of ours, which makes whole batches."""
    producer = KafkaProducer(connection_options.kafka_options(place), place.kafka_prefix, place.kafka_partitions)
    try:
        yield producer
    finally:
        await producer.close()


async def put(place: Settings, producer: KafkaProducer, topic: str, rows: Iterable[tuple[int, Row]]) -> None:
    """Rows of one topic, each with its partition."""
    parts: dict[int, list[tuple[str, bytes]]] = {}
    for partition, row in rows:
        parts.setdefault(partition, []).append((row.key, row.body))
    async with asyncio.TaskGroup() as group:
        for partition, these in parts.items():
            group.create_task(producer.publish(topic, partition, these))


async def positions(place: Settings, connection: Any, consumer: str, topic: str = EVENTS) -> tuple[int, bool]:
    """How many records of the topic the consumer has taken, and whether everything said is on Kafka by now."""
    row = await connection.fetchrow(
        "SELECT (SELECT coalesce(sum(position), 0) FROM cursors WHERE consumer = $1 AND topic = $2),"
        " NOT EXISTS (SELECT FROM log)",
        consumer,
        topic,
    )
    return int(row[0]), bool(row[1])


async def rows(place: Settings) -> dict[str, int]:
    """How many rows each table holds."""
    connection = await connect(place)
    try:
        names = [
            row[0] for row in await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        ]
        return {name: await connection.fetchval(f'SELECT count(*) FROM "{name}"') for name in names}  # noqa: S608  # ours
    finally:
        await connection.close()
