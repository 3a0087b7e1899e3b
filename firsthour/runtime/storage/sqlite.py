"""The database of the embedded profile: one SQLite file, one writer thread behind a queue, and readers.

SQLite's own locking is unfair: beside back-to-back units, other writers starve for seconds. Therefore all writes go
through this queue, where the gateway's appends share commits and alternate with all other units.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar

from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import DBAPIError

from firsthour.kernel.config import Config
from firsthour.runtime.clock import Clock
from firsthour.runtime.storage.records import Record, Row
from firsthour.runtime.storage.sqlite_engines import (
    DAMAGED,
    LOCK_SECONDS,
    LOCK_SECONDS_AFTERWARDS,
    LOCKED,
    error_code,
    storage_error,
    wait_for_lock,
)
from firsthour.runtime.storage.sqlite_rows import Transaction
from firsthour.runtime.storage.sqlite_unit import SqliteUnit, WriterMemory
from firsthour.runtime.storage.unit import Lane, Unit

T = TypeVar("T")

PASSED_OVER_MAX: Final = 20  # units that may run before a bulk unit that waits
RECENT: Final = timedelta(minutes=5)
BATCH_SECONDS: Final = 0.020  # there is one writer: every other unit waits for the whole batch
CARRIED_MAX: Final = 8
"""Rows of one commit that their consumers handle at once. The answers to more rows do not wait for that."""


def _changes(connection: Connection) -> int:
    """Return the number of rows changed on this connection so far; it increases with each transaction that writes."""
    return int(connection.connection.driver_connection.total_changes)  # type: ignore[union-attr]  # it is open


@dataclass
class _Job:
    work: Callable[[Unit], Any]
    done: "asyncio.Future[Any]"


@dataclass
class _Queue:
    """The appends and units that wait for the writer."""

    appends: deque[tuple[list[Row], "asyncio.Future[None]"]] = field(default_factory=deque)
    lanes: tuple[deque[_Job], ...] = field(default_factory=lambda: tuple(deque() for _ in Lane))
    closing: bool = False
    passed_over: int = 0

    def job(self) -> _Job | None:
        """Take the next unit. Bulk units go after all others, but are passed over at most `PASSED_OVER_MAX` times."""
        bulk = self.lanes[Lane.BULK]
        if bulk and self.passed_over >= PASSED_OVER_MAX:
            self.passed_over = 0
            return bulk.popleft()
        for lane in self.lanes:
            if lane:
                self.passed_over = self.passed_over + 1 if bulk and lane is not bulk else 0
                return lane.popleft()
        return None

    @property
    def empty(self) -> bool:
        return not (self.appends or any(self.lanes))


Appended = Callable[[list[tuple[str, Record]]], None]


class SqliteUnits:
    """Runs every unit of the process in one thread, on one connection; within a lane in the order of the calls."""

    def __init__(
        self,
        engine: Engine,
        clock: Clock,
        config: Callable[[], Config],
        *,
        appended: Appended = lambda rows: None,
        woken: Callable[[set[str]], None] = lambda ticks: None,
        ends: Mapping[str, int] | None = None,
    ) -> None:
        """`appended`, `woken`: called on the loop after each commit, in commit order. `ends`: see `SqliteUnit`."""
        self._engine = engine
        self._clock = clock
        self._config = config
        self._queue = _Queue()
        self._waiting = threading.Condition()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._answers: deque[Callable[[], None]] = deque()
        self._is_woken = False  # the loop is about to deliver the answers
        self._ends = dict(ends or {})
        self._memory = WriterMemory()
        self.appended = appended
        self.woken = woken
        self.carry: Callable[[SqliteUnit], None] | None = (
            None  # hands appended rows to their consumers; None: they read
        )
        self.trouble: str | None = None  # the failure of the last commit with changes; None: it succeeded
        self._failed: tuple[datetime, str] | None = None  # the last failure, also after later commits succeeded
        self._locked = False  # another process held the lock longer than a unit waits for it
        self._damaged = False  # stays true: a later commit that succeeds repairs no damaged page

    def warnings(self) -> list[str]:
        """Return recent failures of commits after which others succeeded: an almost full disk rejects only large commits."""
        if self._failed is None or self.trouble is not None:
            return []
        at, reason = self._failed
        return [f"{reason} (at {at:%H:%M:%S} UTC)"] if self._clock.real() - at < RECENT else []

    @property
    def alive(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    @property
    def batch_seconds(self) -> float:
        return BATCH_SECONDS

    def start(self) -> None:
        """Start the writer; futures are resolved on the running loop."""
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._write, name="writer", daemon=True)
        self._thread.start()

    async def close(self) -> None:
        """Run the queued units, then end the thread."""
        with self._waiting:
            self._queue.closing = True
            self._waiting.notify()
        if self._thread:
            await asyncio.get_running_loop().run_in_executor(None, self._thread.join)
        self._engine.dispose()

    async def run(self, work: Callable[[Unit], T], lane: Lane = Lane.COMMAND) -> T:
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        with self._waiting:
            self._queue.lanes[lane].append(_Job(work, done))
            self._waiting.notify()
        return await done

    async def append(self, rows: list[Row]) -> None:
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        with self._waiting:
            self._queue.appends.append((rows, done))
            self._waiting.notify()
        await done

    # --- in the writer thread ---

    def _write(self) -> None:
        with self._engine.connect() as connection:
            while True:
                with self._waiting:
                    self._waiting.wait_for(self._has_work)
                    appends = list(self._queue.appends)
                    self._queue.appends.clear()
                    job = self._queue.job()
                    if not appends and job is None:
                        return
                if appends:
                    self._append(connection, appends)
                if job is not None:
                    self._run_job(connection, job)

    def _has_work(self) -> bool:
        return self._queue.closing or not self._queue.empty

    def _append(self, connection: Connection, appends: list[tuple[list[Row], "asyncio.Future[None]"]]) -> None:
        """Append in one commit the rows of all appends that arrived during the last one.

        The consumers of a few rows handle them in the same commit. If that fails, the rows are appended alone. Then they are
        not packed: their senders wait, and reporting packs them for the history later.
        """
        rows = [row for each, _ in appends for row in each]
        waiting: list[asyncio.Future[Any]] = [done for _, done in appends]
        carry = self.carry if len(rows) <= CARRIED_MAX else None

        def append(unit: SqliteUnit) -> None:
            unit.rows.extend(rows)
            unit.packs = False

        def append_and_carry(unit: SqliteUnit) -> None:
            unit.rows.extend(rows)
            if carry is not None:
                carry(unit)

        result, failure, unit = self._transact(connection, append_and_carry if carry else append)
        if failure is not None and carry is not None and not self._locked:
            result, failure, unit = self._transact(connection, append)
        self._answer(result, failure, unit, waiting)

    def _run_job(self, connection: Connection, job: _Job) -> None:
        if job.done.cancelled():
            return
        self._answer(*self._transact(connection, job.work), [job.done])

    def _transact(
        self, connection: Connection, work: Callable[[SqliteUnit], Any]
    ) -> tuple[Any, BaseException | None, SqliteUnit]:
        unit = SqliteUnit(connection, self._clock, self._config(), self._ends, self._memory)
        before = _changes(connection) if self.trouble is not None else 0
        transaction = Transaction(connection)
        self._memory = WriterMemory()  # unless the unit is committed: it may have changed what it remembers
        try:
            with transaction as unit.connection:
                result = work(unit)
                unit.flush()
        except DBAPIError as failure:
            error = storage_error(failure)
            if error is None:
                return None, failure, unit
            self.trouble = str(error)
            self._failed = self._clock.real(), self.trouble
            self._damaged = self._damaged or error_code(failure) in DAMAGED
            self._note_lock(connection, error_code(failure) in LOCKED)
            return None, error, unit
        except BaseException as failure:  # noqa: BLE001  # the caller of the unit gets the exception of its handler
            return None, failure, unit
        if self.trouble is not None and not self._damaged and _changes(connection) != before:
            self.trouble = None
        self._note_lock(connection, False)
        self._ends = unit.ends
        if not transaction.joined:
            self._memory = unit.memory
        return result, None, unit

    def _note_lock(self, connection: Connection, locked: bool) -> None:
        """Let the next units wait for the lock of another process only briefly, until one of them gets it."""
        if locked != self._locked:
            self._locked = locked
            wait_for_lock(connection, LOCK_SECONDS_AFTERWARDS if locked else LOCK_SECONDS)

    def _answer(
        self,
        result: Any,
        failure: BaseException | None,
        unit: SqliteUnit,
        waiting: list["asyncio.Future[Any]"],
    ) -> None:
        def deliver() -> None:
            # The loop runs tasks in the order in which they are woken: first pages, then answers, last readers of the log.
            if failure is None:
                for callback in unit.after:
                    self._call(callback)
            for done in waiting:
                if done.done():
                    continue
                if failure is None:
                    done.set_result(result)
                else:
                    done.set_exception(failure)
            if failure is None:
                if unit.appended:
                    self.appended(unit.appended)
                if unit.woken:
                    self.woken(unit.woken)

        assert self._loop is not None  # noqa: S101  # start() ran before the thread
        self._answers.append(deliver)
        if not self._is_woken:  # one wake-up for all the answers that the loop has not seen
            self._is_woken = True
            self._loop.call_soon_threadsafe(self._deliver)

    def _deliver(self) -> None:
        """Deliver the answers of the writer, on the loop."""
        self._is_woken = False  # before the first is taken: a later one then wakes the loop again
        while self._answers:
            self._call(self._answers.popleft())

    def _call(self, callback: Callable[[], None]) -> None:
        """Call a function on the loop. Its failure is reported, and stops no other."""
        try:
            callback()
        except Exception as error:  # noqa: BLE001  # see above
            assert self._loop is not None  # noqa: S101  # it runs this
            self._loop.call_exception_handler({"message": "a callback of a unit failed", "exception": error})
