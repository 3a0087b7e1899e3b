"""Reads partitions of a topic in batches, and handles each batch in one unit.

If a batch fails, its events are handled one by one. After three failures an event becomes a dead letter, in the unit
that moves the cursor past it; an unknown record and one that is too large do so after one. Too many dead letters mean that
the code is broken, not the events: the worker then stops and logs the reason. An event that is too large for a record does not count, since only its content is at fault.
"""

import asyncio
import random
from collections import deque
from collections.abc import Mapping, Sequence
from functools import partial

import structlog

from firsthour.runtime.eventlog import dead_letters
from firsthour.runtime.eventlog.failure_reason import failure_reason
from firsthour.runtime.eventlog.log import EventLog
from firsthour.runtime.observability.metrics import Telemetry
from firsthour.runtime.processing import cursors
from firsthour.runtime.processing.chain import Chain, FollowerError, followers
from firsthour.runtime.processing.cursors import CursorMovedError
from firsthour.runtime.processing.service import Handler
from firsthour.runtime.storage.records import Place, Record
from firsthour.runtime.storage.sqlite_unit import SqliteUnit
from firsthour.runtime.storage.unit import Lane, StorageError, Unit, Units
from firsthour.runtime.version import VERSION
from schemas.envelope import RecordTooLargeError, UnknownEventError
from schemas.errors import FirstHourError

BATCH_MAX = 500
BATCH_FIRST = 64
TRIES_MAX = 3
DEAD_IN_A_ROW_MAX = 10
DEAD_WINDOW = 1_000
DEAD_SHARE_MAX = 0.05
BACKOFF_MAX_SECONDS = 5.0
_ALONE = Chain(())  # of bulk topics: stores the work of their consumers, and hands nothing on

_log = structlog.get_logger(__name__)

Batches = dict[int, Sequence[Record]]
"""Records by partition, each in order."""


class TooManyDeadLettersError(FirstHourError):
    """Raised when too many events in a row could not be handled. The worker then stops: otherwise broken code would turn
    every event into a dead letter."""


class Worker:
    """Reads some partitions of a topic for one consumer. The records available at one moment share a unit."""

    def __init__(
        self,
        consumer: str,
        topic: str,
        handler: Handler,
        log: EventLog,
        units: Units,
        telemetry: Telemetry,
        partitions: int | Sequence[int] = 0,
        linger_seconds: float = 0.0,
        retention: dead_letters.Retention = dead_letters.DEFAULT,
        notes_seen: bool = True,
    ) -> None:
        """Prepare a worker.

        Args:
            linger_seconds: real time for which records are collected before they are read, to share a unit.
            notes_seen: duplicates of a producer are left out. False: the log holds each record once, by its interface.
        """
        self.chain: Chain | None = None  # hands on what the handler emits; None: other units read it from the log
        self.companions: Sequence[Worker] = ()  # what these have collected shares the unit of this one
        self.turn = asyncio.Lock()  # companions have the same one, so that none reads what another handles
        self.consumer = consumer
        self.topic = topic
        self.partitions = (partitions,) if isinstance(partitions, int) else tuple(partitions)
        self._linger_seconds = linger_seconds
        self._handler = handler
        self._retention = retention
        self._notes_seen = notes_seen
        self._log = log
        self._units = units
        self._telemetry = telemetry
        self._positions: dict[int, int] | None = None
        self._limit = BATCH_FIRST
        self._turn = 0  # the partition that is read first; it changes at each step, so that none starves
        self._recent: deque[bool] = deque(maxlen=DEAD_WINDOW)  # by event; True: a dead letter
        self.stopped: str | None = None  # the reason; None: the worker runs
        self.waits_for: str | None = None  # the problem with the database; None: there is none

    @property
    def name(self) -> str:
        return f"{self.consumer}.{self.topic}"

    @property
    def lingers(self) -> bool:
        """Whether it collects records, since its consumer tolerates a delay."""
        return self._linger_seconds > 0

    @property
    def positions(self) -> dict[Place, int]:
        """The position in each partition; empty before the first read."""
        return {(self.topic, partition): at for partition, at in (self._positions or {}).items()}

    async def wait(self) -> None:
        """Return once there is a record to read."""
        await self._log.ready_any(self.topic, await self._cursors())

    async def run(self) -> None:
        failures = 0
        while self.stopped is None:
            try:
                await self.wait()
                if self._linger_seconds and await self.lag() < self._limit:
                    await asyncio.sleep(self._linger_seconds)
                await self.step()
                failures, self.waits_for = 0, None
            except TooManyDeadLettersError as failure:
                self.stopped = str(failure)
                _log.error("consumer stopped", consumer=self.consumer, topic=self.topic, reason=str(failure))
            except StorageError as failure:
                failures, self.waits_for = failures + 1, str(failure)
                if failures == 1:
                    _log.warning("storage unavailable", consumer=self.consumer, problem=str(failure))
                await asyncio.sleep(min(BACKOFF_MAX_SECONDS, 0.1 * 2 ** min(failures, 6)) * random.uniform(0.5, 1.0))  # noqa: S311  # jitter

    async def step(self) -> bool:
        async with self.turn:
            batches = await self._fetch()
            if not batches:
                return False
            try:
                await self._handle_or_split(batches)
            except CursorMovedError:
                self._positions = None
            return True

    async def lag(self) -> int:
        """Return the number of positions between the cursors and the newest records."""
        positions = await self._cursors()
        return sum([max(0, await self._log.end(self.topic, n) - at) for n, at in positions.items()])

    async def _fetch(self) -> Batches:
        positions, room, batches = await self._cursors(), self._limit, {}
        count = len(self.partitions)
        for n in range(count):
            partition = self.partitions[(self._turn + n) % count]
            batch = await self._log.fetch(self.topic, partition, positions[partition], room)
            if batch:
                batches[partition] = batch
                room -= len(batch)
                if room <= 0:
                    break
        self._turn = (self._turn + 1) % count
        return batches

    async def _cursors(self) -> dict[int, int]:
        """Return the position in each partition. It is read from the database once, and again after a moved cursor."""
        if self._positions is None:

            def work(unit: Unit) -> dict[int, int]:
                return cursors.read_positions(unit, self.consumer, self.topic, self.partitions)

            self._positions = await self._units.run(work, Lane.BATCH)
        return self._positions

    async def _handle_or_split(self, batches: Batches) -> None:
        """Handle all batches in one unit. If that fails, handle each partition by itself; if that fails, each event."""
        try:
            await self._handle_batch(batches)
        except (CursorMovedError, StorageError):
            raise
        except Exception as failure:  # noqa: BLE001  # any failure of a handler leads to smaller units
            _log.warning("batch failed", consumer=self.consumer, topic=self.topic, error_type=type(failure).__name__)
            for partition, batch in batches.items():
                if len(batches) > 1:
                    await self._handle_or_split({partition: batch})
                else:
                    await self._handle_each(partition, batch)

    async def _handle_batch(self, batches: Batches) -> None:
        positions = await self._cursors()
        moves = {partition: (positions[partition], batch[-1].position) for partition, batch in sorted(batches.items())}
        records = [record for batch in batches.values() for record in batch]

        shares = [(other, share) for other in self.companions if (share := await other.offered())]

        def work(unit: Unit, *, alone: bool = True) -> float:
            start = unit.clock.monotonic()
            new = self._advance(unit, moves, records)
            if new:
                self._handler(new, unit)
            if not alone and isinstance(unit, SqliteUnit):
                with followers():
                    for other, share in shares:
                        other.follow(unit, *share)
                    (self.chain or _ALONE).carry(unit)
            return unit.clock.monotonic() - start

        lane = Lane.BULK if self._linger_seconds else Lane.BATCH
        try:
            seconds = await self._units.run(partial(work, alone=False), lane)
        except FollowerError as failure:
            _log.warning(
                "unit repeated without its followers", consumer=self.consumer, topic=self.topic, problem=str(failure)
            )
            seconds = await self._units.run(work, lane)
        self._moved({partition: to for partition, (_, to) in moves.items()})
        self._recent.extend(False for _ in records)
        self._telemetry.unit(self.consumer, seconds, len(records))
        if len(records) == self._limit:
            per_event = max(seconds, 1e-6) / len(records)
            self._limit = max(1, min(BATCH_MAX, self._limit * 2, int(self._units.batch_seconds / per_event)))

    def _advance(self, unit: Unit, moves: cursors.Moves, records: Sequence[Record]) -> Sequence[Record]:
        """Move the cursors, and return the new records. Raises `CursorMovedError`."""
        if self._notes_seen:
            return cursors.advance(unit, self.consumer, self.topic, moves, records)
        cursors.move_cursors(unit, self.consumer, self.topic, moves)
        return records

    async def offered(self) -> tuple[int, Sequence[Record]] | None:
        """Return the next records and the position before them. None: there are none, or several partitions are read."""
        if self.stopped is not None or self.partitions != (0,):
            return None
        position = (await self._cursors())[0]
        records = await self._log.fetch(self.topic, 0, position, self._limit)
        return (position, records) if records else None

    def follow(self, unit: SqliteUnit, end: int, records: Sequence[Record]) -> None:
        """Handle records in the unit of another worker, if this one has handled all before them. Raises what the handler raises."""
        to = records[-1].position
        if self.stopped is not None or not cursors.follow(unit, self.consumer, self.topic, (end, to)):
            return
        start = unit.clock.monotonic()
        new = cursors.only_new(unit, self.consumer, records) if self._notes_seen else records
        if new:
            self._handler(new, unit)
        unit.after.append(partial(self._followed, to, len(records), unit.clock.monotonic() - start))

    def _followed(self, to: int, count: int, seconds: float) -> None:
        """Note records that were handled in the unit of another worker. Called on the loop, after the commit."""
        self._moved({0: to})
        self._recent.extend(False for _ in range(count))
        self._telemetry.unit(self.consumer, seconds, count)

    def _moved(self, to: Mapping[int, int]) -> None:
        """Note the new positions. A position never goes back: the commits of two units may be noted in another order."""
        positions = self._positions
        if positions is not None:  # else they are read again
            positions.update({number: max(position, positions.get(number, 0)) for number, position in to.items()})

    async def _handle_each(self, partition: int, batch: Sequence[Record]) -> None:
        for record in batch:
            for attempt in range(1, TRIES_MAX + 1):
                try:
                    await self._handle_batch({partition: [record]})
                    break
                except (CursorMovedError, StorageError):
                    raise
                except Exception as failure:  # noqa: BLE001  # any failure of the handler counts as a try
                    if attempt == TRIES_MAX or isinstance(failure, UnknownEventError | RecordTooLargeError):
                        await self._dead_letter(partition, record, failure, attempt)
                        break

    async def _dead_letter(self, partition: int, record: Record, failure: Exception, tries: int) -> None:
        self._count_dead_letter(failure)
        positions = await self._cursors()
        moves = {partition: (positions[partition], record.position)}

        def work(unit: Unit) -> None:
            cursors.move_cursors(unit, self.consumer, self.topic, moves)
            dead_letters.dead_letter(
                unit.connection,
                at=unit.clock.real(),
                consumer=self.consumer,
                origin=f"{self.topic}/{partition}/{record.position - self._log.first_position}",
                source=record.event_id,
                key=record.key,
                body=record.body,
                retention=self._retention,
                error=failure_reason(failure),
                code=VERSION,
                tries=tries,
            )

        await self._units.run(work)
        positions[partition] = record.position
        self._telemetry.dead_letter(self.consumer)

    def _count_dead_letter(self, failure: Exception) -> None:
        """Count a dead letter. Raises `TooManyDeadLettersError` if too many were in a row, or among the last thousand events."""
        self._recent.append(not isinstance(failure, RecordTooLargeError))
        last = list(self._recent)
        in_a_row = next((n for n, dead in enumerate(reversed(last)) if not dead), len(last))
        if in_a_row > DEAD_IN_A_ROW_MAX or (len(last) == DEAD_WINDOW and sum(last) > DEAD_WINDOW * DEAD_SHARE_MAX):
            raise TooManyDeadLettersError(
                f"{in_a_row} events in a row, {sum(last)} of the last {len(last)}, could not be handled"
            )


def retry(unit: Unit, consumer: str, handler: Handler, dead_letter: dead_letters.DeadLetter) -> None:
    """Handle a dead letter again, for its consumer only. Raises what the handler raises."""
    topic = dead_letter.origin.split("/")[0]
    cursors.lock(unit, consumer, topic)  # the worker must not handle another event of the same lead at this moment
    record = Record(0, "", dead_letter.source, dead_letter.body)
    new = cursors.only_new(unit, consumer, [record])
    if new:
        handler([Record(0, record.envelope.partitionkey, record.event_id, record.body)], unit)
    dead_letters.store_outcome(unit.connection, dead_letter.id, "retried", unit.clock.real(), f"retried on {topic}")
