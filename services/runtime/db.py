"""What every table and statement stands on: one metadata, and Core statements compiled once.

A statement is written in SQLAlchemy Core, compiled once per dialect, and then run at driver level with plain
parameters: the same SQL as `connection.execute` would send, without building it anew for every unit. All columns are
TEXT, BIGINT, DOUBLE or BLOB, so no value needs converting on the way.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Any, cast

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection, Dialect

metadata = sa.MetaData()

Text = sa.Text
Integer = sa.BigInteger().with_variant(sa.Integer, "sqlite")  # SQLite: only INTEGER is the row id
Real = sa.Double
Bytes = sa.LargeBinary

_to_json = msgspec.json.Encoder().encode


class Flavour:
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

    def each(self, name: str) -> Any:
        """The values of the array parameter `name` (texts), as a subquery for `IN` or `FROM`."""
        if self.name == "sqlite":
            rows = sa.func.json_each(sa.bindparam(name)).table_valued("value", name=f"{name}_each")
            return sa.select(rows.c.value)
        array = sa.cast(sa.bindparam(name), postgresql.ARRAY(sa.Text))
        return sa.select(sa.func.unnest(array).column_valued("value"))


_FLAVOURS = {name: Flavour(name) for name in ("sqlite", "postgresql")}


class Sql:
    """One statement. `build` gets the flavour; parameters are named by `bindparam`s, arrays are passed as lists."""

    def __init__(self, build: Callable[[Flavour], Any]) -> None:
        self._build = build
        self._compiled: dict[str, tuple[str, tuple[str, ...], Mapping[str, Any]]] = {}

    def _for(self, dialect: Dialect) -> tuple[str, tuple[str, ...], Mapping[str, Any]]:
        found = self._compiled.get(dialect.name)
        if found is None:
            compiled = cast(Any, self._build(_FLAVOURS[dialect.name]).compile(dialect=dialect))
            order = tuple(compiled.positiontup or ())
            found = self._compiled[dialect.name] = (str(compiled), order, compiled.params)
        return found

    def run(self, connection: Connection, **values: Any) -> sa.CursorResult[*tuple[Any, ...]]:
        """Run once. Lists become arrays."""
        text, order, given = self._for(connection.dialect)
        return connection.exec_driver_sql(text, tuple(_value(values.get(n, given.get(n)), connection) for n in order))

    def all(self, connection: Connection, **values: Any) -> Sequence[Any]:
        """Every row of the result, as named tuples."""
        return self.run(connection, **values).all()

    def first(self, connection: Connection, **values: Any) -> Any:
        """The first row, or None."""
        return self.run(connection, **values).first()

    def tuples(self, connection: Connection, rows: list[tuple[Any, ...]]) -> None:
        """As `many`, with each row in the order of the statement's parameters: for an INSERT its table's columns."""
        if rows:
            connection.exec_driver_sql(self._for(connection.dialect)[0], rows)

    def many(self, connection: Connection, rows: Iterable[Mapping[str, Any]]) -> None:
        """Run once per row, as one call of the driver; nothing for no rows."""
        rows = list(rows)
        if not rows:
            return
        text, order, given = self._for(connection.dialect)
        if given and any(n not in rows[0] for n in order):
            rows = [{**given, **row} for row in rows]
        pick = itemgetter(*order)
        values = [pick(row) for row in rows] if len(order) > 1 else [(pick(row),) for row in rows]
        connection.exec_driver_sql(text, values)


def _value(value: Any, connection: Connection) -> Any:
    if isinstance(value, list) and connection.dialect.name == "sqlite":
        return _to_json(value).decode()
    return value
