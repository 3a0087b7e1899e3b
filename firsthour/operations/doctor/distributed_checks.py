"""What `firsthour doctor` looks at past one machine: Kafka, PostgreSQL, what was applied, a gateway's spool."""

import asyncio
import shutil
from collections.abc import Callable
from datetime import timedelta
from typing import Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError

from firsthour.kernel.time_units import micros
from firsthour.operations.doctor.finding import Finding
from firsthour.runtime.clock import Clock
from firsthour.runtime.connectivity import kafka, postgres
from firsthour.runtime.connectivity.diagnosis import Diagnosis
from firsthour.runtime.eventlog import kafka_diagnosis, outbox
from firsthour.runtime.eventlog.spool import FILE
from firsthour.runtime.settings import PREFIX, Settings
from firsthour.runtime.storage.config_versions import applied
from firsthour.runtime.storage.postgres import database_now
from firsthour.runtime.storage.records import log
from firsthour.runtime.storage.sqlite_engines import reader_engine
from firsthour.runtime.storage.unit import StorageError

SKEW_MAX: Final = timedelta(seconds=30)
_MIB: Final = 1024**2

Look = Callable[[Connection, Clock], list[Finding]]


async def look(settings: Settings, clock: Clock, tables: Look) -> list[Finding]:
    """Everything out there. `tables` looks into a database that has those of this version."""
    database, brokers = await asyncio.gather(_database(settings, clock, tables), _kafka(settings))
    return [*database, *brokers, *spool(settings)]


def _found(trouble: Diagnosis) -> Finding:
    return Finding(trouble.server, "wrong" if trouble.stops else "warning", trouble.problem, trouble.remedy)


async def _kafka(settings: Settings) -> list[Finding]:
    found = [_found(trouble) for trouble in await kafka_diagnosis.examine(settings)]
    return found or [
        Finding(kafka.SERVER, "ok", f"reachable, its topics {settings.kafka_prefix}* are as they should be")
    ]


async def _database(settings: Settings, clock: Clock, tables: Look) -> list[Finding]:
    troubles = await postgres.examine_database(settings)
    if any(one.stops for one in troubles):
        return [_found(trouble) for trouble in troubles]

    def work(connection: Connection) -> list[Finding]:
        found = [*tables(connection, clock), _skew(connection, clock), _in_force(connection)]
        return [*found, publishing(connection, clock, settings.kafka_partitions)]

    try:
        return await postgres.read(settings, work)
    except (DBAPIError, OSError, TimeoutError) as gone:
        return [Finding(postgres.SERVER, "wrong", f"went away while looked at ({type(gone).__name__})", "try again")]


def _skew(connection: Connection, clock: Clock) -> Finding:
    there = database_now(connection)
    apart = abs(there - clock.real())
    said = f"{apart.total_seconds():.0f} s between this host and the database"
    if apart <= SKEW_MAX:
        return Finding("clocks", "ok", said)
    return Finding("clocks", "wrong", said, "set both by NTP; promises go by the database's, signatures by the host's")


def publishing(connection: Connection, clock: Clock, partitions: int) -> Finding:
    """How long the oldest record that no broker has yet is waiting."""
    age = outbox.look(connection, partitions, clock.real())
    if age is None or age.waited < outbox.WARNING_AGE:
        return Finding("publishing", "ok", "no record waits for long")
    remedy = (
        "see `/readyz` of the services and the leaders of that topic; `firsthour deadletters list` has refused records"
    )
    return Finding("publishing", "warning" if age.waited < outbox.NOT_READY_AGE else "wrong", str(age), remedy)


def _in_force(connection: Connection) -> Finding:
    columns = applied.c
    row = connection.execute(
        sa.select(columns.version)
        .where(columns.effective_at <= micros(database_now(connection)))
        .order_by(columns.effective_at.desc(), columns.id.desc())
        .limit(1)
    ).first()
    if row is None:
        return Finding("in force", "wrong", "no configuration was applied", "run `firsthour apply`")
    return Finding("in force", "ok", f"version {row[0]}")


def spool(settings: Settings) -> list[Finding]:
    """What a gateway keeps here until Kafka takes it, and whether there is room for what it may keep."""
    if not settings.data_dir.is_dir():
        return []
    file = settings.data_dir / FILE
    size = file.stat().st_size if file.exists() else 0
    wanted = settings.spool_bytes_max - size
    if shutil.disk_usage(settings.data_dir).free < wanted:
        remedy = f"make room, or set {PREFIX}SPOOL_BYTES_MAX lower"
        return [Finding("spool", "warning", f"the disk has not the {wanted // _MIB} MiB it may still need", remedy)]
    if not file.exists():
        return [Finding("spool", "ok", "nothing waits")]
    engine = reader_engine(file)
    try:
        with engine.connect() as connection:
            count = connection.execute(sa.select(sa.func.count()).select_from(log)).scalar()
    except (DBAPIError, StorageError) as broken:
        why = type(broken.orig).__name__ if isinstance(broken, DBAPIError) else str(broken)
        remedy = "stop the gateway, move the file aside, and keep it: events may be in it"
        return [Finding("spool", "wrong", f"{file} cannot be read ({why})", remedy)]
    finally:
        engine.dispose()
    if not count:
        return [Finding("spool", "ok", "nothing waits")]
    remedy = "a gateway that runs hands them over by itself; for one that is gone: `firsthour spool drain DIR`"
    return [Finding("spool", "warning", f"waiting for Kafka: {count}", remedy)]
