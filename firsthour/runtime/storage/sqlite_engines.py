"""Connections to a SQLite file, their settings, and the failures that come from the state of the file."""

import sqlite3
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import DBAPIError

from firsthour.runtime.private_files import secure_sqlite
from firsthour.runtime.storage import sqlite_rows
from firsthour.runtime.storage.unit import StorageError

_MANUAL: Final[dict[str, Any]] = {"isolation_level": None, "cached_statements": 1_024}
_UNAVAILABLE: Final = {
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_NOMEM,
}
LOCKED: Final = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
LOCK_SECONDS: Final = 5.0
"""How long a unit waits for the lock of another process."""
LOCK_SECONDS_AFTERWARDS: Final = 0.1
"""The same once a unit has waited in vain: the requests in the queue are answered, each in its turn, while the lock is held."""
PAGES_OF_LOG_MAX: Final = 8_000
"""Pages of the write-ahead log at which the writer copies it itself: see `checkpoints`."""
DAMAGED: Final = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


def writer_engine(file: Path, *, pages_max: int | None = None) -> Engine:
    """Return the engine for the one connection that writes. `pages_max`: the pages of the file (4 KiB each); None: no bound.

    Connecting raises `UnsafeFileError` when the file is a symbolic link.
    """
    engine = sa.create_engine(
        f"sqlite+pysqlite:///{file}", poolclass=sa.NullPool, connect_args={"timeout": LOCK_SECONDS} | _MANUAL
    )

    def prepare(dbapi: Any, _: object) -> None:
        dbapi.isolation_level = None  # the driver's own BEGIN comes too late: updates after a read would be lost
        dbapi.execute("PRAGMA journal_mode=WAL")
        dbapi.execute("PRAGMA synchronous=FULL")
        dbapi.execute("PRAGMA foreign_keys=ON")
        dbapi.execute("PRAGMA cache_size=-65536")
        dbapi.execute(f"PRAGMA wal_autocheckpoint={PAGES_OF_LOG_MAX}")
        if pages_max is not None:
            dbapi.execute(f"PRAGMA max_page_count={int(pages_max)}")

    sa.event.listen(engine, "do_connect", lambda *_: secure_sqlite(file))
    sa.event.listen(engine, "connect", prepare)
    sa.event.listen(engine, "begin", sqlite_rows.begin)
    return engine


def wait_for_lock(connection: Connection, seconds: float) -> None:
    """Let the later units on this connection wait so long for the lock of another process."""
    driver: Any = connection.connection.driver_connection  # on the connection itself this would begin a transaction
    driver.execute(f"PRAGMA busy_timeout={round(seconds * 1_000)}")


def used_bytes(connection: Connection) -> int:
    """Return the bytes of the file that hold data. Free pages, which new rows reuse, do not count."""
    pages, free, size = [
        int(connection.exec_driver_sql(f"PRAGMA {name}").scalar_one())
        for name in ("page_count", "freelist_count", "page_size")
    ]
    return (pages - free) * size


def reader_engine(file: Path) -> Engine:
    """Return the engine for connections that only read."""
    engine = sa.create_engine(
        f"sqlite+pysqlite:///{file}",
        connect_args={"check_same_thread": False, "timeout": LOCK_SECONDS} | _MANUAL,
        pool_size=4,
    )

    def prepare(dbapi: Any, _: object) -> None:
        dbapi.isolation_level = None
        dbapi.execute("PRAGMA query_only=ON")

    def translate(context: sa.engine.ExceptionContext) -> None:
        failure = context.sqlalchemy_exception
        if isinstance(failure, DBAPIError) and (error := storage_error(failure)) is not None:
            raise error from context.original_exception

    sa.event.listen(engine, "handle_error", translate)
    sa.event.listen(engine, "connect", prepare)
    sa.event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN"))
    return engine


def error_code(failure: DBAPIError) -> int:
    """Return SQLite's primary code of an error; 0: it is not an error of SQLite."""
    return int(getattr(failure.orig, "sqlite_errorcode", 0)) & 0xFF


def storage_error(failure: DBAPIError) -> StorageError | None:
    """Return a `StorageError` if the state of the file caused the failure, not the statement; None otherwise."""
    code = error_code(failure)
    if code in DAMAGED:
        return StorageError(f"the database is damaged ({failure.orig}); `firsthour doctor` has the remedy")
    return StorageError(f"the database cannot commit: {failure.orig}") if code in _UNAVAILABLE else None
