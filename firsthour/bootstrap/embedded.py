"""The only module that knows every service: settings -> resources -> services -> one running system."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import structlog
from starlette.types import ASGIApp

import services.gateway.service
import services.notifier.service
import services.reporting.service
import services.router.service
import services.scoring.service
from firsthour.kernel import normalisation
from firsthour.kernel.config import Config
from firsthour.kernel.time_units import micros
from firsthour.operations import administration, schema_export
from firsthour.runtime.clock import Clock, HostClock
from firsthour.runtime.config import source_secrets
from firsthour.runtime.config.reading import ConfigFiles
from firsthour.runtime.eventlog import log
from firsthour.runtime.eventlog.dead_letters import retention_of
from firsthour.runtime.eventlog.log import TableLog
from firsthour.runtime.http import auth
from firsthour.runtime.http.app import Readiness, create_app
from firsthour.runtime.observability.metrics import Telemetry
from firsthour.runtime.processing.retention import Housekeeping, standard_sweeps
from firsthour.runtime.processing.service import Resources, Runner, Service
from firsthour.runtime.processing.ticker import Ticker, failing
from firsthour.runtime.processing.worker import Worker
from firsthour.runtime.settings import CLOCK_SKEW_SECONDS, Settings, environ
from firsthour.runtime.storage import installation
from firsthour.runtime.storage.migrate import migrate
from firsthour.runtime.storage.reader import Reader, SqliteReader
from firsthour.runtime.storage.sqlite import SqliteUnits, hold, reader_engine, used_bytes, writer_engine
from firsthour.runtime.storage.unit import StorageError, Unit, Units
from schemas import topics
from services.gateway.asgi import Gateway
from services.notifier.channels.base import Channel
from services.notifier.delivery import Delivery
from services.notifier.sending import DELIVERY
from services.router.store import waiting_by_pool

KEYS_SECONDS = 2.0  # how often the keys in memory are read anew and their last use is stored
CONFIG_SECONDS = 1.0
WRITER_SECONDS = 2.0
GAUGES_SECONDS = 5.0

_log = structlog.get_logger(__name__)


def all_services(
    channels: Mapping[str, Channel], public_url: str | None, clock_skew_seconds: int = CLOCK_SKEW_SECONDS
) -> tuple[Service, ...]:
    """The system, on one screen."""
    return (
        services.gateway.service.service(),
        services.scoring.service.service(),
        services.router.service.service(clock_skew_seconds),
        services.notifier.service.service(channels, public_url),
        services.reporting.service.service(),
    )


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

    async def run(self) -> None:
        """Run every runner until cancelled."""
        await run_all(self.runners.values())

    async def settle(self) -> None:
        """Step everything until nothing is left to do at this moment of both clocks: how tests let time pass."""
        busy = True
        while busy:
            busy = False
            for runner in self.runners.values():
                while await runner.step():
                    busy = True
            for worker in self.workers:  # a tick that ran last may have said something
                busy = busy or (worker.stopped is None and await worker.lag() > 0)

    async def close(self) -> None:
        """Finish what is queued and let go of the data directory."""
        await self.units.close()
        self.reads.close()
        self.lock.close()


async def run_all(runners: Iterable[Runner]) -> None:
    """Run these until cancelled. One that falls is started again; it can be no worse off than after a crash."""
    async with asyncio.TaskGroup() as group:
        for runner in runners:
            group.create_task(keep_running(runner), name=runner.name)


async def keep_running(runner: Runner) -> None:
    """Run it, and start it again when it falls, until it ends by itself."""
    while True:
        try:
            await runner.run()
            return
        except Exception as failure:  # noqa: BLE001  # a fallen runner is started again, and said
            _log.error("runner fell", consumer=runner.name, exc_info=failure)
            await asyncio.sleep(1.0)


class KeyRefresher:
    """Keeps the keys in memory current and stores their last use."""

    name = "runtime.keys"

    def __init__(self, keys: auth.Keys, units: Units, reads: Reader) -> None:
        self._keys, self._units, self._reads = keys, units, reads

    async def step(self) -> bool:
        used, self._keys.used = self._keys.used, {}
        if used:
            try:
                await self._units.run(lambda unit: auth.note_use(unit.connection, used))
            except StorageError:  # said elsewhere; noted later
                self._keys.used = used | self._keys.used
        await self._keys.refresh(self._reads)
        return False

    async def run(self) -> None:
        while True:
            await asyncio.sleep(KEYS_SECONDS)
            await self.step()


class Gauges:
    """Says in the metrics how far each consumer is behind, and how many leads wait."""

    name = "runtime.gauges"

    def __init__(
        self,
        workers: Collection[Worker],
        reads: Reader,
        telemetry: Telemetry,
        *,
        queues: bool = True,
        bytes_max: int | None = None,
    ) -> None:
        """`queues`: this process may read the router's tables. `bytes_max`: of the embedded file; None past one machine."""
        self._workers, self._reads, self._telemetry, self._queues = workers, reads, telemetry, queues
        self._bytes_max = bytes_max
        self._bytes = 0

    async def step(self) -> bool:
        try:
            behind: Counter[tuple[str, str]] = Counter()
            for worker in self._workers:
                behind[worker.consumer, worker.topic] += await worker.lag()
            waiting = await self._reads(waiting_by_pool) if self._queues else None
            if self._bytes_max is not None:
                self._bytes = await self._reads(used_bytes)
                self._telemetry.database(self._bytes)
        except StorageError:  # said elsewhere
            return False
        for (consumer, topic), records in behind.items():
            self._telemetry.lag(consumer, topic, records)
        if waiting is not None:
            self._telemetry.queues(waiting)
        return False

    def warnings(self) -> list[str]:
        """The embedded file holds more than it should."""
        if self._bytes_max is None or self._bytes <= self._bytes_max:
            return []
        said = (
            f"the database holds {self._bytes / 1024**2:,.0f} MiB, more than FIRSTHOUR_DATABASE_BYTES_MAX; records of the log "
            "go once they are read; give the history more room, or move to Kafka and PostgreSQL"
        )
        return [said]

    async def run(self) -> None:
        while True:
            await self.step()
            await asyncio.sleep(GAUGES_SECONDS)


class ConfigReloader:
    """Takes up the configuration files when they change; a bad file keeps the version in force."""

    name = "runtime.config"

    def __init__(self, files: ConfigFiles, units: SqliteUnits, telemetry: Telemetry) -> None:
        self._files, self._units, self._telemetry = files, units, telemetry
        self._said: str | None = None

    async def step(self) -> bool:
        found = self._files.look()
        problem = str(self._files.problem) if self._files.problem else None
        self._telemetry.config(problem is None)
        if found is not None:
            try:
                await self._take_up(found)
            except StorageError:  # said elsewhere; it is tried again, and what was in force stays until then
                return False
        if problem != self._said:
            self._said = problem
            if problem:
                _log.error("configuration refused, the version in force stays", problem=problem)
            else:
                _log.info("configuration corrected", version=self._files.current.version)
        if found is not None:
            _log.info("configuration taken up", version=found.version)
        return found is not None

    async def _take_up(self, found: Config) -> None:
        """Kept first, in force afterwards: no decision cites a version of which nothing is kept."""

        def work(unit: Unit) -> None:
            _keep(unit, found)
            unit.after.append(lambda: self._files.take(found))
            unit.wake("router.team")

        await self._units.run(work)

    async def run(self) -> None:
        while True:
            await asyncio.sleep(CONFIG_SECONDS)
            await self.step()


class WriterMonitor:
    """Tries, after a commit failed, whether one is possible again, so that readiness is true while nobody writes."""

    name = "runtime.writer"

    def __init__(self, units: SqliteUnits) -> None:
        self._units = units

    async def step(self) -> bool:
        if self._units.trouble is not None:
            with contextlib.suppress(StorageError):
                await self._units.run(lambda unit: installation.put(unit.connection, "tried_at", str(micros(unit.now))))
        return False

    async def run(self) -> None:
        while True:
            await asyncio.sleep(WRITER_SECONDS)
            await self.step()


def _keep(unit: Unit, config: Config) -> None:
    installation.take_up(
        unit.connection,
        version=config.version,
        at=unit.now,
        agreement=config.agreement.model_dump_json(by_alias=True),
        team=config.team.model_dump_json(by_alias=True),
    )


def _take_up(unit: Unit) -> None:
    _keep(unit, unit.config)
    unit.wake("router.team")


def open_clock(directory: Path, speed: float) -> tuple[IO[str], HostClock]:
    """Take the data directory, bring its tables up to date, and read its clock. Raises `SpeedError`."""
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
) -> System:
    """Everything wired, nothing running yet. `lock` is the data directory's. `only`: these services (the bench's)."""
    file = settings.data_dir / "firsthour.db"
    reads = SqliteReader(reader_engine(file))
    units = SqliteUnits(writer_engine(file, pages_max=pages_max), clock, lambda: config.current)
    ends = await reads(lambda connection: {topic: log.end(connection, topic) for topic in topics.ALL})
    table = TableLog(reads, ends)
    telemetry = Telemetry()
    runners: dict[str, Runner] = {}

    def wake(name: str) -> None:
        runner = runners.get(name)
        woken: Callable[[], None] | None = getattr(runner, "wake", None)
        if woken:
            woken()

    def wake_all(names: set[str]) -> None:
        for name in names:
            wake(name)

    units.appended = table.appended
    units.woken = wake_all
    units.start()
    resources = Resources(settings, clock, config, units, reads, table, telemetry, wake)
    keys = auth.keys_of(settings, clock, config)
    # No page of ours shows a lead to a person yet: pages carry no link.
    everything = all_services(channels, None, settings.clock_skew_seconds)
    chosen = tuple(service for service in everything if only is None or service.name in only)
    retention = retention_of(settings)
    workers = [
        Worker(
            s.name,
            topic,
            handler,
            table,
            units,
            telemetry,
            linger_seconds=s.linger_seconds.get(topic, 0.0),
            retention=retention,
        )
        for s in chosen
        for topic, handler in s.hears.items()
    ]
    ticks = [tick for s in chosen for tick in s.ticks]
    sweeps = [
        *standard_sweeps(retention, database_bytes_max=settings.database_bytes_max),
        *(sweep for s in chosen for sweep in s.sweeps),
    ]
    keeper = KeyRefresher(keys, units, reads)
    gauges = Gauges(workers, reads, telemetry, bytes_max=settings.database_bytes_max)
    others: list[Runner] = [
        keeper,
        gauges,
        ConfigReloader(config, units, telemetry),
        WriterMonitor(units),
    ]
    beside = [runner for s in chosen if s.runners for runner in s.runners(resources)]
    tickers = [Ticker(tick, units, clock) for tick in ticks]
    everyone: list[Runner] = [*workers, *tickers, Housekeeping(sweeps, units), *beside, *others]
    runners |= {runner.name: runner for runner in everyone}
    normalisation.company_domain("warm.example")  # its list takes a while to load, and the first lead should not wait
    await units.run(_take_up)
    app = _app(resources, units, chosen, keys, workers, runners, gauges)
    system = System(resources, chosen, runners, keys, app, units, reads, lock, workers)
    await keeper.step()
    return system


def paging_warnings(runners: Mapping[str, Runner]) -> list[str]:
    """The warnings of the delivery of pages about its channels; none where it does not run."""
    delivery = runners.get(DELIVERY)
    return delivery.warnings() if isinstance(delivery, Delivery) else []


def secret_warnings(config: Config) -> list[str]:
    """The secrets of sources that cannot be used, and those that are missing."""
    found = source_secrets.examine(config, environ())
    return [*map(str, found.errors), *found.warnings]


def waiting_warnings(workers: Iterable[Worker]) -> list[str]:
    """The workers that wait for the database, and why."""
    return [f"{worker.name} waits: {worker.waits_for}" for worker in workers if worker.waits_for]


def _app(
    resources: Resources,
    units: SqliteUnits,
    chosen: Sequence[Service],
    keys: auth.Keys,
    workers: Sequence[Worker],
    runners: Mapping[str, Runner],
    gauges: Gauges,
) -> ASGIApp:
    """One front for every service: the gateway's lean path first, then everybody's routes."""

    def ready() -> Readiness:
        checks = {f"{w.consumer}.{w.topic}": w.stopped or "ok" for w in workers}
        checks["writer"] = (units.trouble or "ok") if units.alive else "the writer ended"
        checks |= failing(runners.values())
        files = resources.config
        warnings = [*files.current.warnings, *secret_warnings(files.current)]
        if files.problem is not None:
            warnings.insert(
                0, f"configuration refused, version {files.current.version} stays in force: {files.problem}"
            )
        warnings += [*units.warnings(), *gauges.warnings()]
        warnings += keys.warnings()
        warnings += paging_warnings(runners)
        warnings += waiting_warnings(workers)
        return Readiness(all(said == "ok" for said in checks.values()), checks, tuple(warnings))

    routers = [service.api(resources) for service in chosen if service.api]
    routers += [administration.router(resources, keys, chosen), schema_export.router()]
    app = create_app(
        title="FirstHour", routers=routers, telemetry=resources.telemetry, ready=ready, clock=resources.clock
    )
    app.state.keys = keys
    return Gateway(resources, keys, app)
