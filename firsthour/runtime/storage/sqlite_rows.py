"""The rows of SELECTs on SQLite, read from the driver without a result of SQLAlchemy, which costs more than the SELECT.

SQLAlchemy describes each column of a result anew for every statement that it did not compile: 60 us for a table of thirty
columns, of which the driver takes 8.
"""

import sqlite3
from collections import namedtuple
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, lru_cache
from typing import Any, Final

from sqlalchemy.engine import Connection

_SHAPES_KEPT: Final = 1_024


def rows(connection: Connection, text: str, bound: Sequence[Any]) -> Sequence[Any]:
    """Return every row of a SELECT, as named tuples like SQLAlchemy's.

    Before a transaction, and where the statements of a connection are observed, SQLAlchemy runs the statement. So it does
    after an error, which then has its usual class: a SELECT may run twice.
    """
    on_sqlite = connection.dialect.name == "sqlite"
    if on_sqlite and connection.in_transaction() and not connection.dispatch.before_cursor_execute:
        driver: sqlite3.Connection = connection.connection.driver_connection  # type: ignore[assignment]
        try:
            cursor = driver.execute(text, bound)
            found = cursor.fetchall()
        except sqlite3.Error:
            pass
        else:
            return list(map(_shape(tuple(column[0] for column in cursor.description)), found)) if found else found
    return connection.exec_driver_sql(text, tuple(bound)).all()


@lru_cache(_SHAPES_KEPT)
def _shape(names: tuple[str, ...]) -> Callable[[tuple[Any, ...]], Any]:
    """Return the constructor of rows with these columns."""

    class NamedSqliteRow(namedtuple("NamedSqliteRow", names, rename=True)):  # type: ignore[misc]  # noqa: SLOT002
        @cached_property
        def _mapping(self) -> Mapping[str, Any]:
            return dict(zip(names, self, strict=True))

    return NamedSqliteRow._make
