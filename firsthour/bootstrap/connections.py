"""The objects that all parts of a distributed process share: settings, clock, configuration and connections."""

from collections.abc import Sequence
from pathlib import Path

from sqlalchemy.ext.asyncio import AsyncEngine

from firsthour.bootstrap.partitions import (
    KafkaClients,
)
from firsthour.bootstrap.runners import ProcessState, RunnerRegistry
from firsthour.bootstrap.services import bulk_topics
from firsthour.runtime.clock import Clock, SharedClock
from firsthour.runtime.connectivity import connection_options
from firsthour.runtime.eventlog.dead_letters import retention_of
from firsthour.runtime.eventlog.publisher import CONNECTIONS, SESSION, Publisher
from firsthour.runtime.observability.metrics import Telemetry
from firsthour.runtime.processing.service import Service
from firsthour.runtime.settings import Settings
from firsthour.runtime.storage.config_versions import AppliedConfig
from firsthour.runtime.storage.postgres import AT_ONCE, PostgresUnits, database_now
from firsthour.runtime.storage.postgres_connections import ConnectionPool, open_engine
from firsthour.runtime.storage.postgres_reader import READING_AT_ONCE, StatementReader


class ProcessBase:
    """The settings, clock and clients of one process, which its parts share."""

    def __init__(
        self, settings: Settings, service_names: Sequence[str], home: Path | None, clock: Clock | None
    ) -> None:
        """Create the clients; none connects yet.

        `home`: the directory of a gateway's caches. `clock`: see `open_distributed`.
        """
        self.settings = settings
        self.service_names = frozenset(service_names)
        self.name = f"firsthour {'+'.join(service_names)}".strip()  # the name of its sessions on the database server
        self.clock_by_hand = clock is not None
        self.clock = clock or SharedClock()
        self.config = AppliedConfig(self.clock, settings.config_dir, home)
        self.url, self.connect_arguments = connection_options.database(settings)
        self.clients = KafkaClients(settings)
        self.registry = RunnerRegistry()
        self.state = ProcessState()
        self.telemetry = Telemetry()


def open_publisher(base: ProcessBase, services: Sequence[Service]) -> Publisher:
    """Return the publisher. `services`: all services of the installation, not only those of this process.

    Its connections are separate, because its transactions wait for the broker and those of units do not. A second producer
    sends the rows of partitions in trouble.
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


def open_units(base: ProcessBase, publisher: Publisher) -> PostgresUnits:
    """Return the units. After each commit they wake the publisher and the runners that the unit names."""
    return PostgresUnits(
        ConnectionPool(base.url, base.connect_arguments, size=sum(AT_ONCE.values()), application_name=base.name),
        base.clock,
        base.config.of,
        partitions=base.settings.kafka_partitions,
        ask=None if base.clock_by_hand else database_now,
        emitted=publisher.wake,
        woken=base.registry.wake_all,
    )


def open_reading_engine(base: ProcessBase) -> AsyncEngine:
    """Return the engine for queries."""
    name = f"{base.name} reads"
    return open_engine(base.url, base.connect_arguments, size=READING_AT_ONCE, application_name=name)


def open_looks(base: ProcessBase) -> StatementReader:
    """Return the reader of the monitor. It has its own connection, so that it waits for no query."""
    name = f"{base.name} monitor"
    return StatementReader(ConnectionPool(base.url, base.connect_arguments, size=1, application_name=name))
