"""Rows of SELECTs on SQLite: read from the driver, with the names and the errors of SQLAlchemy."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from firsthour.runtime.storage import statements
from firsthour.runtime.storage.sqlite_engines import writer_engine
from firsthour.runtime.storage.sqlite_rows import Transaction, changed, changed_by_each, rows

_TABLE = sa.table("t", sa.column("id"), sa.column("class"), sa.column("_mark"))
_SELECT = statements.Sql(lambda _: sa.select(_TABLE).where(_TABLE.c.id >= sa.bindparam("least")).order_by(_TABLE.c.id))


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[Connection]:
    engine = writer_engine(tmp_path / "x.db")
    with engine.connect() as connection, connection.begin():
        connection.exec_driver_sql('CREATE TABLE t (id INTEGER, "class" TEXT, _mark BLOB)')
        connection.exec_driver_sql("INSERT INTO t VALUES (1, 'a', X'00'), (2, NULL, X'01')")
        yield connection
    engine.dispose()


def test_rows_have_the_names_and_values_of_sqlalchemy(connection: Connection) -> None:
    (text, bound) = _SELECT.bound(connection.dialect, {"least": 1})
    expected = connection.exec_driver_sql(text, bound).all()
    found = _SELECT.all(connection, least=1)
    assert [tuple(row) for row in found] == [tuple(row) for row in expected]
    assert [dict(row._mapping) for row in found] == [dict(row._mapping) for row in expected]
    assert (found[0].id, found[0][1], *found[1]) == (1, "a", 2, None, b"\x01")


def test_first_row_of_none_is_none(connection: Connection) -> None:
    assert _SELECT.all(connection, least=3) == []
    assert _SELECT.first(connection, least=3) is None
    assert _SELECT.first(connection, least=2).id == 2


def test_errors_have_the_class_of_sqlalchemy(connection: Connection) -> None:
    with pytest.raises(sa.exc.OperationalError, match="no such table"):
        rows(connection, "SELECT * FROM missing", ())


def test_changes_are_counted_and_their_errors_have_the_class_of_sqlalchemy(tmp_path: Path) -> None:
    engine = writer_engine(tmp_path / "z.db")
    insert = "INSERT INTO things VALUES (?)"
    with engine.begin() as connection:
        assert changed(connection, "CREATE TABLE things (id INTEGER PRIMARY KEY)", ()) <= 0
        assert changed_by_each(connection, insert, [(1,), (2,), (3,)]) == 3
        assert changed(connection, "DELETE FROM things WHERE id > ?", (1,)) == 2
    with pytest.raises(sa.exc.IntegrityError) as raised, engine.begin() as connection:
        changed_by_each(connection, insert, [(7,), (1,)])
    assert "7" not in str(raised.value).partition("[SQL")[2].replace(insert, ""), "parameters are data of people"
    with pytest.raises(sa.exc.IntegrityError), engine.begin() as connection:
        changed(connection, insert, (1,))
    with engine.connect() as connection:
        assert changed(connection, insert, (9,)) == 1
        assert connection.in_transaction(), "a statement begins a transaction"
        connection.rollback()
        assert [row[0] for row in rows(connection, "SELECT id FROM things", ())] == [1]
    engine.dispose()


def test_writer_that_is_locked_out_raises_an_error_of_sqlalchemy(tmp_path: Path) -> None:
    engine = writer_engine(tmp_path / "w.db")
    with engine.connect() as connection, closing(sqlite3.connect(tmp_path / "w.db", isolation_level=None)) as other:
        connection.connection.driver_connection.execute("PRAGMA busy_timeout=0")  # type: ignore[union-attr]  # it is open
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(sa.exc.OperationalError, match="locked"):
            connection.begin()
    engine.dispose()


def test_observer_of_a_connection_sees_every_statement(connection: Connection) -> None:
    seen: list[str] = []

    def note(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        seen.append(statement)

    sa.event.listen(connection.engine, "before_cursor_execute", note)
    assert _SELECT.first(connection, least=2).id == 2
    sa.event.remove(connection.engine, "before_cursor_execute", note)
    assert len(seen) == 1
    assert _SELECT.first(connection, least=2).id == 2
    assert len(seen) == 1


def test_statement_begins_a_transaction_where_there_is_none(tmp_path: Path) -> None:
    engine = writer_engine(tmp_path / "y.db")
    with engine.connect() as connection:
        assert rows(connection, "SELECT 1 AS one", ())[0].one == 1
        assert connection.in_transaction()
    engine.dispose()


def test_transaction_of_the_writer_commits_or_rolls_back_as_a_whole(tmp_path: Path) -> None:
    engine = writer_engine(tmp_path / "v.db")
    with engine.connect() as writer:
        with Transaction(writer) as connection:
            changed(connection, "CREATE TABLE things (id INTEGER PRIMARY KEY)", ())
            changed_by_each(connection, "INSERT INTO things VALUES (?)", [(1,)])
        with pytest.raises(sa.exc.IntegrityError), Transaction(writer) as connection:
            changed_by_each(connection, "INSERT INTO things VALUES (?)", [(2,), (1,)])
        with Transaction(writer) as connection:
            assert [row.id for row in rows(connection, "SELECT id FROM things", ())] == [1]
    engine.dispose()


def insert_twice(writer: Connection) -> None:
    with Transaction(writer) as connection:
        changed(connection, "INSERT INTO things VALUES (2)", ())
        connection.exec_driver_sql("INSERT INTO things VALUES (2)")


def test_statement_of_sqlalchemy_joins_the_transaction_of_the_writer(tmp_path: Path) -> None:
    engine = writer_engine(tmp_path / "u.db")
    with engine.connect() as writer:
        with Transaction(writer) as connection:
            changed(connection, "CREATE TABLE things (id INTEGER PRIMARY KEY)", ())
            connection.exec_driver_sql("INSERT INTO things VALUES (1)")
        with pytest.raises(sa.exc.IntegrityError):
            insert_twice(writer)
        with Transaction(writer) as connection:
            assert [row.id for row in rows(connection, "SELECT id FROM things", ())] == [1]
    engine.dispose()


def test_failed_commit_of_the_writer_is_an_error_of_sqlalchemy_and_rolls_back(tmp_path: Path) -> None:
    engine = writer_engine(tmp_path / "t.db")
    child = "CREATE TABLE child (id INTEGER REFERENCES things (id) DEFERRABLE INITIALLY DEFERRED)"
    with engine.connect() as writer:
        with Transaction(writer) as connection:
            changed(connection, "CREATE TABLE things (id INTEGER PRIMARY KEY)", ())
            changed(connection, child, ())
        with pytest.raises(sa.exc.IntegrityError), Transaction(writer) as connection:
            changed(connection, "INSERT INTO child VALUES (9)", ())
        with Transaction(writer) as connection:
            assert rows(connection, "SELECT id FROM child", ()) == []
    engine.dispose()
