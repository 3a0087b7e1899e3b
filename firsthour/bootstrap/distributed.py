"""A process of the distributed profile: some services over Apache Kafka and PostgreSQL, with the handlers of one process.

Every process publishes the rows that it commits. A gateway serves the HTTP of every service. It accepts events while the
database is unreachable, and stores them in its spool while the broker is. Other processes answer health and metrics only.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from starlette.types import ASGIApp

from firsthour.bootstrap.app import gateway_app, health_app
from firsthour.bootstrap.connections import (
    ProcessBase,
    open_looks,
    open_publisher,
    open_reading_engine,
    open_units,
)
from firsthour.bootstrap.database_monitor import DATABASE_MONITOR, DatabaseMonitor
from firsthour.bootstrap.distributed_readiness import DistributedReadiness
from firsthour.bootstrap.gateway_front import GatewayFront, open_front
from firsthour.bootstrap.monitors import Gauges
from firsthour.bootstrap.partitions import (
    BrokerEnds,
    CurrentWorkers,
    KafkaClients,
    PartitionReading,
    PartitionWorkers,
)
from firsthour.bootstrap.refreshers import KEY_REFRESHER, KeyRefresher
from firsthour.bootstrap.runners import ProcessState, load_lists, run_all, service_runners
from firsthour.bootstrap.services import GATEWAY, NOTIFIER, READ_ADDRESSES, ROUTER, all_services
from firsthour.operations.audit.auditor import Auditor
from firsthour.operations.audit.checks import records_are_published
from firsthour.operations.audit.heartbeat import Heartbeat
from firsthour.operations.distributed_profile_checks import DISTRIBUTED_CHECKS
from firsthour.runtime.clock import Clock
from firsthour.runtime.eventlog.dead_letters import retention_of
from firsthour.runtime.eventlog.kafka_consumer import KafkaLog
from firsthour.runtime.eventlog.publisher import Publisher
from firsthour.runtime.http import auth
from firsthour.runtime.processing.service import Resources, Runner, Service
from firsthour.runtime.processing.worker import Worker
from firsthour.runtime.settings import Settings
from firsthour.runtime.storage.config_versions import AppliedConfig
from firsthour.runtime.storage.data_directory import hold
from firsthour.runtime.storage.postgres import PostgresUnits
from firsthour.runtime.storage.postgres_reader import PostgresReader, StatementReader
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
    looks: StatementReader  # of the monitor
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
        """Step every runner until nothing is due at this moment, for tests. The logs run as tasks meanwhile."""
        await self._hear()
        idle: set[str] = set()  # these are stepped again only after another runner has done something
        while len(idle) < len(self.runners):
            for name, runner in self.runners.items():
                if name in idle:
                    continue
                while await runner.step():
                    idle.clear()
                idle.add(name)
            if await self._hear():  # a tick may have emitted something
                idle.clear()

    async def _hear(self) -> bool:
        """Publish and process until nothing more is emitted; return whether anything was done."""
        worked, busy = False, True
        while busy:
            busy = await self.publisher.step()
            for worker in self.workers:
                while worker.stopped is None and await worker.lag() > 0:
                    await worker.wait()
                    busy = await worker.step() or busy
            worked = worked or busy
        return worked

    async def close(self) -> None:
        """Finish the running work, publish the remaining rows, and release the data directory."""
        for crew in self.crews:
            await crew.dismiss()
        await self.publisher.close()
        await self.clients.close()
        if self.front is not None:
            await self.front.spool.close()
        await self.units.close()
        await self.reads.close()
        await self.looks.close()
        if self.front is not None:
            self.front.lock.close()


# --- opening it ----------------------------------------------------------------------------------------------------


async def open_distributed(
    settings: Settings,
    service_names: Sequence[str],
    channels: Mapping[str, Channel],
    *,
    clock: Clock | None = None,
    fixed: bool = False,
) -> Distributed:
    """Connect the parts of a process; nothing runs yet. Neither database nor broker need to be reachable.

    Args:
        settings: the settings of the process.
        service_names: the services that run here.
        channels: the channels that deliver pages, by name.
        clock: a clock that tests set by hand. None: the clock of the database.
        fixed: the process reads all partitions without a consumer group, and the caller steps the workers (for tests).
    """
    lock = hold(settings.data_dir) if GATEWAY in service_names else None
    home = settings.data_dir if lock is not None else None
    base = ProcessBase(settings, service_names, home, clock)
    installation = _services_of(settings, channels)
    services = tuple(service for service in installation if service.name in service_names)
    publisher = open_publisher(base, installation)
    units, engine = open_units(base, publisher), open_reading_engine(base)
    reads, looks = PostgresReader(engine), open_looks(base)
    front = open_front(base, lock, units) if lock is not None else None
    log = BrokerEnds(settings)
    resources = Resources(settings, base.clock, base.config, units, reads, log, base.telemetry, base.registry.wake)
    keys = auth.keys_of(settings, base.clock, base.config)
    crews = PartitionReading(base.clients, resources, base.state, fixed).workers(services)
    monitor = DatabaseMonitor(looks, base.config, base.clock, base.telemetry)
    base.registry.add([monitor, publisher, KeyRefresher(keys, units, reads, home)])
    base.registry.add(service_runners(services, resources, embedded=False))
    if NOTIFIER in service_names:
        heartbeat = Heartbeat(settings.heartbeat_url, base.telemetry)
        base.registry.add([Auditor(resources, records_are_published(settings.kafka_partitions), heartbeat)])
    base.registry.add(_last_runners(base, crews, reads, front))
    load_lists(suffixes=bool(READ_ADDRESSES & set(service_names)), holidays=NOTIFIER in service_names)
    ready = _readiness(base, keys, monitor, publisher, crews, front)
    app: ASGIApp = health_app(resources, keys, ready)
    if front is not None:
        app = gateway = gateway_app(resources, keys, installation, ready, DISTRIBUTED_CHECKS)
        base.registry.add(gateway.runners)
    return Distributed(
        resources=resources,
        config=base.config,
        services=installation,
        runners=base.registry.runners,
        crews=crews,
        keys=keys,
        app=app,
        state=base.state,
        units=units,
        reads=reads,
        looks=looks,
        clients=base.clients,
        publisher=publisher,
        front=front,
    )


def _services_of(settings: Settings, channels: Mapping[str, Channel]) -> tuple[Service, ...]:
    """Return all services. The gateway also reads what other programs write to Kafka."""
    inbound = retention_of(settings)
    return all_services(channels, settings.public_url, settings.clock_skew_seconds, inbound=inbound)


def _last_runners(
    base: ProcessBase, crews: Sequence[PartitionWorkers], reads: PostgresReader, front: GatewayFront | None
) -> list[Runner]:
    """Return the gauges, which report on every other runner, and the intake, which empties the spool."""
    queues = not {GATEWAY, ROUTER}.isdisjoint(base.service_names)
    gauges = Gauges(CurrentWorkers(crews), reads, base.telemetry, queues=queues)
    return [gauges] if front is None else [gauges, front.intake]


def _readiness(
    base: ProcessBase,
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
        more=bool(base.service_names - {GATEWAY}),
    )
