"""Damages a database file as a bad disk does."""

import sqlite3
from contextlib import closing
from pathlib import Path

PAGE_BYTES = 4096


def corrupt_table(file: Path, table: str) -> None:
    """Overwrite the first page of this table. No process may have the database open."""
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (table,)).fetchone()
    with file.open("r+b") as stream:
        stream.seek(PAGE_BYTES * (page - 1))
        stream.write(b"\xa5" * PAGE_BYTES)
