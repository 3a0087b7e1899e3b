"""What units remember for later ones: it is in force until a unit fails, or something else changes the database."""

import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import closing, suppress
from pathlib import Path

import pytest
import sqlalchemy as sa

from firsthour.runtime.storage import installation
from firsthour.runtime.storage.unit import Unit
from tests.contract.conftest import Backend, SqliteBackend, open_embedded

Event = Callable[[SqliteBackend], Awaitable[None]]


def remember(unit: Unit) -> None:
    installation.put(unit.connection, "color", "red")
    unit.remember("color", ["red"])


def recall(unit: Unit) -> object:
    return unit.recall("color")


async def test_later_units_of_sqlite_recall_what_one_remembered(backend: Backend) -> None:
    await backend.units.run(remember)
    remembered = ["red"] if isinstance(backend, SqliteBackend) else None
    assert await backend.units.run(recall) == remembered
    assert await backend.units.run(recall) == remembered


async def fails(backend: SqliteBackend) -> None:
    def change(unit: Unit) -> None:
        if (color := unit.recall("color")) is not None:
            color[0] = "blue"
        raise ArithmeticError

    with suppress(ArithmeticError):
        await backend.units.run(change)


async def is_changed_by_another_connection(backend: SqliteBackend) -> None:
    with closing(sqlite3.connect(backend.file)) as other:
        other.execute("UPDATE meta SET value = 'blue' WHERE name = 'color'")
        other.commit()


async def runs_a_statement_of_sqlalchemy(backend: SqliteBackend) -> None:
    def change(unit: Unit) -> None:
        unit.connection.execute(sa.update(installation.meta).values(value="blue"))

    await backend.units.run(change)


@pytest.fixture
async def sqlite(tmp_path: Path) -> AsyncIterator[SqliteBackend]:
    opened = await open_embedded(tmp_path / "x.db")
    yield opened
    await opened.units.close()
    opened.reads.close()


@pytest.mark.parametrize("event", [fails, is_changed_by_another_connection, runs_a_statement_of_sqlalchemy])
async def test_units_forget_what_may_not_be_in_force(sqlite: SqliteBackend, event: Event) -> None:
    await sqlite.units.run(remember)
    await event(sqlite)
    assert await sqlite.units.run(recall) is None
