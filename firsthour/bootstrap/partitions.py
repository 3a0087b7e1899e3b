"""The Kafka clients of a process, and the workers on the partitions that are assigned to it."""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from firsthour.bootstrap.runners import ProcessState, keep_running
from firsthour.runtime.connectivity import connection_options
from firsthour.runtime.eventlog import kafka_admin
from firsthour.runtime.eventlog.dead_letters import retention_of
from firsthour.runtime.eventlog.inbound_record import inbound_gap, inbound_record
from firsthour.runtime.eventlog.kafka_consumer import KafkaLog
from firsthour.runtime.eventlog.kafka_producer import KafkaProducer
from firsthour.runtime.processing.service import Resources, Service
from firsthour.runtime.processing.worker import Worker
from firsthour.runtime.settings import Settings
from firsthour.runtime.storage.postgres import AT_ONCE
from firsthour.runtime.storage.records import Place, Record
from firsthour.runtime.storage.unit import Lane
from schemas.topics import INBOUND


class KafkaClients:
    """The producers of a process, and a log for each consumer group that it is in."""

    def __init__(self, settings: Settings) -> None:
        self.options = connection_options.kafka_options(settings)
        self.prefix = settings.kafka_prefix
        self.partitions = settings.kafka_partitions
        self.producers: list[KafkaProducer] = []
        self.logs: list[KafkaLog] = []

    def producer(self) -> KafkaProducer:
        """Return a new producer. The logs of this process get the positions of its records."""
        producer = KafkaProducer(self.options, self.prefix, self.partitions, self._note)
        self.producers.append(producer)
        return producer

    def _note(self, place: Place, position: int) -> None:
        for log in self.logs:
            log.note(place, position)

    async def close(self) -> None:
        """Close the producers. Logs end with their tasks."""
        for producer in self.producers:
            await producer.close()


class PartitionWorkers:
    """The workers of one service on the partitions that are assigned to this process."""

    def __init__(
        self, make: Callable[[str, Sequence[int]], Worker], shares: Callable[[str], int], *, spawn: bool
    ) -> None:
        """Start without partitions.

        Args:
            make: makes the worker of a topic for some of its partitions.
            shares: returns among how many workers the partitions of a topic are divided.
            spawn: the workers run as tasks; otherwise the caller steps them.
        """
        self._make = make
        self._shares = shares
        self._spawn = spawn
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopped: dict[str, str] = {}  # why the consumer of a topic stopped: a new assignment does not start it
        self.workers: list[Worker] = []

    def assigned(self, places: set[Place]) -> None:
        """Work on exactly these partitions. A running unit is finished; its cursor decides whether it is committed."""
        for task in self._tasks:
            task.cancel()
        self._stopped |= {worker.topic: worker.stopped for worker in self.workers if worker.stopped}
        by_topic: dict[str, list[int]] = {}
        for topic, partition in sorted(places):
            by_topic.setdefault(topic, []).append(partition)
        self.workers = [
            self._make(topic, share)
            for topic, partitions in by_topic.items()
            for share in _divided(partitions, self._shares(topic))
        ]
        for worker in self.workers:
            worker.stopped = self._stopped.get(worker.topic)
        if self._spawn:
            self._tasks = {asyncio.create_task(keep_running(worker)) for worker in self.workers}

    def waits(self, place: Place) -> str | None:
        """Return why the worker of this partition makes no progress. None: it can."""
        workers = (worker for worker in self.workers if worker.topic == place[0] and place[1] in worker.partitions)
        return next((worker.stopped or worker.waits_for for worker in workers), "no worker has it")

    def positions(self) -> dict[Place, int]:
        """Return the positions that the workers have read from their cursors."""
        return {place: at for worker in self.workers for place, at in worker.positions.items()}

    async def dismiss(self) -> None:
        """End every worker."""
        tasks = self._tasks
        self.assigned(set())
        await asyncio.gather(*tasks, return_exceptions=True)


def _divided(partitions: Sequence[int], shares: int) -> list[Sequence[int]]:
    """Divide partitions into at most so many shares, none of them empty."""
    return [partitions[n::shares] for n in range(min(shares, len(partitions)))]


@dataclass(frozen=True)
class PartitionReading:
    """The means by which the workers of every service read their partitions. `fixed`: see `open_distributed`."""

    clients: KafkaClients
    resources: Resources
    state: ProcessState
    fixed: bool

    def workers(self, services: Sequence[Service]) -> list[PartitionWorkers]:
        """Return the workers of these services, each with a log of its own among `clients.logs`."""
        return [
            self._workers_of(service, topics) for service in services for topics in _groups(service, fixed=self.fixed)
        ]

    def _workers_of(self, service: Service, topics: Sequence[str]) -> PartitionWorkers:
        def make(topic: str, partitions: Sequence[int]) -> Worker:
            return Worker(
                service.name,
                topic,
                service.hears[topic],
                log,
                self.resources.units,
                self.resources.telemetry,
                partitions,
                linger_seconds=service.linger_seconds.get(topic, 0.0),
                retention=retention_of(self.resources.settings),
                notes_seen=topic != INBOUND,  # the id of such a record is its place, which the cursor has
            )

        def shares(topic: str) -> int:
            """Return 1 for a bulk topic: its records share one unit."""
            return 1 if topic in service.linger_seconds else AT_ONCE[Lane.BATCH]

        clients, foreign = self.clients, INBOUND in topics
        workers = PartitionWorkers(make, shares, spawn=not self.fixed)
        log = KafkaLog(
            service.name,
            topics,
            clients.options,
            clients.prefix,
            bulk=not self.fixed and all(topic in service.linger_seconds for topic in topics),
            fixed=clients.partitions if self.fixed else None,
            positions=workers.positions,
            assigned=workers.assigned,
            waits=workers.waits,
            stuck=_begin_anew if foreign else self.state.give_up,
            read=inbound_record if foreign else None,
            gap=inbound_gap if foreign else None,
        )
        clients.logs.append(log)
        return workers


def _begin_anew(why: str) -> None:
    """Raise `TimeoutError`, which replaces the client. A gateway does not end for it: it accepts events meanwhile."""
    raise TimeoutError(why)


def _groups(service: Service, *, fixed: bool) -> list[tuple[str, ...]]:
    """Return the topics of a service by consumer group: bulk topics have a group of their own, which reads less often."""
    if fixed:
        return [tuple(service.hears)] if service.hears else []
    bulk = tuple(topic for topic in service.hears if topic in service.linger_seconds)
    prompt = tuple(topic for topic in service.hears if topic not in service.linger_seconds)
    return [topics for topics in (prompt, bulk) if topics]


class CurrentWorkers:
    """The workers of the current assignment of partitions."""

    def __init__(self, crews: Sequence[PartitionWorkers]) -> None:
        self._crews = crews

    def __iter__(self) -> Iterator[Worker]:
        return iter([worker for crew in self._crews for worker in crew.workers])

    def __len__(self) -> int:
        return sum(len(crew.workers) for crew in self._crews)

    def __contains__(self, one: object) -> bool:
        return any(one is worker for worker in self)


class BrokerEnds:
    """An event log that returns only the ends of partitions, for topics that this process does not read."""

    first_position = 1

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    async def ready(self, topic: str, partition: int, after: int) -> None:
        raise NotImplementedError("each service has a log of its own")

    async def ready_any(self, topic: str, after: Mapping[int, int]) -> None:
        raise NotImplementedError("each service has a log of its own")

    async def fetch(self, topic: str, partition: int, after: int, limit: int) -> Sequence[Record]:
        raise NotImplementedError("each service has a log of its own")

    async def end(self, topic: str, partition: int) -> int:
        return (await kafka_admin.ends(self._settings)).get((topic, partition), 0)
