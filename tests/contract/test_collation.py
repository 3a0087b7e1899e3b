"""Texts are compared as bytes under any collation of the database, and units run READ COMMITTED under any default."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, TypeVar

import asyncpg
import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from sqlalchemy.engine import Connection
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from devtools.postgres import PostgresServer
from firsthour.runtime.package_files import migrations
from firsthour.runtime.storage.migrate import migrate
from tests.backends import ICU, Backends, asyncpg_url, distributed, every_collation, execute
from tests.contract.conftest import Backend
from tests.contract.systems import opened
from tests.shared import named

T = TypeVar("T")

DATABASE: Final = named("collation")
NOT_BYTES: Final = """
    SELECT c.relname || '.' || a.attname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'v')
      AND a.atttypid = 'text'::regtype AND a.attcollation <> '"C"'::regcollation ORDER BY 1"""
DEFAULTS: Final = {
    "default_transaction_isolation": "serializable",
    "lock_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "statement_timeout": "0",
}


@every_collation
async def test_search_finds_beginnings_of_words(tmp_path: Path, profile: Backends | None) -> None:
    async with opened(tmp_path / "data", profile) as world:
        for name in ("ann", "anna", "bea"):
            await world.asks(name)
        await world.system.settle()
        for text, names in (("an", {"ann", "anna"}), ("ANNA", {"anna"}), ("a", {"ann", "anna", "bea"}), ("nn", set())):
            listed = (await world.client.get("/v1/leads", params={"q": text})).json()["items"]
            assert {item["email"].partition("@")[0] for item in listed} == names, text


@every_collation
async def test_leads_are_listed_newest_first_page_by_page(tmp_path: Path, profile: Backends | None) -> None:
    async with opened(tmp_path / "data", profile) as world:
        for name in ("ann", "Bea", "cem"):
            await world.asks(name)
        await world.system.settle()
        listed = (await world.client.get("/v1/leads")).json()["items"]
        assert len(listed) == 3
        ids = [item["id"] for item in listed]
        assert ids == sorted(ids, reverse=True)
        paged, cursor = [], None
        while True:
            params = {"limit": "1"} | ({"cursor": cursor} if cursor else {})
            page = (await world.client.get("/v1/leads", params=params)).json()
            paged += [item["id"] for item in page["items"]]
            cursor = page["next"]
            if cursor is None:
                break
        assert paged == ids


@every_collation
async def test_texts_are_ordered_as_in_python(backend: Backend) -> None:
    names = ["b", "a-1", "B", "a10", "a2", "a1", "\u00e4", "Z", "~", "_"]
    values = ", ".join(f"('{name}', 'x')" for name in names)
    await backend.units.run(lambda unit: execute(unit, f"INSERT INTO meta (name, value) VALUES {values} RETURNING 1"))
    rows = await backend.rows("SELECT name FROM meta WHERE value = 'x' ORDER BY name")
    assert [row[0] for row in rows] == sorted(names)
    after = await backend.rows("SELECT name FROM meta WHERE value = 'x' AND name < 'a' ORDER BY name")
    assert [row[0] for row in after] == ["B", "Z", "_"]


@distributed
async def test_unit_is_read_committed_under_any_database_default(backend: Any) -> None:
    other = await asyncpg.connect(backend.place.database_url)
    for name, value in DEFAULTS.items():
        await other.execute(f"ALTER DATABASE {backend.place.database_url.rpartition('/')[2]} SET {name} = '{value}'")
    await other.close()

    def look(unit: Any) -> list[str]:
        names = ("transaction_isolation", "lock_timeout", "idle_in_transaction_session_timeout", "statement_timeout")
        return [execute(unit, f"SHOW {name}")[0][0] for name in names]

    assert await backend.units.run(look) == ["read committed", "5s", "10s", "30s"]


@pytest.fixture(params=[None, ICU], ids=["server's own", "icu"])
def database(request: pytest.FixtureRequest, postgres: PostgresServer) -> Iterator[str]:
    """The URL of an empty database."""
    yield postgres.create(DATABASE, icu=request.param)
    postgres.drop(DATABASE)


def test_text_columns_compare_as_bytes_on_postgresql(database: str) -> None:
    _with(database, migrate)
    assert _with(database, _not_bytes) == []


def test_migration_converts_text_columns_and_preserves_the_view(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("firsthour.runtime.storage.migrate.OLDEST", "0007")

    def older(connection: Connection) -> None:
        settings = Config()
        settings.set_main_option("script_location", str(migrations()))
        settings.attributes["connection"] = connection
        command.upgrade(settings, "0007")
        view = connection.execute(sa.text("SELECT pg_get_viewdef('leads'::regclass)")).scalar_one()
        for change in (
            "DROP VIEW leads",
            'ALTER TABLE router_leads ALTER COLUMN lead_id TYPE TEXT COLLATE "default"',
            'ALTER TABLE seen ALTER COLUMN event_id TYPE TEXT COLLATE "default"',
            f"CREATE VIEW leads AS {view}",
        ):
            connection.execute(sa.text(change))

    _with(database, older)
    assert _with(database, _not_bytes) == ["leads.id", "router_leads.lead_id", "seen.event_id"]
    _with(database, migrate)
    assert _with(database, _not_bytes) == []


def _not_bytes(connection: Connection) -> list[str]:
    return [row[0] for row in connection.execute(sa.text(NOT_BYTES))]


def _with(url: str, work: Callable[[Connection], T]) -> T:
    async def whole() -> T:
        engine = create_async_engine(asyncpg_url(url), poolclass=NullPool)
        async with engine.begin() as connection:
            return await connection.run_sync(work)

    return asyncio.run(whole())
