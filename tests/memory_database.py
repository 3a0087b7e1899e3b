"""Databases in memory that have all tables and no rows, for tests of units without a file."""

import sqlite3
from functools import cache
from typing import Final

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from firsthour.bootstrap.services import all_services
from firsthour.runtime.storage import statements

_SHARED: Final = {"check_same_thread": False}


@cache
def _tables() -> bytes:
    assert all_services({}, None)  # imports every store, so that the metadata has all tables
    engine = sa.create_engine("sqlite://", poolclass=sa.StaticPool)
    statements.metadata.create_all(engine)
    with engine.connect() as connection:
        driver = connection.connection.driver_connection
        assert isinstance(driver, sqlite3.Connection)
        tables = driver.serialize()
    engine.dispose()
    return tables


def memory_engine() -> Engine:
    """Return the engine of a new database in memory, with one connection for all threads."""
    engine = sa.create_engine("sqlite://", poolclass=sa.StaticPool, connect_args=_SHARED)
    sa.event.listen(engine, "connect", lambda driver, _: driver.deserialize(_tables()))
    return engine
