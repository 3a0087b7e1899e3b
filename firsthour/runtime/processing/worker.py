"""Reads a partition in batches, each in one unit, and gets past what cannot be handled.

A batch that fails is taken again event by event; an event that fails three times becomes a dead letter in the unit
that moves the cursor past it. Too many of those mean that we are broken, not the events: the worker stops and says so. An
event whose consequence would be larger than a record may be is none of those: its content alone is to blame.
"""

import asyncio
import random
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
import structlog
from sqlalchemy.dialects import postgresql

from firsthour.kernel.time_units import micros
from firsthour.runtime.clock import Clock
from firsthour.runtime.eventlog import dead_letters
from firsthour.runtime.eventlog.log import EventLog, Place, Record, cursors, seen
from firsthour.runtime.observability.metrics import Telemetry
from firsthour.runtime.processing.service import Handler, Tick
from firsthour.runtime.storage import statements
from firsthour.runtime.storage.config_versions import IN_FORCE
from firsthour.runtime.storage.unit import Lane, StorageError, Unit, Units
from firsthour.runtime.version import VERSION
from schemas.envelope import RecordTooLargeError, UnknownEventError

BATCH_MAX = 500
BATCH_FIRST = 64
TRIES_MAX = 3
DEAD_IN_A_ROW_MAX = 10
DEAD_WINDOW = 1_000
DEAD_SHARE_MAX = 0.05
BACKOFF_MAX_SECONDS = 5.0
BACKOFF_AWAY_SECONDS = 2.0  # of what time brings: what is due waits for no longer once the database is back

_DAY_US = 86_400_000_000
_log = structlog.get_logger(__name__)

_POSITIONS = statements.Sql(
    lambda _: sa.select(cursors.c.partition, cursors.c.position).where(
        cursors.c.consumer == sa.bindparam("consumer"), cursors.c.topic == sa.bindparam("topic")
    )
)
_HOLD = statements.Sql(
    lambda _: (
        sa.select(cursors.c.position)
        .where(cursors.c.consumer == sa.bindparam("consumer"), cursors.c.topic == sa.bindparam("topic"))
        .order_by(cursors.c.partition)
        .with_for_update()
    )
)
_START = statements.Sql(
    lambda f: f.insert(cursors).values({c.name: sa.bindparam(c.name) for c in cursors.columns}).on_conflict_do_nothing()
)
_MOVE = statements.Sql(
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


def _see(flavour: statements.SqlDialect) -> Any:
    given = flavour.each("ids").subquery()
    consumer, day = sa.bindparam("consumer", type_=sa.Text), sa.bindparam("day", type_=sa.Integer)
    rows = sa.select(consumer, given.c.value, day).where(sa.true())  # SQLite parses no upsert of a SELECT without WHERE
    insert = flavour.insert(seen).from_select(["consumer", "event_id", "day"], rows)
    return insert.on_conflict_do_nothing().returning(seen.c.event_id)


_SEE = statements.Sql(_see)


def _begin(_: statements.SqlDialect) -> Any:
    """For PostgreSQL: moves cursors, and only if all of them were where they were thought to be sees events; with what every
    unit wants to know beside."""
    consumer, topic = sa.bindparam("consumer", type_=sa.Text), sa.bindparam("topic", type_=sa.Text)
    given = statements.unnest(
        "given", partitions=("partition", sa.BigInteger), wases=("was", sa.BigInteger), tos=("to", sa.BigInteger)
    )
    moved = (
        sa.update(cursors)
        .where(
            cursors.c.consumer == consumer,
            cursors.c.topic == topic,
            cursors.c.partition == given.c.partition,
            cursors.c.position == given.c.was,
        )
        .values(position=given.c.to)
        .returning(cursors.c.partition)
        .cte("moved")
    )
    count = sa.select(sa.func.count()).select_from(moved).scalar_subquery()
    events = statements.unnest("events", ids=("id", sa.Text))
    rows = sa.select(consumer, events.c.id, sa.bindparam("day", type_=sa.Integer)).where(
        count == sa.bindparam("count", type_=sa.Integer)
    )
    saw = (
        postgresql.insert(seen)
        .from_select(["consumer", "event_id", "day"], rows)
        .on_conflict_do_nothing()
        .returning(seen.c.event_id)
        .cte("saw")
    )
    return sa.select(
        count.label("moved"),
        sa.func.array(sa.select(saw.c.event_id).scalar_subquery()).label("new"),
        IN_FORCE.scalar_subquery().label("version"),
        sa.literal_column(statements.MICROSECONDS).label("at"),
    )


BEGIN = statements.Sql(_begin)


Moves = Mapping[int, tuple[int, int]]
"""By partition: from where it was to where it goes."""

Batches = dict[int, Sequence[Record]]
"""Records by partition, each in order."""


class CursorMovedError(Exception):
    """Somebody else took these records, or we are behind: nothing was done."""


class TooManyDeadLettersError(Exception):
    """Too many events in a row could not be handled: this code is broken, and stops before it buries the stream."""


def begin(unit: Unit, consumer: str, topic: str, moves: Moves, batch: Sequence[Record]) -> list[Record]:
    """Move the cursors as `move_cursors` does, and of the records those that `only_new` leaves: one statement where each
    costs a round trip. Raises `CursorMovedError`."""
    if not isinstance(unit.connection, statements.DriverConnection):
        move_cursors(unit, consumer, topic, moves)
        return only_new(unit, consumer, batch)
    partitions, places = zip(*sorted(moves.items()), strict=True)
    was, to = zip(*places, strict=True)
    found = BEGIN.first(
        unit.connection,
        consumer=consumer,
        topic=topic,
        partitions=partitions,
        wases=was,
        tos=to,
        count=len(moves),
        ids=_ids(batch),
        day=_day(unit),
        now=micros(unit.clock.business()),
    )
    if found.moved != len(moves):
        raise CursorMovedError(f"{consumer} {topic} is not at {dict(moves)}")
    unit.began(found.at, found.version)
    return _of(batch, set(found.new))


def move_cursors(unit: Unit, consumer: str, topic: str, moves: Moves) -> None:
    """Compare and set: of each partition, from where it was to where it goes. This alone makes a redelivery harmless and
    fences zombies. Raises `CursorMovedError` when any is elsewhere."""
    place = {"consumer": consumer, "topic": topic}
    rows = [{**place, "partition_": partition, "was": was, "to": to} for partition, (was, to) in moves.items()]
    if _MOVE.many(unit.connection, rows) != len(moves):
        raise CursorMovedError(f"{consumer} {topic} is not at {dict(moves)}")


def only_new(unit: Unit, consumer: str, batch: Sequence[Record]) -> list[Record]:
    """The records whose event this consumer has not seen; duplicates that a producer made are left out."""
    return _of(batch, {row[0] for row in _SEE.all(unit.connection, consumer=consumer, day=_day(unit), ids=_ids(batch))})


def _day(unit: Unit) -> int:
    return micros(unit.clock.real()) // _DAY_US


def _ids(batch: Sequence[Record]) -> list[str]:
    """Of the events, in one order, so that nobody waits in a circle."""
    return sorted({record.event_id for record in batch})


def _of(batch: Sequence[Record], new: set[str]) -> list[Record]:
    """The first record of each of these events."""
    fresh = []
    for record in batch:
        if record.event_id in new:
            new.discard(record.event_id)
            fresh.append(record)
    return fresh


class Worker:
    """One consumer of some partitions of a topic: what they bring at one moment shares a unit."""

    def __init__(
        self,
        consumer: str,
        topic: str,
        handler: Handler,
        log: EventLog,
        units: Units,
        telemetry: Telemetry,
        partitions: int | Sequence[int] = 0,
        gathers: float = 0.0,
        retention: dead_letters.Retention = dead_letters.DEFAULT,
    ) -> None:
        self.consumer = consumer
        self.topic = topic
        self.partitions = (partitions,) if isinstance(partitions, int) else tuple(partitions)
        self._gathers = gathers  # real seconds: what nobody waits for shares units, which leaves room for the rest
        self._handler = handler
        self._retention = retention
        self._log = log
        self._units = units
        self._telemetry = telemetry
        self._positions: dict[int, int] | None = None
        self._limit = BATCH_FIRST
        self._turn = 0  # whose records come first; everybody's turn comes
        self._recent: deque[bool] = deque(maxlen=DEAD_WINDOW)  # True: buried
        self.stopped: str | None = None  # why, once this worker has given up
        self.waits_for: str | None = None  # why it waits for the database; None while it does not

    @property
    def name(self) -> str:
        return f"{self.consumer}.{self.topic}"

    @property
    def positions(self) -> dict[Place, int]:
        """How far it has read, as far as that is known."""
        return {(self.topic, partition): at for partition, at in (self._positions or {}).items()}

    async def wait(self) -> None:
        """Return once there is something to read."""
        await self._log.ready_any(self.topic, await self._where())

    async def run(self) -> None:
        failures = 0
        while self.stopped is None:
            try:
                await self.wait()
                if self._gathers and await self.lag() < self._limit:
                    await asyncio.sleep(self._gathers)
                await self.step()
                failures, self.waits_for = 0, None
            except TooManyDeadLettersError as broken:
                self.stopped = str(broken)
                _log.error("consumer stopped", consumer=self.consumer, topic=self.topic, why=str(broken))
            except StorageError as failure:
                failures, self.waits_for = failures + 1, str(failure)
                if failures == 1:
                    _log.warning("storage unavailable", consumer=self.consumer, problem=str(failure))
                await asyncio.sleep(min(BACKOFF_MAX_SECONDS, 0.1 * 2 ** min(failures, 6)) * random.uniform(0.5, 1.0))  # noqa: S311  # jitter

    async def step(self) -> bool:
        batches = await self._fetch()
        if not batches:
            return False
        try:
            await self._take_or_split(batches)
        except CursorMovedError:
            self._positions = None
        return True

    async def lag(self) -> int:
        """Positions between the newest records and ours."""
        where = await self._where()
        return sum([max(0, await self._log.end(self.topic, n) - at) for n, at in where.items()])

    async def _fetch(self) -> Batches:
        where, room, found = await self._where(), self._limit, {}
        count = len(self.partitions)
        for n in range(count):
            partition = self.partitions[(self._turn + n) % count]
            batch = await self._log.fetch(self.topic, partition, where[partition], room)
            if batch:
                found[partition] = batch
                room -= len(batch)
                if room <= 0:
                    break
        self._turn = (self._turn + 1) % count
        return found

    async def _where(self) -> dict[int, int]:
        if self._positions is None:
            self._positions = await self._units.run(self._find, Lane.BATCH)
        return self._positions

    def _find(self, unit: Unit) -> dict[int, int]:
        place = {"consumer": self.consumer, "topic": self.topic}
        _START.many(unit.connection, [{**place, "partition": n, "position": 0} for n in sorted(self.partitions)])
        found = dict(tuple(row) for row in _POSITIONS.all(unit.connection, **place))
        return {n: int(found[n]) for n in self.partitions}

    async def _take_or_split(self, batches: Batches) -> None:
        """All in one unit; if that fails, each partition by itself; if that fails, each event."""
        try:
            await self._take(batches)
        except (CursorMovedError, StorageError):
            raise
        except Exception as failure:  # noqa: BLE001  # any failure of a handler leads to smaller units
            _log.warning("batch failed", consumer=self.consumer, topic=self.topic, error_type=type(failure).__name__)
            for partition, batch in batches.items():
                if len(batches) > 1:
                    await self._take_or_split({partition: batch})
                else:
                    await self._one_by_one(partition, batch)

    async def _take(self, batches: Batches) -> None:
        where = await self._where()
        moves = {partition: (where[partition], batch[-1].position) for partition, batch in sorted(batches.items())}
        records = [record for batch in batches.values() for record in batch]

        def work(unit: Unit) -> float:
            start = unit.clock.monotonic()
            fresh = begin(unit, self.consumer, self.topic, moves, records)
            if fresh:
                self._handler(fresh, unit)
            return unit.clock.monotonic() - start

        seconds = await self._units.run(work, Lane.LATER if self._gathers else Lane.BATCH)
        where.update({partition: to for partition, (_, to) in moves.items()})
        self._recent.extend(False for _ in records)
        self._telemetry.unit(self.consumer, seconds, len(records))
        if len(records) == self._limit:
            per_event = max(seconds, 1e-6) / len(records)
            self._limit = max(1, min(BATCH_MAX, self._limit * 2, int(self._units.batch_seconds / per_event)))

    async def _one_by_one(self, partition: int, batch: Sequence[Record]) -> None:
        for record in batch:
            for attempt in range(1, TRIES_MAX + 1):
                try:
                    await self._take({partition: [record]})
                    break
                except (CursorMovedError, StorageError):
                    raise
                except Exception as failure:  # noqa: BLE001  # poison is whatever the handler cannot take
                    if attempt == TRIES_MAX or isinstance(failure, UnknownEventError | RecordTooLargeError):
                        await self._bury(partition, record, failure, attempt)
                        break

    async def _bury(self, partition: int, record: Record, failure: Exception, tries: int) -> None:
        self._recent.append(not isinstance(failure, RecordTooLargeError))
        last = list(self._recent)
        in_a_row = next((n for n, buried in enumerate(reversed(last)) if not buried), len(last))
        if in_a_row > DEAD_IN_A_ROW_MAX or (len(last) == DEAD_WINDOW and sum(last) > DEAD_WINDOW * DEAD_SHARE_MAX):
            raise TooManyDeadLettersError(
                f"{in_a_row} events in a row, {sum(last)} of the last {len(last)}, could not be handled"
            )
        where = await self._where()
        moves = {partition: (where[partition], record.position)}

        def work(unit: Unit) -> None:
            move_cursors(unit, self.consumer, self.topic, moves)
            dead_letters.dead_letter(
                unit.connection,
                at=unit.clock.real(),
                consumer=self.consumer,
                origin=f"{self.topic}/{partition}/{record.position - self._log.begins}",
                source=record.event_id,
                key=record.key,
                body=record.body,
                retention=self._retention,
                error=dead_letters.reason(failure),
                code=VERSION,
                tries=tries,
            )

        await self._units.run(work)
        where[partition] = record.position
        self._telemetry.dead_letter(self.consumer)


def retry(unit: Unit, consumer: str, handler: Handler, letter: dead_letters.DeadLetter) -> None:
    """Handle a dead letter again, for its consumer alone. Raises whatever the handler raises."""
    topic = letter.origin.split("/")[0]
    _HOLD.all(unit.connection, consumer=consumer, topic=topic)  # nobody else makes a lead of it at the same moment
    record = Record(0, "", letter.source, letter.body)
    fresh = only_new(unit, consumer, [record])
    if fresh:
        handler([Record(0, record.envelope.partitionkey, record.event_id, record.body)], unit)
    dead_letters.change(unit.connection, letter.id, "retried", unit.clock.real(), f"retried on {topic}")


def failing(runners: Iterable[object]) -> dict[str, str]:
    """The ticks among these that fail again and again, and why: what they do on time is not done."""
    ticks = (runner for runner in runners if isinstance(runner, Ticker))
    return {tick.name: tick.failing for tick in ticks if tick.failing is not None}


class Ticker:
    """Runs one tick: when woken, when due, and every so often."""

    def __init__(self, tick: Tick, units: Units, clock: Clock) -> None:
        self._tick = tick
        self._units = units
        self._clock = clock
        self._again = asyncio.Event()
        self.failing: str | None = None  # why, once it has failed several times in a row

    @property
    def name(self) -> str:
        return self._tick.name

    def wake(self) -> None:
        self._again.set()

    async def step(self) -> bool:
        """Whether more is due at once."""
        return await self._once() == 0.0

    async def run(self) -> None:
        away, failures = False, 0
        while True:
            self._again.clear()
            try:
                seconds = await self._once()
                away, failures, self.failing = False, 0, None
            except StorageError as failure:
                if not away:
                    _log.warning("storage unavailable", consumer=self.name, problem=str(failure))
                away, seconds = True, BACKOFF_AWAY_SECONDS
            except Exception as failure:  # noqa: BLE001  # a tick that fails must not end; it is retried and said
                _log.error("tick failed", consumer=self.name, exc_info=failure)
                failures += 1
                if failures >= TRIES_MAX:
                    self.failing = f"failed {failures} times in a row ({type(failure).__name__})"
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
