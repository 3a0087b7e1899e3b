"""Ambiguous times: a host clock that was set back breaks no invariant, and hides no fault."""

import json

import pytest

from tests.unit.operations.harness import OperationsHarness


async def test_clock_set_back_breaks_no_invariant(harness: OperationsHarness) -> None:
    await harness.ask("ann", "ben")
    await harness.wait(minutes=-10)
    await harness.act("ann", "reject", reason="no-time")
    await harness.ask("cat")
    assert await harness.broken() == {}


async def test_agreement_from_before_the_clock_was_set_back_allows_a_change(
    harness: OperationsHarness,
) -> None:
    await harness.ask("ann")
    await harness.wait(minutes=10)
    await harness.ask("ben")
    [(text, began)] = await harness.rows("SELECT agreement, taken_up_at FROM configurations")
    older = json.loads(text)
    older["lifecycle"]["transitions"] = [way for way in older["lifecycle"]["transitions"] if way["as"] != "reject"]
    await harness.break_by(f"UPDATE configurations SET taken_up_at = {began + 600_000_000}")
    await harness.break_by(
        "INSERT INTO configurations SELECT 'older', ?, ?, team FROM configurations",
        at=began,
        agreement=json.dumps(older),
    )
    await harness.wait(minutes=-5)
    await harness.act("ann", "reject", reason="not-now")
    assert await harness.broken() == {}
    await harness.break_by("UPDATE configurations SET taken_up_at = taken_up_at + 3600000000 WHERE version <> 'older'")
    await harness.wait(minutes=10)
    await harness.act("ben", "reject", reason="not-now")
    assert any("from assigned to nurturing" in row for row in (await harness.broken())["I9"])


async def test_assignment_begun_on_a_clock_set_back_does_not_overlap(harness: OperationsHarness) -> None:
    await harness.ask("ann")
    await harness.wait(minutes=10)
    for rep in await harness.rows("SELECT rep FROM router_reps"):
        await harness.available(rep[0], False)
    await harness.act("ann", "reject", reason="no-time")
    assert (await harness.lead("ann"))["owner"] is None
    await harness.wait(minutes=-5)
    await harness.available("tom", True)
    assert (await harness.lead("ann"))["owner"]["id"] == "tom"
    assert await harness.broken() == {}


@pytest.mark.parametrize("change", ["closed_at = closed_at + 1", "opened_at = opened_at + 1"])
async def test_changed_assignment_time_on_a_clock_set_back_breaks_i3(harness: OperationsHarness, change: str) -> None:
    await harness.ask("ann")
    await harness.wait(minutes=-10)
    await harness.act("ann", "reject", reason="no-time")
    await harness.break_by(f"UPDATE router_assignments SET {change} WHERE epoch = 1")
    assert "I3" in await harness.broken()


async def test_page_claimed_before_the_touch_is_recognised_by_record_order(
    harness: OperationsHarness,
) -> None:
    await harness.ask("ann")
    await harness.wait(minutes=16)
    await harness.wait(minutes=-10)
    await harness.act("ann", "touch", channel="phone", answered=True)
    assert await harness.broken() == {}
    later = "UPDATE reporting_history SET position = position + 1000 WHERE type = 'page.sent'"
    await harness.break_by(later)
    assert "I7" in await harness.broken()


async def test_page_claimed_before_the_opt_out_is_recognised_by_record_order(
    harness: OperationsHarness,
) -> None:
    await harness.ask("ann")
    await harness.wait(minutes=16)
    await harness.wait(minutes=-10)
    await harness.act("ann", "opt-out", reason="asked")
    assert await harness.broken() == {}


async def test_page_of_an_assignment_after_the_touch_is_recognised_by_record_order(
    harness: OperationsHarness,
) -> None:
    await harness.ask("ann")
    await harness.wait(minutes=10)
    await harness.act("ann", "touch", channel="phone", answered=True)
    await harness.act("ann", "recycle", reason="stalled")
    await harness.wait(minutes=-5)
    await harness.ask("ann")
    await harness.wait(minutes=16)
    assert len(await harness.rows("SELECT id FROM notifier_pages WHERE epoch = 2 AND state = 'sent'")) > 1
    assert await harness.broken() == {}
    last = "(SELECT max(position) FROM reporting_history WHERE type = 'lead.assigned')"
    await harness.break_by(f"UPDATE reporting_history SET position = {last} + 1 WHERE type = 'promise.kept'")
    assert "I7" in await harness.broken()
