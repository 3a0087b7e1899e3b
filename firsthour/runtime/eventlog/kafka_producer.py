"""Sends records to Kafka.

The options of the client are not its defaults: an idempotent producer of this library never times out while the broker
is down.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import LeaderNotAvailableError, MessageSizeTooLargeError, RecordListTooLargeError

from firsthour.runtime.eventlog.kafka_client import FAILURES, START_SECONDS, ignore_result, stop_client
from firsthour.runtime.eventlog.producer import SEND_SECONDS, BrokerError, RecordRejectedError
from firsthour.runtime.storage.records import Place, Row, partition_of
from schemas.envelope import CONTENT_TYPE

REQUEST_MS: Final = 5_000
BATCH_BYTES: Final = 256 * 1024

_HEADERS: Final = [("content-type", CONTENT_TYPE.encode())]
_PRODUCER: Final[Mapping[str, Any]] = {
    "acks": "all",
    "enable_idempotence": False,
    "request_timeout_ms": REQUEST_MS,
    "linger_ms": 0,
    "max_batch_size": BATCH_BYTES,
    "metadata_max_age_ms": 30_000,
}
_PERMANENT: Final = (MessageSizeTooLargeError, RecordListTooLargeError)
"""Answers of a broker that rejects a record permanently."""
_NO_LEADER: Final = (None, -1)

Acknowledged = Callable[[Place, int], None]
"""Called with the partition and the position of the last record that was acknowledged there."""


def _ignore_position(place: Place, position: int) -> None:
    """The positions of acknowledged records are not needed."""


class KafkaProducer:
    """Sends records. After every failure its client is discarded, since it may hold records that must not be sent later."""

    def __init__(
        self, options: Mapping[str, Any], prefix: str, partitions: int, acknowledged: Acknowledged = _ignore_position
    ) -> None:
        """Describe the producer; its client starts with the first record.

        Args:
            options: the options of the client.
            prefix: the prefix of topic names.
            partitions: the number of partitions of each topic.
            acknowledged: called with the position of acknowledged records.
        """
        self._options = options
        self._prefix = prefix
        self._partitions = partitions
        self._acknowledged = acknowledged
        self._client: AIOKafkaProducer | None = None
        self._uses: dict[AIOKafkaProducer, int] = {}  # running calls, by client
        self._starting = asyncio.Lock()
        self._ending: set[asyncio.Task[None]] = set()

    async def send(self, rows: Sequence[Row], seconds: float = SEND_SECONDS) -> None:
        """Send the rows, and return once every broker in sync has acknowledged them.

        Raises:
            BrokerError: within `seconds`; some of the rows may have arrived.
            RecordRejectedError: the broker rejects one of them permanently.
        """
        client: AIOKafkaProducer | None = None
        try:
            async with asyncio.timeout(seconds):
                client = await self._started()
                if len(rows) == 1:
                    await self._one(client, rows[0])
                else:
                    await self._several(client, rows)
        except _PERMANENT as rejection:
            raise RecordRejectedError(type(rejection).__name__) from rejection
        except FAILURES as failure:
            self._drop(client)
            raise BrokerError(f"the broker did not acknowledge it: {type(failure).__name__}") from failure
        except BaseExceptionGroup as group:
            failures, others = group.split((*FAILURES, RecordRejectedError))
            if failures is None or others is not None:
                raise
            self._drop(client)
            raise BrokerError(f"the broker did not acknowledge it: {_kind(failures)}") from failures

    async def publish(self, topic: str, partition: int, rows: Sequence[tuple[str, bytes]]) -> None:
        """Send keys and bodies in order, each batch after the acknowledgement of the one before.

        A failure does not affect other calls on the same client. Raises `BrokerError`, `RecordRejectedError`.
        """
        client: AIOKafkaProducer | None = None
        try:
            async with asyncio.timeout(START_SECONDS):
                client = await self._started()
                self._uses[client] = self._uses.get(client, 0) + 1
                await self._led(client, TopicPartition(self._prefix + topic, partition))
            await self._batches(client, topic, partition, rows)
        except FAILURES as failure:
            self._drop(client)
            raise BrokerError(f"the broker did not acknowledge it: {type(failure).__name__}") from failure
        except asyncio.CancelledError:
            self._drop(client)
            raise
        finally:
            if client is not None:
                self._leave(client)

    @staticmethod
    async def _led(client: AIOKafkaProducer, tp: TopicPartition) -> None:
        """Raise `LeaderNotAvailableError` at once for a partition without a leader. The client itself would retry for five
        seconds."""
        if client.client.cluster.leader_for_partition(tp) in _NO_LEADER:
            await client.partitions_for(tp.topic)
        if client.client.cluster.leader_for_partition(tp) in _NO_LEADER:
            await client.client.force_metadata_update()
        if client.client.cluster.leader_for_partition(tp) in _NO_LEADER:
            raise LeaderNotAvailableError

    async def answers(self) -> bool:
        """Return whether the broker can be reached now."""
        client: AIOKafkaProducer | None = None
        try:
            async with asyncio.timeout(SEND_SECONDS):
                client = await self._started()
                return bool(await client.client.force_metadata_update())
        except FAILURES:
            self._drop(client)
            return False

    async def close(self) -> None:
        """Close the client. No call may be running."""
        self._drop(self._client)
        while self._ending:
            await asyncio.wait(self._ending)

    @staticmethod
    def _add(batch: Any, key: str, body: bytes) -> bool:
        return batch.append(key=key.encode(), value=body, timestamp=None, headers=_HEADERS) is not None

    async def _one(self, client: AIOKafkaProducer, row: Row) -> None:
        """Send one row. The client puts rows of the same moment into one batch."""
        place = (row.topic, partition_of(row.key, self._partitions))
        future: asyncio.Future[Any] = await client.send(
            self._prefix + row.topic, row.body, key=row.key.encode(), partition=place[1], headers=_HEADERS
        )
        future.add_done_callback(ignore_result)
        self._acknowledged(place, (await future).offset + 1)

    async def _several(self, client: AIOKafkaProducer, rows: Sequence[Row]) -> None:
        """Send rows in batches of our own: after a failure the client then holds no later row of the same key."""
        places: dict[Place, list[tuple[str, bytes]]] = {}
        for row in rows:
            places.setdefault((row.topic, partition_of(row.key, self._partitions)), []).append((row.key, row.body))
        async with asyncio.TaskGroup() as group:
            for (topic, partition), batch in places.items():
                group.create_task(self._batches(client, topic, partition, batch))

    async def _batches(
        self, client: AIOKafkaProducer, topic: str, partition: int, rows: Sequence[tuple[str, bytes]]
    ) -> None:
        """Send the rows of one partition. A rejected batch is sent again in halves.

        Raises:
            RecordRejectedError: a record was rejected in a batch of its own.
        """
        sent, limit = 0, len(rows)
        while sent < len(rows):
            batch = client.create_batch()
            count = 0
            while count < limit and sent + count < len(rows) and self._add(batch, *rows[sent + count]):
                count += 1
            future = await client.send_batch(batch, self._prefix + topic, partition=partition)
            future.add_done_callback(ignore_result)
            try:
                offset = (await future).offset
            except _PERMANENT as rejection:
                if count == 1:
                    raise RecordRejectedError(type(rejection).__name__, sent) from rejection
                limit = count // 2
                continue
            self._acknowledged((topic, partition), offset + count)
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
        """Use another client for new calls. This one is stopped once its running calls have ended."""
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
        task = asyncio.create_task(stop_client(client.stop()))
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)


def _kind(failures: BaseExceptionGroup[Any]) -> str:
    """Return the class of the first failure."""
    first: BaseException = failures
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    return type(first).__name__
