"""Clicks of people in tests of the notifier, and the answers of the router."""

from typing import Any

import msgspec

from schemas.events.actions import ActionRequested
from schemas.events.routes import ActionResolved
from services.notifier.clicks import apply_click
from services.notifier.domain.click import Click, ClickAnswer
from tests.unit.notifier.harness import NotifierHarness


def click(harness: NotifierHarness, action: str, person: str = "ana", epoch: int = 1, **more: Any) -> ClickAnswer:
    """Apply a click of this person on the lead `l1`."""
    key = more.pop("key", f"{action} {person} {epoch} {harness.clock.now}")
    fields = {"person": person, "lead_id": "l1", "epoch": epoch, "action": action, "source": "slack", "key": key}
    one = msgspec.convert(fields | {"at": harness.clock.now} | more, Click)
    return harness.units.now(lambda unit: apply_click(unit, harness.context, one))


def requests(harness: NotifierHarness) -> list[ActionRequested]:
    """Return the requests of people, in order."""
    return [event for event in harness.events(ActionRequested) if event.by != "system"]


def resolve(harness: NotifierHarness, outcome: str, number: int = -1) -> None:
    """Let the router resolve a request."""
    request = requests(harness)[number]
    harness.hear(
        msgspec.convert(
            {
                "lead_id": request.lead_id,
                "action_id": request.action_id,
                "action": request.action,
                "epoch": request.epoch,
                "at": harness.clock.now,
                "outcome": outcome,
                "why": "the lead is with someone else",
            },
            ActionResolved,
        )
    )


async def assigned(harness: NotifierHarness) -> None:
    """Assign the lead `l1` to Ana, and send her the first page."""
    harness.hear(harness.qualified(), harness.assigned())
    await harness.settle()
