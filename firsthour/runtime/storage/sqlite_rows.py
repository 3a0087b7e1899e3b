"""Statements on SQLite, sent to the driver without a result of SQLAlchemy, which costs more than the statement.

SQLAlchemy describes each column of a result anew for every statement that it did not compile: 60 us for a table of thirty
columns, of which the driver takes 8.
"""

import sqlite3
from collections import namedtuple
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, lru_cache
from types import TracebackType
from typing import Any, Final, cast

from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError

_SHAPES_KEPT: Final = 1_024
_BEGIN: Final = "BEGIN IMMEDIATE"
_shapes: Final[dict[str, tuple[int, Callable[[tuple[Any, ...]], Any]]]] = {}
"""By the text of a statement: the number of its columns, and the constructor of its rows."""


class DirectConnection:
    """The writer's connection inside a transaction that SQLAlchemy has not begun.

    Attributes that it lacks are those of the SQLAlchemy connection, which then joins the transaction.
    """

    def __init__(self, connection: Connection) -> None:
        self.dialect = connection.dialect
        self.driver = _open_driver(connection)
        self._connection = connection

    def __getattr__(self, name: str) -> Any:
        if not self._connection.in_transaction():
            self._connection.begin()  # it joins the transaction of the driver: see `begin`
        return getattr(self._connection, name)


class Transaction:
    """A transaction of the writer, as `with`: begun and ended by the driver. Raises the errors of SQLAlchemy."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._direct = DirectConnection(connection)
        self.joined = False  # SQLAlchemy took part, so any statement may have run

    def __enter__(self) -> Connection:
        """Begin. The connection that is returned is for statements inside the transaction only."""
        if _is_observed(self._connection):
            self._connection.begin()
            return self._connection
        _execute(self._connection, self._direct.driver.execute, _BEGIN)
        return cast(Connection, self._direct)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Commit, or roll back after an error."""
        driver, begun = self._direct.driver, self._connection.get_transaction()
        if begun is not None:
            self.joined = True
            begun.__exit__(kind, error, trace)
        elif error is not None:
            _execute(self._connection, driver.rollback)
        else:
            try:
                _execute(self._connection, driver.commit)
            except BaseException:
                driver.rollback()
                raise


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
    return list(map(_shape_of(text, cursor.description), found)) if found else found


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
    """Begin a transaction that writes, for the event `begin` of SQLAlchemy. Raises the errors of SQLAlchemy.

    If the driver has begun one, SQLAlchemy joins it.
    """
    driver = _open_driver(connection)
    if driver.in_transaction:
        return
    if _is_observed(connection):
        connection.exec_driver_sql(_BEGIN)
    else:
        _execute(connection, driver.execute, _BEGIN)


def _execute(connection: Connection, call: Callable[..., object], *texts: str) -> None:
    try:
        call(*texts)
    except sqlite3.Error as error:
        raise _as_sqlalchemy(connection, " ".join(texts) or "COMMIT", error) from error


def _driver(connection: Connection) -> sqlite3.Connection | None:
    """Return the connection of the driver. None: SQLAlchemy is to run the statement.

    It does so on another database, before a transaction, which it then begins, and where the statements are observed.
    """
    if isinstance(connection, DirectConnection):
        return connection.driver
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


def _shape_of(text: str, description: Sequence[Sequence[Any]]) -> Callable[[tuple[Any, ...]], Any]:
    """Return the constructor of the rows of this statement. Reading the names of its columns anew would cost more."""
    known = _shapes.get(text)
    if known is None or known[0] != len(description):
        if len(_shapes) >= _SHAPES_KEPT:
            _shapes.clear()
        known = _shapes[text] = len(description), _shape(tuple(column[0] for column in description))
    return known[1]


@lru_cache(_SHAPES_KEPT)
def _shape(names: tuple[str, ...]) -> Callable[[tuple[Any, ...]], Any]:
    """Return the constructor of rows with these columns."""

    class NamedSqliteRow(namedtuple("NamedSqliteRow", names, rename=True)):  # type: ignore[misc]  # noqa: SLOT002
        @cached_property
        def _mapping(self) -> Mapping[str, Any]:
            return dict(zip(names, self, strict=True))

    return NamedSqliteRow._make
