"""A damaged database: readiness reports it until it is restored, and no event becomes a dead letter."""

from contextlib import suppress
from pathlib import Path

from firsthour.runtime.storage.unit import StorageError
from tests.contract.systems import DATABASE, opened
from tests.corruption import corrupt_table
from tests.dead_letters import waiting_letters


async def test_damaged_database_creates_no_dead_letter(tmp_path: Path) -> None:
    async with opened(tmp_path / "data") as world:
        await world.asks("ada")
        await world.system.settle()
    corrupt_table(tmp_path / "data" / DATABASE, "router_leads")
    async with opened(tmp_path / "data") as world:
        assert (await world.asks("bo")).status_code == 202
        for _ in range(20):
            with suppress(StorageError):
                await world.system.settle()
        assert await world.system.reads(waiting_letters) == []
        answer = await world.client.get("/readyz")
        assert answer.status_code == 503
        assert "damaged" in answer.json()["checks"]["writer"]
        assert (await world.client.get("/v1/leads", params={"email": "bo@acme.example"})).status_code in {200, 503}


async def test_readiness_reports_damage_although_other_pages_are_intact(tmp_path: Path) -> None:
    async with opened(tmp_path / "data") as world:
        await world.asks("ada")
        await world.system.settle()
    corrupt_table(tmp_path / "data" / DATABASE, "notifier_pages")
    async with opened(tmp_path / "data") as world:
        assert (await world.asks("bo")).status_code == 202
        with suppress(StorageError):
            await world.system.settle()
        await world.system.runners["runtime.writer"].step()
        assert (await world.asks("cy")).status_code == 202
        assert (await world.client.get("/readyz")).status_code == 503
