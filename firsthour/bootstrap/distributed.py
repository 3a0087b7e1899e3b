"""One process of many: some services over Apache Kafka and PostgreSQL, the same handlers as in one process.

Every process publishes what it commits. A `gateway` is the front of every service's HTTP and takes events in while the
database is away, and into its spool while the broker is; the others answer health and metrics alone.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Final

import msgspec
import structlog
from sqlalchemy.engine import Connection
from starlette.types import ASGIApp, Receive, Scope, Send

from firsthour.bootstrap.embedded import (
    KEYS_SECONDS,
    Gauges,
    all_services,
    keep_running,
    paging_warnings,
    run_all,
    secret_warnings,
    waiting_warnings,
)
from firsthour.kernel import normalisation
from firsthour.operations import administration, schema_export
from firsthour.runtime.clock import Clock, SharedClock
from firsthour.runtime.connectivity import connection_options, postgres
from firsthour.runtime.connectivity.diagnosis import Diagnosis
from firsthour.runtime.eventlog import kafka_admin
from firsthour.runtime.eventlog.dead_letters import dead_letter_refused, retention_of
from firsthour.runtime.eventlog.durable_append import DurableAppend
from firsthour.runtime.eventlog.kafka_consumer import KafkaLog
from firsthour.runtime.eventlog.kafka_producer import KafkaProducer
from firsthour.runtime.eventlog.outbox import NOT_READY_AGE, WARNING_AGE
from firsthour.runtime.eventlog.publisher import CONNECTIONS, SESSION, Publisher
from firsthour.runtime.eventlog.spool import Spool
from firsthour.runtime.http import auth
from firsthour.runtime.http.app import Readiness, create_app
from firsthour.runtime.http.middleware import header
from firsthour.runtime.http.problem import Problem
from firsthour.runtime.observability.metrics import Telemetry
from firsthour.runtime.private_files import write_private
from firsthour.runtime.processing.retention import Housekeeping, standard_sweeps
from firsthour.runtime.processing.service import Resources, Runner, Service
from firsthour.runtime.processing.ticker import Ticker, failing
from firsthour.runtime.processing.worker import Worker
from firsthour.runtime.settings import Settings
from firsthour.runtime.storage.config_versions import AppliedConfig
from firsthour.runtime.storage.postgres import (
    AT_ONCE,
    READING_AT_ONCE,
    ConnectionPool,
    PostgresReader,
    PostgresUnits,
    database_now,
    open_engine,
)
from firsthour.runtime.storage.reader import Reader
from firsthour.runtime.storage.records import Place, Record, Row, partition_of
from firsthour.runtime.storage.sqlite import hold
from firsthour.runtime.storage.unit import Lane, StorageError, Units
from schemas.errors import FirstHourError
from schemas.topics import ALL
from services.gateway import pages, replies
from services.gateway.asgi import Gateway
from services.gateway.intake.request import FORMS_PATH
from services.notifier.channels.base import Channel

GATEWAY: Final = "gateway"
LOOK_SECONDS: Final = 1.0  # at configuration and database
CLOCK_SECONDS: Final = 10.0
SURE_SECONDS: Final = 0.1
ANSWER_SECONDS: Final = 5.0  # then the database counts as away
KEYS_CACHE: Final = "keys.cache"
WARM: Final = "warm.example"
READ_ADDRESSES: Final = frozenset({"gateway", "scoring"})
OPEN: Final = frozenset({"/healthz", "/readyz", "/metrics"})
RETRY_SECONDS: Final = 5

_log = structlog.get_logger(__name__)


# --- who works on which partition ----------------------------------------------------------------------------------


class PartitionWorkers:
    """The workers of one service, on the partitions that are ours, while they are."""

    def __init__(
        self, make: Callable[[str, Sequence[int]], Worker], apart: Callable[[str], int], *, spawn: bool
    ) -> None:
        """`apart`: among how many workers the partitions of a topic are dealt out. `spawn`: they go on by themselves;
        otherwise somebody steps them."""
        self._make = make
        self._apart = apart
        self._spawn = spawn
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopped: dict[str, str] = {}  # why the consumer of a topic stopped: a new assignment does not start it
        self.workers: list[Worker] = []

    def assigned(self, places: set[Place]) -> None:
        """These are ours now, and no others. A unit under way goes to its end; the cursor decides what it is worth."""
        for task in self._tasks:
            task.cancel()
        self._stopped |= {worker.topic: worker.stopped for worker in self.workers if worker.stopped}
        by_topic: dict[str, list[int]] = {}
        for topic, partition in sorted(places):
            by_topic.setdefault(topic, []).append(partition)
        self.workers = [
            self._make(topic, hand)
            for topic, partitions in by_topic.items()
            for hand in _dealt(partitions, self._apart(topic))
        ]
        for worker in self.workers:
            worker.stopped = self._stopped.get(worker.topic)
        if self._spawn:
            self._tasks = {asyncio.create_task(keep_running(worker)) for worker in self.workers}

    def waits(self, place: Place) -> str | None:
        """Why the worker of this partition stands still, if it has a reason."""
        found = (worker for worker in self.workers if worker.topic == place[0] and place[1] in worker.partitions)
        return next((worker.stopped or worker.waits_for for worker in found), "no worker has it")

    def positions(self) -> dict[Place, int]:
        """How far they are, as far as it is known."""
        return {place: at for worker in self.workers for place, at in worker.positions.items()}

    async def dismiss(self) -> None:
        """End them all."""
        tasks = self._tasks
        self.assigned(set())
        await asyncio.gather(*tasks, return_exceptions=True)


def _dealt(partitions: Sequence[int], hands: int) -> list[Sequence[int]]:
    """Among so many hands, none of them empty."""
    return [partitions[n::hands] for n in range(min(hands, len(partitions)))]


# --- keeping current -----------------------------------------------------------------------------------------------


class CachedKeys:
    """Keeps the keys in memory current, on a gateway's disk as well: so it knows them while the database is away."""

    name = "runtime.keys"

    def __init__(self, keys: auth.Keys, units: Units, reads: Reader, cache: Path | None) -> None:
        self._keys, self._units, self._reads = keys, units, reads
        self._cache = cache / KEYS_CACHE if cache is not None else None
        self._known: list[auth.Key] | None = None  # on the disk
        self._failing = False
        self._recall()

    def _recall(self) -> None:
        if self._cache is None:
            return
        try:
            read_at = datetime.fromtimestamp(self._cache.stat().st_mtime, UTC)
            self._keys.take(msgspec.json.decode(self._cache.read_bytes(), type=list[auth.Key]), read_at)
        except (OSError, msgspec.DecodeError):
            return

    async def step(self) -> bool:
        try:
            if used := self._keys.used:
                self._keys.used = {}
                await self._units.run(lambda unit: auth.note_use(unit.connection, used))
            found = await self._keys.refresh(self._reads)
        except StorageError:
            return False
        self._remember(found)
        return False

    def _remember(self, found: list[auth.Key]) -> None:
        if self._cache is None:
            return
        try:
            if found != self._known:
                write_private(self._cache, msgspec.json.encode(found))
                self._known = found
            if self._keys.read_at is not None:
                at = self._keys.read_at.timestamp()
                os.utime(self._cache, (at, at))  # how old the keys are, also for the process that reads them next
            self._failing = False
        except OSError as failure:
            if not self._failing:
                _log.warning("keys not cached", error_type=type(failure).__name__)
            self._failing = True

    async def run(self) -> None:
        while True:
            await asyncio.sleep(KEYS_SECONDS)
            await self.step()


class DatabaseMonitor:
    """Looks at the database each second: whether it is there, which configuration is in force, what time it is."""

    name = "runtime.watch"

    def __init__(
        self,
        reads: Reader,
        config: AppliedConfig,
        clock: Clock,
        telemetry: Telemetry,
        answer_seconds: float = ANSWER_SECONDS,
    ) -> None:
        """`reads` is for this alone: other questions may take long though the database is well."""
        self._reads, self._config, self._clock, self._telemetry = reads, config, clock, telemetry
        self._answer_seconds = answer_seconds
        self._set_at = -CLOCK_SECONDS
        self.database = "not looked at yet"

    async def step(self) -> bool:
        started = self._clock.monotonic()
        try:
            async with asyncio.timeout(self._answer_seconds):
                now = await self._reads(self._look)
        except (StorageError, TimeoutError) as failure:
            why = str(failure) or "the database does not answer"
            if self.database == "ok":
                _log.warning("database away", problem=why)
            self.database = why
            return False
        if self.database != "ok":
            _log.info("database there")
        self.database = "ok"
        took = self._clock.monotonic() - started
        sure = took <= SURE_SECONDS  # else it may have been read long ago
        if isinstance(self._clock, SharedClock) and sure and started - self._set_at >= CLOCK_SECONDS:
            self._clock.set(now)
            self._set_at = started
        self._telemetry.config(self._config.problem is None)
        return False

    def _look(self, connection: Connection) -> datetime:
        self._config.of(connection)
        return database_now(connection)

    async def run(self) -> None:
        while True:
            await self.step()
            await asyncio.sleep(LOOK_SECONDS)


# --- the whole -----------------------------------------------------------------------------------------------------


@dataclass
class Distributed:
    """Everything of one process. `open_distributed` makes it."""

    resources: Resources
    config: AppliedConfig
    services: tuple[Service, ...]
    runners: dict[str, Runner]
    logs: list[KafkaLog]
    crews: list[PartitionWorkers]
    keys: auth.Keys
    app: ASGIApp
    units: PostgresUnits
    reads: PostgresReader
    publisher: Publisher
    producers: list[KafkaProducer]
    intake: DurableAppend | None = None
    spool: Spool | None = None
    lock: IO[str] | None = None
    stuck: asyncio.Event = field(default_factory=asyncio.Event)
    why: str = ""
    leaving: bool = False

    @property
    def workers(self) -> list[Worker]:
        """Of all services, those that are ours now."""
        return [worker for crew in self.crews for worker in crew.workers]

    async def run(self) -> None:
        """Run everything until cancelled. Raises `StuckError` when a client of Kafka's went astray for good."""
        async with asyncio.TaskGroup() as group:
            group.create_task(run_all([*self.runners.values(), *self.logs]))
            await self.stuck.wait()
            raise StuckError(self.why)

    def give_up(self, why: str) -> None:
        """This process is of no use any more."""
        self.why = why
        self.stuck.set()

    async def settle(self) -> None:
        """Step everything until nothing is left to do at this moment: how tests let time pass. The logs run beside."""
        await self._hear()
        busy = True
        while busy:
            busy = False
            for runner in self.runners.values():
                while await runner.step():
                    busy = True
            busy = await self._hear() or busy  # a tick may have said something, busy or not

    async def _hear(self) -> bool:
        """Publish what was said, and let everybody hear it, until nothing more is said; whether anything was."""
        any_, busy = False, True
        while busy:
            busy = await self.publisher.step()
            for worker in self.workers:
                while worker.stopped is None and await worker.lag() > 0:
                    await worker.wait()
                    busy = await worker.step() or busy
            any_ = any_ or busy
        return any_

    async def close(self) -> None:
        """Finish what is under way, publish what is left, let go."""
        for crew in self.crews:
            await crew.dismiss()
        await self.publisher.close()
        for producer in self.producers:
            await producer.close()
        if self.spool is not None:
            await self.spool.close()
        await self.units.close()
        await self.reads.close()
        if self.lock is not None:
            self.lock.close()


class StuckError(FirstHourError):
    """The process is of no use any more, and whoever supervises it should start another."""


async def open_distributed(
    settings: Settings,
    wanted: Sequence[str],
    channels: Mapping[str, Channel],
    *,
    clock: Clock | None = None,
    fixed: bool = False,
) -> Distributed:
    """Everything wired, nothing running yet. Needs neither database nor broker to be there.

    `wanted`: the services that run here. For tests, `fixed`: all partitions are ours, and somebody steps the workers;
    `clock`: moved by hand, and asked instead of the database's.
    """
    front = GATEWAY in wanted
    home = settings.data_dir if front else None
    shared = clock or SharedClock()
    lock = hold(settings.data_dir) if home is not None else None
    config = AppliedConfig(shared, settings.config_dir, home)
    url, arguments = connection_options.database(settings)
    ask = None if clock is not None else database_now
    name = f"firsthour {'+'.join(wanted)}".strip()
    pool = ConnectionPool(url, arguments, size=sum(AT_ONCE.values()), application_name=name)
    units = PostgresUnits(pool, shared, config.of, partitions=settings.kafka_partitions, ask=ask)
    engine = open_engine(url, arguments, size=READING_AT_ONCE + 1, application_name=f"{name} reads")
    reads = PostgresReader(engine)
    options, prefix, partitions = (
        connection_options.kafka_options(settings),
        settings.kafka_prefix,
        settings.kafka_partitions,
    )
    telemetry = Telemetry()
    logs: list[KafkaLog] = []

    def noted(place: Place, position: int) -> None:
        for log in logs:
            log.note(place, position)

    sender, apart = (KafkaProducer(options, prefix, partitions, noted) for _ in range(2))
    producers = [sender, apart]
    publishing = ConnectionPool(url, arguments, size=CONNECTIONS, application_name="firsthour publisher", **SESSION)
    everything = all_services(channels, None, settings.clock_skew_seconds)
    publisher = Publisher(
        publishing,
        sender,
        partitions,
        bulk=_bulk_topics(everything),
        apart=apart,
        clock=shared,
        retention=retention_of(settings),
    )
    units.emitted = publisher.wake
    telemetry.outbox(publisher.age_seconds)
    runners: dict[str, Runner] = {}

    def wake(name: str) -> None:
        woken: Callable[[], None] | None = getattr(runners.get(name), "wake", None)
        if woken:
            woken()

    def wake_all(names: set[str]) -> None:
        for name in names:
            wake(name)

    units.woken = wake_all
    intake = spool = None
    if home is not None:
        spool = Spool(home / "spool.db", settings.spool_bytes_max, shared)
        spool.start()
        producers.append(KafkaProducer(options, prefix, partitions, noted))
        intake = DurableAppend(producers[-1], spool, shared, dead_letter=_burial(units, shared, settings))
        units.intake = intake.append
    ends = EndsRefresher(logs, settings)
    resources = Resources(settings, shared, config, units, reads, ends, telemetry, wake)
    keys = auth.keys_of(settings, shared, config)
    chosen = tuple(service for service in everything if service.name in wanted)
    crews = [
        crew_of(service, heard, logs, resources, options, fixed=fixed)
        for service in chosen
        for heard in _apart(service, fixed=fixed)
    ]
    watch = DatabaseMonitor(PostgresReader(engine, at_once=1), config, shared, telemetry)
    ticks = [tick for service in chosen for tick in service.ticks]
    sweeps = [
        *standard_sweeps(retention_of(settings), database_bytes_max=None),
        *(s for one in chosen for s in one.sweeps),
    ]
    everyone: list[Runner] = [
        watch,
        publisher,
        CachedKeys(keys, units, reads, home),
        *(Ticker(tick, units, shared) for tick in ticks),
        Housekeeping(sweeps, units),
        *(runner for service in chosen if service.runners for runner in service.runners(resources)),
        Gauges(WorkerRunner(crews), reads, telemetry, queues=not {GATEWAY, "router"}.isdisjoint(wanted)),
    ]
    if intake is not None:
        everyone.append(intake)
    runners |= {runner.name: runner for runner in everyone}
    if READ_ADDRESSES & set(wanted):
        normalisation.company_domain(WARM)  # its list takes a while to load, and the first lead should not wait
    made = Distributed(
        resources,
        config,
        everything,
        runners,
        logs,
        crews,
        keys,
        _nothing,
        units,
        reads,
        publisher,
        producers,
        intake,
        spool,
        lock,
    )
    for log in logs:
        log.stuck = made.give_up
    made.app = _app(made, wanted, watch)
    return made


def _burial(units: PostgresUnits, clock: Clock, settings: Settings) -> Callable[[Row, str], Awaitable[None]]:
    """Keeps a row of the spool that the broker will never take."""
    retention = retention_of(settings)

    async def dead_letter(row: Row, why: str) -> None:
        place = f"{row.topic}/{partition_of(row.key, settings.kafka_partitions)}"
        await units.run(
            lambda unit: dead_letter_refused(unit.connection, row, place, why, at=clock.real(), retention=retention)
        )

    return dead_letter


def _bulk_topics(services: Sequence[Service]) -> set[str]:
    """The topics nobody waits for: each of their readers lets them gather."""
    return {
        topic for topic in ALL if all(topic in service.linger_seconds for service in services if topic in service.hears)
    }


def _apart(service: Service, *, fixed: bool) -> list[tuple[str, ...]]:
    """The topics of a service: those somebody waits for, and those nobody waits for, which are read at another pace."""
    if fixed:
        return [tuple(service.hears)] if service.hears else []
    bulk = tuple(topic for topic in service.hears if topic in service.linger_seconds)
    now = tuple(topic for topic in service.hears if topic not in service.linger_seconds)
    return [topics for topics in (now, bulk) if topics]


def crew_of(
    service: Service,
    topics: Sequence[str],
    logs: list[KafkaLog],
    resources: Resources,
    options: Mapping[str, object],
    *,
    fixed: bool,
) -> PartitionWorkers:
    """The service's view of these topics in Kafka, added to `logs`, and its workers."""
    settings = resources.settings

    def make(topic: str, partitions: Sequence[int]) -> Worker:
        return Worker(
            service.name,
            topic,
            service.hears[topic],
            log,
            resources.units,
            resources.telemetry,
            partitions,
            linger_seconds=service.linger_seconds.get(topic, 0.0),
            retention=retention_of(settings),
        )

    def apart(topic: str) -> int:
        """Records that nobody waits for share one unit."""
        return 1 if topic in service.linger_seconds else AT_ONCE[Lane.BATCH]

    crew = PartitionWorkers(make, apart, spawn=not fixed)
    log = KafkaLog(
        service.name,
        topics,
        options,
        settings.kafka_prefix,
        bulk=not fixed and all(topic in service.linger_seconds for topic in topics),
        fixed=settings.kafka_partitions if fixed else None,
        positions=crew.positions,
    )
    log.assigned = crew.assigned
    log.waits = crew.waits
    logs.append(log)
    return crew


class WorkerRunner:
    """All workers of now, as a collection that changes."""

    def __init__(self, crews: Sequence[PartitionWorkers]) -> None:
        self._crews = crews

    def __iter__(self) -> Iterator[Worker]:
        return iter([worker for crew in self._crews for worker in crew.workers])

    def __len__(self) -> int:
        return sum(len(crew.workers) for crew in self._crews)

    def __contains__(self, one: object) -> bool:
        return any(one is worker for worker in self)


class EndsRefresher:
    """Where each partition ends, as the brokers say: for those who ask about topics that nobody here reads."""

    first_position = 1

    def __init__(self, logs: Sequence[KafkaLog], settings: Settings) -> None:
        self._logs = logs
        self._settings = settings

    async def ready(self, topic: str, partition: int, after: int) -> None:
        raise NotImplementedError("each service has a log of its own")

    async def ready_any(self, topic: str, after: Mapping[int, int]) -> None:
        raise NotImplementedError("each service has a log of its own")

    async def fetch(self, topic: str, partition: int, after: int, limit: int) -> Sequence[Record]:
        raise NotImplementedError("each service has a log of its own")

    async def end(self, topic: str, partition: int) -> int:
        return (await kafka_admin.ends(self._settings)).get((topic, partition), 0)


# --- HTTP ----------------------------------------------------------------------------------------------------------


async def _nothing(scope: Scope, receive: Receive, send: Send) -> None:
    """Before there is an application."""


def _app(made: Distributed, wanted: Sequence[str], watch: DatabaseMonitor) -> ASGIApp:
    """The front of everything where the gateway runs; health and metrics alone elsewhere."""
    resources = made.resources
    front = GATEWAY in wanted
    routers = [service.api(resources) for service in made.services if service.api] if front else []
    if front:
        routers += [administration.router(resources, made.keys, made.services), schema_export.router()]
    app = create_app(
        title="FirstHour",
        routers=routers,
        telemetry=resources.telemetry,
        ready=lambda: _readiness(made, wanted, watch),
        clock=resources.clock,
        docs=front,
    )
    app.state.keys = made.keys
    return Gateway(resources, made.keys, app) if front else app


def _readiness(made: Distributed, wanted: Sequence[str], watch: DatabaseMonitor) -> Readiness:
    """A gateway is of use while Kafka or its spool accepts; the others while they have their place in the group and a
    database."""
    checks: dict[str, str] = {}
    warnings: list[str] = []
    config = made.resources.config
    warnings += made.keys.warnings()
    if made.intake is not None:
        checks["intake"] = made.intake.ready()
        warnings += made.intake.warnings()
        if made.config.known:
            warnings += secret_warnings(made.config.current)
        if made.intake.spooled:
            warnings.append(f"{made.intake.spooled} events wait in the spool")
    if set(wanted) - {GATEWAY}:
        checks["database"] = watch.database
    elif watch.database != "ok":
        warnings.append(f"database: {watch.database}; events are taken in, actions and questions are not")
    checks |= _reading(made)
    checks |= failing(made.runners.values())
    warnings += waiting_warnings(made.workers)
    publishing, said = _publishing(made.publisher)
    warnings += said
    if made.config.known:
        warnings += paging_warnings(made.runners)
    if set(wanted) - {GATEWAY}:
        checks["publishing"] = publishing
    if config.problem is not None:
        warnings.append(f"configuration refused, version {config.current.version} stays in force: {config.problem}")
    if made.leaving:
        checks["process"] = "is stopping"
    return Readiness(all(said == "ok" for said in checks.values()), checks, tuple(warnings))


def _reading(made: Distributed) -> dict[str, str]:
    """The checks of the consumers: their groups, and partitions and workers that cannot go on."""
    checks = {}
    for log in made.logs:
        checks[f"{log.group}.kafka"] = "ok" if log.joined else "not in its group yet, so no partition is ours"
        for topic, partition in sorted(log.foreign):
            remedy = "the topic was made anew over an old database; delete the rows of `cursors` for it, or restore it"
            checks[f"{log.service}.{topic}/{partition}"] = f"ends before what was read of it: {remedy}"
    return checks | {worker.name: worker.stopped for worker in made.workers if worker.stopped}


def _publishing(publisher: Publisher) -> tuple[str, list[str]]:
    """The check of publishing: `ok`, or how long a record has waited; and warnings, which come earlier."""
    age, warnings = publisher.age(), []
    if publisher.trouble:
        warnings.append(f"publishing waits: {publisher.trouble}")
    if age is None or age.waited < WARNING_AGE:
        return "ok", warnings
    warnings.append(str(age))
    return "ok" if age.waited < NOT_READY_AGE else str(age), warnings


class StartupGate:
    """What answers from the first moment on: health and readiness, and 503 for the rest until there is something behind."""

    def __init__(self, keys: auth.Keys) -> None:
        self.inner: ASGIApp | None = None
        self.waits_for: tuple[str, ...] = ("starting",)
        self._waiting = create_app(title="FirstHour", routers=[], telemetry=Telemetry(), ready=self._ready, docs=False)
        self._waiting.state.keys = keys

    def _ready(self) -> Readiness:
        return Readiness(False, {f"start {n}": said for n, said in enumerate(self.waits_for, 1)})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.inner is not None:
            await self.inner(scope, receive, send)
        elif scope["type"] == "http" and scope["path"] not in OPEN:
            problem = Problem(
                503,
                "Starting",
                "Not ready yet. The operator's log says why, and `/readyz` does with a key.",
                headers={"Retry-After": str(RETRY_SECONDS)},
            )
            shown = scope["path"].startswith(FORMS_PATH) and pages.wants_page(header(scope, b"accept") or b"")
            reply = replies.failed(problem, "", scope["method"], scope["path"], shown)
            headers = [*reply.headers, (b"cache-control", b"no-store")]
            await send({"type": "http.response.start", "status": reply.status, "headers": headers})
            await send({"type": "http.response.body", "body": reply.body})
        else:
            await self._waiting(scope, receive, send)


async def troubles(settings: Settings) -> list[Diagnosis]:
    """What keeps these services from working, as far as it can be seen from here."""
    found = [*await postgres.examine_database(settings), *await kafka_admin.examine(settings)]
    return [one for one in found if one.stops]
