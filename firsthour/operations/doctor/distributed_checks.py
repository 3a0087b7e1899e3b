"""Checks of a distributed installation: Kafka, PostgreSQL, the configuration in force, the spool of a gateway."""

import asyncio
import shutil
import sqlite3
from pathlib import Path
from typing import Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError

from firsthour.kernel.time_units import micros
from firsthour.operations.doctor import checks
from firsthour.operations.doctor.channel_checks import channels
from firsthour.operations.doctor.database_checks import database
from firsthour.operations.doctor.finding import Finding
from firsthour.runtime.clock import SKEW_MAX, Clock
from firsthour.runtime.connectivity import kafka, postgres
from firsthour.runtime.connectivity.diagnosis import Diagnosis
from firsthour.runtime.eventlog import kafka_diagnosis, outbox
from firsthour.runtime.eventlog.spool import FILE
from firsthour.runtime.settings import PREFIX, Settings
from firsthour.runtime.storage.config_versions import applied
from firsthour.runtime.storage.postgres import database_now
from firsthour.runtime.storage.reader import Reader
from firsthour.runtime.storage.records import log
from firsthour.runtime.storage.sqlite_engines import DAMAGED, reader_engine
from firsthour.runtime.storage.unit import StorageError

_MIB: Final = 1024**2


async def examine(settings: Settings, clock: Clock, reads: Reader | None) -> list[Finding]:
    """Run every check that is possible from this host. `reads` is not used: the check connects to the database anew."""
    database_findings, broker_findings = await asyncio.gather(_database(settings, clock), _kafka(settings))
    findings = [*_host(settings), *database_findings, *broker_findings, *spool(settings)]
    return [*findings, *[finding async for finding in channels(settings)]]


def _host(settings: Settings) -> list[Finding]:
    """Check this host of a distributed installation, which may have no data directory and no configuration files."""
    findings = checks.directory(settings.data_dir) if settings.data_dir.is_dir() else []
    if settings.config_dir.is_dir():
        return [*findings, *checks.configuration(settings)]
    return [*findings, *checks.setting_warnings(settings, None)]


def _finding(diagnosis: Diagnosis) -> Finding:
    return Finding(diagnosis.server, "wrong" if diagnosis.stops else "warning", diagnosis.problem, diagnosis.remedy)


async def _kafka(settings: Settings) -> list[Finding]:
    findings = [_finding(diagnosis) for diagnosis in await kafka_diagnosis.examine(settings)]
    return findings or [
        Finding(kafka.SERVER, "ok", f"reachable; topics {settings.kafka_prefix}* have the right settings")
    ]


async def _database(settings: Settings, clock: Clock) -> list[Finding]:
    diagnoses = await postgres.examine_database(settings)
    if any(diagnosis.stops for diagnosis in diagnoses):
        return [_finding(diagnosis) for diagnosis in diagnoses]

    def work(connection: Connection) -> list[Finding]:
        findings = [*database(connection, clock), _skew(connection, clock), _in_force(connection)]
        return [*findings, publishing(connection, clock, settings.kafka_partitions)]

    try:
        return await postgres.read(settings, work)
    except (DBAPIError, OSError, TimeoutError) as error:
        return [
            Finding(postgres.SERVER, "wrong", f"connection lost during the check ({type(error).__name__})", "try again")
        ]


def _skew(connection: Connection, clock: Clock) -> Finding:
    skew = abs(database_now(connection) - clock.real())
    text = f"{skew.total_seconds():.0f} s between this host and the database"
    if skew <= SKEW_MAX:
        return Finding("clocks", "ok", text)
    remedy = "set both by NTP; promises and the signatures of requests are judged by the database's clock"
    return Finding("clocks", "wrong", text, remedy)


def publishing(connection: Connection, clock: Clock, partitions: int) -> Finding:
    """Check how long the oldest unpublished record has waited."""
    age = outbox.look(connection, partitions, clock.real())
    if age is None or age.waited < outbox.WARNING_AGE:
        return Finding("publishing", "ok", "no record waits too long")
    remedy = "check `/readyz` of the services and the leaders of that topic; `firsthour deadletters list` shows refused records"
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
        return Finding("in force", "wrong", "no configuration is applied", "run `firsthour apply`")
    return Finding("in force", "ok", f"version {row[0]}")


def spool(settings: Settings) -> list[Finding]:
    """Check the spool of a gateway: events that wait for Kafka, and room on the disk for more."""
    if not settings.data_dir.is_dir():
        return []
    file = settings.data_dir / FILE
    size = file.stat().st_size if file.exists() else 0
    growth = settings.spool_bytes_max - size
    if shutil.disk_usage(settings.data_dir).free < growth:
        remedy = f"make room, or set {PREFIX}SPOOL_BYTES_MAX lower"
        return [Finding("spool", "warning", f"it may grow by {growth // _MIB} MiB, and the disk has less room", remedy)]
    if not file.exists():
        return [Finding("spool", "ok", "empty")]
    engine = reader_engine(file)
    try:
        with engine.connect() as connection:
            # a gateway that is just starting has a file, but not yet its table
            has_table = sa.inspect(connection).has_table(log.name)
            count = connection.execute(sa.select(sa.func.count()).select_from(log)).scalar() if has_table else 0
    except (DBAPIError, StorageError) as error:
        return [Finding("spool", "wrong", *_unreadable(file, error))]
    finally:
        engine.dispose()
    if not count:
        return [Finding("spool", "ok", "empty")]
    remedy = "a running gateway sends them by itself; for a gateway that is gone, run `firsthour spool drain DIR`"
    return [Finding("spool", "warning", f"events waiting for Kafka: {count}", remedy)]


def _unreadable(file: Path, error: DBAPIError | StorageError) -> tuple[str, str]:
    """Return why the spool cannot be read, and the remedy."""
    failure = error.orig if isinstance(error, DBAPIError) else error.__cause__
    code = int(getattr(failure, "sqlite_errorcode", 0)) & 0xFF
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return f"{file} is locked by another program", "run `firsthour doctor` again when that program has ended"
    if code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_PERM):
        return f"{file} cannot be read ({failure})", "check that this user can read and write it, and check its disk"
    remedy = "stop the gateway, move the file to another place, and keep it: it may hold events"
    return f"{file} is {'damaged' if code in DAMAGED else 'not a spool of this program'} ({failure})", remedy
