"""What every table and statement stands on: one metadata, and Core statements compiled once.

A statement is written in SQLAlchemy Core, compiled once per dialect, and then run at driver level with plain
parameters: the same SQL as `connection.execute` would send, without building it anew for every unit. All columns are
TEXT, BIGINT, DOUBLE or BLOB, so no value needs converting on the way.

Many rows are one call of the driver. SQLite runs the statement row by row; PostgreSQL gets one statement over the
arrays of the columns, whose text is the same for any number of rows.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache, partial
from operator import itemgetter
from typing import Any, Final, NamedTuple, cast

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection, Dialect
from sqlalchemy.ext.compiler import compiles

metadata = sa.MetaData()

Text = sa.Text
Integer = sa.BigInteger().with_variant(sa.Integer, "sqlite")  # SQLite: only INTEGER is the row id
Bytes = sa.LargeBinary

LOOK_UP: Final[Mapping[str, str]] = {"enable_seqscan": "off", "enable_hashjoin": "off", "enable_mergejoin": "off"}
"""What PostgreSQL is told for a session of units: rows are looked up by an index. A plan that is made while a table is
empty, and kept, would go on reading all of it when it is no longer empty."""

MICROSECONDS: Final = "(extract(epoch FROM clock_timestamp()) * 1000000)::BIGINT"
"""PostgreSQL's clock, as of now and not of the transaction's beginning."""

_to_json = msgspec.json.Encoder().encode


@compiles(sa.Text, "postgresql")
def _compared_as_bytes(type_: sa.Text, compiler: Any, **context: Any) -> str:
    """Give text columns the collation "C" where a table is made or altered: on both databases ids are then compared as
    bytes, as Python sorts them. Lock orders, cursors of lists and places in the queue rest on that, and the collation of
    an ordinary server is another."""
    text = cast(str, compiler.visit_TEXT(type_, **context))
    return f'{text} COLLATE "C"' if isinstance(context.get("type_expression"), sa.Column) else text


class SqlDialect:
    """What differs between SQLite and PostgreSQL in the statements we write."""

    def __init__(self, name: str) -> None:
        self.name = name

    def insert(self, table: sa.Table) -> Any:
        """An INSERT that knows `on_conflict_do_nothing` and `on_conflict_do_update`."""
        return sqlite.insert(table) if self.name == "sqlite" else postgresql.insert(table)

    def upsert(self, table: sa.Table, keys: Sequence[str]) -> Any:
        """INSERT of every column, updating all but `keys` where the row is there already."""
        insert = self.insert(table).values({c.name: sa.bindparam(c.name) for c in table.columns})
        changed = {c.name: insert.excluded[c.name] for c in table.columns if c.name not in keys}
        return insert.on_conflict_do_update(index_elements=list(keys), set_=changed)

    def unnest(self, name: str) -> Any:
        """The values of the array parameter `name` (texts), as a subquery for `IN` or `FROM`."""
        if self.name == "sqlite":
            rows = sa.func.json_each(sa.bindparam(name)).table_valued("value", name=f"{name}_each")
            return sa.select(rows.c.value)
        return sa.select(sa.func.unnest(_array(name)).column_valued("value"))

    def is_any_of(self, column: sa.ColumnElement[Any], name: str) -> sa.ColumnElement[bool]:
        """Whether `column` is one of the array parameter `name` (texts): a look-up in its index on both."""
        if self.name == "sqlite":
            return column.in_(self.unnest(name))
        return column == sa.any_(_array(name))


def unnest(name: str, /, **columns: tuple[str, Any]) -> Any:
    """For PostgreSQL: the rows of several array parameters side by side, each with the name and type of its column."""
    given = [sa.cast(sa.bindparam(parameter), postgresql.ARRAY(type_)) for parameter, (_, type_) in columns.items()]
    shape = [sa.column(column, type_) for column, type_ in columns.values()]
    return sa.func.unnest(*given).table_valued(*shape).render_derived(name=name)


def _array(name: str) -> sa.BindParameter[Any]:
    return sa.bindparam(name, type_=postgresql.ARRAY(sa.Text))


_DIALECTS = {name: SqlDialect(name) for name in ("sqlite", "postgresql")}


class DriverConnection:
    """A connection that hands statements to its driver as they are: what units on PostgreSQL run on."""

    dialect: Dialect

    def rows(self, text: str, bound: Sequence[Any]) -> Sequence[Any]:
        """Every row of the result."""
        raise NotImplementedError

    def changed(self, text: str, bound: Sequence[Any]) -> int:
        """How many rows were changed."""
        raise NotImplementedError


class Compiled(NamedTuple):
    """A statement as one dialect's driver takes it."""

    text: str
    order: tuple[str, ...]  # the parameters, by position
    constants: Mapping[str, Any]  # the parameters that the statement itself sets; None for the others
    per_row: tuple[str, ...]  # of the parameters those that differ from row to row, once each


class Sql:
    """One statement. `build` gets the flavour; parameters are named by `bindparam`s, arrays are passed as lists."""

    def __init__(self, build: Callable[[SqlDialect], Any]) -> None:
        self._build = build
        self._once: dict[str, Compiled] = {}
        self._of_rows: dict[str, Compiled] = {}

    def run(self, connection: Connection, **values: Any) -> int:
        """Run once; how many rows were changed. Lists become arrays."""
        text, bound = self.bound(connection.dialect, values)
        if isinstance(connection, DriverConnection):
            return connection.changed(text, bound)
        return int(connection.exec_driver_sql(text, bound).rowcount)

    def all(self, connection: Connection, **values: Any) -> Sequence[Any]:
        """Every row of the result, as named tuples."""
        text, bound = self.bound(connection.dialect, values)
        if isinstance(connection, DriverConnection):
            return connection.rows(text, bound)
        return connection.exec_driver_sql(text, bound).all()

    def first(self, connection: Connection, **values: Any) -> Any:
        """The first row, or None."""
        text, bound = self.bound(connection.dialect, values)
        if isinstance(connection, DriverConnection):
            rows = connection.rows(text, bound)
            return rows[0] if rows else None
        return connection.exec_driver_sql(text, bound).first()

    def locked(self, connection: Connection, **values: Any) -> tuple[Sequence[Any], int | None]:
        """Every row of a SELECT that locks, and when the last of them was locked (microseconds), by the database's clock:
        a row locked is a row read, so no question of its own is needed. None where there is no such clock, or no row. The
        rows may have a column more at their end."""
        if not isinstance(connection, DriverConnection):
            return self.all(connection, **values), None
        text, bound = self.bound(connection.dialect, values)
        rows = connection.rows(_with_time(text), bound)
        return rows, max((row[-1] for row in rows), default=None)

    def bound(self, dialect: Dialect, values: Mapping[str, Any]) -> tuple[str, tuple[Any, ...]]:
        """What the driver is given."""
        text, order, constants, _ = self.for_one(dialect)
        fit = _for_sqlite if dialect.name == "sqlite" else _for_postgresql
        return text, tuple(fit(values.get(n, constants.get(n))) for n in order)

    def tuples(self, connection: Connection, rows: list[tuple[Any, ...]]) -> int:
        """As `many`, with each row in the order of the statement's parameters: for an INSERT its table's columns, for
        an UPDATE what is set and then what it is found by."""
        if not rows:
            return 0
        if connection.dialect.name == "sqlite":
            return int(connection.exec_driver_sql(self.for_one(connection.dialect).text, rows).rowcount)
        text, bound = self.for_rows(connection.dialect).text, self.bound_rows(connection.dialect, rows)
        if isinstance(connection, DriverConnection):
            return connection.changed(text, bound)
        return int(connection.exec_driver_sql(text, bound).rowcount)

    def bound_rows(self, dialect: Dialect, rows: list[tuple[Any, ...]]) -> tuple[Any, ...]:
        """What the driver is given with `for_rows`."""
        _, order, constants, per_row = self.for_rows(dialect)
        return tuple(zip(*rows, strict=True)) + tuple(constants[n] for n in order[len(per_row) :])

    def many(self, connection: Connection, rows: Iterable[Mapping[str, Any]]) -> int:
        """Run for each row, as one call of the driver; nothing for no rows. How many rows were changed.

        Rows are inserted in their order. An upsert must not be given one key twice and an UPDATE not two rows that
        change the same row: in one statement PostgreSQL refuses the first and does only one of the second. Rows that
        others may change at the same time come sorted by their key, so that nobody waits in a circle.
        """
        return self.tuples(connection, self.work(connection, rows)[1])

    def work(self, connection: Connection, rows: Iterable[Mapping[str, Any]]) -> "Work":
        """What `many` would do with these, for `execute_combined` and `Unit.store`."""
        rows = list(rows)
        if not rows:
            return self, []
        _, order, constants, per_row = self.for_one(connection.dialect)
        if connection.dialect.name != "sqlite":
            order = per_row
        if constants and any(n not in rows[0] for n in order):
            rows = [{**constants, **row} for row in rows]
        pick = itemgetter(*order)
        return self, [pick(row) for row in rows] if len(order) > 1 else [(pick(row),) for row in rows]

    def for_one(self, dialect: Dialect) -> Compiled:
        """What `run` sends."""
        found = self._once.get(dialect.name)
        if found is None:
            found = self._once[dialect.name] = _compile(self._build(_DIALECTS[dialect.name]), dialect)
        return found

    def for_rows(self, dialect: Dialect) -> Compiled:
        """What `many` and `tuples` send where the database is not SQLite: the arrays of the columns come first."""
        found = self._of_rows.get(dialect.name)
        if found is None:
            found = self._of_rows[dialect.name] = _over_rows(self.for_one(dialect))
        return found


@cache
def _with_time(text: str) -> str:
    """The rows of a SELECT that locks, each with the time after its lock: before it, the row is not there to be read."""
    return f"WITH locked AS MATERIALIZED ({text}) SELECT locked.*, {MICROSECONDS} AS locked_at FROM locked"  # noqa: S608


Work = tuple[Sql, list[tuple[Any, ...]]]
"""A statement and its rows, as `Sql.tuples` takes them."""


def execute_combined(connection: Connection, *work: Work) -> None:
    """Run each for its rows, if it has any. On PostgreSQL in one round trip, which counts while others wait for what we
    have locked; there nothing says which comes first, and no two of them may change the same row."""
    some = [(statement, rows) for statement, rows in work if rows]
    if len(some) < 2 or not isinstance(connection, DriverConnection):
        for statement, rows in some:
            statement.tuples(connection, rows)
        return
    bound: list[Any] = []
    for statement, rows in some:
        bound += statement.bound_rows(connection.dialect, rows)
    connection.changed(joined(tuple(statement for statement, _ in some), connection.dialect), bound)


_JOINED: Final[dict[tuple[str, tuple[Sql, ...]], str]] = {}


def joined(statements: tuple[Sql, ...], dialect: Dialect) -> str:
    """One statement that does what these do, each for its rows; it takes their parameters one after the other's."""
    found = _JOINED.get((dialect.name, statements))
    if found is None:
        parts: list[str] = []
        taken = 0
        for n, statement in enumerate(statements):
            one = statement.for_rows(dialect)
            shifted = _NUMBER.sub(partial(_shifted, by=taken), one.text)
            parts.append(f"w{n} AS ({shifted})")
            taken += len(one.order)
        found = _JOINED[dialect.name, statements] = f"WITH {', '.join(parts)} SELECT 1"
    return found


def _shifted(place: re.Match[str], by: int) -> str:
    return f"${int(place[1]) + by}"


def _for_sqlite(value: Any) -> Any:
    return _to_json(value).decode() if isinstance(value, list) else value


def _for_postgresql(value: Any) -> Any:
    """What PostgreSQL refuses is refused at the rim already, but for addresses: they are not found."""
    return value.replace("\0", "\ufffd") if isinstance(value, str) and "\0" in value else value


def _compile(statement: Any, dialect: Dialect) -> Compiled:
    compiled = cast(Any, statement.compile(dialect=dialect))
    order = tuple(compiled.positiontup or ())
    per_row = tuple(dict.fromkeys(name for name in order if compiled.binds[name].required))
    return Compiled(str(compiled), order, compiled.params, per_row)


_NUMBER = re.compile(r"\$(\d+)")
_PLACE = re.compile(r"\$(\d+)(?:::(\w+(?: PRECISION)?))?")
_ONE_INSERT = re.compile(r"(INSERT INTO .*?)\sVALUES \(([^()]*)\)(.*?)(?:\sRETURNING .*)?", re.DOTALL)
_ONE_UPDATE = re.compile(r"(UPDATE .*?)\s(WHERE .*)", re.DOTALL)


def _over_rows(one: Compiled) -> Compiled:
    """The same INSERT or UPDATE of all the rows of `u`: one array for each parameter that differs from row to row, then
    those that the statement itself sets. The types are those that the one-row statement casts its parameters to."""
    constant = tuple(name for name in dict.fromkeys(one.order) if name not in one.per_row)
    types: dict[str, str] = {}

    def placed(found: re.Match[str]) -> str:
        name = one.order[int(found[1]) - 1]
        cast_to = f"::{found[2]}" if found[2] else ""
        if name in constant:
            return f"${len(one.per_row) + constant.index(name) + 1}{cast_to}"
        if found[2]:
            types[name] = found[2]
        return f'u."{name}"'

    text = _PLACE.sub(placed, one.text)
    arrays = ", ".join(f"${n}::{types[name]}[]" for n, name in enumerate(one.per_row, 1))
    names = ", ".join(f'"{name}"' for name in one.per_row)
    if insert := _ONE_INSERT.fullmatch(text):
        rows = f"unnest({arrays}) WITH ORDINALITY AS u({names}, ordinality) ORDER BY u.ordinality"
        text = f"{insert[1]} SELECT {insert[2]} FROM {rows}{insert[3]}"  # noqa: S608  # of statements of ours alone
    elif update := _ONE_UPDATE.fullmatch(text):
        text = f"{update[1]} FROM unnest({arrays}) AS u({names}) {update[2]}"
    else:
        raise ValueError("no statement for many rows: " + one.text)
    return Compiled(text, one.per_row + constant, one.constants, one.per_row)
