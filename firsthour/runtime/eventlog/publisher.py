"""Publishes what units emitted: rows of `log` go to Kafka in order, and are gone once they are acknowledged.

Any process publishes any row. The holder of a partition (a lock of its transaction, which ends with the process) reads the
rows, sends them, deletes those that the broker acknowledged, and commits. A process that finds it held comes again, for the
holder may have looked before the last commit. A row is sent at least once, and the rows of one key always in the order of
their commits. Never "ids beyond the last one seen": ids commit out of order.

Ordinarily one round takes all partitions with rows, in one transaction. A partition that fails, or that keeps a round for
longer than the others, is in trouble: it is tried again beside the rounds of the others, until the broker takes its rows.
A record that the broker will never take becomes a dead letter, and the rows behind it go on.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Collection, Coroutine, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final, cast

import structlog
from sqlalchemy.util.concurrency import greenlet_spawn

from firsthour.runtime.clock import Clock, HostClock
from firsthour.runtime.eventlog import dead_letters, outbox
from firsthour.runtime.eventlog.dead_letters import Retention
from firsthour.runtime.eventlog.durable_append import BrokerError
from firsthour.runtime.eventlog.log import LINGER_SECONDS
from firsthour.runtime.eventlog.outbox import LockedRows, OutboxRow
from firsthour.runtime.eventlog.sending import SEND_SECONDS, RecordSender, SendResult, send_all
from firsthour.runtime.storage import statements
from firsthour.runtime.storage.postgres import DIALECT, AsyncpgConnection, ConnectionPool, storage_error
from firsthour.runtime.storage.records import Place, Row
from firsthour.runtime.storage.unit import StorageError

SWEEP_SECONDS: Final = 1.0
BACKOFF_MAX_SECONDS: Final = 2.0
HELD_SECONDS: Final = 0.03  # until a held partition is tried again; its holder may send our rows with its own
HELD_SECONDS_MAX: Final = 0.25
"""The same where it has been held for long: while a broker is silent, everybody would go on asking for what one holds, just
when brokers and processes that come back need the CPU."""
ROUND_SECONDS: Final = 1.0  # then the next round no longer waits for the end of this one
ROUNDS_AT_ONCE: Final = 3  # each with a connection
PLACES_AT_ONCE: Final = 64  # of a round: bounds the memory it takes
CONNECTIONS: Final = 2 * ROUNDS_AT_ONCE + 1  # for rounds of all, rounds of those in trouble, looks and vacuuming
REFUSED_IN_A_ROW_MAX: Final = 10  # of a partition: then it is the topic that is wrong, not the records
VACUUM_ROWS: Final = 20_000  # of ours that are gone: some 16 MB, which the next ones then lie in
SESSION: Final[Mapping[str, str]] = {"synchronous_commit": "off", "enable_bitmapscan": "off"}
"""What PostgreSQL is told for the publisher's sessions. A deletion that is lost is a second arrival, no more. By a bitmap of
an index every row that is gone would be visited, each time, until the table is vacuumed; and the outbox is mostly rows that
are gone, which is when the planner thinks of one."""
_VACUUM: Final = "VACUUM (SKIP_LOCKED, TRUNCATE FALSE, INDEX_CLEANUP ON) log"
"""PostgreSQL comes by itself once a minute, and by then a busy outbox has grown by a gigabyte that is written to disk for
nobody. One that another vacuums, or that is not ours to vacuum, is passed over."""

_log = structlog.get_logger(__name__)


async def _ask(raw: Any, statement: statements.Sql, **values: Any) -> list[Any]:
    """Every row of one statement."""
    text, bound = statement.bound(DIALECT, values)
    return cast(list[Any], await raw.fetch(text, *bound))


@dataclass
class PartitionTrouble:
    """Why a partition is tried beside the others, and when next (time of the loop)."""

    why: str
    failures: int = 0
    at: float = 0.0
    cut_off: bool = False  # its last round ended for the sake of others


@dataclass
class Round:
    """One transaction, and the outcome for its partitions."""

    ours: set[Place] = field(default_factory=set)  # not held by another
    full: set[Place] = field(default_factory=set)  # may have more rows
    gone: int = 0  # rows that were published or are dead letters
    failed: dict[Place, str] = field(default_factory=dict)
    cut_off: set[Place] = field(default_factory=set)  # of those that failed
    slow: set[Place] = field(default_factory=set)  # published, late


class Rounds:
    """Rounds side by side. The next begins when the one before has ended, or has lasted for a while."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    async def begin(self, work: Coroutine[Any, Any, None]) -> None:
        """Run one, and return when the next may begin. Raises the failure of one that ends within `ROUND_SECONDS`."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        done, _ = await asyncio.wait({task}, timeout=ROUND_SECONDS)
        if done:
            await task
        while len(self._tasks) >= ROUNDS_AT_ONCE:
            await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)

    async def end(self) -> None:
        """Cancel those under way."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (failure := task.exception()) is not None:
            _log.debug("round failed", error_type=type(failure).__name__)  # its rows are found again by the next sweep


class Publisher:
    """The runner that publishes: when told of commits, and every second whatever has been left."""

    name = "runtime.publisher"

    def __init__(
        self,
        pool: ConnectionPool,
        sender: RecordSender,
        partitions: int,
        *,
        bulk: Collection[str] = (),
        apart: RecordSender | None = None,
        clock: Clock | None = None,
        retention: Retention = dead_letters.DEFAULT,
    ) -> None:
        """`pool` is for this alone: only here does a transaction wait for a network. `bulk`: topics nobody waits for,
        whose rows gather a while. `apart`: the sender for partitions in trouble, so that their failures touch no other."""
        self._pool = pool
        self._sender = sender
        self._apart = apart or sender
        self._clock = clock or HostClock()
        self._retention = retention
        self._everywhere = outbox.waiting_values(partitions)
        self._bulk = frozenset(bulk)
        self._dirty: dict[Place, None] = {}  # in the order in which they were told of
        self._lingering: set[Place] = set()
        self.held: set[Place] = set()  # by other processes, when last tried
        self.held_since = 0.0  # when any of these was last let go of
        self.oldest: dict[Place, int] = {}  # when the oldest row of a partition was appended, as of the last sweep
        self._swept_at = 0.0
        self._gone = 0  # rows, since the last vacuum
        self.vacuuming: asyncio.Task[None] | None = None
        self._more = asyncio.Event()
        self._rounds, self._retries = Rounds(), Rounds()
        self._busy: set[Place] = set()  # in a round
        self._troubled: dict[Place, PartitionTrouble] = {}
        self._in_trouble = asyncio.Event()
        self._refused: dict[Place, int] = {}  # records refused since the last one that was taken
        self._storage: str | None = None  # why there is no database

    @property
    def trouble(self) -> str | None:
        """Why rows are not published; None while they are."""
        if self._storage is not None:
            return self._storage
        if not self._troubled:
            return None
        (topic, partition), first = next(iter(self._troubled.items()))
        others = f" and {len(self._troubled) - 1} other partitions" if len(self._troubled) > 1 else ""
        return f"{topic}/{partition}{others}: {first.why}"

    def age(self) -> outbox.OutboxAge | None:
        """How long the oldest unpublished row has waited, as of the last sweep."""
        return outbox.age(self.oldest, self._clock.real())

    def age_seconds(self) -> float:
        """The same for the metrics; 0 where no row waits."""
        age = self.age()
        return 0.0 if age is None else age.waited.total_seconds()

    def wake(self, places: Iterable[Place]) -> None:
        """Something was committed there."""
        for place in places:
            if place[0] not in self._bulk:
                self._dirty[place] = None
                self._more.set()
            else:
                if not self._lingering:
                    asyncio.get_running_loop().call_later(LINGER_SECONDS, self._end_linger)
                self._lingering.add(place)

    def _end_linger(self) -> None:
        self._dirty |= dict.fromkeys(self._lingering)
        self._lingering.clear()
        self._more.set()

    async def step(self) -> bool:
        """Publish everything that waits and that no other process holds; return whether anything did. Raises `BrokerError`
        when the broker did not take all of it."""
        failed: dict[Place, str] = {}
        any_ = False
        while places := set(await self._left()) - failed.keys():
            made = await self._round(set(sorted(places)[:PLACES_AT_ONCE]), self._sender)
            failed |= made.failed
            any_ = any_ or made.gone > 0
            if not made.ours:
                break
        self._dirty.clear()
        if failed:
            raise BrokerError(next(iter(failed.values())))
        return any_

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._publishing())
            group.create_task(self._retrying())

    async def close(self) -> None:
        """Publish what is left, if that goes fast; another process finds the rest."""
        try:
            async with asyncio.timeout(SEND_SECONDS / 4):
                await self.step()
                if self.vacuuming:
                    await self.vacuuming
        except (BrokerError, StorageError, TimeoutError):
            pass
        await self._pool.close()

    # --- the rounds of all partitions that are well -------------------------------------------------------------------

    async def _publishing(self) -> None:
        failures = 0
        try:
            while True:
                try:
                    await self._wait()
                    await self._publish()
                    failures = 0
                    self._storage_heard()
                except StorageError as failure:
                    failures += 1
                    self._storage_failed(failure)
                    await asyncio.sleep(_pause(failures))
        finally:
            await self._rounds.end()

    def _ready(self) -> set[Place]:
        """The partitions to be published now."""
        return self._dirty.keys() - self._busy - self._troubled.keys()

    async def _wait(self) -> None:
        """Wait until a unit has committed, or until it is time to try held partitions again, or to look everywhere."""
        now = asyncio.get_running_loop().time
        if not self._ready():
            self._more.clear()
            seconds = self._swept_at + SWEEP_SECONDS - now()
            if self.held:
                seconds = min(seconds, self.pause() * random.uniform(0.5, 1.0))  # noqa: S311  # jitter
            with suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, seconds)):
                    await self._more.wait()
        if now() - self._swept_at >= SWEEP_SECONDS:
            self._dirty |= dict.fromkeys(await self._left())
            self._swept_at = now()

    def pause(self) -> float:
        """Seconds until held partitions are tried again: in proportion to how long they have been held."""
        held = asyncio.get_running_loop().time() - self.held_since
        return min(HELD_SECONDS_MAX, max(HELD_SECONDS, held / 2))

    async def _publish(self) -> None:
        """Run one round over partitions with new rows, and those that were held when last tried. A long one goes on beside the
        next."""
        asked = [*self._dirty, *self.held, *self._lingering]  # those that gather cost nothing more now
        apart = self._busy | self._troubled.keys()
        places = set([place for place in dict.fromkeys(asked) if place not in apart][:PLACES_AT_ONCE])
        if not places:
            self.held -= apart
            return
        for place in places:
            self._dirty.pop(place, None)
        self._lingering -= places
        self._busy |= places
        await self._rounds.begin(self._one(places))

    async def _one(self, places: set[Place]) -> None:
        try:
            made = await self._round(places, self._sender)
        except BaseException:
            self._dirty |= dict.fromkeys(places)
            raise
        finally:
            self._busy -= places
            self._more.set()
        self._dirty |= dict.fromkeys(made.full)
        self._note_failures(made)
        if not self.held or self.held & made.ours:
            self.held_since = asyncio.get_running_loop().time()
        self.held = (self.held - places) | (places - made.ours)

    # --- partitions in trouble ----------------------------------------------------------------------------------------

    async def _retrying(self) -> None:
        """Rounds of the partitions in trouble, until each of them was published in good time."""
        try:
            while True:
                due = await self._due()
                self._busy |= due
                try:
                    await self._retries.begin(self._retry(due))
                except StorageError as failure:
                    self._storage_failed(failure)
                    await asyncio.sleep(_pause(8))
        finally:
            await self._retries.end()

    async def _due(self) -> set[Place]:
        """Wait for partitions in trouble that are due. Those that were cut off are tried first, and by themselves."""
        now = asyncio.get_running_loop().time
        while True:
            self._in_trouble.clear()
            idle = {place: trouble for place, trouble in self._troubled.items() if place not in self._busy}
            due = [place for place, trouble in idle.items() if trouble.at <= now()]
            if due:
                cut_off = [place for place in due if idle[place].cut_off]
                return set((cut_off or due)[:PLACES_AT_ONCE])
            seconds = min((trouble.at for trouble in idle.values()), default=now() + SWEEP_SECONDS) - now()
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._in_trouble.wait()

    async def _retry(self, places: set[Place]) -> None:
        try:
            made = await self._round(places, self._apart)
        finally:
            self._busy -= places
            self._in_trouble.set()
        self._note_failures(made)
        again = asyncio.get_running_loop().time() + _pause(1)
        for place in places - made.failed.keys():
            if place in made.slow or place not in made.ours:
                self._troubled[place].at, self._troubled[place].cut_off = again, False
            else:
                del self._troubled[place]
                self._dirty[place] = None  # it may have more
                self._more.set()
        if not self._troubled:
            _log.info("publishing goes on")

    def _note_failures(self, made: Round) -> None:
        now = asyncio.get_running_loop().time()
        new = made.failed.keys() - self._troubled.keys()
        for place, why in made.failed.items():
            trouble = self._troubled.setdefault(place, PartitionTrouble(why))
            trouble.why, trouble.failures = why, trouble.failures + 1
            trouble.cut_off = place in made.cut_off
            trouble.at = now + (0.0 if trouble.cut_off else _pause(trouble.failures))
        if new:
            topic, partition = min(new)
            why = made.failed[topic, partition]
            _log.warning("publishing waits", topic=topic, partition=partition, count=len(new), problem=why)
            self._in_trouble.set()

    # --- one round ----------------------------------------------------------------------------------------------------

    async def _round(self, places: set[Place], sender: RecordSender) -> Round:
        """One transaction: lock and read, send, delete what the broker has acknowledged, commit."""
        try:
            async with self._connection() as raw:
                await raw.execute("BEGIN")
                locked = outbox.locked_rows(await _ask(raw, outbox.LOCK_ROWS, **outbox.lock_values(places)))
                results = await send_all(sender, locked.rows)
                made, gone, refused = self._judged(locked, results)
                await self._dead_letter(raw, refused)
                await raw.execute(outbox.end_of_round(gone))
        except Exception as failure:
            raise storage_error(failure) or failure from failure
        made.gone = len(gone)
        for row, why in refused:  # counted once they are kept, as a round that is rolled back meets them again
            self._refused[row.place] = self._refused.get(row.place, 0) + 1
            _log.error("record refused by the broker", topic=row.topic, partition=row.partition, why=why)
        for place in made.ours - made.failed.keys() - made.full:
            self.oldest.pop(place, None)  # until the next sweep
        self._vacuum_after(len(gone))
        return made

    def _judged(
        self, locked: LockedRows, results: Mapping[Place, SendResult]
    ) -> tuple[Round, list[OutboxRow], list[tuple[OutboxRow, str]]]:
        """The outcome for each partition, the rows that leave the outbox, and those of them that the broker will never take,
        with its reason."""
        made = Round(ours=set(locked.rows), full=locked.full)
        gone: list[OutboxRow] = []
        refused: list[tuple[OutboxRow, str]] = []
        for place, result in results.items():
            rows = locked.rows[place]
            gone += rows[: result.acknowledged]
            if result.acknowledged:
                self._refused.pop(place, None)
            if result.problem is not None:
                made.failed[place] = result.problem
            if result.cut_off:
                made.cut_off.add(place)
            if result.slow:
                made.slow.add(place)
            if result.refused is None:
                continue
            if self._refused.get(place, 0) < REFUSED_IN_A_ROW_MAX:
                refused.append((rows[result.acknowledged], result.refused))
                made.full.add(place)
            else:
                made.failed[place] = (
                    f"the broker refuses every record ({result.refused}); correct max.message.bytes of the topic"
                )
        made.full -= made.failed.keys()
        gone += [row for row, _ in refused]
        return made, gone, refused

    async def _dead_letter(self, raw: Any, refused: Sequence[tuple[OutboxRow, str]]) -> None:
        """Keep refused records as dead letters, in the transaction in which they leave the outbox."""
        if not refused:
            return
        at, connection = self._clock.real(), cast(Any, AsyncpgConnection(raw))

        def work() -> None:
            for row, why in sorted(refused):
                record = Row(row.topic, row.key, row.event_id, row.body)
                place = f"{row.topic}/{row.partition}/{row.id}"
                dead_letters.dead_letter_refused(connection, record, place, why, at=at, retention=self._retention)

        await greenlet_spawn(work)

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Any]:
        """One of the pool's; given up when the block ends by an exception, whatever it was in the middle of."""
        raw = await self._pool.take()
        clean = False
        try:
            yield raw
            clean = True
        except TimeoutError:
            self._pool.drop_idle()
            raise
        finally:
            self._pool.give(raw, clean=clean)

    async def _left(self) -> list[Place]:
        """The places where rows wait; `oldest` has since when. Peeks."""
        try:
            async with self._connection() as raw:
                self.oldest = outbox.since(await _ask(raw, outbox.WAITING, **self._everywhere))
        except Exception as failure:
            raise storage_error(failure) or failure from failure
        return list(self.oldest)

    # --- beside -------------------------------------------------------------------------------------------------------

    def _vacuum_after(self, rows: int) -> None:
        """Have the place of rows that are gone used again, every so many of them. Publishing goes on meanwhile."""
        self._gone += rows
        if self._gone >= VACUUM_ROWS and not self.vacuuming:
            self._gone = 0
            self.vacuuming = asyncio.create_task(self._vacuum())

    async def _vacuum(self) -> None:
        try:
            async with self._connection() as raw:
                await raw.execute(_VACUUM)
        except Exception as failure:  # noqa: BLE001  # nobody waits for it, and publishing says what is wrong there
            _log.debug("the outbox was not vacuumed", error_type=type(failure).__name__)
        finally:
            self.vacuuming = None

    def _storage_failed(self, failure: Exception) -> None:
        if self._storage is None:
            _log.warning("publishing waits", error_type=type(failure).__name__, problem=str(failure))
        self._storage = str(failure)

    def _storage_heard(self) -> None:
        if self._storage is not None:
            _log.info("publishing goes on")
        self._storage = None


def _pause(failures: int) -> float:
    """Seconds until the next try after so many failures in a row."""
    return min(BACKOFF_MAX_SECONDS, 0.05 * 2.0 ** min(failures, 8)) * random.uniform(0.5, 1.0)  # noqa: S311  # jitter
