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
from firsthour.runtime.eventlog.spool import Spool
from firsthour.runtime.http import auth
from firsthour.runtime.observability.metrics import Telemetry
from firsthour.runtime.processing.service import Resources, Runner, Service
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
from firsthour.runtime.storage.records import Row, partition_of
from firsthour.runtime.storage.sqlite import hold
from services.notifier.channels.base import Channel

# --- the open process ----------------------------------------------------------------------------------------------


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
    intake: DurableAppend | None = None  # None: the gateway does not run here; then there is no spool and no lock
    spool: Spool | None = None
    lock: IO[str] | None = None

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
        if self.spool is not None:
            await self.spool.close()
        await self.units.close()
        await self.reads.close()
        if self.lock is not None:
            self.lock.close()


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
    home = settings.data_dir if GATEWAY in wanted else None
    lock = hold(home) if home is not None else None
    shared = clock or SharedClock()
    config = AppliedConfig(shared, settings.config_dir, home)
    everything = all_services(channels, None, settings.clock_skew_seconds)
    services = tuple(service for service in everything if service.name in wanted)
    registry, state, clients, telemetry = RunnerRegistry(), ProcessState(), KafkaClients(settings), Telemetry()
    database = _Database(settings, f"firsthour {'+'.join(wanted)}".strip())
    publisher = _publisher(settings, shared, database, clients, everything)
    telemetry.outbox(publisher.age_seconds)
    units = PostgresUnits(
        database.pool(sum(AT_ONCE.values())),
        shared,
        config.of,
        partitions=settings.kafka_partitions,
        ask=None if clock is not None else database_now,
        emitted=publisher.wake,
        woken=registry.wake_all,
    )
    engine = database.engine()
    reads = PostgresReader(engine)
    intake, spool = _open_intake(home, settings, shared, clients, units) if home is not None else (None, None)
    resources = Resources(settings, shared, config, units, reads, BrokerEnds(settings), telemetry, registry.wake)
    keys = auth.keys_of(settings, shared, config)
    crews = PartitionReading(clients, resources, state, fixed).workers(services)
    workers = CurrentWorkers(crews)
    monitor = DatabaseMonitor(PostgresReader(engine, at_once=1), config, shared, telemetry)
    queues = not {GATEWAY, ROUTER}.isdisjoint(wanted)
    registry.add([monitor, publisher, KeyRefresher(keys, units, reads, home)])
    registry.add(service_runners(services, resources, embedded=False))
    registry.add([Gauges(workers, reads, telemetry, queues=queues), *([intake] if intake is not None else [])])
    if READ_ADDRESSES & set(wanted):
        load_company_domains()
    more = bool(set(wanted) - {GATEWAY})
    ready = DistributedReadiness(
        config, keys, monitor, publisher, workers, clients.logs, registry.runners, state, intake, more
    )
    app = health_app(resources, keys, ready) if home is None else gateway_app(resources, keys, everything, ready)
    return Distributed(
        resources,
        config,
        everything,
        registry.runners,
        crews,
        keys,
        app,
        state,
        units,
        reads,
        clients,
        publisher,
        intake,
        spool,
        lock,
    )


class _Database:
    """Makes connections to the database of an installation."""

    def __init__(self, settings: Settings, name: str) -> None:
        """`name`: of the process, as the server shows it."""
        self._url, self._arguments = connection_options.database(settings)
        self._name = name

    def pool(self, size: int) -> ConnectionPool:
        """Return the connections of units."""
        return ConnectionPool(self._url, self._arguments, size=size, application_name=self._name)

    def publishing_pool(self) -> ConnectionPool:
        """Return the connections of the publisher, whose transactions alone wait for a network."""
        name = "firsthour publisher"
        return ConnectionPool(self._url, self._arguments, size=CONNECTIONS, application_name=name, **SESSION)

    def engine(self) -> AsyncEngine:
        """Return the connections of readers: of questions, and one of the monitor, which waits for no question."""
        name = f"{self._name} reads"
        return open_engine(self._url, self._arguments, size=READING_AT_ONCE + 1, application_name=name)


def _publisher(
    settings: Settings, clock: Clock, database: _Database, clients: KafkaClients, services: Sequence[Service]
) -> Publisher:
    """Return the publisher, with a second producer for partitions in trouble. `services`: of the whole installation."""
    return Publisher(
        database.publishing_pool(),
        clients.producer(),
        settings.kafka_partitions,
        bulk=bulk_topics(services),
        apart=clients.producer(),
        clock=clock,
        retention=retention_of(settings),
    )


def _open_intake(
    home: Path, settings: Settings, clock: Clock, clients: KafkaClients, units: PostgresUnits
) -> tuple[DurableAppend, Spool]:
    """Start the spool, and let the gateway append to the broker or to it instead of the outbox."""
    spool = Spool(home / "spool.db", settings.spool_bytes_max, clock)
    spool.start()
    intake = DurableAppend(clients.producer(), spool, clock, dead_letter=_dead_letter_of(units, clock, settings))
    units.intake = intake.append  # assigned here, because dead letters of the spool need units themselves
    return intake, spool


def _dead_letter_of(units: PostgresUnits, clock: Clock, settings: Settings) -> Callable[[Row, str], Awaitable[None]]:
    """Return the function that stores a row of the spool which the broker refuses for good, and why."""
    retention = retention_of(settings)

    async def dead_letter(row: Row, why: str) -> None:
        place = f"{row.topic}/{partition_of(row.key, settings.kafka_partitions)}"
        await units.run(
            lambda unit: dead_letter_refused(unit.connection, row, place, why, at=clock.real(), retention=retention)
        )

    return dead_letter
