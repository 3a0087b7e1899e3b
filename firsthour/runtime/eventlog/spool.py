"""The gateway's spool: events on its own volume, in order, while the broker does not answer.

The spool is one SQLite file with the table `log` and the writer of the embedded profile. Appended rows are on the disk.
Appends that arrive during one commit share the next. Without a usable file the spool rejects rows, and the gateway still
runs.
"""

import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final, TypeVar, cast

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from firsthour.kernel.config import Config
from firsthour.kernel.time_units import moment
from firsthour.runtime.clock import Clock
from firsthour.runtime.private_files import UnsafeFileError
from firsthour.runtime.storage import statements
from firsthour.runtime.storage.packing import unpacked
from firsthour.runtime.storage.records import Record, Row, log
from firsthour.runtime.storage.sqlite import SqliteUnits
from firsthour.runtime.storage.sqlite_engines import writer_engine
from firsthour.runtime.storage.unit import Lane, StorageError, Unit

T = TypeVar("T")

FILE: Final = "spool.db"  # in the gateway's data directory
HEAD_ROWS: Final = 500
HEAD_BYTES: Final = 1024 * 1024
PAGE_BYTES: Final = 4096

_HEAD = statements.Sql(
    lambda _: (
        sa.select(log.c.id, log.c.topic, log.c.key, log.c.event_id, log.c.body)
        .order_by(log.c.id)
        .limit(sa.bindparam("limit", type_=sa.Integer))
    )
)
_DROP = statements.Sql(lambda _: sa.delete(log).where(log.c.id <= sa.bindparam("to")))
_OLDEST = statements.Sql(lambda _: sa.select(log.c.at).order_by(log.c.id).limit(1))
_COUNT = statements.Sql(lambda _: sa.select(sa.func.count()).select_from(log))


class Spool:
    """Rows in the order in which they were appended. The lock of the data directory allows one process at a time."""

    def __init__(self, file: Path, bytes_max: int, clock: Clock) -> None:
        """`bytes_max`: the bound of the file, without its write-ahead log of about 16 MiB."""
        self.file = file
        self.count = 0  # rows committed and not dropped
        self.append_count = 0  # appends that were requested so far, also those that failed
        self.problem: str | None = None  # the reason why the file could not be used; None: the last use succeeded
        self._pages_max = max(1, bytes_max // PAGE_BYTES)
        self._clock = clock
        self._units: SqliteUnits | None = None
        self._handed_over = 0  # rows up to this id are at the broker, even if they are still in the file

    def start(self) -> None:
        """Open the file, or set `problem` if it cannot be used."""
        engine = writer_engine(self.file, pages_max=self._pages_max)
        try:
            with engine.begin() as connection:
                log.create(connection, checkfirst=True)
                self.count = int(_COUNT.first(connection)[0])
        except (DBAPIError, sqlite3.Error, UnsafeFileError) as failure:
            self.problem = str(getattr(failure, "orig", failure))
            return
        finally:
            engine.dispose()
        writer = writer_engine(self.file, pages_max=self._pages_max)
        self._units = SqliteUnits(writer, self._clock, lambda: _NO_CONFIG)
        self._units.appended = self._appended
        self._units.start()
        self.problem = None

    async def append(self, rows: Sequence[Row]) -> None:
        """Append rows; they are on the disk when it returns.

        Raises:
            StorageError: the volume is full, read-only or absent; none of the rows is stored.
        """
        self.append_count += 1
        await self._do(lambda units: units.append(list(rows)))
        self.problem = None

    async def head(self, limit: int = HEAD_ROWS) -> list[tuple[int, Row]]:
        """Return the oldest rows with their ids, in order: at most `limit`, and beyond the first at most 1 MiB.

        When it returns, every append requested before is committed and counted, or rejected. Raises `StorageError`.
        """
        if self._handed_over:
            await self.drop(self._handed_over)
        return await self._do(lambda units: units.run(lambda unit: _head(unit, limit), Lane.BATCH))

    async def drop(self, up_to_id: int) -> None:
        """Delete the rows up to this one, which are at the broker. Raises `StorageError`.

        After a failure the next `head` tries again, so that the rows are not handed over twice.
        """
        self._handed_over = up_to_id

        def work(unit: Unit) -> None:
            dropped = _DROP.run(unit.connection, to=up_to_id)
            unit.after.append(lambda: self._dropped(dropped))

        await self._do(lambda units: units.run(work, Lane.BATCH))
        self._handed_over = 0
        self.problem = None

    async def oldest(self) -> datetime | None:
        """Return when the oldest row was appended (real time); None: the spool is empty. Raises `StorageError`."""
        row = await self._do(lambda units: units.run(lambda unit: _OLDEST.first(unit.connection), Lane.BULK))
        return None if row is None else moment(row[0])

    async def mend(self) -> None:
        """After a problem, check whether an append would succeed now, because space was freed or a volume mounted."""
        if self.problem is None:
            return
        if self._units is None or not self._units.alive:
            self.start()
            return
        try:
            await self._do(lambda units: units.run(_try_room, Lane.BULK))
        except StorageError:
            return
        self.problem = None

    async def close(self) -> None:
        """Finish the requested appends, and close the file."""
        if self._units is not None:
            await self._units.close()
            self._units = None

    async def _do(self, work: Callable[[SqliteUnits], Awaitable[T]]) -> T:
        if self._units is None or not self._units.alive:
            self.problem = self.problem or "it is not open"
            raise StorageError(f"the spool cannot be used: {self.problem}")
        try:
            return await work(self._units)
        except (StorageError, DBAPIError) as failure:
            self.problem = str(failure.orig if isinstance(failure, DBAPIError) else failure)
            raise StorageError(f"the spool cannot be used: {self.problem}") from failure

    def _appended(self, records: list[tuple[str, Record]]) -> None:
        """Count new rows. Called on the loop after each commit, also if its caller was cancelled."""
        self.count += len(records)

    def _dropped(self, rows: int) -> None:
        self.count -= rows


_NO_CONFIG: Final = cast(Config, None)  # the spool makes no decisions


def _head(unit: Unit, limit: int) -> list[tuple[int, Row]]:
    head: list[tuple[int, Row]] = []
    room = HEAD_BYTES
    text, bound = _HEAD.bound(unit.connection.dialect, {"limit": limit})
    with unit.connection.exec_driver_sql(text, bound) as rows:  # row by row: the result may be larger than memory
        for id, topic, key, event_id, stored in rows:
            body = unpacked(stored)
            room -= len(body)
            if head and room < 0:
                break
            head.append((id, Row(topic, key, event_id, body)))
    return head


def _try_room(unit: Unit) -> Any:
    """Allocate a few pages and free them, to test whether the volume has room."""
    unit.connection.exec_driver_sql(
        "INSERT INTO log (topic, partition, key, event_id, at, body) VALUES ('', 0, '', '', 0, zeroblob(16384))"
    )
    unit.connection.exec_driver_sql("DELETE FROM log WHERE id = last_insert_rowid()")
