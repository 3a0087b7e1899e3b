"""Connections to PostgreSQL: those of the driver for units, and the engine for readers and tools."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

import asyncpg
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql.asyncpg import dialect as asyncpg_dialect
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.util.concurrency import await_only

from firsthour.runtime.storage import postgres_pipeline, statements
from firsthour.runtime.storage.postgres_pipeline import PipelinedConnection

CONNECTION_SECONDS: Final = 2.0  # waiting for a free connection
CLOSE_SECONDS: Final = 5.0
SILENT_SECONDS: Final = 35.0
"""The timeout of one answer. It is longer than the server's `statement_timeout`, so that a working server cancels first. A
stopped server, or a network that drops packets, never answers, and the connection stays open."""

_SESSION: Final[Mapping[str, str]] = {
    "lock_timeout": "5000",
    "statement_timeout": "30000",
    "idle_in_transaction_session_timeout": "10000",
    "jit": "off",
    **statements.LOOK_UP,
}

DIALECT: Final[sa.Dialect] = asyncpg_dialect()  # type: ignore[no-untyped-call]  # untyped in SQLAlchemy


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

    def __init__(self, raw: PipelinedConnection) -> None:
        self._raw = raw
        self._ending = False

    def end(self) -> None:
        """Commit with the next statement, which is the last one of the transaction."""
        self._ending = True

    def rows(self, text: str, bound: Sequence[Any]) -> Sequence[Any]:
        return cast(Sequence[Any], await_only(self._raw.fetch(text, *bound)))

    def changed(self, text: str, bound: Sequence[Any]) -> int:
        """Return the number of changed rows, from the command tag of the driver, such as `UPDATE 3`."""
        if self._ending:
            self._raw.commit_with_next()
        _, _, count = cast(str, await_only(self._raw.execute(text, *bound))).rpartition(" ")
        return int(count) if count.isdigit() else 0


class ConnectionPool:
    """Connections of the driver, opened when needed and reused. The driver's own pool starts a timer and a task and resets
    the session at each use, which costs too much for small units."""

    def __init__(self, url: sa.URL, connect_args: Mapping[str, Any], *, size: int, **settings: str) -> None:
        """`size`: the maximum number of connections. `settings`: the settings of the server for each session."""
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
        self._free: list[PipelinedConnection] = []  # the last used is taken first: the server has its plans in memory

    async def take(self) -> PipelinedConnection:
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
            return await postgres_pipeline.connect(**self._arguments)
        except BaseException:
            self._room.release()
            raise

    def give(self, raw: PipelinedConnection, *, clean: bool) -> None:
        """Return a connection to the pool. `clean`: it is in no transaction, and its session is unchanged. Otherwise it is
        closed."""
        if clean:
            self._free.append(raw)
        else:
            raw.terminate()
        self._room.release()

    def drop_idle(self) -> None:
        """Drop the connections that are not in use, after the server did not answer on another one."""
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
    """Return an engine of at most `size` connections, opened when needed. `settings`: those of the server for each session."""
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
