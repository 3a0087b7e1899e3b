"""Apache Kafka as the event log: what sends to it, and what a service reads from it.

Nothing here is trusted with correctness. Where a reader stands is the cursor in the database; offsets are committed to
Kafka only so that lag shows in its tools. A rebalance, a zombie or a client that went astray costs time, no more.

The values given to the client are not its defaults, each for a reason: an idempotent producer of this client never
times out while the broker is down; with more than one assignor, joins take half a minute; a sticky one loses partitions.
"""

import asyncio
import contextlib
import logging
import random
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import islice
from typing import Any, Final

import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener, TopicPartition
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.errors import (
    IllegalStateError,
    KafkaError,
    LeaderNotAvailableError,
    MessageSizeTooLargeError,
    RecordListTooLargeError,
)

from firsthour.runtime.eventlog.durable_append import SEND_SECONDS, BrokerError, RecordRefusedError
from firsthour.runtime.eventlog.log import within
from firsthour.runtime.storage.records import Place, Record, Row, partition_of
from schemas.envelope import CONTENT_TYPE, UnknownEventError

REQUEST_MS: Final = 5_000
START_SECONDS: Final = 15.0
STOP_SECONDS: Final = 8.0
POLL_MS: Final = 1_000
POLLED_MAX: Final = 1_000
BUFFER_HIGH: Final = 1_000  # records of a partition in memory: no more are fetched
BUFFER_LOW: Final = 250
BUFFER_BYTES: Final = 64 * 1024 * 1024  # of all partitions together
BUFFER_BYTES_MIN: Final = 1024 * 1024  # of a partition, however many there are
BATCH_BYTES: Final = 256 * 1024
LOOK_SECONDS: Final = 5.0  # between commits of offsets, which are for people to look at
STUCK_LOOKS: Final = 12  # this often without a move, though there are records: the client has gone astray
BACKOFF_MAX_SECONDS: Final = 5.0

_HEADERS: Final = [("content-type", CONTENT_TYPE.encode())]
_PRODUCER: Final[Mapping[str, Any]] = {
    "acks": "all",
    "enable_idempotence": False,
    "request_timeout_ms": REQUEST_MS,
    "linger_ms": 0,
    "max_batch_size": BATCH_BYTES,
    "metadata_max_age_ms": 30_000,
}
_CONSUMER: Final[Mapping[str, Any]] = {
    "enable_auto_commit": False,
    "auto_offset_reset": "earliest",
    "partition_assignment_strategy": (RoundRobinPartitionAssignor,),
    "session_timeout_ms": 10_000,
    "heartbeat_interval_ms": 2_000,
    "rebalance_timeout_ms": 30_000,
    "request_timeout_ms": 40_000,
    "max_poll_interval_ms": 300_000,
    "fetch_max_wait_ms": 50,
    "metadata_max_age_ms": 30_000,
}
_BULK: Final[Mapping[str, Any]] = {"fetch_min_bytes": 64 * 1024, "fetch_max_wait_ms": 200}
"""Of a consumer whose records nobody waits for. Each answer of a broker costs this client a look at every partition: it is
cheaper to be answered five times a second than at each record."""

_FAILURES: Final = (KafkaError, OSError, TimeoutError)
_FOR_GOOD: Final = (MessageSizeTooLargeError, RecordListTooLargeError)
"""Answers of a broker to records that it will never take."""

_log = structlog.get_logger(__name__)
logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # it warns at every retry; what matters is said here, once

_NO_LEADER: Final = (None, -1)

Noted = Callable[[Place, int], None]


def _unnoted(place: Place, position: int) -> None:
    """Nobody wants to know."""


# --- sending -----------------------------------------------------------------------------------------------------


class KafkaProducer:
    """Sends, and throws its client away after every failure: one that timed out may hold what nobody wants sent later."""

    def __init__(self, options: Mapping[str, Any], prefix: str, partitions: int, noted: Noted = _unnoted) -> None:
        """`noted` is told where acknowledged records stand."""
        self._options = options
        self._prefix = prefix
        self._partitions = partitions
        self._noted = noted
        self._client: AIOKafkaProducer | None = None
        self._uses: dict[AIOKafkaProducer, int] = {}  # calls under way on a client
        self._starting = asyncio.Lock()
        self._ending: set[asyncio.Task[None]] = set()

    async def send(self, rows: Sequence[Row], seconds: float = SEND_SECONDS) -> None:
        """All of these, acknowledged by every broker in sync when it returns. Raises `BrokerError` within `seconds`;
        some may have arrived."""
        client: AIOKafkaProducer | None = None
        try:
            async with asyncio.timeout(seconds):
                client = await self._started()
                if len(rows) == 1:
                    await self._one(client, rows[0])
                else:
                    await self._several(client, rows)
        except _FOR_GOOD as refusal:
            raise RecordRefusedError(type(refusal).__name__) from refusal
        except _FAILURES as failure:
            self._drop(client)
            raise BrokerError(f"the broker did not take it: {type(failure).__name__}") from failure
        except BaseExceptionGroup as several:
            failures, others = several.split((*_FAILURES, RecordRefusedError))
            if failures is None or others is not None:
                raise
            self._drop(client)
            raise BrokerError(f"the broker did not take it: {_kind(failures)}") from failures

    async def publish(self, topic: str, partition: int, rows: Sequence[tuple[str, bytes]]) -> None:
        """These keys and bodies, in order: one batch under way, the next after its acknowledgement. Raises `BrokerError`,
        `RecordRefusedError`. Other calls on the same client go on, whatever becomes of this one."""
        client: AIOKafkaProducer | None = None
        try:
            async with asyncio.timeout(START_SECONDS):
                client = await self._started()
                self._uses[client] = self._uses.get(client, 0) + 1
                await self._led(client, TopicPartition(self._prefix + topic, partition))
            await self._batches(client, topic, partition, rows)
        except _FAILURES as failure:
            self._drop(client)
            raise BrokerError(f"the broker did not take it: {type(failure).__name__}") from failure
        except asyncio.CancelledError:
            self._drop(client)
            raise
        finally:
            if client is not None:
                self._leave(client)

    @staticmethod
    async def _led(client: AIOKafkaProducer, tp: TopicPartition) -> None:
        """Raise `LeaderNotAvailableError` at once for a partition without a leader: the client itself would go on asking for
        five seconds."""
        if client.client.cluster.leader_for_partition(tp) in _NO_LEADER:
            await client.partitions_for(tp.topic)
        if client.client.cluster.leader_for_partition(tp) in _NO_LEADER:
            await client.client.force_metadata_update()
        if client.client.cluster.leader_for_partition(tp) in _NO_LEADER:
            raise LeaderNotAvailableError

    async def answers(self) -> bool:
        """Whether the broker can be reached now."""
        client: AIOKafkaProducer | None = None
        try:
            async with asyncio.timeout(SEND_SECONDS):
                client = await self._started()
                return bool(await client.client.force_metadata_update())
        except _FAILURES:
            self._drop(client)
            return False

    async def close(self) -> None:
        """Let go; nothing is under way any more."""
        self._drop(self._client)
        while self._ending:
            await asyncio.wait(self._ending)

    @staticmethod
    def _add(batch: Any, key: str, body: bytes) -> bool:
        return batch.append(key=key.encode(), value=body, timestamp=None, headers=_HEADERS) is not None

    async def _one(self, client: AIOKafkaProducer, row: Row) -> None:
        """By itself: the client makes a batch of what others send at the same moment."""
        place = (row.topic, partition_of(row.key, self._partitions))
        future: asyncio.Future[Any] = await client.send(
            self._prefix + row.topic, row.body, key=row.key.encode(), partition=place[1], headers=_HEADERS
        )
        future.add_done_callback(_heard)
        self._noted(place, (await future).offset + 1)

    async def _several(self, client: AIOKafkaProducer, rows: Sequence[Row]) -> None:
        """Batches of our own, so that after a failure no later row of a key is left to be sent."""
        places: dict[Place, list[tuple[str, bytes]]] = {}
        for row in rows:
            places.setdefault((row.topic, partition_of(row.key, self._partitions)), []).append((row.key, row.body))
        async with asyncio.TaskGroup() as group:
            for (topic, partition), these in places.items():
                group.create_task(self._batches(client, topic, partition, these))

    async def _batches(
        self, client: AIOKafkaProducer, topic: str, partition: int, rows: Sequence[tuple[str, bytes]]
    ) -> None:
        """Raises `RecordRefusedError` for a record that was refused by itself; a refused batch is sent again in halves."""
        sent, limit = 0, len(rows)
        while sent < len(rows):
            batch = client.create_batch()
            count = 0
            while count < limit and sent + count < len(rows) and self._add(batch, *rows[sent + count]):
                count += 1
            future = await client.send_batch(batch, self._prefix + topic, partition=partition)
            future.add_done_callback(_heard)
            try:
                offset = (await future).offset
            except _FOR_GOOD as refusal:
                if count == 1:
                    raise RecordRefusedError(type(refusal).__name__, sent) from refusal
                limit = count // 2
                continue
            self._noted((topic, partition), offset + count)
            sent += count

    async def _started(self) -> AIOKafkaProducer:
        if self._client is not None:
            return self._client
        async with self._starting:
            if self._client is None:
                client = AIOKafkaProducer(**self._options, **_PRODUCER)
                try:
                    await client.start()
                except BaseException:
                    self._end(client)
                    raise
                self._client = client
            return self._client

    def _drop(self, client: AIOKafkaProducer | None) -> None:
        """No new call gets this client. It ends when the calls under way on it have."""
        if client is not None and client is self._client:
            self._client = None
            if client not in self._uses:
                self._end(client)

    def _leave(self, client: AIOKafkaProducer) -> None:
        self._uses[client] -= 1
        if not self._uses[client]:
            del self._uses[client]
            if client is not self._client:
                self._end(client)

    def _end(self, client: AIOKafkaProducer) -> None:
        task = asyncio.create_task(_ended(client.stop()))
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)


def _kind(failures: BaseExceptionGroup[Any]) -> str:
    """What went wrong, in a word."""
    first: BaseException = failures
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    return type(first).__name__


def _heard(future: "asyncio.Future[Any]") -> None:
    """A failure that nobody waits for any more is no surprise."""
    if not future.cancelled():
        future.exception()


async def _within(seconds: float, asking: Any) -> Any:
    """Its answer; None when it failed or took longer. It is left to end by itself: the client takes a cancellation ill."""
    task = asyncio.ensure_future(asking)
    task.add_done_callback(_heard)
    done, _ = await asyncio.wait([task], timeout=seconds)
    return task.result() if done and not task.cancelled() and task.exception() is None else None


async def _ended(stopping: Any) -> None:
    """End a client, whatever state it is in."""
    with contextlib.suppress(*_FAILURES):
        async with asyncio.timeout(STOP_SECONDS):
            await stopping


# --- reading -----------------------------------------------------------------------------------------------------


class _Feed:
    """What was fetched of one partition. Every record beyond `floor`, up to `end`, is in memory."""

    def __init__(self) -> None:
        self.records: deque[Record] = deque()
        self.size = 0  # bytes of their bodies
        self.floor = self.end = 0
        self.sought = False  # whether the client stands where the reader wants it
        self.paused = False


class KafkaLog:
    """One service's view of Kafka: a consumer in the service's group, and what it has fetched, by partition.

    Positions are offsets + 1, so that 0 is before the first record. A partition that is not ours has no records.
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
    ) -> None:
        """`bulk`: nobody waits for these topics; they are read in a group of their own. `fixed`: read all that many partitions of each topic, in no group (tests do). `positions`: how far workers are."""
        self.service = service
        self.group = f"{service}.bulk" if bulk else service
        self.name = f"{self.group}.consumer"
        self._bulk = bulk
        self._topics = sorted(topics)
        self._options = options
        self._prefix = prefix
        self._fixed = fixed
        self._positions = positions
        self._feeds: dict[Place, _Feed] = {}
        self._news: dict[str, asyncio.Event] = {}  # by topic: something was fetched
        self._ends: dict[Place, int] = {}
        self._consumer: AIOKafkaConsumer | None = None
        self._still: dict[Place, tuple[int, int]] = {}  # position, and how many looks ago it was reached
        self._silent = False
        self.joined = False
        self.foreign: set[Place] = set()  # partitions that end before our cursor
        self.assigned: Callable[[set[Place]], None] = lambda places: None
        self.waits: Callable[[Place], str | None] = lambda place: None  # why the reader of a partition stands still
        self.stuck: Callable[[str], None] = lambda why: None

    @property
    def ours(self) -> set[Place]:
        """The partitions that are ours now."""
        return set(self._feeds)

    def held(self, place: Place) -> int:
        """How many records of a partition are in memory."""
        feed = self._feeds.get(place)
        return 0 if feed is None else len(feed.records)

    @property
    def _room(self) -> int:
        """Bytes of a partition in memory from which on no more are fetched."""
        return max(BUFFER_BYTES_MIN, BUFFER_BYTES // max(1, len(self._feeds)))

    # --- EventLog ---

    async def ready(self, topic: str, partition: int, after: int) -> None:
        await self.ready_any(topic, {partition: after})

    async def ready_any(self, topic: str, after: Mapping[int, int]) -> None:
        news = self._news.setdefault(topic, asyncio.Event())
        while True:
            for partition, at in after.items():
                feed = self._feeds.get((topic, partition))
                if feed is not None:
                    self._stand(topic, partition, feed, at)
                    if feed.records:
                        return
            news.clear()
            await news.wait()

    async def fetch(self, topic: str, partition: int, after: int, limit: int) -> Sequence[Record]:
        feed = self._feeds.get((topic, partition))
        if feed is None:
            return []
        self._stand(topic, partition, feed, after)
        return within(islice(feed.records, limit))

    async def end(self, topic: str, partition: int) -> int:
        return self.newest((topic, partition))

    def newest(self, place: Place) -> int:
        """The newest position that is known."""
        known = self._ends.get(place, 0)
        feed = self._feeds.get(place)
        mark = None
        if self._consumer is not None and feed is not None:
            with contextlib.suppress(*_FAILURES):
                mark = self._consumer.highwater(self._tp(place))
        return max(known, mark or 0, feed.end if feed is not None and feed.sought else 0)

    def note(self, place: Place, position: int) -> None:
        """A record stands there."""
        if position > self._ends.get(place, 0):
            self._ends[place] = position

    def _stand(self, topic: str, partition: int, feed: _Feed, after: int) -> None:
        """See that what is in memory begins after `after`; seek when the reader is elsewhere."""
        tp = self._tp((topic, partition))
        if not feed.sought or not feed.floor <= after <= feed.end:
            if self._consumer is None:
                return
            with contextlib.suppress(IllegalStateError):  # no longer ours
                self._consumer.seek(tp, after)
                feed.sought = True
            feed.records.clear()
            feed.size = 0
            feed.floor = feed.end = after
        while feed.records and feed.records[0].position <= after:
            feed.size -= len(feed.records.popleft().body)
        feed.floor = after
        low = len(feed.records) <= BUFFER_LOW and feed.size <= self._room // 4
        if feed.paused and low and self._consumer is not None:
            with contextlib.suppress(IllegalStateError):
                self._consumer.resume(tp)
            feed.paused = False

    # --- the consumer ---

    async def run(self) -> None:
        """Consume for ever; a client that failed is thrown away and made anew."""
        failures = 0
        while True:
            try:
                await self._session()
            except _FAILURES as failure:
                self._failed(failure)
            except BaseExceptionGroup as failed:
                mine, others = failed.split(_FAILURES)
                if others is not None:
                    raise others from None
                self._failed(mine.exceptions[0] if mine is not None else failed)
            failures = 0 if self.joined else failures + 1
            self.joined = False
            pause = min(BACKOFF_MAX_SECONDS, 0.1 * 2 ** min(failures, 8))
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311  # jitter

    async def step(self) -> bool:
        """Nothing to be moved by hand: what is fetched is fetched beside everything else."""
        return False

    async def _session(self) -> None:
        group = {} if self._fixed is not None else {"group_id": f"{self._prefix}{self.group}"}
        pace = _BULK if self._bulk else {}
        consumer = AIOKafkaConsumer(**self._options, **{**_CONSUMER, **pace}, **group)
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
            await asyncio.shield(_ended(consumer.stop()))

    async def _pump(self, consumer: AIOKafkaConsumer) -> None:
        while True:
            fetched = await consumer.getmany(timeout_ms=POLL_MS, max_records=POLLED_MAX)
            for tp, messages in fetched.items():
                self._buffer(consumer, tp, messages)
            if fetched:
                self._silent = False
                await asyncio.sleep(0)  # readers go first

    def _buffer(self, consumer: AIOKafkaConsumer, tp: TopicPartition, messages: Sequence[Any]) -> None:
        feed = self._feeds.get(self._place(tp))
        if feed is None or not feed.sought:
            return
        for message in messages:
            position = message.offset + 1
            if position > feed.end:
                record = _record(position, message)
                feed.records.append(record)
                feed.size += len(record.body)
                feed.end = position
        topic, _ = self._place(tp)
        self._news.setdefault(topic, asyncio.Event()).set()
        if (len(feed.records) >= BUFFER_HIGH or feed.size >= self._room) and not feed.paused:
            feed.paused = True
            with contextlib.suppress(IllegalStateError):
                consumer.pause(tp)

    def _assign(self, places: set[Place]) -> None:
        """These partitions are ours now, and no others. What was fetched before is forgotten, pauses too."""
        self._feeds = {place: _Feed() for place in places}
        for news in self._news.values():
            news.set()
        self._still = {}
        self.assigned(places)

    # --- looking at it ---

    async def _look(self, consumer: AIOKafkaConsumer) -> None:
        """Tell Kafka how far we are, ask how far it is, and see that things move."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            positions = {place: at for place, at in self._positions().items() if place in self._feeds}
            tps = {self._tp(place): at for place, at in positions.items()}
            if tps and self._fixed is None:
                await _within(LOOK_SECONDS, consumer.commit(tps))
            ends = await _within(LOOK_SECONDS, consumer.end_offsets(list(tps)))
            for tp, end in (ends or {}).items():
                self.note(self._place(tp), end)
                self._compare(self._place(tp), positions.get(self._place(tp), 0), end)
            self.watch(positions, {self._place(tp) for tp in ends or {}})

    def watch(self, positions: Mapping[Place, int], answered: Collection[Place]) -> None:
        """Count the looks in a row at which a partition does not move, though it has records, its broker answers and its
        reader waits for nothing else. After a minute of those the client has gone astray."""
        for place, position in positions.items():
            was, looks = self._still.get(place, (position, 0))
            excused = place not in answered or self.waits(place) is not None
            moved = position != was or self.newest(place) <= position
            self._still[place] = (position, 0 if moved or excused else looks + 1)
            if self._still[place][1] >= STUCK_LOOKS:
                self.stuck(f"{self.service} stands at {place[0]}/{place[1]}/{position} though there are records")

    def _compare(self, place: Place, position: int, end: int) -> None:
        """A topic that ends before our cursor is another one than that we read: its records would go unread."""
        if end < position and place not in self.foreign:
            _log.error("topic ends before the cursor", consumer=self.service, topic=place[0], partition=place[1])
        (self.foreign.add if end < position else self.foreign.discard)(place)

    def _failed(self, failure: BaseException) -> None:
        if not self._silent:
            _log.warning("consumer waits for the broker", consumer=self.service, error_type=type(failure).__name__)
        self._silent = True

    def _tp(self, place: Place) -> TopicPartition:
        return TopicPartition(self._prefix + place[0], place[1])

    def _place(self, tp: TopicPartition) -> Place:
        return tp.topic.removeprefix(self._prefix), tp.partition


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]  # the client has no types
    """Told by the client which partitions are ours. It takes no lock and waits for nothing."""

    def __init__(self, log: KafkaLog) -> None:
        self._log = log

    def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        self._log._assign(set())

    def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        self._log.joined = True
        self._log._assign({self._log._place(tp) for tp in assigned})


def _record(position: int, message: Any) -> Record:
    """A record as its readers want it. One that is none of ours is known by its place."""
    record = Record(position, (message.key or b"").decode(errors="replace"), "", message.value or b"")
    try:
        record.event_id = record.envelope.id
    except UnknownEventError:
        record.event_id = f"{message.topic}/{message.partition}/{message.offset}"
    return record
