"""The chain of the embedded profile: a lead passes its services in one unit, unless one of them fails or lags."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from firsthour.bootstrap.embedded import System
from firsthour.runtime.processing.worker import Worker
from firsthour.runtime.storage import statements
from firsthour.runtime.storage.installation import meta
from firsthour.runtime.storage.records import Record
from firsthour.runtime.storage.sqlite import CARRIED_MAX
from firsthour.runtime.storage.unit import Unit
from tests.contract.systems import OpenedSystem, opened

CURSORS = "SELECT consumer || '.' || topic, position FROM cursors"
CHAIN = ("scoring.events", "router.leads", "notifier.routes")
OWNED = "SELECT count(*) FROM router_leads WHERE owner IS NOT NULL"
LIVE = "SELECT count(*) FROM notifier_clocks WHERE state = 'live'"


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[OpenedSystem]:
    async with opened(tmp_path / "data") as system:
        yield system


def worker_of(world: OpenedSystem, name: str) -> Worker:
    worker = world.system.runners[name]
    assert isinstance(worker, Worker)
    return worker


async def settle(world: OpenedSystem) -> None:
    assert isinstance(world.system, System)
    await world.system.settle()


async def number(world: OpenedSystem, question: str) -> int:
    return int((await world.rows(question))[0][0])


async def lags(world: OpenedSystem) -> list[int]:
    return [await worker_of(world, name).lag() for name in CHAIN]


def count_units(world: OpenedSystem, monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Return the list to which each unit of a worker is added. Units of the delivery are not counted."""
    units, run_job = world.system.units, world.system.units._run_job  # type: ignore[union-attr]  # embedded
    counted: list[object] = []

    def run(connection: Any, job: Any) -> None:
        if "Worker." in repr(job.work):
            counted.append(job)
        run_job(connection, job)

    monkeypatch.setattr(units, "_run_job", run)
    return counted


async def test_lead_passes_scoring_router_and_notifier_in_one_unit(
    world: OpenedSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    await settle(world)
    await world.asks("ann")
    counted = count_units(world, monkeypatch)
    assert await worker_of(world, "scoring.events").step()
    assert len(counted) == 1
    assert (await number(world, OWNED), await number(world, LIVE)) == (1, 1)
    assert await lags(world) == [0, 0, 0]
    assert not await worker_of(world, "router.leads").step()


async def test_records_handed_on_are_equal_to_those_of_the_log(
    world: OpenedSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    await settle(world)
    handed: list[Record] = []
    router = worker_of(world, "router.leads")
    handle = router._handler

    def note(records: Sequence[Record], unit: Unit) -> None:
        handed.extend(records)
        handle(records, unit)

    monkeypatch.setattr(router, "_handler", note)
    await world.asks("ann")
    await settle(world)
    stored = await world.system.resources.log.fetch("leads", 0, 0, 100)
    assert [(one.position, one.event_id, one.body) for one in handed] == [
        (one.position, one.event_id, one.body) for one in stored
    ]
    assert [one.event for one in handed] == [Record(0, "", "", one.body).event for one in stored]


@pytest.mark.parametrize("failing", ["router.leads", "notifier.routes"])
async def test_service_that_fails_does_not_fail_the_services_before_it(
    world: OpenedSystem, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    await settle(world)
    handle = worker_of(world, failing)._handler

    def fail(records: Sequence[Record], unit: Unit) -> None:
        handle(records, unit)
        raise ZeroDivisionError

    monkeypatch.setattr(worker_of(world, failing), "_handler", fail)
    await world.asks("ann")
    await worker_of(world, "scoring.events").step()
    assert (await lags(world))[:1] == [0]
    await settle(world)
    letters = await world.rows("SELECT consumer FROM dead_letters")
    assert {row[0] for row in letters} == {failing.partition(".")[0]}
    assert await number(world, OWNED) == (1 if failing == "notifier.routes" else 0)
    assert await number(world, LIVE) == 0

    monkeypatch.setattr(worker_of(world, failing), "_handler", handle)
    await world.asks("bob")
    await settle(world)
    assert (await world.lead("bob"))["clock"]["state"] == "live"


async def test_service_that_lags_reads_its_records_from_the_log(world: OpenedSystem) -> None:
    await settle(world)
    scoring = worker_of(world, "scoring.events")
    chain, scoring.chain = scoring.chain, None
    await world.asks("ann")
    await scoring.step()
    scoring.chain = chain
    await world.asks("bob")
    await scoring.step()
    assert await number(world, OWNED) == 0, "the router has not handled ann yet"
    assert (await lags(world))[1] > 0
    await settle(world)
    assert (await number(world, OWNED), await number(world, LIVE)) == (2, 2)


async def test_restarted_system_hands_on_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(tmp_path / "data") as world:
        await world.asks("ann")
        await settle(world)
    async with opened(tmp_path / "data") as world:
        await settle(world)
        await world.asks("bob")
        counted = count_units(world, monkeypatch)
        await worker_of(world, "scoring.events").step()
        assert (len(counted), await number(world, OWNED)) == (1, 2)


async def test_running_system_handles_a_form_in_the_commit_that_appends_it(
    world: OpenedSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    await settle(world)
    running = asyncio.create_task(world.system.run())
    await asyncio.sleep(0)
    counted = count_units(world, monkeypatch)
    assert (await world.asks("ann")).status_code == 202
    assert (await number(world, OWNED), await number(world, LIVE)) == (1, 1)
    assert [job for job in counted if "events" in repr(job)] == []
    assert await lags(world) == [0, 0, 0]
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await world.asks("bob")
    assert await number(world, OWNED) == 1, "nothing is handled once the runners have ended"


@pytest.mark.parametrize("failing", CHAIN)
async def test_form_is_accepted_although_a_service_that_handles_it_at_once_fails(
    world: OpenedSystem, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    await settle(world)
    handle = worker_of(world, failing)._handler

    def fail(records: Sequence[Record], unit: Unit) -> None:
        handle(records, unit)
        raise ZeroDivisionError

    carry(world)
    monkeypatch.setattr(worker_of(world, failing), "_handler", fail)
    assert (await world.asks("ann")).status_code == 202
    assert await number(world, "SELECT count(*) FROM log WHERE topic = 'events'") == 1
    assert (await number(world, OWNED), await number(world, "SELECT count(*) FROM scoring_profiles")) == (0, 0)
    monkeypatch.setattr(worker_of(world, failing), "_handler", handle)
    assert (await world.asks("bob")).status_code == 202
    assert await number(world, OWNED) == 0, "a service that lags handles nothing at once"
    await settle(world)
    assert (await number(world, OWNED), await number(world, LIVE)) == (2, 2)


async def test_answer_to_many_events_does_not_wait_for_their_services(world: OpenedSystem) -> None:
    await settle(world)
    carry(world)
    events = [{"type": "page.viewed", "id": str(n), "email": f"p{n}@acme.example"} for n in range(CARRIED_MAX + 1)]
    assert (await world.client.post("/v1/events", json=events)).status_code == 202
    assert await worker_of(world, "scoring.events").lag() > 0
    await settle(world)
    assert await number(world, "SELECT count(*) FROM scoring_profiles") == len(events)


def carry(world: OpenedSystem) -> None:
    """Let the services handle events as they are appended, as while the system runs."""
    assert isinstance(world.system, System)
    world.system.units.carry = world.system.chain.carry


async def test_topics_that_are_collected_are_read_by_one_worker_at_a_time(
    world: OpenedSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    await settle(world)
    await world.asks("ann")
    await worker_of(world, "scoring.events").step()
    counted = count_units(world, monkeypatch)
    names = ("reporting.events", "reporting.leads", "reporting.routes", "scoring.routes")
    await asyncio.gather(*(worker_of(world, name).step() for name in names))
    assert len(counted) == 1
    assert [await worker_of(world, name).lag() for name in names] == [0, 0, 0, 0]


async def test_topics_that_reporting_reads_share_a_unit(world: OpenedSystem, monkeypatch: pytest.MonkeyPatch) -> None:
    await settle(world)
    await world.asks("ann")
    await worker_of(world, "scoring.events").step()
    counted = count_units(world, monkeypatch)
    await worker_of(world, "reporting.events").step()
    assert len(counted) == 1
    topics = ("events", "leads", "routes")
    assert [await worker_of(world, f"reporting.{topic}").lag() for topic in topics] == [0, 0, 0]
    history = await world.rows("SELECT DISTINCT topic FROM reporting_history ORDER BY 1")
    assert [row[0] for row in history] == list(topics)


def breaks_a_constraint(unit: Unit) -> None:
    unit.connection.exec_driver_sql("INSERT INTO cursors (consumer) VALUES ('nobody')")


def stores_a_number_too_large(unit: Unit) -> None:
    unit.store(
        statements.Sql(lambda f: f.upsert(meta, ["name"])).work(unit.connection, [{"name": "x", "value": 2**70}])
    )


@pytest.mark.parametrize("failing", ["router.leads", "notifier.routes"])
@pytest.mark.parametrize("fail", [breaks_a_constraint, stores_a_number_too_large])
async def test_statement_that_fails_is_the_failure_of_its_own_service(
    world: OpenedSystem, monkeypatch: pytest.MonkeyPatch, failing: str, fail: Callable[[Unit], None]
) -> None:
    await settle(world)
    handle = worker_of(world, failing)._handler

    def handle_and_fail(records: Sequence[Record], unit: Unit) -> None:
        handle(records, unit)
        fail(unit)

    monkeypatch.setattr(worker_of(world, failing), "_handler", handle_and_fail)
    await world.asks("ann")
    await settle(world)
    letters = await world.rows("SELECT DISTINCT consumer FROM dead_letters")
    assert [row[0] for row in letters] == [failing.partition(".")[0]]
    assert worker_of(world, "scoring.events").stopped is None


@pytest.mark.parametrize("fail", [breaks_a_constraint, stores_a_number_too_large])
async def test_statement_of_a_companion_that_fails_is_its_own_failure(
    world: OpenedSystem, monkeypatch: pytest.MonkeyPatch, fail: Callable[[Unit], None]
) -> None:
    await settle(world)
    leads = worker_of(world, "reporting.leads")
    handle = leads._handler

    def handle_and_fail(records: Sequence[Record], unit: Unit) -> None:
        handle(records, unit)
        fail(unit)

    monkeypatch.setattr(leads, "_handler", handle_and_fail)
    await world.asks("ann")
    await settle(world)
    letters = await world.rows("SELECT origin FROM dead_letters")
    assert {row[0].partition("/")[0] for row in letters} == {"leads"}


async def test_consumers_note_only_what_a_producer_can_repeat(world: OpenedSystem) -> None:
    await world.asks("ann")
    await settle(world)
    repeatable = "SELECT event_id FROM log WHERE topic IN ('events', 'actions') ORDER BY event_id"
    assert await world.rows("SELECT DISTINCT event_id FROM seen ORDER BY event_id") == await world.rows(repeatable)
    stored = "SELECT count(*) FROM reporting_history WHERE topic NOT IN ('events', 'actions')"
    assert await number(world, stored) == await number(world, stored.replace("reporting_history", "log")) > 0
