"""Reads the records of one service from Kafka.

Some options of the client differ from its defaults. With more than one assignor, joins take half a minute. With a sticky
assignor, partitions get lost.
"""

import asyncio
import contextlib
import random
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import islice
from typing import Any, Final

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.errors import IllegalStateError

from firsthour.runtime.eventlog.kafka_buffer import PartitionBuffer, ReadRecord, bytes_max
from firsthour.runtime.eventlog.kafka_client import FAILURES, START_SECONDS, result_within, stop_client
from firsthour.runtime.eventlog.log import within
from firsthour.runtime.storage.records import Place, Record

POLL_MS: Final = 1_000
POLLED_MAX: Final = 1_000
LOOK_SECONDS: Final = 5.0  # between two commits of offsets, which only the tools of Kafka read
STUCK_LOOKS: Final = 12  # looks in a row without progress although there are records: the client is stuck
BACKOFF_MAX_SECONDS: Final = 5.0

_CONSUMER: Final[Mapping[str, Any]] = {
    "enable_auto_commit": False,
    "auto_offset_reset": "earliest",
    "partition_assignment_strategy": (RoundRobinPartitionAssignor,),
    "session_timeout_ms": 10_000,
    "heartbeat_interval_ms": 2_000,
    "rebalance_timeout_ms": 30_000,
    "request_timeout_ms": 40_000,
    "max_poll_interval_ms": 300_000,
    "fetch_max_wait_ms": 200,
    "metadata_max_age_ms": 30_000,
}
"""A fetch ends with the first record, so its longest wait delays no record. It delays only a partition that was resumed or assigned
meanwhile, if no other has records."""
_BULK: Final[Mapping[str, Any]] = {"fetch_min_bytes": 64 * 1024, "fetch_max_wait_ms": 200}
"""Options for bulk topics. The client visits every partition at each answer of a broker, so five answers a second are
cheaper than one for each record."""

_FOREIGN: Final[Mapping[str, Any]] = {"isolation_level": "read_committed"}
"""Options for topics to which other programs write: an aborted transaction has no effect."""

_ALONE: Final[Mapping[str, Any]] = {"fetch_max_wait_ms": 10}
"""Options without a group. A record waits for the end of the fetch under way, if that asked for other partitions."""

_log = structlog.get_logger(__name__)


class KafkaLog:
    """A consumer in the group of one service, with the records it has fetched, by partition.

    Positions are offsets + 1, so that 0 is before the first record. A partition that is not assigned to this process has
    no records.
    """

    first_position = 1

    def __init__(
        self,
        service: str,
        topics: Iterable[str],
        options: Mapping[str, Any],
        prefix: str,
        *,
        bulk: bool = False,
        fixed: int | None = None,
        positions: Callable[[], Mapping[Place, int]] = dict,
        assigned: Callable[[set[Place]], None] = lambda places: None,
        waits: Callable[[Place], str | None] = lambda place: None,
        stuck: Callable[[str], None] = lambda why: None,
        read: Callable[[int, str, Any], Record] | None = None,
        gap: Callable[[int], Record] | None = None,
    ) -> None:
        """Describe the consumer; `run` starts it.

        Args:
            service: the service that reads; the group has its name.
            topics: the topics to read.
            options: the options of the client.
            prefix: the prefix of topic names.
            bulk: the topics are read in bulk, in a group of their own.
            fixed: the number of partitions of each topic, to read all of them without a group (in tests).
            positions: returns the positions of the workers.
            assigned: called with the partitions that are assigned to this process, whenever they change.
            waits: returns the reason why the worker of a partition makes no progress; None: it waits for nothing.
            stuck: called when the consumer cannot recover, with the reason.
            read: makes a record of its position, its topic and the message. None: the records are events of ours.
            gap: makes a record of positions at which there is nothing to read, in topics to which others write in transactions.
        """
        self.service = service
        self.group = f"{service}.bulk" if bulk else service
        self.name = f"{self.group}.consumer"
        self._bulk = bulk
        self._topics = sorted(topics)
        self._options = options
        self._prefix = prefix
        self._fixed = fixed
        self._positions = positions
        self._read, self._gap = read, gap
        self._buffers: dict[Place, PartitionBuffer] = {}
        self._news: dict[str, asyncio.Event] = {}  # by topic: set when records were fetched
        self._ends: dict[Place, int] = {}
        self._consumer: AIOKafkaConsumer | None = None
        self._no_progress: dict[Place, tuple[int, int]] = {}  # position, and the number of looks since it was reached
        self._silent = False
        self.joined = False
        self.foreign: set[Place] = set()  # partitions that end before their cursor
        self.assigned = assigned
        self.waits = waits
        self.stuck = stuck

    @property
    def ours(self) -> set[Place]:
        """The partitions that are assigned to this process now."""
        return set(self._buffers)

    def held(self, place: Place) -> int:
        """Return the number of records of a partition in memory."""
        buffer = self._buffers.get(place)
        return 0 if buffer is None else len(buffer.records)

    # --- EventLog ---

    async def ready(self, topic: str, partition: int, after: int) -> None:
        await self.ready_any(topic, {partition: after})

    async def ready_any(self, topic: str, after: Mapping[int, int]) -> None:
        news = self._news.setdefault(topic, asyncio.Event())
        while True:
            for partition, at in after.items():
                buffer = self._buffers.get((topic, partition))
                if buffer is not None:
                    self._seek(topic, partition, buffer, at)
                    if buffer.records:
                        return
            news.clear()
            await news.wait()

    async def fetch(self, topic: str, partition: int, after: int, limit: int) -> Sequence[Record]:
        buffer = self._buffers.get((topic, partition))
        if buffer is None:
            return []
        self._seek(topic, partition, buffer, after)
        return within(islice(buffer.records, limit))

    async def end(self, topic: str, partition: int) -> int:
        return self.newest((topic, partition))

    def newest(self, place: Place) -> int:
        """Return the newest position of a partition, as far as this process has learned."""
        buffer = self._buffers.get(place)
        high_water = None
        if self._consumer is not None and buffer is not None:
            with contextlib.suppress(*FAILURES):
                high_water = self._consumer.highwater(self._tp(place))
        buffered = buffer.end if buffer is not None and buffer.sought else 0
        return max(self._ends.get(place, 0), high_water or 0, buffered)

    def note(self, place: Place, position: int) -> None:
        """Note that there is a record at this position."""
        if position > self._ends.get(place, 0):
            self._ends[place] = position

    def _seek(self, topic: str, partition: int, buffer: PartitionBuffer, after: int) -> None:
        """Drop the records in memory up to `after`. If the next one is not in memory, seek to it."""
        tp = self._tp((topic, partition))
        if not buffer.sought or not buffer.floor <= after <= buffer.end:
            if self._consumer is None:
                return
            with contextlib.suppress(IllegalStateError):  # no longer assigned to this process
                self._consumer.seek(tp, after)
                buffer.sought = True
            buffer.restart(after)
        buffer.drop_to(after)
        if buffer.paused and self._consumer is not None and buffer.is_low(bytes_max(len(self._buffers))):
            with contextlib.suppress(IllegalStateError):
                self._consumer.resume(tp)
            buffer.paused = False

    # --- the consumer ---

    async def run(self) -> None:
        """Consume for ever. A failed client is replaced by a new one."""
        failures = 0
        while True:
            try:
                await self._session()
            except FAILURES as failure:
                self._failed(failure)
            except BaseExceptionGroup as group:
                failures_of_client, others = group.split(FAILURES)
                if others is not None:
                    raise others from None
                self._failed(failures_of_client.exceptions[0] if failures_of_client is not None else group)
            failures = 0 if self.joined else failures + 1
            self.joined = False
            pause = min(BACKOFF_MAX_SECONDS, 0.1 * 2 ** min(failures, 8))
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311  # jitter

    async def step(self) -> bool:
        """Do nothing: records are fetched in the background."""
        return False

    async def _session(self) -> None:
        group = {} if self._fixed is not None else {"group_id": f"{self._prefix}{self.group}"}
        pace = _ALONE if self._fixed is not None else _BULK if self._bulk else {}
        foreign = {} if self._gap is None else _FOREIGN
        consumer = AIOKafkaConsumer(**self._options, **{**_CONSUMER, **pace, **foreign}, **group)
        try:
            async with asyncio.timeout(START_SECONDS):
                await consumer.start()
            self._consumer = consumer
            if self._fixed is not None:
                places = {(topic, n) for topic in self._topics for n in range(self._fixed)}
                consumer.assign([self._tp(place) for place in sorted(places)])
                self.joined = True
                self._assign(places)
            else:
                consumer.subscribe([self._prefix + topic for topic in self._topics], listener=_Listener(self))
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._pump(consumer))
                tasks.create_task(self._look(consumer))
        finally:
            self._consumer = None
            self._assign(set())
            await asyncio.shield(stop_client(consumer.stop()))

    async def _pump(self, consumer: AIOKafkaConsumer) -> None:
        while True:
            fetched = await consumer.getmany(timeout_ms=POLL_MS, max_records=POLLED_MAX)
            for tp, messages in fetched.items():
                self._buffer(consumer, tp, messages)
            if self._gap is not None:
                await self._add_gaps(consumer, self._gap)
            if fetched:
                self._silent = False
                await asyncio.sleep(0)  # workers run first

    async def _add_gaps(self, consumer: AIOKafkaConsumer, gap: Callable[[int], Record]) -> None:
        """Note where the client has passed positions at which there is nothing to read.

        It moves its position with the records that it returns, and with a seek, so what lies between holds none.
        """
        for place, buffer in list(self._buffers.items()):
            with contextlib.suppress(IllegalStateError):  # no longer assigned to this process
                position = await consumer.position(self._tp(place))
                if buffer.sought and self._buffers.get(place) is buffer and position > buffer.end:
                    buffer.add_gap(gap(position))
                    self._news.setdefault(place[0], asyncio.Event()).set()

    def _buffer(self, consumer: AIOKafkaConsumer, tp: TopicPartition, messages: Sequence[Any]) -> None:
        buffer = self._buffers.get(self._place(tp))
        if buffer is None or not buffer.sought:
            return
        buffer.add(messages)
        topic, _ = self._place(tp)
        self._news.setdefault(topic, asyncio.Event()).set()
        if not buffer.paused and buffer.is_full(bytes_max(len(self._buffers))):
            buffer.paused = True
            with contextlib.suppress(IllegalStateError):
                consumer.pause(tp)

    def _assign(self, places: set[Place]) -> None:
        """Replace the assigned partitions. Fetched records are dropped, and pauses end."""
        self._buffers = {place: PartitionBuffer(self._reader_of(place[0])) for place in places}
        for news in self._news.values():
            news.set()
        self._no_progress = {}
        self.assigned(places)

    def _reader_of(self, topic: str) -> ReadRecord | None:
        read = self._read
        return None if read is None else lambda position, message: read(position, topic, message)

    # --- watching ---

    async def _look(self, consumer: AIOKafkaConsumer) -> None:
        """Commit the positions to Kafka, ask for the ends of the partitions, and check for progress."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            positions = {place: at for place, at in self._positions().items() if place in self._buffers}
            tps = {self._tp(place): at for place, at in positions.items()}
            if tps and self._fixed is None:
                await result_within(LOOK_SECONDS, consumer.commit(tps))
            ends = await result_within(LOOK_SECONDS, consumer.end_offsets(list(tps)))
            for tp, end in (ends or {}).items():
                self.note(self._place(tp), end)
                self._compare(self._place(tp), positions.get(self._place(tp), 0), end)
            self.watch(positions, {self._place(tp) for tp in ends or {}})

    def watch(self, positions: Mapping[Place, int], answered: Collection[Place]) -> None:
        """Count the looks in a row at which a partition makes no progress, although it has records, its broker answers and
        its worker does not wait. After a minute of such looks the client is stuck."""
        for place, position in positions.items():
            was, looks = self._no_progress.get(place, (position, 0))
            excused = place not in answered or self.waits(place) is not None
            moved = position != was or self.newest(place) <= position
            self._no_progress[place] = (position, 0 if moved or excused else looks + 1)
            if self._no_progress[place][1] >= STUCK_LOOKS:
                self.stuck(
                    f"{self.service} makes no progress at {place[0]}/{place[1]}/{position} although there are records"
                )

    def _compare(self, place: Place, position: int, end: int) -> None:
        """Check that the topic does not end before the cursor. If it does, the topic was replaced, and its records are not
        read."""
        if end < position and place not in self.foreign:
            _log.error("topic end before cursor", consumer=self.service, topic=place[0], partition=place[1])
        (self.foreign.add if end < position else self.foreign.discard)(place)

    def _failed(self, failure: BaseException) -> None:
        if not self._silent:
            _log.warning("broker unreachable", consumer=self.service, error_type=type(failure).__name__)
        self._silent = True

    def _tp(self, place: Place) -> TopicPartition:
        return TopicPartition(self._prefix + place[0], place[1])

    def _place(self, tp: TopicPartition) -> Place:
        return tp.topic.removeprefix(self._prefix), tp.partition


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]  # the client has no types
    """Called by the client when partitions are assigned. It takes no lock and does not wait."""

    def __init__(self, log: KafkaLog) -> None:
        self._log = log

    def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        self._log._assign(set())

    def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        self._log.joined = True
        self._log._assign({self._log._place(tp) for tp in assigned})
