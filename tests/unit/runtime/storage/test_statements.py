"""A statement for one row becomes a statement for many rows: one text for any number of rows."""

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql.asyncpg import PGDialect_asyncpg

from firsthour.runtime.storage import statements

POSTGRESQL: sa.Dialect = PGDialect_asyncpg()  # type: ignore[no-untyped-call]  # theirs
things = sa.Table(
    "things",
    sa.MetaData(),
    sa.Column("id", statements.Integer, primary_key=True, autoincrement=True),
    sa.Column("key", statements.Text, nullable=False, unique=True),
    sa.Column("share", sa.Double),
    sa.Column("body", statements.Bytes),
)
EVERY: dict[str, sa.BindParameter[object]] = {c.name: sa.bindparam(c.name) for c in things.columns if c.name != "id"}


def of_rows(statement: statements.Sql) -> str:
    return " ".join(statement.for_rows(POSTGRESQL).text.split())


def test_insert_of_many_rows_reads_arrays_in_row_order() -> None:
    insert = statements.Sql(lambda f: f.insert(things).values(EVERY))
    assert of_rows(insert) == (
        'INSERT INTO things (key, share, body) SELECT u."key", u."share", u."body" '
        "FROM unnest($1::VARCHAR[], $2::FLOAT[], $3::BYTEA[]) "
        'WITH ORDINALITY AS u("key", "share", "body", ordinality) ORDER BY u.ordinality'
    )


def test_conflict_clause_is_preserved_for_many_rows() -> None:
    upsert = statements.Sql(lambda f: f.upsert(things, ["id"]))
    assert of_rows(upsert).endswith(
        "ORDER BY u.ordinality ON CONFLICT (id) DO UPDATE SET key = excluded.key, share = excluded.share, "
        "body = excluded.body"
    )


def test_update_of_many_rows_matches_each_row_by_its_key() -> None:
    update = statements.Sql(
        lambda _: sa.update(things).where(things.c.key == sa.bindparam("named")).values(share=sa.bindparam("to"))
    )
    assert of_rows(update) == (
        'UPDATE things SET share=u."to" FROM unnest($1::FLOAT[], $2::VARCHAR[]) AS u("to", "named") '
        'WHERE things.key = u."named"'
    )


def test_constants_are_sent_once_after_the_arrays() -> None:
    found = statements.Sql(lambda f: f.insert(things).values(key=sa.bindparam("key"), share=0.5)).for_rows(POSTGRESQL)
    assert (found.per_row, found.order, found.constants["share"]) == (("key",), ("key", "share"), 0.5)
    assert 'SELECT u."key", $2::FLOAT FROM unnest($1::VARCHAR[])' in " ".join(found.text.split())


def test_statement_is_compiled_once() -> None:
    built = []

    def build(dialect: statements.SqlDialect) -> sa.Insert:
        built.append(dialect.name)
        return sa.insert(things).values(EVERY)

    insert = statements.Sql(build)
    assert insert.for_rows(POSTGRESQL) is insert.for_rows(POSTGRESQL)
    assert insert.for_one(POSTGRESQL) is insert.for_one(POSTGRESQL)
    assert built == ["postgresql"]


def test_select_for_many_rows_raises() -> None:
    with pytest.raises(ValueError, match="many rows"):
        statements.Sql(lambda _: sa.select(things)).for_rows(POSTGRESQL)
