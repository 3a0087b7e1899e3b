"""The database of the distributed profile: PostgreSQL, with several units at once, each in a transaction of its own.

Handlers are the same plain functions as on SQLite. They run in a greenlet, so that waiting for the database does not
block the loop. Their statements go directly to the driver: the layers of SQLAlchemy took most of the CPU of a small unit.
The isolation level is READ COMMITTED. Exactly-once effects rest on conditions in statements (the compare-and-set of the
cursor, unique keys) and on rows locked in one order, never on a snapshot.
"""

import asyncio
import random
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final, TypeVar, cast

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.util.concurrency import greenlet_spawn

from firsthour.kernel.time_units import moment
from firsthour.runtime.clock import Clock
from firsthour.runtime.storage import statements
from firsthour.runtime.storage.postgres_connections import AsyncpgConnection, ConnectionPool
from firsthour.runtime.storage.postgres_errors import error_kind, lost, replanned, sqlstate, storage_error
from firsthour.runtime.storage.records import Place, Row
from firsthour.runtime.storage.unit import FindConfig, Lane, StorageError, Unit

T = TypeVar("T")

BATCH_SECONDS: Final = 0.250  # batches of other partitions run at the same time
AT_ONCE: Final = {Lane.COMMAND: 4, Lane.BATCH: 2, Lane.BULK: 1}
"""Units at once. With two batches, one decides while the other waits for the database. With more, the unit that holds the
locks of all routers is delayed by the decisions of the others in its process."""
TRIES_MAX: Final = 6
BACKOFF_SECONDS: Final = 0.02
_RETRY: Final = frozenset({"40001", "40P01", "55P03"})  # serialization failure, deadlock, lock timeout
_NOW = statements.Sql(lambda _: sa.select(sa.literal_column(statements.MICROSECONDS)))


def database_now(connection: Connection) -> datetime:
    """Return the current time of the database's clock; it advances during a transaction."""
    return moment(int(_NOW.first(connection)[0]))


class PostgresUnits:
    """Runs several units at once, each on a connection of its own."""

    def __init__(
        self,
        pool: ConnectionPool,
        clock: Clock,
        config: FindConfig,
        *,
        partitions: int,
        ask: Callable[[Connection], datetime] | None = database_now,
        emitted: Callable[[set[Place]], None] = lambda places: None,
        woken: Callable[[set[str]], None] = lambda ticks: None,
    ) -> None:
        """`emitted`, `woken`: called on the loop after each commit."""
        self._pool = pool
        self._clock = clock
        self._config = config
        self._partitions = partitions
        self._ask = ask
        self._slots = {lane: asyncio.Semaphore(AT_ONCE[lane]) for lane in Lane}
        self._running: set[asyncio.Task[Any]] = set()
        self._reachable = True
        self.emitted = emitted
        self.woken = woken
        self.intake: Callable[[list[Row]], Any] | None = None

    @property
    def alive(self) -> bool:
        """Whether the last unit reached the database."""
        return self._reachable

    @property
    def batch_seconds(self) -> float:
        return BATCH_SECONDS

    async def run(self, work: Callable[[Unit], T], lane: Lane = Lane.COMMAND) -> T:
        """Run a unit. It runs to its end even if the caller is cancelled: no transaction is cancelled halfway."""
        task = asyncio.create_task(self._run(work, lane))
        self._running.add(task)
        task.add_done_callback(self._ended)
        return await asyncio.shield(task)

    async def append(self, rows: list[Row]) -> None:
        """Durably append rows through the gateway's intake; without an intake, to the outbox."""
        if self.intake is not None:
            await self.intake(rows)
            return
        await self.run(lambda unit: unit.rows.extend(rows))

    async def close(self) -> None:
        """Wait until running units have ended, and close the connections."""
        while self._running:
            await asyncio.wait(self._running)
        await self._pool.close()

    def _ended(self, task: "asyncio.Task[Any]") -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()  # marks it as retrieved: the caller may have been cancelled

    async def _run(self, work: Callable[[Unit], T], lane: Lane) -> T:
        async with self._slots[lane]:
            for attempt in range(1, TRIES_MAX + 1):
                try:
                    result, unit = await self._transact(work)
                except _RetryError as retry:
                    if attempt == TRIES_MAX:
                        raise retry.error from retry
                    await asyncio.sleep(random.uniform(0.0, BACKOFF_SECONDS * 2**attempt))  # noqa: S311  # jitter
                    continue
                self._reachable = True
                self._notify(unit)
                return result
        raise AssertionError("unreachable")

    async def _transact(self, work: Callable[[Unit], T]) -> tuple[T, Unit]:
        asking = committing = False

        def run_unit(connection: AsyncpgConnection) -> tuple[T, Unit]:
            unit = Unit(
                cast(Connection, connection), self._clock, self._config, partitions=self._partitions, ask=self._ask
            )
            result = work(unit)
            connection.end()
            unit.finish()
            return result, unit

        try:
            raw = await self._pool.take()
            asking, clean = True, False
            try:
                await raw.begin()
                try:
                    outcome: tuple[T, Unit] = await greenlet_spawn(run_unit, AsyncpgConnection(raw))
                    await raw.commit()
                except BaseException as failure:
                    committing = raw.committing
                    if not lost(failure):
                        await raw.rollback()
                        clean = True
                    raise
                clean = True
                return outcome
            finally:
                self._pool.give(raw, clean=clean)
        except Exception as failure:
            if asking and isinstance(failure, TimeoutError):
                self._reachable = False
                self._pool.drop_idle()
                raise StorageError("the database does not answer") from failure
            raise self._error_for_caller(failure, committing=committing) from failure

    def _error_for_caller(self, failure: Exception, *, committing: bool) -> Exception:
        """Return the error for the caller. A unit that lost its connection before the commit is tried again. A unit that
        lost it during the commit may have been committed, so it is not tried again."""
        error = storage_error(failure)
        if sqlstate(failure) in _RETRY:
            return _RetryError(StorageError(f"the database is too busy: {error_kind(failure)}"))
        if replanned(failure):
            return _RetryError(StorageError("the tables are being changed"))
        if not committing and error is not None and lost(failure):
            self._reachable = False
            return _RetryError(error)
        if error is not None:
            self._reachable = False
        return error or failure

    def _notify(self, unit: Unit) -> None:
        if unit.rows:
            self.emitted(unit.places)
        if unit.woken:
            self.woken(unit.woken)
        for callback in unit.after:
            callback()


class _RetryError(Exception):
    """Raised when the unit is to be tried again. `error` is raised after the last try."""

    def __init__(self, error: Exception) -> None:
        self.error = error
