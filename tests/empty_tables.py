"""Databases that have the tables of all loaded modules, and no rows. They are copied from one that is made once."""

import sqlite3
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from firsthour.runtime.storage import statements
from firsthour.runtime.storage.sqlite_engines import writer_engine

_ANY_THREAD: Final = {"check_same_thread": False}


@cache
def _file(names: frozenset[str]) -> bytes:
    """Return the content of a file with these tables; they are the key, because a module that is loaded later adds some."""
    with TemporaryDirectory() as directory:
        file = Path(directory) / "tables.db"
        engine = writer_engine(file)
        statements.metadata.create_all(engine)
        engine.dispose()
        return file.read_bytes()


@cache
def _memory(names: frozenset[str]) -> bytes:
    """Return these tables in the form of a database in memory."""
    engine = sa.create_engine("sqlite://", poolclass=sa.StaticPool)
    statements.metadata.create_all(engine)
    with engine.connect() as connection:
        driver = connection.connection.driver_connection
        assert isinstance(driver, sqlite3.Connection)
        tables = driver.serialize()
    engine.dispose()
    return tables


def create_tables(file: Path) -> None:
    """Write a database file, if there is none."""
    if not file.exists():
        file.write_bytes(_file(frozenset(statements.metadata.tables)))


def memory_engine() -> Engine:
    """Return the engine of a new database in memory, with one connection for all threads."""
    tables = _memory(frozenset(statements.metadata.tables))
    engine = sa.create_engine("sqlite://", poolclass=sa.StaticPool, connect_args=_ANY_THREAD)
    sa.event.listen(engine, "connect", lambda driver, _: driver.deserialize(tables))
    return engine
