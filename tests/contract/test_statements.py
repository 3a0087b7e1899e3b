"""Every statement runs on a real PostgreSQL, and statements for many rows on both databases."""

import asyncio
import pkgutil
import re
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from itertools import count
from pathlib import Path
from typing import Any, TypeVar, cast

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from asyncpg import PostgresError
from sqlalchemy.engine import Connection
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

import firsthour
import services
from devtools.postgres import PostgresServer
from firsthour.kernel.config import Config
from firsthour.kernel.time_units import moment
from firsthour.runtime.eventlog import outbox, publisher
from firsthour.runtime.eventlog.outbox import OutboxRow
from firsthour.runtime.http import idempotency, key_store
from firsthour.runtime.storage import statements as db
from firsthour.runtime.storage.compiled_sql import Compiled
from firsthour.runtime.storage.migrate import is_current, migrate
from firsthour.runtime.storage.unit import Unit
from tests.hand_clock import HandClock
from tests.shared import named

T = TypeVar("T")
Run = Callable[[Callable[[Connection], T]], T]
_WAITING = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
SMALL = {
    "applied",
    "api_keys",
    "router_reps",
    "router_turns",
    "reporting_funnel_days",
    "configurations",
    "configuration_periods",
}
"""Tables with few rows."""
RARE = {
    "services.reporting.store._COUNTS",
    "firsthour.runtime.eventlog.spool._HEAD",
    "firsthour.runtime.eventlog.spool._OLDEST",
    "services.notifier.store.people._ABSENT",
    "services.notifier.store.dispatches._DISABLED",
}  # rare queries; two for SQLite; two of tables with a row for each absent rep and for each endpoint that is switched off


def statements() -> dict[str, db.Sql]:
    """Return every statement of our modules, by module and name."""
    by_name: dict[str, db.Sql] = {}
    for module in (
        *pkgutil.walk_packages(services.__path__, "services."),
        *pkgutil.walk_packages(firsthour.__path__, "firsthour."),
    ):
        if not module.name.endswith("__main__"):
            for name, value in vars(import_module(module.name)).items():
                many: Mapping[object, object] = value if isinstance(value, dict) else {"": value}
                by_name |= {
                    f"{module.name}.{name}{key or ''}": one for key, one in many.items() if isinstance(one, db.Sql)
                }
    return by_name


def texts(dialect: sa.Dialect) -> Iterator[tuple[str, Compiled]]:
    """Yield the compiled statements for PostgreSQL, for one row and for many."""
    for name, statement in statements().items():
        one = statement.for_one(dialect)
        yield name, one
        if one.per_row and (one.text.startswith("UPDATE") or " VALUES (" in one.text):
            yield f"{name} of rows", statement.for_rows(dialect)


def run_on(url: str) -> Run[Any]:
    """Return a function that runs work as a unit does: on asyncpg, in a transaction."""
    engine = create_async_engine(sa.make_url(url).set(drivername="postgresql+asyncpg"), poolclass=NullPool)

    def run(work: Callable[[Connection], T]) -> T:
        async def whole() -> T:
            async with engine.begin() as connection:
                return await connection.run_sync(work)

        return asyncio.run(whole())

    return run


@pytest.fixture(scope="module")
def migrated(postgres: PostgresServer) -> Iterator[str]:
    """The URL of a database with our tables."""
    url = postgres.create(named("statements"))
    run_on(url)(migrate)
    yield url
    postgres.drop(named("statements"))


def test_every_service_has_statements() -> None:
    places = {name.split(".")[1] for name in statements()}
    assert {"scoring", "router", "notifier", "reporting", "runtime"} <= places


def test_postgresql_accepts_every_statement(migrated: str) -> None:
    refused = {}

    async def prepare() -> None:
        engine = create_async_engine(sa.make_url(migrated).set(drivername="postgresql+asyncpg"), poolclass=NullPool)
        async with engine.connect() as connection:
            driver = (await connection.get_raw_connection()).driver_connection
            assert driver is not None
            for name, sql in texts(engine.dialect):
                try:
                    await driver.prepare(sql.text)
                except PostgresError as failure:
                    refused[name] = str(failure)

    asyncio.run(prepare())
    assert refused == {}


def test_no_statement_of_a_unit_scans_a_table(migrated: str) -> None:
    def plans(connection: Connection) -> dict[str, str]:
        for name, value in {**db.LOOK_UP, "plan_cache_mode": "force_generic_plan"}.items():
            connection.exec_driver_sql(f"SET LOCAL {name} = {value}")
        plan_of = {}
        for n, (name, statement) in enumerate(texts(connection.dialect)):
            connection.exec_driver_sql(f"PREPARE p{n} AS {statement.text}")
            nulls = ", ".join(["NULL"] * len(set(statement.order)))
            rows = connection.exec_driver_sql(f"EXPLAIN EXECUTE p{n} {f'({nulls})' if nulls else ''}")
            plan_of[name] = "\n".join(row[0] for row in rows)
        return plan_of

    whole = {
        name: set(re.findall(r"Seq Scan on (\w+)", plan)) - SMALL for name, plan in run_on(migrated)(plans).items()
    }
    assert {name for name, tables in whole.items() if tables} <= RARE


@pytest.mark.parametrize(
    "left",
    [None, 20_000, 50, 0],
    ids=["not counted yet", "counted full", "counted when nearly empty", "counted when empty"],
)
def test_published_rows_are_deleted_by_place_with_any_backlog(migrated: str, left: int | None) -> None:
    def plan(connection: Connection) -> str:
        connection.exec_driver_sql(
            "INSERT INTO log (topic, partition, key, event_id, at, body)"
            " SELECT 'leads', n % 12, 'k', n::text, 0, 'x' FROM generate_series(1, 20000) n"
        )
        if left is not None:
            connection.exec_driver_sql(f"DELETE FROM log WHERE id > (SELECT min(id) FROM log) + {left - 1}")
            connection.exec_driver_sql("ANALYZE log")
        for name, value in {**db.LOOK_UP, **publisher.SESSION, "plan_cache_mode": "force_generic_plan"}.items():
            connection.exec_driver_sql(f"SET LOCAL {name} = {value}")
        text, _ = outbox.LOCK_ROWS.bound(connection.dialect, {})
        connection.exec_driver_sql(f"PREPARE take AS {text}")
        rows = connection.exec_driver_sql(
            "EXPLAIN EXECUTE take (ARRAY[1], ARRAY['leads'], ARRAY[1], 500, 1000000)"
        ).all()
        connection.exec_driver_sql("DEALLOCATE take")
        delete, _, _ = outbox.end_of_round([OutboxRow("leads", 1, 1, (0, 1), "k", "1", b"x")]).partition(";")
        rows = [*rows, *connection.exec_driver_sql(f"EXPLAIN {delete}")]
        connection.rollback()
        return "\n".join(row[0] for row in rows)

    text = run_on(migrated)(plan)
    assert re.search(r"Index Scan using log_by_place.*\n *Index Cond: .*topic = .*partition = ", text)
    assert re.search(r"Tid Scan on log.*\n *TID Cond: ", text)
    assert len(re.findall(r"Scan .*on log\b", text)) == 2


def test_migrations_create_the_declared_tables_on_postgresql(migrated: str) -> None:
    def differences(connection: Connection) -> list[Any]:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        return [*compare_metadata(context, db.metadata)]

    statements()  # every store has been imported
    left = {(kind, what.name) for kind, what in run_on(migrated)(differences)}
    assert left == {
        ("add_index", "log_by_place"),  # the primary key there
    }


def test_concurrent_migrations_succeed(postgres: PostgresServer) -> None:
    url = sa.make_url(postgres.create(named("migrating"))).set(drivername="postgresql+asyncpg")

    async def one() -> bool:
        async with create_async_engine(url, poolclass=NullPool).begin() as connection:
            return await connection.run_sync(migrate)

    async def several() -> list[bool]:
        return await asyncio.gather(*(one() for _ in range(3)))

    try:
        assert sorted(asyncio.run(several())) == [False, False, True]
        assert run_on(postgres.url(named("migrating")))(is_current)
    finally:
        postgres.drop(named("migrating"))


def test_concurrent_requests_with_one_expired_key_run_once(migrated: str) -> None:
    """The row of an answer that is too old to count is in the way of both, and goes once."""
    clock, done = HandClock(), count(1)

    def ask(connection: Connection) -> idempotency.StoredAnswer:
        unit = Unit(connection, clock, cast(Config, None))
        return idempotency.once(unit, "form POST /", "key", "print", lambda: (200, b"%d" % next(done)))

    async def both() -> tuple[idempotency.StoredAnswer, idempotency.StoredAnswer]:
        engine = create_async_engine(sa.make_url(migrated).set(drivername="postgresql+asyncpg"), poolclass=NullPool)

        async def second() -> idempotency.StoredAnswer:
            async with engine.begin() as connection:
                return await connection.run_sync(ask)

        async with engine.begin() as connection:
            one = await connection.run_sync(ask)
            other = asyncio.create_task(second())
            async with engine.connect() as looking:
                while not (await looking.exec_driver_sql(_WAITING)).all():
                    await looking.rollback()
        return one, await other

    run_on(migrated)(ask)
    clock.advance(hours=25)
    assert asyncio.run(both()) == (
        idempotency.StoredAnswer(200, b"2"),
        idempotency.StoredAnswer(200, b"2", replayed=True),
    )


# --- many rows at once ---------------------------------------------------------------------------------------------

things = sa.Table(
    "things",
    sa.MetaData(),
    sa.Column("id", db.Integer, primary_key=True, autoincrement=True),
    sa.Column("key", db.Text, nullable=False, unique=True),
    sa.Column("n", db.Integer),
    sa.Column("share", sa.Double),
    sa.Column("body", db.Bytes),
)
_COLUMNS = [c for c in things.columns if c.name != "id"]
_ADD = db.Sql(lambda f: f.insert(things).values({c.name: sa.bindparam(c.name) for c in _COLUMNS}))
_KEEP = db.Sql(
    lambda f: (
        insert := f.insert(things).values(key=sa.bindparam("key"), n=sa.bindparam("n"), share=0.5)
    ).on_conflict_do_update(index_elements=["key"], set_={"n": insert.excluded.n})
)
_SET = db.Sql(
    lambda _: (
        sa.update(things)
        .where(things.c.key == sa.bindparam("named"), things.c.n < sa.bindparam("below"))
        .values(n=sa.bindparam("to"), share=1.0)
    )
)
_SOME = db.Sql(lambda f: sa.select(things.c.key).where(f.is_any_of(things.c.key, "keys")).order_by(things.c.key))
_GIVEN = db.Sql(lambda f: f.unnest("keys"))
_ONE = db.Sql(lambda _: sa.select(things.c.key).where(things.c.key == sa.bindparam("named")))
_ALL = sa.select(things.c.key, things.c.n, things.c.share, things.c.body).order_by(things.c.id)


@pytest.fixture(params=["sqlite", "postgresql"])
def run(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Run[Any]]:
    """Runs a function of a connection on a database that holds `things` alone."""
    if request.param == "sqlite":
        engine = sa.create_engine(f"sqlite:///{tmp_path / 'things.db'}", poolclass=NullPool)

        def on_sqlite(work: Callable[[Connection], T]) -> T:
            with engine.begin() as connection:
                return work(connection)

        on_sqlite(things.create)
        yield on_sqlite
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    on_postgresql = run_on(server.create(named("things")))
    on_postgresql(things.create)
    yield on_postgresql
    server.drop(named("things"))


def rows_of(run: Run[Any]) -> list[tuple[Any, ...]]:
    return [*run(lambda c: [tuple(row) for row in c.execute(_ALL)])]


def test_rows_get_ids_in_the_order_of_their_insert(run: Run[Any]) -> None:
    keys = [f"key {n * 7919 % 500}" for n in range(500)]
    run(lambda c: _ADD.many(c, [{"key": key, "n": 1, "share": None, "body": None} for key in keys]))
    assert [row[0] for row in rows_of(run)] == keys


def test_values_of_every_type_are_stored_unchanged(run: Run[Any]) -> None:
    values = [("ü", -(2**62), 0.1, b"\x00\xff"), ("{a,b}", None, None, None), ('"', 0, -0.0, b"")]
    run(lambda c: _ADD.tuples(c, values))
    assert rows_of(run) == values


def test_many_with_one_row_runs_and_with_none_runs_nothing(run: Run[Any]) -> None:
    run(lambda c: _ADD.many(c, []))
    run(lambda c: _ADD.tuples(c, []))
    run(lambda c: _ADD.many(c, iter([{"key": "a", "n": 1, "share": None, "body": None}])))
    assert rows_of(run) == [("a", 1, None, None)]


def test_upsert_updates_existing_rows_and_inserts_others(run: Run[Any]) -> None:
    run(lambda c: _KEEP.many(c, [{"key": "a", "n": 1}, {"key": "b", "n": 2}]))
    run(lambda c: _KEEP.many(c, [{"key": "b", "n": 3}, {"key": "c", "n": 4}]))
    assert rows_of(run) == [("a", 1, 0.5, None), ("b", 3, 0.5, None), ("c", 4, 0.5, None)]


def test_update_of_many_rows_uses_values_and_condition_of_each(run: Run[Any]) -> None:
    run(lambda c: _ADD.tuples(c, [(key, n, 0.0, None) for n, key in enumerate("abcd")]))
    changes = [("a", 1, 10), ("c", 2, 20), ("nobody", 9, 30)]
    run(lambda c: _SET.many(c, [{"named": named, "below": below, "to": to} for named, below, to in changes]))
    assert [row[:3] for row in rows_of(run)] == [("a", 10, 1.0), ("b", 1, 0.0), ("c", 2, 0.0), ("d", 3, 0.0)]


def test_list_of_any_length_is_one_parameter(run: Run[Any]) -> None:
    run(lambda c: _ADD.tuples(c, [(key, 0, None, None) for key in ("a", "b", "c,d", '"')]))
    assert run(lambda c: _SOME.all(c, keys=['"', "a", "c,d", "nobody"])) == [('"',), ("a",), ("c,d",)]
    assert run(lambda c: _SOME.all(c, keys=[])) == []
    assert run(lambda c: _GIVEN.all(c, keys=["b", "a"])) == [("b",), ("a",)]


def test_query_with_nul_finds_no_row(run: Run[Any]) -> None:
    run(lambda c: _ADD.tuples(c, [("a", 0, None, None)]))
    assert run(lambda c: _ONE.first(c, named="a\0")) is None


def test_use_of_api_keys_is_recorded_on_postgresql(migrated: str) -> None:
    run = run_on(migrated)
    at = moment(1_000_000)
    id, _ = run(lambda c: key_store.create(c, name="form", role="ingest", rep=None, now=at))
    run(lambda c: key_store.record_use(c, {id: at, "gone": at}))
    assert [key.used_at for key in run(key_store.list_keys)] == [at]
