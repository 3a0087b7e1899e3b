"""Reads a partition in batches, each in one unit, and gets past what cannot be handled.

A batch that fails is taken again event by event; an event that fails three times becomes a dead letter in the unit
that moves the cursor past it. Too many of those mean that we are broken, not the events: the worker stops and says so.
"""

import asyncio
import random
from collections import deque
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
import structlog

from schemas.envelope import UnknownEventError
from services.runtime import db, deadletters
from services.runtime.clock import Clock, micros
from services.runtime.log import EventLog, Record, cursors, seen
from services.runtime.service import Handler, Tick
from services.runtime.telemetry import Telemetry
from services.runtime.unit import Lane, StorageError, Unit, Units
from services.runtime.version import VERSION

UNIT_SECONDS = 0.020  # what a batch aims at, so that nobody behind it waits long
BATCH_MAX = 500
BATCH_FIRST = 64
TRIES_MAX = 3
DEAD_IN_A_ROW_MAX = 10
DEAD_WINDOW = 1_000
DEAD_SHARE_MAX = 0.05
BACKOFF_MAX_SECONDS = 5.0

_DAY_US = 86_400_000_000
_log = structlog.get_logger(__name__)

_POSITION = db.Sql(
    lambda _: sa.select(cursors.c.position).where(
        cursors.c.consumer == sa.bindparam("consumer"),
        cursors.c.topic == sa.bindparam("topic"),
        cursors.c.partition == sa.bindparam("partition"),
    )
)
_START = db.Sql(
    lambda f: f.insert(cursors).values({c.name: sa.bindparam(c.name) for c in cursors.columns}).on_conflict_do_nothing()
)
_MOVE = db.Sql(
    lambda _: (
        sa.update(cursors)
        .where(
            cursors.c.consumer == sa.bindparam("consumer"),
            cursors.c.topic == sa.bindparam("topic"),
            cursors.c.partition == sa.bindparam("partition_"),
            cursors.c.position == sa.bindparam("was"),
        )
        .values(position=sa.bindparam("to"))
    )
)


def _see(flavour: db.Flavour) -> Any:
    given = flavour.each("ids").subquery()
    consumer, day = sa.bindparam("consumer", type_=sa.Text), sa.bindparam("day", type_=sa.Integer)
    rows = sa.select(consumer, given.c.value, day).where(sa.true())  # SQLite parses no upsert of a SELECT without WHERE
    insert = flavour.insert(seen).from_select(["consumer", "event_id", "day"], rows)
    return insert.on_conflict_do_nothing().returning(seen.c.event_id)


_SEE = db.Sql(_see)


class CursorMovedError(Exception):
    """Somebody else took these records, or we are behind: nothing was done."""


class PoisonedError(Exception):
    """Too many events in a row could not be handled: this code is broken, and stops before it buries the stream."""


def move_cursor(unit: Unit, consumer: str, topic: str, partition: int, was: int, to: int) -> None:
    """Compare and set. This alone makes a redelivery harmless and fences zombies. Raises `CursorMovedError`."""
    moved = _MOVE.run(unit.connection, consumer=consumer, topic=topic, partition_=partition, was=was, to=to)
    if moved.rowcount != 1:
        raise CursorMovedError(f"{consumer} {topic}/{partition} is not at {was}")


def only_new(unit: Unit, consumer: str, batch: Sequence[Record]) -> list[Record]:
    """The records whose event this consumer has not seen; duplicates that a producer made are left out."""
    day = micros(unit.clock.real()) // _DAY_US
    ids = list({record.event_id: None for record in batch})
    new = {row[0] for row in _SEE.all(unit.connection, consumer=consumer, day=day, ids=ids)}
    fresh = []
    for record in batch:
        if record.event_id in new:
            new.discard(record.event_id)
            fresh.append(record)
    return fresh


class Worker:
    """One consumer of one partition."""

    def __init__(
        self,
        consumer: str,
        topic: str,
        handler: Handler,
        log: EventLog,
        units: Units,
        telemetry: Telemetry,
        partition: int = 0,
        gathers: float = 0.0,
    ) -> None:
        self.consumer = consumer
        self.topic = topic
        self.partition = partition
        self._gathers = gathers  # real seconds: what nobody waits for shares units, which leaves room for the rest
        self._handler = handler
        self._log = log
        self._units = units
        self._telemetry = telemetry
        self._position: int | None = None
        self._limit = BATCH_FIRST
        self._recent: deque[bool] = deque(maxlen=DEAD_WINDOW)  # True: buried
        self.stopped: str | None = None  # why, once this worker has given up

    @property
    def name(self) -> str:
        return f"{self.consumer}.{self.topic}"

    async def run(self) -> None:
        failures = 0
        while self.stopped is None:
            try:
                await self._log.ready(self.topic, self.partition, await self._where())
                if self._gathers and await self.lag() < self._limit:
                    await asyncio.sleep(self._gathers)
                await self.step()
                failures = 0
            except PoisonedError as broken:
                self.stopped = str(broken)
                _log.error("consumer stopped", consumer=self.consumer, topic=self.topic, why=str(broken))
            except StorageError as failure:
                failures += 1
                _log.warning("storage unavailable", consumer=self.consumer, error_type=type(failure).__name__)
                await asyncio.sleep(min(BACKOFF_MAX_SECONDS, 0.1 * 2 ** min(failures, 6)) * random.uniform(0.5, 1.0))  # noqa: S311  # jitter

    async def step(self) -> bool:
        batch = await self._log.fetch(self.topic, self.partition, await self._where(), self._limit)
        if not batch:
            return False
        try:
            await self._take(batch)
        except CursorMovedError:
            self._position = None
        except StorageError:
            raise
        except Exception as failure:  # noqa: BLE001  # any failure of a handler leads to the single-event path
            _log.warning("batch failed", consumer=self.consumer, topic=self.topic, error_type=type(failure).__name__)
            await self._one_by_one(batch)
        return True

    async def lag(self) -> int:
        """Positions between the newest record and ours."""
        return await self._log.end(self.topic, self.partition) - await self._where()

    async def _where(self) -> int:
        if self._position is None:
            self._position = await self._units.run(self._find)
        return self._position

    def _find(self, unit: Unit) -> int:
        place = {"consumer": self.consumer, "topic": self.topic, "partition": self.partition}
        _START.run(unit.connection, **place, position=0)
        row = _POSITION.first(unit.connection, **place)
        return int(row[0]) if row else 0

    async def _take(self, batch: Sequence[Record]) -> None:
        was, to = await self._where(), batch[-1].position

        def work(unit: Unit) -> float:
            start = unit.clock.monotonic()
            move_cursor(unit, self.consumer, self.topic, self.partition, was, to)
            fresh = only_new(unit, self.consumer, batch)
            if fresh:
                self._handler(fresh, unit)
            return unit.clock.monotonic() - start

        seconds = await self._units.run(work, Lane.LATER if self._gathers else Lane.BATCH)
        self._position = to
        self._recent.extend(False for _ in batch)
        self._telemetry.unit(self.consumer, seconds, len(batch))
        if len(batch) == self._limit:
            per_event = max(seconds, 1e-6) / len(batch)
            self._limit = max(1, min(BATCH_MAX, self._limit * 2, int(UNIT_SECONDS / per_event)))

    async def _one_by_one(self, batch: Sequence[Record]) -> None:
        for record in batch:
            for attempt in range(1, TRIES_MAX + 1):
                try:
                    await self._take([record])
                    break
                except (CursorMovedError, StorageError):
                    raise
                except Exception as failure:  # noqa: BLE001  # poison is whatever the handler cannot take
                    if attempt == TRIES_MAX or isinstance(failure, UnknownEventError):
                        await self._bury(record, failure, attempt)
                        break

    async def _bury(self, record: Record, failure: Exception, tries: int) -> None:
        self._recent.append(True)
        last = list(self._recent)
        in_a_row = next((n for n, buried in enumerate(reversed(last)) if not buried), len(last))
        if in_a_row > DEAD_IN_A_ROW_MAX or (len(last) == DEAD_WINDOW and sum(last) > DEAD_WINDOW * DEAD_SHARE_MAX):
            raise PoisonedError(
                f"{in_a_row} events in a row, {sum(last)} of the last {len(last)}, could not be handled"
            )
        was = await self._where()

        def work(unit: Unit) -> None:
            move_cursor(unit, self.consumer, self.topic, self.partition, was, record.position)
            deadletters.bury(
                unit.connection,
                at=unit.clock.real(),
                consumer=self.consumer,
                origin=f"{self.topic}/{self.partition}/{record.position}",
                source=record.event_id,
                body=record.body,
                error=f"{type(failure).__name__}: {failure}",
                code=VERSION,
                tries=tries,
            )

        await self._units.run(work)
        self._position = record.position
        self._telemetry.dead_letter(self.consumer)


def retry(unit: Unit, consumer: str, handler: Handler, letter: deadletters.DeadLetter) -> None:
    """Handle a dead letter again, for its consumer alone. Raises whatever the handler raises."""
    topic = letter.origin.split("/")[0]
    record = Record(0, "", letter.source, letter.body)
    fresh = only_new(unit, consumer, [record])
    if fresh:
        handler([Record(0, record.envelope.partitionkey, record.event_id, record.body)], unit)
    deadletters.change(unit.connection, letter.id, "retried", unit.clock.real(), f"retried on {topic}")


class Ticker:
    """Runs one tick: when woken, when due, and every so often."""

    def __init__(self, tick: Tick, units: Units, clock: Clock) -> None:
        self._tick = tick
        self._units = units
        self._clock = clock
        self._again = asyncio.Event()

    @property
    def name(self) -> str:
        return self._tick.name

    def wake(self) -> None:
        self._again.set()

    async def step(self) -> bool:
        """Whether more is due at once."""
        return await self._once() == 0.0

    async def run(self) -> None:
        while True:
            self._again.clear()
            try:
                seconds = await self._once()
            except StorageError as failure:
                _log.warning("storage unavailable", consumer=self.name, error_type=type(failure).__name__)
                seconds = BACKOFF_MAX_SECONDS
            except Exception as failure:  # noqa: BLE001  # a tick that fails must not end; it is retried and said
                _log.error("tick failed", consumer=self.name, exc_info=failure)
                seconds = self._tick.every_seconds
            if seconds > 0:
                try:
                    async with asyncio.timeout(seconds):
                        await self._again.wait()
                except TimeoutError:
                    pass

    async def _once(self) -> float:
        def work(unit: Unit) -> float:
            due = self._tick.run(unit)
            every = self._tick.every_seconds
            return (
                every if due is None else max(0.0, min(every, self._clock.real_seconds(due - self._clock.business())))
            )

        return await self._units.run(work, Lane.BATCH)
