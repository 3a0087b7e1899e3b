"""Taps in a row, and a touch that the router refuses after the lead has left Sales."""

import pytest

from schemas.events.pages import PromiseMissed
from services.notifier.domain.click import NOTHING, ClickAnswer
from tests.unit.notifier.clicking import assigned, click, requests, resolve
from tests.unit.notifier.harness import NotifierHarness


@pytest.mark.parametrize("action", ["no_answer", "reached"])
async def test_double_tap_is_one_attempt(harness: NotifierHarness, action: str) -> None:
    await assigned(harness)
    assert click(harness, action).applied
    harness.clock.advance(seconds=2)
    again = click(harness, action, source="email")
    assert again == ClickAnswer(False, f"The same tap was recorded a moment ago. {NOTHING}")
    assert len(requests(harness)) == 1
    harness.clock.advance(seconds=4)
    assert click(harness, action).applied, "this is another attempt"
    assert len(requests(harness)) == 2


async def test_another_tap_in_a_row_is_recorded(harness: NotifierHarness) -> None:
    """Another outcome, another person, and a tap after one that was refused."""
    await assigned(harness)
    assert click(harness, "no_answer").applied
    assert click(harness, "reached").applied
    assert click(harness, "reached", person="max").applied
    resolve(harness, "refused", number=0)
    assert click(harness, "no_answer", key="again").applied


async def test_refused_touch_on_a_lead_that_left_sales_starts_no_clock(harness: NotifierHarness) -> None:
    await assigned(harness)
    click(harness, "no_answer")
    harness.hear(harness.recycled())
    resolve(harness, "refused")
    (row,) = harness.rows("SELECT state, due_at, touched_at FROM notifier_clocks WHERE lead_id = 'l1'")
    assert row == {"state": "over", "due_at": None, "touched_at": None}
    told = len(harness.slack.messages)
    await harness.wait(minutes=120)
    assert len(harness.slack.messages) == told
    assert harness.events(PromiseMissed) == []
