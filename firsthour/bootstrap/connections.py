"""The settings, the clock and the connections that the parts of a process of the distributed profile share."""

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
from firsthour.runtime.storage.postgres_reader import READING_AT_ONCE


class ProcessBase:
    """The settings, clock, configuration and connections that the parts of a process share."""

    def __init__(self, settings: Settings, wanted: Sequence[str], home: Path | None, clock: Clock | None) -> None:
        """Prepare the clients; nothing connects yet. `home`: for the caches of a gateway; `clock`: see `open_distributed`."""
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


def open_publisher(base: ProcessBase, services: Sequence[Service]) -> Publisher:
    """Return the publisher, with a second producer for partitions in trouble. `services`: of the whole installation.

    It has its own connections, because only its transactions wait for a network.
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


def open_reading_engine(base: ProcessBase) -> AsyncEngine:
    """Return the connections of queries, and one more for the monitor, which must not wait for queries."""
    name = f"{base.name} reads"
    return open_engine(base.url, base.connect_arguments, size=READING_AT_ONCE + 1, application_name=name)
