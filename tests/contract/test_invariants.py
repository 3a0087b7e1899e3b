"""The invariants I1 to I10. Each test fails if the mechanism behind its invariant is removed.

`firsthour verify` checks the invariants on a whole database. The kill test (tests/e2e) checks them on processes that die.
"""

import asyncio
import threading
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa

from firsthour.runtime.http.problem import Problem
from firsthour.runtime.processing.cursors import CursorMovedError, move_cursors
from firsthour.runtime.storage.records import Record
from firsthour.runtime.storage.unit import StorageError, Unit
from schemas import topics
from schemas.events.actions import ActionRequested
from schemas.events.leads import LeadTouched
from schemas.events.routes import LeadQualified
from services.notifier.claiming import claim
from services.notifier.domain.clock import ResponseClock
from services.notifier.domain.page import LEASE
from services.notifier.store.clocks import lock_clocks, save_clocks
from services.router import commands
from services.router.domain.decision import Inputs, replay
from services.router.store.changes import RoutingChanges, store_changes
from services.router.store.decisions import Assignment
from tests.backends import Backends, embedded
from tests.contract.conftest import Backend, drain, step
from tests.contract.systems import OpenedSystem, opened
from tests.unit.notifier.harness import NotifierHarness
from tests.unit.router.harness import BY_SCORE, HAND_RAISER, RouterHarness, rep, sales, team

TURNS_OF_THE_LOOP = 200


@pytest.fixture
def router(tmp_path: Path) -> Iterator[RouterHarness]:
    harness = RouterHarness(tmp_path / "router.db")
    yield harness
    harness.engine.dispose()


@pytest.fixture
def notifier(tmp_path: Path) -> Iterator[NotifierHarness]:
    harness = NotifierHarness(tmp_path / "notifier.db")
    yield harness
    harness.units.close()


async def run_other_tasks() -> None:
    """Let every task run that does not wait for the writer."""
    for _ in range(TURNS_OF_THE_LOOP):
        await asyncio.sleep(0)


# --- I1: an event answered with 2xx is stored ----------------------------------------------------------------------------


EVENT = {"id": "1", "type": "form.submitted", "email": "ann@acme.example", "data": {"form": "demo-request"}}


@pytest.mark.parametrize("idempotency_key", [None, "k1"])
async def test_i1_202_is_sent_after_the_commit(tmp_path: Path, idempotency_key: str | None) -> None:
    released, started = threading.Event(), threading.Event()

    def hold(unit: Unit) -> None:
        started.set()
        released.wait(30)

    async with opened(tmp_path / "data") as world:
        holding = asyncio.create_task(world.system.units.run(hold))
        try:
            await asyncio.to_thread(started.wait, 30)
            headers = {"idempotency-key": idempotency_key} if idempotency_key else {}
            posting = asyncio.create_task(world.client.post("/v1/events", json=EVENT, headers=headers))
            await run_other_tasks()
            assert not posting.done()
            assert await world.rows("SELECT count(*) FROM log WHERE topic = 'events'") == [(0,)]
        finally:
            released.set()
        assert (await posting).status_code == 202
        assert await world.rows("SELECT count(*) FROM log WHERE topic = 'events'") == [(1,)]
        await holding


@embedded
async def test_i1_commit_is_synced_to_disk(backend: Backend) -> None:
    def settings(unit: Unit) -> tuple[Any, Any]:
        ask = unit.connection.exec_driver_sql
        return ask("PRAGMA synchronous").scalar(), ask("PRAGMA journal_mode").scalar()

    full = 2
    assert await backend.units.run(settings) == (full, "wal")


async def test_i1_every_event_becomes_a_lead_of_sales_or_marketing(tmp_path: Path, profile: Backends | None) -> None:
    async with opened(tmp_path / "data", profile) as world:
        for name, form in (("ann", "demo-request"), ("bo", "newsletter")):
            sent = {**EVENT, "id": name, "email": f"{name}@acme.example", "data": {"form": form}}
            assert (await world.client.post("/v1/events", json=sent)).status_code == 202
        await world.system.settle()
        buyer, reader = await world.lead("ann"), await world.lead("bo")
        assert (buyer["status"], buyer["owner"] is not None) == ("assigned", True)
        assert (reader["status_team"], reader["owner"]) == ("marketing", None)


# --- I2: one effect for any number of deliveries ------------------------------------------------------------------------------


@pytest.mark.parametrize("apart", [False, True])
async def test_i2_repeated_event_takes_effect_once(tmp_path: Path, apart: bool, profile: Backends | None) -> None:
    async with opened(tmp_path / "data", profile) as world:
        for _ in range(3):
            assert (await world.client.post("/v1/events", json=EVENT)).status_code == 202
            if apart:
                await world.system.settle()
        await world.system.settle()
        assert await effects(world) == [("lead.assigned", 1), ("lead.qualified", 1), ("lead.scored", 1)]


async def effects(world: OpenedSystem) -> list[tuple[Any, ...]]:
    """Return the number of score, qualify and assignment records, by type."""
    return await world.rows(
        "SELECT type, count(*) FROM reporting_history"
        " WHERE type IN ('lead.scored', 'lead.qualified', 'lead.assigned') GROUP BY type ORDER BY type"
    )


async def test_i2_record_repeated_after_the_cursor_is_recognised_by_its_id(backend: Backend) -> None:
    handled: list[str] = []

    def handler(batch: Sequence[Record], unit: Unit) -> None:
        unit.after.append(lambda: handled.extend(record.event_id for record in batch))

    worker = await backend.worker(handler)
    await backend.say("a")
    await drain(worker)
    await backend.say("a", "b")
    await drain(worker)
    assert handled == ["a", "b"]


async def test_i2_worker_that_is_behind_cannot_move_the_cursor_back(backend: Backend) -> None:
    def nothing(batch: Sequence[Record], unit: Unit) -> None:
        pass

    await backend.say("a")
    behind, ahead = await backend.worker(nothing), await backend.worker(nothing)
    assert await behind.lag() > 0  # it has read its cursor
    await backend.say("b")
    before = await backend.rows("SELECT position FROM cursors")
    await drain(ahead)
    after = await backend.rows("SELECT position FROM cursors")
    assert after != before
    await step(behind)
    assert await backend.rows("SELECT position FROM cursors") == after
    with pytest.raises(CursorMovedError):
        await backend.units.run(lambda unit: move_cursors(unit, "consumer", topics.LEADS, {0: (0, 1)}))


async def test_i2_effect_seen_ids_and_cursor_are_committed_together(backend: Backend) -> None:
    fails = [True]

    def handler(batch: Sequence[Record], unit: Unit) -> None:
        touched = LeadTouched(lead_id="l", at=unit.now, channel="phone", answered=True)
        unit.emit(touched, key="l", id=f"of {batch[0].event_id}")
        unit.finish()
        unit.rows.clear()
        if fails.pop() if fails else False:
            raise StorageError("the process dies here")

    worker = await backend.worker(handler)
    await backend.say("a")
    await worker.lag()  # it reads its cursor
    before = await state(backend)
    with pytest.raises(StorageError):
        await step(worker)
    assert await state(backend) == before
    await step(worker)
    assert [row[0] for row in await backend.rows("SELECT event_id FROM log ORDER BY id")][-1] == "of a"
    assert await backend.rows("SELECT event_id FROM seen") == [("a",)]


async def state(backend: Backend) -> list[Any]:
    return [await backend.rows(f"SELECT * FROM {table}") for table in ("log", "seen", "cursors")]


# --- I3: one owner ----------------------------------------------------------------------------------------------


def test_i3_database_rejects_a_second_open_assignment(router: RouterHarness) -> None:
    router.submit_form("l1")
    second = Assignment("l1", 2, "bo", "all", "everyone", "d", 1)
    with pytest.raises(sa.exc.IntegrityError):
        router.run_unit(lambda unit: store_changes(unit, RoutingChanges(assignments=[second])))


def test_i3_database_rejects_a_repeated_epoch(router: RouterHarness) -> None:
    router.submit_form("l1")
    router.run_command(commands.reject, "l1", "not-now", sales("ana"))
    again = Assignment("l1", 1, "bo", "all", "everyone", "d", 1)
    with pytest.raises(sa.exc.IntegrityError):
        router.run_unit(lambda unit: store_changes(unit, RoutingChanges(assignments=[again])))


def test_i3_lead_that_meets_several_lines_several_times_qualifies_once(router: RouterHarness) -> None:
    router.hear(router.score_event("l1", HAND_RAISER, BY_SCORE), router.score_event("l1", BY_SCORE))
    router.hear(router.score_event("l1", HAND_RAISER))
    assert len(router.events_of(LeadQualified)) == 1
    assert router.rows("SELECT epoch, rep, closed_at FROM router_assignments") == [(1, "ana", None)]
    assert router.open_leads("ana") == 1


def test_i3_epochs_increase_by_one_and_do_not_overlap(router: RouterHarness) -> None:
    router.submit_form("l1")
    for owner in ("ana", "bo"):
        router.wait(minutes=1)
        router.run_command(commands.reject, "l1", "no-time", sales(owner))
    rows = router.rows("SELECT epoch, rep, opened_at, closed_at FROM router_assignments ORDER BY epoch")
    assert [(row.epoch, row.rep) for row in rows] == [(1, "ana"), (2, "bo"), (3, "cy")]
    assert [row.closed_at for row in rows[:2]] == [row.opened_at for row in rows[1:]]
    assert rows[2].closed_at is None


# --- I4: one clock ------------------------------------------------------------------------------------------------


async def test_i4_lead_of_sales_has_one_live_clock_with_or_without_an_owner(notifier: NotifierHarness) -> None:
    notifier.hear(notifier.qualified("queued"), notifier.queued("queued"))
    notifier.hear(notifier.qualified("owned"), notifier.assigned("owned"), notifier.accepted("owned"))
    clocks = notifier.rows("SELECT lead_id, state, due_at, promise_at FROM notifier_clocks ORDER BY lead_id")
    assert [(clock["lead_id"], clock["state"]) for clock in clocks] == [("owned", "live"), ("queued", "live")]
    assert all(clock["due_at"] is not None for clock in clocks)
    assert clocks[1]["due_at"] < clocks[1]["promise_at"], "the manager is told of a lead that waits"


async def test_i4_change_of_owner_keeps_the_clock_and_a_touch_ends_it(notifier: NotifierHarness) -> None:
    notifier.hear(notifier.qualified(), notifier.assigned())
    before = notifier.rows("SELECT submit_at, promise_at FROM notifier_clocks")
    await notifier.wait(minutes=15)
    notifier.hear(notifier.released(), notifier.assigned(rep="bo", epoch=2))
    assert notifier.rows("SELECT submit_at, promise_at FROM notifier_clocks") == before
    assert notifier.rows("SELECT state FROM notifier_clocks") == [{"state": "live"}]
    notifier.hear(notifier.touched(epoch=2))
    assert notifier.rows("SELECT state, due_at FROM notifier_clocks") == [{"state": "met", "due_at": None}]


# --- I5: a rung fires once and not early ---------------------------------------------------------------------------


async def test_i5_database_rejects_a_second_page_for_a_rung(notifier: NotifierHarness) -> None:
    notifier.hear(notifier.qualified(), notifier.assigned())
    row = notifier.page(0)
    columns, values = ", ".join(row), ", ".join(f":{name}" for name in row)
    second = sa.text(f"INSERT INTO notifier_pages ({columns}) VALUES ({values})")
    with pytest.raises(sa.exc.IntegrityError):
        notifier.units.now(lambda unit: unit.connection.execute(second, {**row, "id": "another"}))


async def test_i5_rung_that_fires_again_creates_no_second_page(notifier: NotifierHarness) -> None:
    notifier.hear(notifier.qualified(), notifier.assigned())
    await notifier.settle()

    def back(unit: Unit) -> ResponseClock:
        """Store the clock before its first rung again, as if it had not been stored."""
        (clock,) = lock_clocks(unit, ["l1"]).values()
        assert clock.next_rung == 1
        save_clocks(unit, [msgspec.structs.replace(clock, next_rung=0, due_at=clock.assigned_at)])
        return clock

    notifier.units.now(back)
    await notifier.settle()
    await notifier.wait(minutes=1)
    pages = notifier.rows("SELECT rung, state, deliveries FROM notifier_pages")
    assert pages == [{"rung": 0, "state": "sent", "deliveries": 1}]
    assert notifier.slack.recipients == ["Ana"]


async def test_i5_rung_does_not_fire_a_microsecond_early(notifier: NotifierHarness) -> None:
    notifier.hear(notifier.qualified(), notifier.assigned())
    await notifier.settle()
    notifier.clock.now += timedelta(minutes=10) - timedelta(microseconds=1)
    await notifier.settle()
    assert notifier.slack.recipients == ["Ana"]
    notifier.clock.now += timedelta(microseconds=1)
    await notifier.settle()
    assert notifier.slack.recipients == ["Ana", "Ana"]


async def test_i5_rung_of_an_ended_assignment_does_not_fire(notifier: NotifierHarness) -> None:
    notifier.hear(notifier.qualified(), notifier.assigned())
    await notifier.settle()
    notifier.hear(notifier.released())
    await notifier.wait(hours=2)
    assert {message.kind for message in notifier.slack.messages} <= {"owner", "lost", "queued", "missed"}
    assert notifier.slack.recipients.count("Ana") <= 2
    assert notifier.events(ActionRequested) == []


async def test_i5_page_of_a_dead_sender_is_not_sent_for_an_ended_assignment(
    notifier: NotifierHarness,
) -> None:
    notifier.hear(notifier.qualified(), notifier.assigned())
    assert notifier.page(0)["state"] == "sending"
    notifier.restart()  # the sender dies between claim and send; then the owner changes
    notifier.hear(notifier.released(), notifier.assigned(rep="bo", epoch=2))
    notifier.restart()
    notifier.clock.now += LEASE
    claims = notifier.units.now(lambda unit: claim(unit, notifier.context, 20)).claims
    assert [(taken.page.person, taken.page.epoch) for taken in claims] == [("bo", 2)]


async def test_i5_request_of_the_reassigning_rung_has_a_fixed_id(
    notifier: NotifierHarness,
) -> None:
    notifier.hear(notifier.qualified(), notifier.assigned())
    await notifier.wait(minutes=30)
    (request,) = notifier.events(ActionRequested)
    assert (request.action, request.action_id) == ("reassign", "l1:1:3")


# --- I6: delivered at least once ------------------------------------------------------------------------------------


async def test_i6_page_of_a_dead_sender_is_claimed_again_after_its_lease(
    notifier: NotifierHarness,
) -> None:
    notifier.hear(notifier.qualified(), notifier.assigned())
    assert notifier.page(0)["state"] == "sending"
    notifier.restart()  # the sender dies between claim and send
    notifier.clock.now += LEASE - timedelta(microseconds=1)
    assert notifier.units.now(lambda unit: claim(unit, notifier.context, 20)).claims == ()
    notifier.clock.now += timedelta(microseconds=1)
    (taken,) = notifier.units.now(lambda unit: claim(unit, notifier.context, 20)).claims
    assert (taken.page.rung, taken.page.deliveries) == (0, 2)
    (lost,) = notifier.rows("SELECT n, outcome FROM notifier_attempts")
    assert lost == {"n": 1, "outcome": "unknown"}


async def test_i6_page_is_claimed_in_the_database_before_it_is_sent(notifier: NotifierHarness) -> None:
    notifier.hear(notifier.qualified(), notifier.assigned())
    assert notifier.slack.messages == []
    assert (notifier.page(0)["state"], notifier.page(0)["deliveries"]) == ("sending", 1)


# --- I7: no page after the fact that makes it pointless ------------------------------------------------------------------------------


@pytest.mark.parametrize("fact", ["touched", "opted_out", "released", "recycled"])
async def test_i7_claim_checks_the_clock_again_for_a_pending_page(notifier: NotifierHarness, fact: str) -> None:
    notifier.context.bulkhead.closed = True  # no page is delivered yet
    notifier.hear(notifier.qualified(), notifier.assigned())
    notifier.hear(getattr(notifier, fact)())
    notifier.restart()
    waits = "UPDATE notifier_pages SET state = 'pending', next_at = 0, error = NULL"
    notifier.units.now(lambda unit: unit.connection.exec_driver_sql(waits))  # as if it had not been cancelled
    assert notifier.units.now(lambda unit: claim(unit, notifier.context, 20)).claims == ()
    assert notifier.page(0)["state"] == "cancelled"


@pytest.mark.parametrize("state", ["away", "deactivated"])
async def test_i7_page_to_an_absent_rep_is_not_claimed(notifier: NotifierHarness, state: str) -> None:
    notifier.context.bulkhead.closed = True
    notifier.hear(notifier.qualified(), notifier.assigned())
    notifier.hear(notifier.rep("ana", state))
    notifier.restart()
    assert notifier.units.now(lambda unit: claim(unit, notifier.context, 20)).claims == ()
    assert notifier.page(0)["error"] == f"ana is {state}"


# --- I8: capacity, and a reason for every skip ----------------------------------------------------------------------


def test_i8_rep_never_gets_more_leads_than_the_capacity(router: RouterHarness) -> None:
    limited = [rep(name, capacity={"open": 2}) for name in ("ana", "bo")]
    router.configure(team(*limited, pools={"all": {"ana": 1, "bo": 1}}))
    router.submit_form(*(f"l{n}" for n in range(4)), "l4")
    router.submit_form("l5")
    loads = "SELECT owner, count(*) FROM router_leads WHERE owner IS NOT NULL GROUP BY owner ORDER BY owner"
    assert router.rows(loads) == [("ana", 2), ("bo", 2)]
    assert (router.open_leads("ana"), router.open_leads("bo")) == (2, 2)
    for lead in ("l4", "l5"):
        row = router.lead(lead)
        assert (row.status, row.queue_pool, row.queue_reason) == ("qualified", "all", "all 2 at capacity")


def test_i8_every_skipped_rep_has_a_reason_in_the_decision(router: RouterHarness) -> None:
    router.configure(
        team(
            rep("ana", capacity={"open": 0}),
            rep("bo", active=False),
            rep("cy"),
            pools={"all": {"ana": 1, "bo": 1, "cy": 1}},
        )
    )
    router.submit_form("l1")
    (decision,) = router.decisions("l1")
    reasons = {one["rep"]: one["ruled_out_by"] for one in decision["considered"]}
    assert reasons == {"ana": "at capacity: 0 of 0 open", "bo": "deactivated", "cy": None}


def test_i8_turns_are_stored_for_the_next_unit(router: RouterHarness) -> None:
    for n in range(6):
        router.submit_form(f"l{n}")
    assert router.owners(*(f"l{n}" for n in range(6))) == ["ana", "bo", "cy"] * 2


# --- I9: a transition outside the table cannot happen -----------------------------------------------------------------------


def test_i9_transition_outside_the_table_is_refused_and_changes_nothing(router: RouterHarness) -> None:
    router.hear(router.score_event("l1"))
    before = router.lead("l1")
    with pytest.raises(Problem) as refused:
        router.run_command(commands.accept, "l1", sales("ana"))
    assert refused.value.status == 409
    assert router.lead("l1") == before


def test_i9_transition_by_another_actor_is_refused_and_changes_nothing(router: RouterHarness) -> None:
    router.submit_form("l1")
    before = router.lead("l1")
    with pytest.raises(Problem) as refused:
        router.run_command(commands.accept, "l1", sales("bo"))
    assert refused.value.status == 403
    assert router.lead("l1") == before


def test_i9_system_cannot_assign_without_a_transition_in_the_table(router: RouterHarness) -> None:
    lifecycle = router.config.agreement.lifecycle
    transitions = [row for row in lifecycle.transitions if row.to != "assigned"]
    documents = [row.model_dump(by_alias=True, exclude_defaults=True, mode="json") for row in transitions]
    router.configure(lifecycle={"statuses": lifecycle.statuses, "transitions": documents})
    router.submit_form("l1")
    lead = router.lead("l1")
    assert (lead.status, lead.owner, lead.epoch) == ("qualified", None, 0)
    assert lead.queue_reason == "a lead that is qualified cannot become assigned"


# --- I10: a decision can be replayed --------------------------------------------------------------------------------


def test_i10_replay_of_a_stored_decision_gives_the_same_rep(router: RouterHarness) -> None:
    router.configure(team(rep("ana", capacity={"open": 1}), rep("bo"), pools={"all": {"ana": 5, "bo": 1}}))
    router.submit_form("l1", "l2")
    router.submit_form("l3")
    router.run_command(commands.reject, "l1", "no-time", sales("ana"))
    decisions = [decision for n in (1, 2, 3) for decision in router.decisions(f"l{n}")]
    assert {decision["chosen"] for decision in decisions} == {"ana", "bo"}
    for decision in decisions:
        assert replay(msgspec.convert(decision["inputs"], Inputs)) == decision["chosen"]


def test_i10_decision_depends_on_its_inputs_only(router: RouterHarness) -> None:
    router.submit_form("l1")
    (decision,) = router.decisions("l1")
    inputs = msgspec.convert(decision["inputs"], Inputs)
    (step,) = inputs.steps
    seats = tuple(
        msgspec.structs.replace(seat, ruled_out_by="away" if seat.rep == decision["chosen"] else None)
        for seat in step.seats
    )
    other = msgspec.structs.replace(inputs, steps=(msgspec.structs.replace(step, seats=seats),))
    assert replay(other) not in (None, decision["chosen"])


def test_i10_stored_inputs_contain_no_personal_data(router: RouterHarness) -> None:
    router.submit_form("l1", facts={"phone": "+493012345678"})
    (decision,) = router.decisions("l1")
    stored = msgspec.json.encode(decision).decode()
    assert "Name l1" not in stored
    assert "@" not in stored
    assert "+49" not in stored
