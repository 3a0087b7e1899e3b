"""The basis of all tables and statements: one metadata, and Core statements that are compiled once.

A statement is written in SQLAlchemy Core, compiled once per dialect, and then run by the driver with plain parameters.
The SQL is the same as `connection.execute` would send, but it is not built again for every unit. All columns are TEXT,
BIGINT, DOUBLE or BLOB, so no value has to be converted.

Many rows are one call of the driver. SQLite runs the statement row by row. PostgreSQL gets one statement over the arrays
of the columns, whose text is the same for any number of rows.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from operator import itemgetter
from typing import Any, Final, cast

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection, Dialect
from sqlalchemy.ext.compiler import compiles

from firsthour.runtime.storage import sqlite_rows
from firsthour.runtime.storage.compiled_sql import Compiled, compile_statement, join_texts, over_rows

metadata = sa.MetaData()

Text = sa.Text
Integer = sa.BigInteger().with_variant(sa.Integer, "sqlite")  # SQLite: only INTEGER is the row id
Bytes = sa.LargeBinary

LOOK_UP: Final[Mapping[str, str]] = {"enable_seqscan": "off", "enable_hashjoin": "off", "enable_mergejoin": "off"}
"""Settings of PostgreSQL for the sessions of units, which look up rows by an index. A plan that was cached while a table was
empty would otherwise scan the whole table later."""

MICROSECONDS: Final = "(extract(epoch FROM clock_timestamp()) * 1000000)::BIGINT"
"""The current time of PostgreSQL's clock; it advances during a transaction."""

_to_json = msgspec.json.Encoder().encode


@compiles(sa.Text, "postgresql")
def _bytewise_text(type_: sa.Text, compiler: Any, **context: Any) -> str:
    """Give text columns the collation "C" in CREATE and ALTER: ids then compare as bytes on both databases, and in Python.

    The order of locks, the cursors of lists and the places in the queue rest on that. The default collation of a server
    differs.
    """
    text = cast(str, compiler.visit_TEXT(type_, **context))
    return f'{text} COLLATE "C"' if isinstance(context.get("type_expression"), sa.Column) else text


class SqlDialect:
    """The differences between SQLite and PostgreSQL in our statements."""

    def __init__(self, name: str) -> None:
        self.name = name

    def insert(self, table: sa.Table) -> Any:
        """Return an INSERT with `on_conflict_do_nothing` and `on_conflict_do_update`."""
        return sqlite.insert(table) if self.name == "sqlite" else postgresql.insert(table)

    def upsert(self, table: sa.Table, keys: Sequence[str]) -> Any:
        """Return an INSERT of every column that updates all columns but `keys` if the row exists."""
        insert = self.insert(table).values({c.name: sa.bindparam(c.name) for c in table.columns})
        changed = {c.name: insert.excluded[c.name] for c in table.columns if c.name not in keys}
        return insert.on_conflict_do_update(index_elements=list(keys), set_=changed)

    def unnest(self, name: str) -> Any:
        """Return the values of the array parameter `name` (texts) as a subquery for `IN` or `FROM`."""
        if self.name == "sqlite":
            rows = sa.func.json_each(sa.bindparam(name)).table_valued("value", name=f"{name}_each")
            return sa.select(rows.c.value)
        return sa.select(sa.func.unnest(_array(name)).column_valued("value"))

    def is_any_of(self, column: sa.ColumnElement[Any], name: str) -> sa.ColumnElement[bool]:
        """Compare `column` with the values of the array parameter `name` (texts): an index look-up on both databases."""
        if self.name == "sqlite":
            return column.in_(self.unnest(name))
        return column == sa.any_(_array(name))


def unnest(name: str, /, **columns: tuple[str, Any]) -> Any:
    """For PostgreSQL: return the rows of several array parameters side by side, each with the name and type of its column."""
    arrays = [sa.cast(sa.bindparam(parameter), postgresql.ARRAY(type_)) for parameter, (_, type_) in columns.items()]
    shape = [sa.column(column, type_) for column, type_ in columns.values()]
    return sa.func.unnest(*arrays).table_valued(*shape).render_derived(name=name)


def _array(name: str) -> sa.BindParameter[Any]:
    return sa.bindparam(name, type_=postgresql.ARRAY(sa.Text))


_DIALECTS = {name: SqlDialect(name) for name in ("sqlite", "postgresql")}


class DriverConnection:
    """A connection that passes statements to its driver unchanged. Units on PostgreSQL run on it."""

    dialect: Dialect

    def rows(self, text: str, bound: Sequence[Any]) -> Sequence[Any]:
        """Return every row of the result."""
        raise NotImplementedError

    def changed(self, text: str, bound: Sequence[Any]) -> int:
        """Return the number of changed rows."""
        raise NotImplementedError


class Sql:
    """One statement. `build` gets the dialect. Parameters are `bindparam`s; arrays are passed as lists."""

    def __init__(self, build: Callable[[SqlDialect], Any]) -> None:
        self._build = build
        self._once: dict[str, Compiled] = {}
        self._of_rows: dict[str, Compiled] = {}
        self._pickers: dict[str, tuple[frozenset[str], Callable[[Mapping[str, Any]], tuple[Any, ...]]]] = {}

    def run(self, connection: Connection, **values: Any) -> int:
        """Run the statement once. Return the number of changed rows. Lists become arrays."""
        text, bound = self.bound(connection.dialect, values)
        if isinstance(connection, DriverConnection):
            return connection.changed(text, bound)
        return sqlite_rows.changed(connection, text, bound)

    def all(self, connection: Connection, **values: Any) -> Sequence[Any]:
        """Return every row of the result, as named tuples."""
        text, bound = self.bound(connection.dialect, values)
        if isinstance(connection, DriverConnection):
            return connection.rows(text, bound)
        return sqlite_rows.rows(connection, text, bound)

    def first(self, connection: Connection, **values: Any) -> Any:
        """Return the first row, or None."""
        text, bound = self.bound(connection.dialect, values)
        if isinstance(connection, DriverConnection):
            rows = connection.rows(text, bound)
        else:
            rows = sqlite_rows.rows(connection, text, bound)
        return rows[0] if rows else None

    def locked(self, connection: Connection, **values: Any) -> tuple[Sequence[Any], int | None]:
        """Run a SELECT that locks. Return its rows and the time at which the last of them was locked.

        The time is the database's (microseconds); reading it with the rows saves a round trip. It is None on SQLite, or
        without rows. The rows may have one more column at their end.
        """
        if not isinstance(connection, DriverConnection):
            return self.all(connection, **values), None
        text, bound = self.bound(connection.dialect, values)
        rows = connection.rows(_with_time(text), bound)
        return rows, max((row[-1] for row in rows), default=None)

    def bound(self, dialect: Dialect, values: Mapping[str, Any]) -> tuple[str, tuple[Any, ...]]:
        """Return the text and the parameters for the driver."""
        text, order, constants, _ = self.for_one(dialect)
        fit = _for_sqlite if dialect.name == "sqlite" else _for_postgresql
        return text, tuple([fit(values[n] if n in values else constants.get(n)) for n in order])

    def tuples(self, connection: Connection, rows: list[tuple[Any, ...]]) -> int:
        """Run for each row, as `many`, with the values in the order of the statement's parameters.

        For an INSERT these are the columns of the table; for an UPDATE the new values, then those of its condition.
        """
        if not rows:
            return 0
        if connection.dialect.name == "sqlite":
            return sqlite_rows.changed_by_each(connection, self.for_one(connection.dialect).text, rows)
        text, bound = self.for_rows(connection.dialect).text, self.bound_rows(connection.dialect, rows)
        if isinstance(connection, DriverConnection):
            return connection.changed(text, bound)
        return sqlite_rows.changed(connection, text, bound)

    def bound_rows(self, dialect: Dialect, rows: list[tuple[Any, ...]]) -> tuple[Any, ...]:
        """Return the parameters for the text of `for_rows`."""
        _, order, constants, per_row = self.for_rows(dialect)
        return tuple(zip(*rows, strict=True)) + tuple(constants[n] for n in order[len(per_row) :])

    def many(self, connection: Connection, rows: Iterable[Mapping[str, Any]]) -> int:
        """Run for each row, as one call of the driver. Return the number of changed rows.

        Rows are inserted in their order. Pass no key twice to an upsert, and to an UPDATE no two rows that change the same
        row: in one statement PostgreSQL rejects the first, and applies only one of the second. Rows that other units may
        change at the same time must be sorted by their key, otherwise units deadlock.
        """
        return self.tuples(connection, self.work(connection, rows)[1])

    def work(self, connection: Connection, rows: Iterable[Mapping[str, Any]]) -> "Work":
        """Return the work that `many` would do with these rows, for `execute_combined` and `Unit.store`."""
        rows = list(rows)
        if not rows:
            return self, []
        names, pick = self._picker(connection.dialect)
        if not rows[0].keys() >= names:
            constants = self.for_one(connection.dialect).constants
            rows = [{**constants, **row} for row in rows]
        return self, list(map(pick, rows))

    def _picker(self, dialect: Dialect) -> tuple[frozenset[str], Callable[[Mapping[str, Any]], tuple[Any, ...]]]:
        """Return the names of the parameters of a row, and the function that takes them from it, in their order."""
        picker = self._pickers.get(dialect.name)
        if picker is None:
            one = self.for_one(dialect)
            order = one.order if dialect.name == "sqlite" else one.per_row
            pick = itemgetter(*order) if len(order) > 1 else lambda row: tuple(row[n] for n in order)
            picker = self._pickers[dialect.name] = frozenset(order), pick
        return picker

    def for_one(self, dialect: Dialect) -> Compiled:
        """Return the statement that `run` sends."""
        compiled = self._once.get(dialect.name)
        if compiled is None:
            compiled = self._once[dialect.name] = compile_statement(self._build(_DIALECTS[dialect.name]), dialect)
        return compiled

    def for_rows(self, dialect: Dialect) -> Compiled:
        """Return the statement that `many` and `tuples` send to PostgreSQL: the arrays of the columns come first."""
        compiled = self._of_rows.get(dialect.name)
        if compiled is None:
            compiled = self._of_rows[dialect.name] = over_rows(self.for_one(dialect))
        return compiled


@cache
def _with_time(text: str) -> str:
    """Add the time to each row of a SELECT that locks. PostgreSQL computes it after it has locked the row."""
    return f"WITH locked AS MATERIALIZED ({text}) SELECT locked.*, {MICROSECONDS} AS locked_at FROM locked"  # noqa: S608


Work = tuple[Sql, list[tuple[Any, ...]]]
"""A statement and its rows, as `Sql.tuples` takes them."""


def execute_combined(connection: Connection, *work: Work) -> None:
    """Run each statement for its rows, if it has any.

    PostgreSQL runs them in one round trip, since other units wait for the locks of this one. Their order is then
    undefined, and no two of the statements may change the same row.
    """
    nonempty = [(statement, rows) for statement, rows in work if rows]
    if len(nonempty) < 2 or not isinstance(connection, DriverConnection):
        for statement, rows in nonempty:
            statement.tuples(connection, rows)
        return
    bound: list[Any] = []
    for statement, rows in nonempty:
        bound += statement.bound_rows(connection.dialect, rows)
    connection.changed(joined(tuple(statement for statement, _ in nonempty), connection.dialect), bound)


_JOINED: Final[dict[tuple[str, tuple[Sql, ...]], str]] = {}


def joined(statements: tuple[Sql, ...], dialect: Dialect) -> str:
    """Return one statement that runs these, each for its rows. Its parameters are theirs, one after the other."""
    text = _JOINED.get((dialect.name, statements))
    if text is None:
        parts = [statement.for_rows(dialect) for statement in statements]
        text = _JOINED[dialect.name, statements] = join_texts(parts)
    return text


def _for_sqlite(value: Any) -> Any:
    return _to_json(value).decode() if isinstance(value, list) else value


def _for_postgresql(value: Any) -> Any:
    """Replace NUL, which PostgreSQL rejects. Only paths of requests can contain it here, and no row has such a path."""
    return value.replace("\0", "\ufffd") if isinstance(value, str) and "\0" in value else value
