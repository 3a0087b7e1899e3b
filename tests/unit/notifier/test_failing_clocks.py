"""A clock that raises an error holds up no other, and is tried again."""

from typing import Any

import pytest

from services.notifier import handlers
from services.notifier.domain import firing
from services.notifier.domain.failing_clocks import FAILING_MAX, FailingClocks
from tests.unit.notifier.harness import NotifierHarness


def recipients(harness: NotifierHarness) -> int:
    return len(harness.slack.recipients)


def broken_for(lead_id: str, decide: Any) -> Any:
    """Return the decision, which raises an error for one lead."""

    def decided(clock: Any, *arguments: Any) -> Any:
        if clock.lead_id == lead_id:
            raise ZeroDivisionError
        return decide(clock, *arguments)

    return decided


async def test_other_clocks_fire_and_the_clock_fires_once_it_can(
    harness: NotifierHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness.hear(*(record(lead) for lead in ("a", "b") for record in (harness.qualified, harness.assigned)))
    await harness.wait(minutes=1)
    first, fire = recipients(harness), firing.fire
    monkeypatch.setattr(handlers, "fire", broken_for("a", fire))
    await harness.wait(minutes=10)
    assert recipients(harness) == first + 1
    [line] = harness.context.failing_clocks.lines()
    assert line.startswith("a clock cannot be handled, for example that of lead a (ZeroDivisionError)")

    monkeypatch.setattr(handlers, "fire", fire)
    await harness.wait(minutes=2)
    assert recipients(harness) == first + 2
    assert harness.context.failing_clocks.lines() == []


def test_error_that_concerns_every_clock_is_raised(harness: NotifierHarness) -> None:
    failing = FailingClocks()
    real = harness.clock.real()
    for number in range(FAILING_MAX):
        failing.record(f"l{number}", ZeroDivisionError(), real)
    assert f"{FAILING_MAX} clocks cannot be handled" in failing.lines()[0]
    with pytest.raises(ZeroDivisionError):
        failing.record("another", ZeroDivisionError(), real)


def test_record_of_the_router_fails_with_its_clock(harness: NotifierHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handlers, "fire", broken_for("a", firing.fire))
    with pytest.raises(ZeroDivisionError):
        harness.hear(harness.qualified("a"), harness.assigned("a"))
