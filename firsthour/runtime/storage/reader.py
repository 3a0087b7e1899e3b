"""Reading outside of units: functions that change nothing, each on a connection of its own."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, TypeVar

from sqlalchemy.engine import Connection, Engine

T = TypeVar("T")


class Reader(Protocol):
    """Runs a reading function on a connection that sees one snapshot."""

    async def __call__(self, work: Callable[[Connection], T], /) -> T: ...


class SqliteReader:
    """Runs reading functions in a few threads. In WAL mode, readers and the writer never wait for each other."""

    def __init__(self, engine: Engine, threads: int = 2) -> None:
        self._engine = engine
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="read")

    async def __call__(self, work: Callable[[Connection], T], /) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._run, work)

    def _run(self, work: Callable[[Connection], T]) -> T:
        with self._engine.connect() as connection, connection.begin():
            return work(connection)

    def close(self) -> None:
        self._pool.shutdown(wait=True)
        self._engine.dispose()
