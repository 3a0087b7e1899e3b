"""Every change of one row breaks an invariant: a deleted row or a changed column, in each table, on both profiles."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

import firsthour.bootstrap.embedded  # noqa: F401  # all tables
from devtools.postgres import PostgresServer
from firsthour.operations.doctor.checks import DATABASE
from firsthour.operations.verify import invariants
from firsthour.runtime.storage import statements
from tests.hand_clock import HandClock
from tests.shared import named
from tests.unit.operations.corruptible_database import fill
from tests.unit.operations.harness import OperationsHarness
from tests.unit.operations.plants import BYTES, TABLES, TEXT, Plant
from tests.unit.operations.worlds import varied

ROWS_MAX = 2
NO_LOG = ("log",)
"""Tables that are empty in a distributed installation when everything is published."""


class FilledInstallation(Protocol):
    """A filled installation. Each change is rolled back after its check."""

    name: str

    async def judged(self, change: str | None, **values: Any) -> set[str]:
        """Return the invariants that the change breaks, and `left out` if leads are not judged."""

    async def keys(self, table: sa.Table, where: str) -> list[dict[str, Any]]: ...


def _judge(connection: Connection, clock: HandClock) -> set[str]:
    report = invariants.run(connection, clock)
    broken = {result.invariant for result in report.findings if not result.ok}
    return broken | ({"left out"} if report.left_out or report.unread else set())


def _keys(connection: Connection, table: sa.Table, where: str) -> list[dict[str, Any]]:
    query = sa.select(*table.primary_key.columns).where(sa.text(where)).order_by(*table.primary_key.columns)
    return [dict(row._mapping) for row in connection.execute(query.limit(ROWS_MAX))]


@dataclass
class OnSqlite:
    engine: sa.Engine
    clock: HandClock
    name: str = "embedded"

    async def judged(self, change: str | None, **values: Any) -> set[str]:
        with self.engine.connect() as connection:
            if change is not None:
                connection.execute(sa.text(change), values)
            try:
                return _judge(connection, self.clock)
            finally:
                connection.rollback()

    async def keys(self, table: sa.Table, where: str) -> list[dict[str, Any]]:
        with self.engine.connect() as connection:
            return _keys(connection, table, where)


@dataclass
class OnPostgres:
    connection: AsyncConnection
    clock: HandClock
    name: str = "distributed"

    async def judged(self, change: str | None, **values: Any) -> set[str]:
        try:
            if change is not None:
                change = change.replace(BYTES, "decode('78', 'hex')")
                await self.connection.execute(sa.text(change), values)
            return await self.connection.run_sync(_judge, self.clock)
        finally:
            await self.connection.rollback()

    async def keys(self, table: sa.Table, where: str) -> list[dict[str, Any]]:
        return await self.connection.run_sync(_keys, table, where)


@dataclass
class FilledPair:
    """The same leads in a SQLite file and in a database of PostgreSQL."""

    file: Path
    url: str
    at: HandClock | None = None

    async def clock(self) -> HandClock:
        if self.at is None:
            harness = OperationsHarness(self.file)
            await harness.open()
            try:
                await varied(harness)
                await fill(self.url, harness)
            finally:
                await harness.close()
            self.at = harness.clock
        return HandClock(self.at.now)


@pytest.fixture(scope="module")
def filled(postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FilledPair]:
    name = named("verify_plants")
    postgres.drop(name)
    yield FilledPair(tmp_path_factory.mktemp("plants"), postgres.create(name))
    postgres.drop(name)


@pytest.fixture(params=["embedded", "distributed"])
async def installation(request: pytest.FixtureRequest, filled: FilledPair) -> AsyncIterator[FilledInstallation]:
    clock = await filled.clock()
    if request.param == "embedded":
        file = filled.file / "data" / DATABASE
        yield OnSqlite(sa.create_engine(f"sqlite:///{file}", poolclass=sa.NullPool), clock)
        return
    engine = create_async_engine(filled.url.replace("postgresql:", "postgresql+asyncpg:"))
    async with engine.connect() as connection:
        yield OnPostgres(connection, clock)
    await engine.dispose()


def test_every_table_and_column_has_an_entry() -> None:
    columns = {table.name: {column.name for column in table.columns} for table in statements.metadata.sorted_tables}
    assert {name: {*table.columns, *table.free} for name, table in TABLES.items()} == columns


def _statement(table: sa.Table, plant: Plant, column: str | None) -> str:
    condition = " AND ".join(f"{key.name} = :key_{key.name}" for key in table.primary_key.columns)
    if column is None:
        return f"DELETE FROM {table.name} WHERE {condition}"
    kind = table.c[column].type
    default = TEXT if isinstance(kind, sa.Text) else "{column} + 1"
    empty = "''" if isinstance(kind, sa.Text) else "0"
    to = plant.to or default.replace("{column}", f"coalesce({{column}}, {empty})")
    return f'UPDATE {table.name} SET "{column}" = {to.replace("{column}", f"{column}")} WHERE {condition}'


PLANTS = [
    (name, column, plant)
    for name, table in TABLES.items()
    for column, plant in [(None, table.gone), *table.columns.items()]
    if isinstance(plant, Plant)
]
ONE_OF_EACH = {plant.by: (name, column) for name, column, plant in reversed(PLANTS)}.values()
"""An invariant is the same query on both databases. Over PostgreSQL it must notice one change; `make prove-long` tries all."""
CASES = [
    pytest.param(
        profile,
        name,
        column,
        plant,
        id=f"{profile}-{name}.{column or 'row'}",
        marks=[] if profile == "embedded" or (name, column) in ONE_OF_EACH else pytest.mark.long,
    )
    for profile in ("embedded", "distributed")
    for name, column, plant in PLANTS
]


async def test_sound_installation_breaks_no_invariant(installation: FilledInstallation) -> None:
    assert await installation.judged(None) == set()


@pytest.mark.parametrize(("installation", "name", "column", "plant"), CASES, indirect=["installation"])
async def test_change_of_one_row_breaks_its_invariant(
    installation: FilledInstallation, name: str, column: str | None, plant: Plant
) -> None:
    if installation.name == "distributed" and name in NO_LOG:
        assert await installation.keys(statements.metadata.tables[name], "1 = 1") == []
        return
    table = statements.metadata.tables[name]
    statement = _statement(table, plant, column)
    rows = await installation.keys(table, plant.where)
    assert rows, "these leads have no such row"
    for row in rows:
        broken = await installation.judged(statement, **{f"key_{key}": value for key, value in row.items()})
        assert any(by in plant.by for by in broken), f"{statement} {row}: {broken or 'unnoticed'}"
