"""One process with every service on SQLite: from settings to resources, services, and a running system."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, NamedTuple

from starlette.types import ASGIApp

from firsthour.bootstrap.app import gateway_app
from firsthour.bootstrap.monitors import Gauges, WriterMonitor
from firsthour.bootstrap.readiness import EmbeddedReadiness
from firsthour.bootstrap.refreshers import ConfigReloader, KeyRefresher, store_config
from firsthour.bootstrap.runners import RunnerRegistry, load_lists, run_all, service_runners
from firsthour.bootstrap.services import all_services
from firsthour.operations.audit.auditor import Auditor
from firsthour.operations.audit.checks import records_are_read
from firsthour.operations.audit.heartbeat import Heartbeat
from firsthour.operations.profile_checks import EMBEDDED_CHECKS
from firsthour.runtime.clock import Clock, HostClock
from firsthour.runtime.config.reading import ConfigFiles
from firsthour.runtime.eventlog import log
from firsthour.runtime.eventlog.dead_letters import retention_of
from firsthour.runtime.eventlog.log import TableLog
from firsthour.runtime.http import auth
from firsthour.runtime.observability.metrics import Telemetry
from firsthour.runtime.processing.chain import Chain
from firsthour.runtime.processing.service import Resources, Runner, Service
from firsthour.runtime.processing.worker import Worker
from firsthour.runtime.settings import Settings
from firsthour.runtime.storage import installation
from firsthour.runtime.storage.checkpoints import Checkpoints
from firsthour.runtime.storage.data_directory import hold
from firsthour.runtime.storage.migrate import migrate
from firsthour.runtime.storage.reader import SqliteReader
from firsthour.runtime.storage.sqlite import SqliteUnits
from firsthour.runtime.storage.sqlite_engines import reader_engine, writer_engine
from schemas import topics
from services.notifier.channels.base import Channel


@dataclass
class System:
    """Everything of one process on the embedded profile. `open_system` makes it."""

    resources: Resources
    services: tuple[Service, ...]
    runners: dict[str, Runner]
    keys: auth.Keys
    app: ASGIApp
    units: SqliteUnits
    reads: SqliteReader
    lock: IO[str]
    workers: list[Worker] = field(default_factory=list)
    chain: Chain = field(default_factory=lambda: Chain(()))

    async def run(self) -> None:
        """Run every runner until cancelled. The consumers that are up to date handle events as they are appended."""
        self.units.carry = self.chain.carry
        try:
            await run_all(self.runners.values())
        finally:
            self.units.carry = None

    async def settle(self) -> None:
        """Step every runner until nothing is due at this moment of both clocks, for tests.

        A runner that had nothing to do is stepped again only after another one has done something.
        """
        idle: set[str] = set()
        while len(idle) < len(self.runners):
            for name, runner in self.runners.items():
                if name in idle:
                    continue
                while await runner.step():
                    idle.clear()
                idle.add(name)
            for worker in self.workers:  # a tick that ran last may have emitted something
                if worker.stopped is None and await worker.lag() > 0:
                    idle.clear()

    async def close(self) -> None:
        """Finish the queued work and release the data directory."""
        await self.units.close()
        self.reads.close()
        self.lock.close()


def open_clock(directory: Path, speed: float) -> tuple[IO[str], HostClock]:
    """Lock the data directory, migrate its tables, and return the lock and the clock. Raises `SpeedError`."""
    lock = hold(directory)
    try:
        engine = writer_engine(directory / "firsthour.db")
        with engine.begin() as connection:
            migrate(connection)
            clock = installation.host_clock(connection, speed)
        engine.dispose()
    except BaseException:
        lock.close()
        raise
    return lock, clock


async def open_system(
    settings: Settings,
    clock: Clock,
    config: ConfigFiles,
    channels: Mapping[str, Channel],
    *,
    lock: IO[str],
    pages_max: int | None = None,
    only: Sequence[str] | None = None,
    ways_out: bool = True,
) -> System:
    """Connect the parts of the system; nothing runs yet.

    Args:
        settings: the settings of the process.
        clock: the clock of `open_clock`, or a clock that is set by hand.
        config: the files in force.
        channels: the channels that deliver pages, by name.
        lock: the lock of the data directory.
        pages_max: the largest size of the database file, in pages. None: no limit.
        only: the services to connect, for the benchmark. None: all services.
        ways_out: pages also leave over the channels of the agreement.
    """
    registry = RunnerRegistry()
    units, reads, table = await _open_storage(settings.data_dir / "firsthour.db", clock, config, registry, pages_max)
    resources = Resources(settings, clock, config, units, reads, table, Telemetry(), registry.wake)
    installation = all_services(channels, settings.public_url, settings.clock_skew_seconds, ways_out=ways_out)
    services = tuple(service for service in installation if only is None or service.name in only)
    workers = _workers(services, resources)
    chain = _joined(workers)
    keys = auth.keys_of(settings, clock, config)
    key_refresher = KeyRefresher(keys, units, reads)
    gauges = Gauges(workers, reads, resources.telemetry, bytes_max=settings.database_bytes_max)
    registry.add(workers)
    registry.add(service_runners(services, resources, embedded=True))
    if only is None:
        registry.add([Auditor(resources, records_are_read, Heartbeat(settings.heartbeat_url, resources.telemetry))])
    registry.add(
        [
            key_refresher,
            gauges,
            ConfigReloader(config, units, resources.telemetry),
            WriterMonitor(units),
            Checkpoints(settings.data_dir / "firsthour.db"),
        ]
    )
    load_lists()
    await units.run(lambda unit: store_config(unit, unit.config))
    ready = EmbeddedReadiness(config, keys, units, workers, registry.runners, gauges)
    app = gateway_app(resources, keys, services, ready, EMBEDDED_CHECKS)
    registry.add(app.runners)
    await key_refresher.step()
    return System(resources, services, registry.runners, keys, app, units, reads, lock, workers, chain)


class _Storage(NamedTuple):
    units: SqliteUnits
    reads: SqliteReader
    table: TableLog


async def _open_storage(
    file: Path, clock: Clock, config: ConfigFiles, registry: RunnerRegistry, pages_max: int | None
) -> _Storage:
    """Open the database file, and start its writer. A commit reaches the readers of the log and the runners it wakes."""
    reads = SqliteReader(reader_engine(file))
    ends = await reads(lambda connection: {topic: log.end(connection, topic) for topic in topics.ALL})
    table = TableLog(reads, ends)
    units = SqliteUnits(
        writer_engine(file, pages_max=pages_max),
        clock,
        lambda: config.current,
        appended=table.appended,
        woken=registry.wake_all,
        ends=ends,
    )
    units.start()
    return _Storage(units, reads, table)


def _workers(services: Sequence[Service], resources: Resources) -> list[Worker]:
    """Return a worker for each topic that each service hears."""
    return [
        Worker(
            service.name,
            topic,
            handler,
            resources.log,
            resources.units,
            resources.telemetry,
            linger_seconds=service.linger_seconds.get(topic, 0.0),
            retention=retention_of(resources.settings),
            notes_seen=topic not in topics.IDS_OF_UNITS,
        )
        for service in services
        for topic, handler in service.hears.items()
    ]


def _joined(workers: Sequence[Worker]) -> Chain:
    """Return the chain of the workers that a lead passes at once. The others share units among themselves."""
    at_once, bulk = [[worker for worker in workers if worker.lingers is lingers] for lingers in (False, True)]
    chain = Chain(at_once)
    for worker in at_once:
        worker.chain = chain
    turn = asyncio.Lock()
    for worker in bulk:
        worker.turn, worker.companions = turn, [other for other in bulk if other is not worker]
    return chain
