"""One process of many: some services over Apache Kafka and PostgreSQL, the same handlers as in one process.

Every process publishes what it commits. A `gateway` serves the HTTP of every service, and accepts events while the database
is unreachable, and into its spool while the broker is; the others answer health and metrics alone.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.types import ASGIApp

from firsthour.bootstrap.app import gateway_app, health_app
from firsthour.bootstrap.monitors import DATABASE_MONITOR, DatabaseMonitor, Gauges
from firsthour.bootstrap.partitions import (
    BrokerEnds,
    CurrentWorkers,
    KafkaClients,
    PartitionReading,
    PartitionWorkers,
)
from firsthour.bootstrap.readiness import DistributedReadiness
from firsthour.bootstrap.refreshers import KEY_REFRESHER, KeyRefresher
from firsthour.bootstrap.runners import ProcessState, RunnerRegistry, load_company_domains, run_all, service_runners
from firsthour.bootstrap.services import GATEWAY, READ_ADDRESSES, ROUTER, all_services, bulk_topics
from firsthour.runtime.clock import Clock, SharedClock
from firsthour.runtime.connectivity import connection_options
from firsthour.runtime.eventlog.dead_letters import dead_letter_refused, retention_of
from firsthour.runtime.eventlog.durable_append import DurableAppend
from firsthour.runtime.eventlog.kafka_consumer import KafkaLog
from firsthour.runtime.eventlog.publisher import CONNECTIONS, SESSION, Publisher
from firsthour.runtime.eventlog.spool import FILE, Spool
from firsthour.runtime.http import auth
from firsthour.runtime.observability.metrics import Telemetry
from firsthour.runtime.processing.service import Resources, Runner, Service
from firsthour.runtime.processing.worker import Worker
from firsthour.runtime.settings import Settings
from firsthour.runtime.storage.config_versions import AppliedConfig
from firsthour.runtime.storage.data_directory import hold
from firsthour.runtime.storage.postgres import AT_ONCE, PostgresUnits, database_now
from firsthour.runtime.storage.postgres_connections import ConnectionPool, open_engine
from firsthour.runtime.storage.postgres_reader import READING_AT_ONCE, PostgresReader
from firsthour.runtime.storage.records import Row, partition_of
from firsthour.runtime.storage.unit import Unit
from services.notifier.channels.base import Channel

# --- the open process ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class GatewayFront:
    """The parts of a process with a gateway: the lock of its data directory, the spool in it, and the append that fills it."""

    lock: IO[str]
    spool: Spool
    intake: DurableAppend


@dataclass
class Distributed:
    """Everything of one process. `open_distributed` makes it."""

    resources: Resources
    config: AppliedConfig
    services: tuple[Service, ...]  # of the installation; some of them run here
    runners: dict[str, Runner]
    crews: list[PartitionWorkers]
    keys: auth.Keys
    app: ASGIApp
    state: ProcessState
    units: PostgresUnits
    reads: PostgresReader
    clients: KafkaClients
    publisher: Publisher
    front: GatewayFront | None  # None: the gateway does not run here

    @property
    def logs(self) -> list[KafkaLog]:
        """The consumers of this process, one for each group."""
        return self.clients.logs

    @property
    def workers(self) -> list[Worker]:
        """The workers on the partitions that are assigned to this process now."""
        return [worker for crew in self.crews for worker in crew.workers]

    async def refresh(self) -> None:
        """Read configuration, time and keys once, as their runners do at intervals."""
        for name in (DATABASE_MONITOR, KEY_REFRESHER):
            await self.runners[name].step()

    async def run(self) -> None:
        """Run everything until cancelled. Raises `StuckError` when a Kafka consumer cannot recover."""
        async with asyncio.TaskGroup() as group:
            group.create_task(run_all([*self.runners.values(), *self.logs]))
            await self.state.raise_when_stuck()

    async def settle(self) -> None:
        """Step everything until nothing is due at this moment: how tests let time pass. The logs run beside."""
        await self._hear()
        busy = True
        while busy:
            busy = False
            for runner in self.runners.values():
                while await runner.step():
                    busy = True
            busy = await self._hear() or busy  # a tick may have emitted something

    async def _hear(self) -> bool:
        """Publish and process until nothing more is emitted; return whether anything was done."""
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
        """Finish what is under way, publish what is left, and release the data directory."""
        for crew in self.crews:
            await crew.dismiss()
        await self.publisher.close()
        await self.clients.close()
        if self.front is not None:
            await self.front.spool.close()
        await self.units.close()
        await self.reads.close()
        if self.front is not None:
            self.front.lock.close()


# --- opening it ----------------------------------------------------------------------------------------------------


async def open_distributed(
    settings: Settings,
    wanted: Sequence[str],
    channels: Mapping[str, Channel],
    *,
    clock: Clock | None = None,
    fixed: bool = False,
) -> Distributed:
    """Wire everything; nothing runs yet. Neither database nor broker need to be reachable.

    Args:
        settings: of the process.
        wanted: the services that run here.
        channels: by which pages are delivered.
        clock: set by hand and read instead of the database's clock (tests do). None: a clock shared by the database.
        fixed: this process reads all partitions in no consumer group, and the caller steps the workers (tests do).
    """
    lock = hold(settings.data_dir) if GATEWAY in wanted else None
    home = settings.data_dir if lock is not None else None
    base = _Base(settings, wanted, home, clock)
    everything = all_services(channels, None, settings.clock_skew_seconds)
    services = tuple(service for service in everything if service.name in wanted)
    publisher = _publisher(base, everything)
    units, engine = _units(base, publisher), _reading_engine(base)
    reads = PostgresReader(engine)
    front = _open_front(base, lock, units) if lock is not None else None
    log = BrokerEnds(settings)
    resources = Resources(settings, base.clock, base.config, units, reads, log, base.telemetry, base.registry.wake)
    keys = auth.keys_of(settings, base.clock, base.config)
    crews = PartitionReading(base.clients, resources, base.state, fixed).workers(services)
    monitor = DatabaseMonitor(PostgresReader(engine, at_once=1), base.config, base.clock, base.telemetry)
    base.registry.add([monitor, publisher, KeyRefresher(keys, units, reads, home)])
    base.registry.add(service_runners(services, resources, embedded=False))
    base.registry.add(_last_runners(base, crews, reads, front))
    if READ_ADDRESSES & set(wanted):
        load_company_domains()
    ready = _readiness(base, keys, monitor, publisher, crews, front)
    app = health_app(resources, keys, ready) if front is None else gateway_app(resources, keys, everything, ready)
    return Distributed(
        resources=resources,
        config=base.config,
        services=everything,
        runners=base.registry.runners,
        crews=crews,
        keys=keys,
        app=app,
        state=base.state,
        units=units,
        reads=reads,
        clients=base.clients,
        publisher=publisher,
        front=front,
    )


class _Base:
    """The settings, clock, configuration and connections that the parts of a process share."""

    def __init__(self, settings: Settings, wanted: Sequence[str], home: Path | None, clock: Clock | None) -> None:
        """`home`: where the gateway keeps its caches; `clock`: see `open_distributed`."""
        self.settings = settings
        self.wanted = frozenset(wanted)
        self.name = f"firsthour {'+'.join(wanted)}".strip()  # as the database server shows it
        self.clock_by_hand = clock is not None
        self.clock = clock or SharedClock()
        self.config = AppliedConfig(self.clock, settings.config_dir, home)
        self.url, self.connect_arguments = connection_options.database(settings)
        self.clients = KafkaClients(settings)
        self.registry = RunnerRegistry()
        self.state = ProcessState()
        self.telemetry = Telemetry()


def _publisher(base: _Base, services: Sequence[Service]) -> Publisher:
    """Return the publisher, with a second producer for partitions in trouble. `services`: of the whole installation.

    Its connections are its own: its transactions alone wait for a network.
    """
    publisher = Publisher(
        ConnectionPool(
            base.url, base.connect_arguments, size=CONNECTIONS, application_name="firsthour publisher", **SESSION
        ),
        base.clients.producer(),
        base.settings.kafka_partitions,
        bulk=bulk_topics(services),
        apart=base.clients.producer(),
        clock=base.clock,
        retention=retention_of(base.settings),
    )
    base.telemetry.outbox(publisher.age_seconds)
    return publisher


def _units(base: _Base, publisher: Publisher) -> PostgresUnits:
    """Return the units. A commit reaches the publisher and the runners it wakes."""
    return PostgresUnits(
        ConnectionPool(base.url, base.connect_arguments, size=sum(AT_ONCE.values()), application_name=base.name),
        base.clock,
        base.config.of,
        partitions=base.settings.kafka_partitions,
        ask=None if base.clock_by_hand else database_now,
        emitted=publisher.wake,
        woken=base.registry.wake_all,
    )


def _reading_engine(base: _Base) -> AsyncEngine:
    """Return the connections of readers: of questions, and one of the monitor, which waits for no question."""
    name = f"{base.name} reads"
    return open_engine(base.url, base.connect_arguments, size=READING_AT_ONCE + 1, application_name=name)


def _open_front(base: _Base, lock: IO[str], units: PostgresUnits) -> GatewayFront:
    """Start the spool, and let the gateway append to the broker or to it instead of the outbox."""
    spool = Spool(base.settings.data_dir / FILE, base.settings.spool_bytes_max, base.clock)
    spool.start()
    intake = DurableAppend(base.clients.producer(), spool, base.clock, dead_letter=_dead_letter_of(base, units))
    units.intake = intake.append  # assigned here, because dead letters of the spool need units themselves
    return GatewayFront(lock, spool, intake)


def _dead_letter_of(base: _Base, units: PostgresUnits) -> Callable[[Row, str], Awaitable[None]]:
    """Return the function that stores a row of the spool which the broker refuses for good, and why."""
    retention = retention_of(base.settings)

    async def dead_letter(row: Row, why: str) -> None:
        place = f"{row.topic}/{partition_of(row.key, base.settings.kafka_partitions)}"

        def store(unit: Unit) -> None:
            dead_letter_refused(unit.connection, row, place, why, at=base.clock.real(), retention=retention)

        await units.run(store)

    return dead_letter


def _last_runners(
    base: _Base, crews: Sequence[PartitionWorkers], reads: PostgresReader, front: GatewayFront | None
) -> list[Runner]:
    """Return the gauges, which report on every other runner, and the intake, which empties the spool."""
    queues = not {GATEWAY, ROUTER}.isdisjoint(base.wanted)
    gauges = Gauges(CurrentWorkers(crews), reads, base.telemetry, queues=queues)
    return [gauges] if front is None else [gauges, front.intake]


def _readiness(
    base: _Base,
    keys: auth.Keys,
    monitor: DatabaseMonitor,
    publisher: Publisher,
    crews: Sequence[PartitionWorkers],
    front: GatewayFront | None,
) -> DistributedReadiness:
    return DistributedReadiness(
        config=base.config,
        keys=keys,
        monitor=monitor,
        publisher=publisher,
        workers=CurrentWorkers(crews),
        logs=base.clients.logs,
        runners=base.registry.runners,
        state=base.state,
        intake=front.intake if front is not None else None,
        more=bool(base.wanted - {GATEWAY}),
    )
