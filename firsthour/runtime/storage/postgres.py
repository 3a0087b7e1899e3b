"""The database of the distributed profile: PostgreSQL, with several units at once, each in a transaction of its own.

Handlers are the same plain functions as on SQLite. They run in a greenlet, so that waiting for the database does not
block the loop. Their statements go straight to the driver: the layers between took most of the CPU of a small unit.
The isolation level is READ COMMITTED: exactly-once effects rest on conditions in statements (the compare-and-set of the
cursor, unique keys) and on rows locked in one order, never on a snapshot.
"""

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, TypeVar, cast

import asyncpg
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql.asyncpg import dialect as asyncpg_dialect
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as NoConnectionError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.util.concurrency import await_only, greenlet_spawn

from firsthour.kernel.time_units import moment
from firsthour.runtime.clock import Clock
from firsthour.runtime.storage import statements
from firsthour.runtime.storage.records import Place, Row
from firsthour.runtime.storage.unit import FindConfig, Lane, StorageError, Unit

T = TypeVar("T")

BATCH_SECONDS: Final = 0.250  # batches of other partitions run at the same time
AT_ONCE: Final = {Lane.COMMAND: 4, Lane.BATCH: 2, Lane.BULK: 1}
"""Units at once. With two batches, one decides while the other waits for the database. With more, the unit that holds the
locks of all routers is delayed by the decisions of the others in its process."""
TRIES_MAX: Final = 6
BACKOFF_SECONDS: Final = 0.02
CONNECTION_SECONDS: Final = 2.0  # waiting for a free connection
CLOSE_SECONDS: Final = 5.0
SILENT_SECONDS: Final = 35.0
"""For one answer. Longer than the server's own `statement_timeout`, so that a server that lives refuses first; a server that
is stopped, or a network that drops packets, would never answer, and the connection stays open."""

_SESSION: Final[Mapping[str, str]] = {
    "lock_timeout": "5000",
    "statement_timeout": "30000",
    "idle_in_transaction_session_timeout": "10000",
    "jit": "off",
    **statements.LOOK_UP,
}
_AGAIN: Final = frozenset({"40001", "40P01", "55P03"})  # serialization failure, deadlock, lock timeout
_NOW_IMPOSSIBLE: Final = ("08", "53", "57", "58", "25006", "25P03", "28", "3D", "XX001", "XX002")
_OTHER_VERSION: Final = "it lacks tables of this version; run `firsthour migrate`"
_NOT_OURS: Final[Mapping[str, str]] = {
    "42P01": _OTHER_VERSION,
    "42703": _OTHER_VERSION,
    "3F000": _OTHER_VERSION,
    "42501": "its user lacks a right that this process needs; run `firsthour migrate`, which grants the rights of each service",
}
"""Answers of a database that is not prepared: a state to wait for, not a fault of the event."""
_LOST: Final = ("08", "57P0", "25P03")  # the connection is closed, or about to be

_NOW = statements.Sql(lambda _: sa.select(sa.literal_column(statements.MICROSECONDS)))

DIALECT: Final[sa.Dialect] = asyncpg_dialect()  # type: ignore[no-untyped-call]  # untyped in SQLAlchemy


# --- connections ---------------------------------------------------------------------------------------------------


class NamedRecord(asyncpg.Record):  # type: ignore[misc]  # the driver has no types
    """A row with its columns as attributes, like SQLAlchemy's."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None

    @property
    def _mapping(self) -> Any:
        return self


class AsyncpgConnection(statements.DriverConnection):
    """A connection of the driver, for functions that do not await. Use it inside `greenlet_spawn`."""

    dialect = DIALECT

    def __init__(self, raw: Any) -> None:
        self._raw = raw

    def rows(self, text: str, bound: Sequence[Any]) -> Sequence[Any]:
        return cast(Sequence[Any], await_only(self._raw.fetch(text, *bound)))

    def changed(self, text: str, bound: Sequence[Any]) -> int:
        """Return the number of changed rows, from the command tag of the driver, such as `UPDATE 3`."""
        _, _, count = cast(str, await_only(self._raw.execute(text, *bound))).rpartition(" ")
        return int(count) if count.isdigit() else 0


class ConnectionPool:
    """Connections of the driver, opened when needed and kept. The driver's own pool starts a timer and a task and resets
    the session at each use, which costs too much for small units."""

    def __init__(self, url: sa.URL, connect_args: Mapping[str, Any], *, size: int, **settings: str) -> None:
        """`size`: connections at most. `settings`: of the server, for each session."""
        self._arguments = {
            "command_timeout": SILENT_SECONDS,
            **connect_args,
            "host": url.host,
            "port": url.port or 5432,
            "user": url.username,
            "password": url.password,
            "database": url.database,
            "server_settings": {**_SESSION, **connect_args.get("server_settings", {}), **settings},
            "statement_cache_size": 512,
            "max_cached_statement_lifetime": 0,
            "record_class": NamedRecord,
            "timeout": CONNECTION_SECONDS,
        }
        self._room = asyncio.Semaphore(size)
        self._free: list[Any] = []  # the one used last comes first: the server has its plans at hand

    async def take(self) -> Any:
        """Return a connection; `give` returns it to the pool. Raises `TimeoutError`, and the errors of the driver."""
        if self._room.locked():
            async with asyncio.timeout(CONNECTION_SECONDS):
                await self._room.acquire()
        else:
            await self._room.acquire()  # returns at once, and needs no timer
        try:
            while self._free:
                raw = self._free.pop()
                if not raw.is_closed():
                    return raw
            return await asyncpg.connect(**self._arguments)
        except BaseException:
            self._room.release()
            raise

    def give(self, raw: Any, *, clean: bool) -> None:
        """Return a connection to the pool. `clean`: it is in no transaction, and its session is unchanged; otherwise it is
        closed."""
        if clean:
            self._free.append(raw)
        else:
            raw.terminate()
        self._room.release()

    def drop_idle(self) -> None:
        """Drop the connections that are not in use: the server did not answer on another one. New ones are refused, or
        time out, at once."""
        free, self._free = self._free, []
        for raw in free:
            raw.terminate()

    async def close(self) -> None:
        """Close every connection that is not in use."""
        free, self._free = self._free, []
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await asyncio.gather(*(raw.close() for raw in free), return_exceptions=True)
        except TimeoutError:
            for raw in free:
                raw.terminate()


def open_engine(url: sa.URL, connect_args: Mapping[str, Any], *, size: int, **settings: str) -> AsyncEngine:
    """Return an engine of at most `size` connections, opened when needed. `settings`: of the server, for each session."""
    arguments = {
        "command_timeout": SILENT_SECONDS,
        **connect_args,
        "server_settings": {**_SESSION, **connect_args.get("server_settings", {}), **settings},
        "prepared_statement_cache_size": 512,
    }
    return create_async_engine(
        url,
        connect_args=arguments,
        pool_size=size,
        max_overflow=0,
        pool_timeout=CONNECTION_SECONDS,
        pool_use_lifo=True,
    )


# --- failures ------------------------------------------------------------------------------------------------------


def storage_error(failure: BaseException) -> StorageError | None:
    """Return a `StorageError` if the state of the database caused the failure, not the statement; None otherwise."""
    if isinstance(failure, DBAPIError | asyncpg.PostgresError):
        code = sqlstate(failure) or ""
        if code in _NOT_OURS:
            return StorageError(f"the database cannot be used: {_NOT_OURS[code]}")
        gone = isinstance(failure, DBAPIError) and failure.connection_invalidated
        return (
            StorageError(f"the database cannot commit: {_kind(failure)}")
            if gone or code.startswith(_NOW_IMPOSSIBLE)
            else None
        )
    if isinstance(failure, NoConnectionError | OSError | TimeoutError | asyncpg.InterfaceError):
        return StorageError(f"the database cannot be reached: {type(failure).__name__}")
    return None


def sqlstate(failure: BaseException) -> str | None:
    """Return PostgreSQL's code of an error."""
    error = failure.orig if isinstance(failure, DBAPIError) else failure
    return getattr(error, "sqlstate", None)


def replanned(failure: BaseException) -> bool:
    """Return whether a migration changed a table for which the session has plans. The driver has dropped them by now."""
    error = failure.orig.__cause__ if isinstance(failure, DBAPIError) and failure.orig else failure
    return isinstance(error, asyncpg.InvalidCachedStatementError)


def lost(failure: BaseException) -> bool:
    """Return whether the connection can no longer be used."""
    if isinstance(failure, DBAPIError):
        return failure.connection_invalidated
    gone = isinstance(failure, OSError | asyncpg.InterfaceError)
    return gone or (sqlstate(failure) or "").startswith(_LOST)


def _kind(failure: BaseException) -> str:
    """The kind of error, without its text, which may contain values of rows."""
    error = (failure.orig.__cause__ or failure.orig) if isinstance(failure, DBAPIError) and failure.orig else failure
    return f"{type(error).__name__} {sqlstate(failure) or ''}".strip()


def database_now(connection: Connection) -> datetime:
    """Return the time of the database's clock, as of now and not of the beginning of the transaction."""
    return moment(int(_NOW.first(connection)[0]))


# --- units ---------------------------------------------------------------------------------------------------------


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
        self._well = True
        self.emitted = emitted
        self.woken = woken
        self.intake: Callable[[list[Row]], Any] | None = None

    @property
    def alive(self) -> bool:
        """Whether the last unit reached the database."""
        return self._well

    @property
    def batch_seconds(self) -> float:
        return BATCH_SECONDS

    async def run(self, work: Callable[[Unit], T], lane: Lane = Lane.COMMAND) -> T:
        """Run a unit. It always runs to its end, also if the caller is cancelled: no transaction is cancelled halfway."""
        task = asyncio.create_task(self._run(work, lane))
        self._running.add(task)
        task.add_done_callback(self._ended)
        return await asyncio.shield(task)

    async def append(self, rows: list[Row]) -> None:
        """Durably append rows: through the gateway's intake; without an intake, to the outbox."""
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
                except _AgainError as failed:
                    if attempt == TRIES_MAX:
                        raise failed.error from failed
                    await asyncio.sleep(random.uniform(0.0, BACKOFF_SECONDS * 2**attempt))  # noqa: S311  # jitter
                    continue
                self._well = True
                self._tell(unit)
                return result
        raise AssertionError("unreachable")

    async def _transact(self, work: Callable[[Unit], T]) -> tuple[T, Unit]:
        asking = committing = False

        def whole(connection: Connection) -> tuple[T, Unit]:
            unit = Unit(connection, self._clock, self._config, partitions=self._partitions, ask=self._ask)
            result = work(unit)
            unit.finish()
            return result, unit

        try:
            raw = await self._pool.take()
            asking, clean = True, False
            try:
                await raw.execute("BEGIN")
                try:
                    made: tuple[T, Unit] = await greenlet_spawn(whole, cast(Connection, AsyncpgConnection(raw)))
                except BaseException as failure:
                    if not lost(failure):
                        await raw.execute("ROLLBACK")
                        clean = True
                    raise
                committing = True
                await raw.execute("COMMIT")
                clean = True
                return made
            finally:
                self._pool.give(raw, clean=clean)
        except Exception as failure:
            if asking and isinstance(failure, TimeoutError):
                self._well = False
                self._pool.drop_idle()
                raise StorageError("the database does not answer") from failure
            raise self._judged(failure, committing=committing) from failure

    def _judged(self, failure: Exception, *, committing: bool) -> Exception:
        """The error that the caller gets. A unit that lost its connection before the commit is tried again. A unit that
        lost it during the commit may have been committed, so it is not."""
        known = storage_error(failure)
        if not committing:
            if sqlstate(failure) in _AGAIN:
                return _AgainError(StorageError(f"the database is too busy: {_kind(failure)}"))
            if replanned(failure):
                return _AgainError(StorageError("the tables are being changed"))
            if known is not None and lost(failure):
                self._well = False
                return _AgainError(known)
        if known is not None:
            self._well = False
        return known or failure

    def _tell(self, unit: Unit) -> None:
        if unit.rows:
            self.emitted(unit.places)
        if unit.woken:
            self.woken(unit.woken)
        for then in unit.after:
            then()


class _AgainError(Exception):
    """The unit is tried again. `error` is raised after the last try."""

    def __init__(self, error: Exception) -> None:
        self.error = error
