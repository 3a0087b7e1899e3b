"""Opens a stopped installation for one command: its database, and the routes of administration."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from sqlalchemy.engine import Connection

from firsthour.cli.running_server import new_token
from firsthour.kernel.time_units import EPOCH, moment
from firsthour.operations.administration.routes import administration_router
from firsthour.operations.distributed_profile_checks import DISTRIBUTED_CHECKS
from firsthour.operations.doctor.checks import DATABASE
from firsthour.operations.profile_checks import EMBEDDED_CHECKS
from firsthour.runtime import package_files
from firsthour.runtime.clock import HostClock
from firsthour.runtime.config.reading import NAMES, ConfigError, ConfigFiles
from firsthour.runtime.eventlog import log
from firsthour.runtime.eventlog.log import TableLog
from firsthour.runtime.http import auth
from firsthour.runtime.http.app import Readiness, create_app
from firsthour.runtime.http.client import ASGITransport, AsyncClient
from firsthour.runtime.observability.metrics import Telemetry
from firsthour.runtime.processing.service import Resources, Service
from firsthour.runtime.settings import PREFIX, Settings
from firsthour.runtime.storage import installation
from firsthour.runtime.storage.data_directory import hold
from firsthour.runtime.storage.migrate import PROBLEMS, TablesError, is_current, migrate, state
from firsthour.runtime.storage.reader import SqliteReader
from firsthour.runtime.storage.sqlite import SqliteUnits
from firsthour.runtime.storage.sqlite_engines import reader_engine, writer_engine
from schemas import topics
from schemas.errors import FirstHourError

COMMANDED: Final = frozenset({"gateway", "scoring", "router", "reporting", "notifier"})
"""The services that a command asks."""


class NothingHereError(FirstHourError):
    """Raised when the data directory holds no database, or no directory holds the configuration files."""


def prepare(directory: Path, *, create: bool) -> HostClock:
    """Return the clock of the installation, which continues as it was stored.

    The caller holds the lock of the directory.

    Args:
        directory: The data directory.
        create: Create or upgrade the tables. Otherwise the database exists, and its tables must be current.

    Raises:
        TablesError: This version cannot work on the tables.
    """
    file = directory / DATABASE
    engine = writer_engine(file)
    try:
        with engine.begin() as connection:
            if create:
                migrate(connection)
            elif not is_current(connection):
                problem, remedy = PROBLEMS[state(connection)]
                raise TablesError(f"{file}: the database has {problem}; {remedy}")
            return stored_clock(connection)
    finally:
        engine.dispose()


def _require(directory: Path) -> None:
    if not directory.exists():
        raise NothingHereError(f"{directory}: no such directory; name the data directory with --data")
    if not directory.is_dir():
        raise NothingHereError(f"{directory}: is not a directory; name the data directory with --data")
    if not (directory / DATABASE).exists():
        raise NothingHereError(
            f"{directory}: holds no database; create one with `firsthour up`, or name another directory with --data"
        )


def stored_clock(connection: Connection) -> HostClock:
    """Return the stored clock, with the speed it ran at last."""
    stored = installation.get(connection, "clock")
    if stored is None:
        return HostClock(1.0, EPOCH, EPOCH)
    real, business, speed = stored.split()
    return HostClock(float(speed), moment(int(real)), moment(int(business)))


@asynccontextmanager
async def open_offline(
    settings: Settings, services: Sequence[Service], *, create: bool = False, configured: bool = False
) -> AsyncIterator[AsyncClient]:
    """Open the installation, and yield a client with role admin.

    Args:
        settings: They name the directories.
        services: Services that may retry a dead letter.
        create: Create a missing database.
        configured: The command uses the configuration files, so they must be correct.

    Raises:
        AlreadyRunningError: A process uses the directory.
        NothingHereError: There is no database, or no configuration file.
        TablesError: This version cannot work on the tables.
        ConfigError: The configuration files have mistakes.
    """
    if not create:
        _require(settings.data_dir)
    config = _config(settings.config_dir, configured)
    with hold(settings.data_dir):
        clock = prepare(settings.data_dir, create=create)
        file = settings.data_dir / DATABASE
        reads = SqliteReader(reader_engine(file))
        units = SqliteUnits(writer_engine(file), clock, lambda: config.current)
        units.start()
        try:
            ends = await reads(lambda connection: {topic: log.end(connection, topic) for topic in topics.ALL})
            table = TableLog(reads, ends)
            resources = Resources(settings, clock, config, units, reads, table, Telemetry(), lambda name: None)
            async with client_of(resources, services, live=False) as client:
                yield client
        finally:
            await units.close()
            reads.close()


def _config(directory: Path, needed: bool) -> ConfigFiles:
    """Return the configuration files. If they are wrong and not needed, return the examples."""
    try:
        return ConfigFiles(directory)
    except ConfigError:
        if needed and not any((directory / name).exists() for name in NAMES):
            raise NothingHereError(
                f"{directory}: holds no configuration files, and this command needs them; name their directory with "
                f"--config, or with {PREFIX}CONFIG_DIR"
            ) from None
        if needed:
            raise
        return ConfigFiles(package_files.examples())


def client_of(resources: Resources, services: Sequence[Service], *, live: bool) -> AsyncClient:
    """Return a client with role admin, for administration and for services of which a command exists.

    `live`: services of the installation run.
    """
    profile = DISTRIBUTED_CHECKS if resources.settings.distributed else EMBEDDED_CHECKS
    keys = auth.Keys(resources.clock, local_token=new_token())
    routers = [service.api(resources) for service in services if service.api and service.name in COMMANDED]
    app = create_app(
        title="FirstHour",
        routers=[administration_router(resources, keys, services, profile, live=live), *routers],
        telemetry=resources.telemetry,
        ready=lambda: Readiness(True),
        clock=resources.clock,
        audited_by=resources.units,
    )
    app.state.keys = keys
    return AsyncClient(
        transport=ASGITransport(app=app),
        base_url="http://firsthour",
        headers={"authorization": f"Bearer {keys.local_token}"},
    )
