"""Statements on SQLite, sent to the driver without a result of SQLAlchemy, which costs more than the statement.

SQLAlchemy describes each column of a result anew for every statement that it did not compile: 60 us for a table of thirty
columns, of which the driver takes 8.
"""

import sqlite3
from collections import namedtuple
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, lru_cache
from typing import Any, Final

from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError

_SHAPES_KEPT: Final = 1_024
_BEGIN: Final = "BEGIN IMMEDIATE"


def rows(connection: Connection, text: str, bound: Sequence[Any]) -> Sequence[Any]:
    """Return every row of a SELECT, as named tuples like SQLAlchemy's. Raises the errors of SQLAlchemy."""
    driver = _driver(connection)
    if driver is None:
        return connection.exec_driver_sql(text, tuple(bound)).all()
    try:
        cursor = driver.execute(text, bound)
        found = cursor.fetchall()
    except sqlite3.Error as error:
        raise _as_sqlalchemy(connection, text, error) from error
    return list(map(_shape(tuple(column[0] for column in cursor.description)), found)) if found else found


def changed(connection: Connection, text: str, bound: Sequence[Any]) -> int:
    """Run a statement that changes rows, and return their number. Raises the errors of SQLAlchemy."""
    driver = _driver(connection)
    if driver is None:
        return int(connection.exec_driver_sql(text, tuple(bound)).rowcount)
    try:
        return driver.execute(text, bound).rowcount
    except sqlite3.Error as error:
        raise _as_sqlalchemy(connection, text, error) from error


def changed_by_each(connection: Connection, text: str, rows: list[tuple[Any, ...]]) -> int:
    """Run a statement for each row, and return the number of changed rows. Raises the errors of SQLAlchemy."""
    driver = _driver(connection)
    if driver is None:
        return int(connection.exec_driver_sql(text, rows).rowcount)
    try:
        return driver.executemany(text, rows).rowcount
    except sqlite3.Error as error:
        raise _as_sqlalchemy(connection, text, error) from error


def begin(connection: Connection) -> None:
    """Begin a transaction that writes, for the event `begin` of SQLAlchemy. Raises the errors of SQLAlchemy."""
    if _is_observed(connection):
        connection.exec_driver_sql(_BEGIN)
        return
    try:
        _open_driver(connection).execute(_BEGIN)
    except sqlite3.Error as error:
        raise _as_sqlalchemy(connection, _BEGIN, error) from error


def _driver(connection: Connection) -> sqlite3.Connection | None:
    """Return the connection of the driver. None: SQLAlchemy is to run the statement.

    It does so on another database, before a transaction, which it then begins, and where the statements are observed.
    """
    if connection.dialect.name != "sqlite" or not connection.in_transaction() or _is_observed(connection):
        return None
    return _open_driver(connection)


def _is_observed(connection: Connection) -> bool:
    return bool(connection.dispatch.before_cursor_execute)


def _open_driver(connection: Connection) -> sqlite3.Connection:
    driver: sqlite3.Connection = connection.connection.driver_connection  # type: ignore[assignment]  # it is open
    return driver


def _as_sqlalchemy(connection: Connection, text: str, error: sqlite3.Error) -> BaseException:
    """Return the error as SQLAlchemy raises it, without parameters: these are data of people."""
    return DBAPIError.instance(text, None, error, sqlite3.Error, hide_parameters=True, dialect=connection.dialect)


@lru_cache(_SHAPES_KEPT)
def _shape(names: tuple[str, ...]) -> Callable[[tuple[Any, ...]], Any]:
    """Return the constructor of rows with these columns."""

    class NamedSqliteRow(namedtuple("NamedSqliteRow", names, rename=True)):  # type: ignore[misc]  # noqa: SLOT002
        @cached_property
        def _mapping(self) -> Mapping[str, Any]:
            return dict(zip(names, self, strict=True))

    return NamedSqliteRow._make
