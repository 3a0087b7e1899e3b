"""A full disk: requests get 503, no acknowledged event is lost, and work resumes once space is freed."""

import asyncio
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from firsthour.operations.audit.auditor import AUDITOR
from firsthour.runtime import package_files
from firsthour.runtime.storage.records import Row
from firsthour.runtime.storage.sqlite_engines import LOCK_SECONDS
from firsthour.runtime.storage.unit import StorageError, Unit
from schemas import topics
from tests.bulk import bulk
from tests.contract.conftest import SqliteBackend, drain, open_embedded
from tests.contract.systems import DATABASE, OpenedSystem, opened, pages_of
from tests.contract.test_worker import RefusingHandler
from tests.dead_letters import waiting_letters

ROOMY = 1_000_000
BULK = bulk(27_000).decode()


async def make_room(world: OpenedSystem | SqliteBackend) -> None:
    """Enlarge the disk."""
    units = world.units if isinstance(world, SqliteBackend) else world.system.units
    await units.run(lambda unit: unit.connection.exec_driver_sql(f"PRAGMA max_page_count={ROOMY}").scalar())


async def fill(world: OpenedSystem) -> list[str]:
    """Post until the disk is full. Return the names of the accepted posts."""
    accepted: list[str] = []
    while len(accepted) < 500:
        name = f"person{len(accepted)}"
        answer = await world.asks(name, message=BULK)
        if answer.status_code == 503:
            return accepted
        assert answer.status_code == 202, answer.text
        accepted.append(name)
    raise AssertionError("the disk is not full after 500 posts")


async def settle(world: OpenedSystem) -> None:
    """Let everything try, as far as it gets."""
    with suppress(StorageError):
        await world.system.settle()


async def test_full_disk_is_answered_with_503_and_retry_after(tmp_path: Path) -> None:
    async with opened(tmp_path / "data", pages_more=60) as world:
        assert await fill(world)
        answer = await world.asks("late", message=BULK)
        assert answer.status_code == 503
        assert answer.headers["content-type"].startswith("application/problem+json")
        assert int(answer.headers["retry-after"]) >= 1
        assert set(answer.json()) >= {"type", "title", "status", "detail", "instance"}
        event = {"id": "1", "type": "form.submitted", "email": "late@acme.example", "data": {"message": BULK}}
        assert (await world.client.post("/v1/events", json=event)).status_code == 503
        keyed = await world.client.post("/v1/events", json=event, headers={"idempotency-key": "k1"})
        assert keyed.status_code == 503


async def test_events_accepted_before_become_leads_once_space_is_freed(tmp_path: Path) -> None:
    async with opened(tmp_path / "data", pages_more=60) as world:
        accepted = await fill(world)
        await settle(world)
        assert (await world.asks("late", message=BULK)).status_code == 503
        await make_room(world)
        assert (await world.asks("late", message=BULK)).status_code == 202
        await world.system.settle()
        for name in [*accepted, "late"]:
            assert (await world.lead(name))["status"] in {"assigned", "qualified"}
        assert await world.rows("SELECT count(*), count(DISTINCT event_id) FROM log WHERE topic = 'events'") == [
            (len(accepted) + 1, len(accepted) + 1)
        ]
        assert (await world.client.get("/v1/leads?limit=500")).json()["next"] is None
        verified = (await world.client.post("/v1/verify")).json()
        assert [one for one in verified["items"] if not one["ok"]] == []


async def test_full_disk_creates_no_dead_letter(tmp_path: Path) -> None:
    async with opened(tmp_path / "data", pages_more=60) as world:
        await fill(world)
        for _ in range(20):
            await settle(world)
        await make_room(world)
        await world.system.settle()
        assert await world.system.reads(waiting_letters) == []
        assert all(worker.stopped is None for worker in world.system.workers)


async def test_rejected_event_can_be_sent_again_and_counts_once(tmp_path: Path) -> None:
    async with opened(tmp_path / "data", pages_more=60) as world:
        await fill(world)
        assert (await world.asks("late", id="one", message=BULK)).status_code == 503
        await make_room(world)
        for _ in range(3):
            assert (await world.asks("late", id="one", message=BULK)).status_code == 202
        await world.system.settle()
        lead = (await world.lead("late"))["id"]
        scored = await world.rows(
            f"SELECT count(*) FROM reporting_history WHERE type = 'lead.scored' AND lead_id = '{lead}'"
        )
        assert scored == [(1,)]


async def test_process_resumes_once_space_is_freed(tmp_path: Path) -> None:
    async with opened(tmp_path / "data", pages_more=60) as world:
        accepted = await fill(world)
        running = asyncio.create_task(world.system.run())
        try:
            await make_room(world)
            async with asyncio.timeout(20):
                while len((await world.client.get("/v1/leads?limit=500")).json()["items"]) < len(accepted):
                    await asyncio.sleep(0)  # hands over to the runners; no time is waited for
            assert (await world.client.get("/readyz")).status_code == 200
        finally:
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running


async def test_readiness_reports_failing_commits_until_they_succeed(tmp_path: Path) -> None:
    async with opened(tmp_path / "data", pages_more=60) as world:
        assert (await world.client.get("/readyz")).json()["checks"]["writer"] == "ok"
        await fill(world)
        answer = await world.client.get("/readyz")
        assert answer.status_code == 503
        assert "disk is full" in answer.json()["checks"]["writer"]
        await make_room(world)
        await world.system.runners["runtime.writer"].step()
        answer = await world.client.get("/readyz")
        assert answer.status_code == 200
        assert any("disk is full" in line for line in answer.json()["warnings"]), "it may be full for what is large"
        world.clock.advance(minutes=10)
        await world.system.runners["runtime.keys"].step()
        await world.system.runners[AUDITOR].step()
        assert (await world.client.get("/readyz")).json()["warnings"] == []


@pytest.mark.slow
async def test_lock_of_another_process_is_answered_at_once_after_the_first_wait(tmp_path: Path) -> None:
    async with opened(tmp_path / "data") as world:
        with closing(sqlite3.connect(world.data / DATABASE, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            answer = await world.asks("first")
            assert (answer.status_code, int(answer.headers["retry-after"]) >= 1) == (503, True)
            async with asyncio.timeout(15):  # ten times five seconds otherwise
                for n in range(10):
                    assert (await world.asks(f"late{n}")).status_code == 503
            ready = await world.client.get("/readyz")
            assert (ready.status_code, "locked" in ready.json()["checks"]["writer"]) == (503, True)
            other.execute("ROLLBACK")
        assert (await world.asks("after")).status_code == 202
        await world.system.settle()
        assert (await world.lead("after"))["status"] == "assigned"
        assert (await world.client.get("/readyz")).status_code == 200
        wait = await world.system.units.run(lambda u: u.connection.exec_driver_sql("PRAGMA busy_timeout").scalar())
        assert wait == LOCK_SECONDS * 1_000, "the next unit waits as long as before"


async def test_configuration_comes_into_force_once_it_can_be_stored(tmp_path: Path) -> None:
    config = tmp_path / "config"
    shutil.copytree(package_files.examples(), config)
    async with opened(tmp_path / "data", config=config) as world:
        before = world.system.resources.config.current.version
        team = config / "team.yaml"
        team.write_text(team.read_text().replace("open: 20", "open: 21"))
        await world.system.resources.units.run(
            lambda unit: unit.connection.exec_driver_sql("PRAGMA busy_timeout=0").scalar()
        )
        with closing(sqlite3.connect(world.data / DATABASE, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with suppress(StorageError):
                await world.system.runners["runtime.config"].step()
            assert world.system.resources.config.current.version == before
            other.execute("ROLLBACK")
        await world.system.runners["runtime.config"].step()
        after = world.system.resources.config.current.version
        assert after != before
        assert (after,) in await world.rows("SELECT version FROM configurations")


async def test_unit_on_a_full_disk_is_rolled_back_with_its_cursor(tmp_path: Path) -> None:
    backend = await open_embedded(tmp_path / "spine.db")
    await backend.say("a")
    await backend.units.close()
    backend.reads.close()
    backend = await open_embedded(tmp_path / "spine.db", pages_max=pages_of(tmp_path / "spine.db") + 2)
    handler = RefusingHandler()

    def too_much(unit: Unit) -> None:
        unit.rows.append(Row(topics.LEADS, "lead", "big", BULK.encode() * 4))

    with pytest.raises(StorageError, match="full"):
        await backend.units.run(too_much)
    with pytest.raises(StorageError, match="full"):
        await backend.units.append([Row(topics.LEADS, "lead", "big", BULK.encode() * 4)])
    assert await backend.rows("SELECT event_id FROM log") == [("a",)]
    await make_room(backend)
    await backend.units.run(too_much)
    assert await backend.rows("SELECT event_id FROM log") == [("a",), ("big",)]
    await drain(await backend.worker(handler))
    assert handler.handled[0] == "a"
    await backend.units.close()
    backend.reads.close()


# --- a real one -----------------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    try:
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(place)], capture_output=True, check=False
        )
    except FileNotFoundError:
        pytest.skip("a small file system needs `mount`")
    if mounted.returncode != 0:
        pytest.skip("a small file system needs the right to mount one: run the tests as root")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


async def test_full_file_system_is_answered_with_503_and_loses_nothing(small_disk: Path) -> None:
    async with opened(small_disk / "data") as world:
        accepted = await fill(world)
        await settle(world)
        assert (await world.asks("late", message=BULK)).status_code == 503
        subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
        assert (await world.asks("late", message=BULK)).status_code == 202
        await world.system.settle()
        for name in [*accepted, "late"]:
            assert (await world.lead(name))["status"] in {"assigned", "qualified"}
        assert await world.system.reads(waiting_letters) == []
