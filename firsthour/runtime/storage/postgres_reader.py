"""Reading outside of units on PostgreSQL: functions that change nothing."""

import asyncio
from collections.abc import Callable
from typing import Final, TypeVar, cast

from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as NoConnectionError
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.util.concurrency import greenlet_spawn

from firsthour.runtime.storage.postgres_connections import AsyncpgConnection, ConnectionPool
from firsthour.runtime.storage.postgres_errors import lost, replanned, storage_error
from firsthour.runtime.storage.unit import StorageError

T = TypeVar("T")

READING_AT_ONCE: Final = 4


class PostgresReader:
    """Runs reading functions, each on a snapshot of its own, at most `at_once` of them at the same time."""

    def __init__(self, engine: AsyncEngine, at_once: int = READING_AT_ONCE) -> None:
        self._engine = engine
        self._slots = asyncio.Semaphore(at_once)

    async def __call__(self, work: Callable[[Connection], T], /) -> T:
        """Run `work`, and return its result. Raises `StorageError` when the database cannot be reached."""
        async with self._slots:
            try:
                return await self._once(work)
            except TimeoutError as failure:
                raise StorageError("the database does not answer") from failure
            except (DBAPIError, NoConnectionError, OSError) as failure:
                if not lost(failure) and not replanned(failure):
                    raise storage_error(failure) or failure from failure
            try:  # the server had closed the connection, or the tables had changed since its plans were made
                return await self._once(work)
            except (DBAPIError, NoConnectionError, OSError) as failure:
                raise storage_error(failure) or failure from failure

    async def close(self) -> None:
        """Close every connection."""
        await self._engine.dispose()

    async def _once(self, work: Callable[[Connection], T]) -> T:
        async with self._engine.connect() as connection:
            try:
                options = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
                snapshot = await connection.execution_options(**options)
                return await snapshot.run_sync(work)
            except TimeoutError:
                await connection.invalidate()  # returning it to the pool would wait for the server again
                raise


class StatementReader:
    """Runs reading functions without a transaction, for looks that are repeated each second: a snapshot needs two more round
    trips. Each statement has a snapshot of its own."""

    def __init__(self, pool: ConnectionPool) -> None:
        self._pool = pool

    async def __call__(self, work: Callable[[Connection], T], /) -> T:
        """Run `work`, and return its result. Raises `StorageError` when the database cannot be reached."""
        try:
            try:
                return await self._once(work)
            except Exception as failure:
                if isinstance(failure, TimeoutError) or not (lost(failure) or replanned(failure)):
                    raise
            return await self._once(work)  # the server had closed the connection, or the tables had changed
        except TimeoutError as failure:
            raise StorageError("the database does not answer") from failure
        except Exception as failure:
            raise storage_error(failure) or failure from failure

    async def close(self) -> None:
        """Close the connections."""
        await self._pool.close()

    async def _once(self, work: Callable[[Connection], T]) -> T:
        raw = await self._pool.take()
        clean = False
        try:
            result: T = await greenlet_spawn(work, cast(Connection, AsyncpgConnection(raw)))
            clean = True
            return result
        finally:
            self._pool.give(raw, clean=clean)
