"""The audit beside timers that stopped: what it says, and when that ends."""

import pytest

from tests.story.conftest import OpenWorld
from tests.story.world import World

CTO = "cto@prospect.example"


async def audit_warnings(world: World) -> list[str]:
    return [line for line in (await world.get("/readyz"))["warnings"] if line.startswith("audit: ")]


@pytest.mark.both_profiles
async def test_stopped_timers_are_found_within_two_minutes_and_then_forgotten(open_world: OpenWorld) -> None:
    world = await open_world(agreement={"tell": {"operator": {"by": "email", "email": "ops@acme.example"}}})
    await world.submit_form(email=CTO)
    with world.down("notifier"):
        await world.wait(minutes=12)
        [warning] = await audit_warnings(world)
        assert warning.startswith("audit: a rung is overdue by more than 60 s: lead ")
    await world.wait(minutes=2)
    assert await audit_warnings(world) == []
    begun, over = (
        str(mail.message["Subject"]) for mail in world.smtp.mails if mail.recipients == ("ops@acme.example",)
    )
    assert begun.startswith("Audit: a rung is overdue by more than 60 s: lead ")
    assert over.startswith("Audit: over since 09:14 UTC: a rung is overdue by more than 60 s")
    registry = world.system.resources.telemetry.registry
    assert registry.get_sample_value("audits_total", {"outcome": "failed"}) is None
    assert (registry.get_sample_value("audits_total", {"outcome": "done"}) or 0) >= 3
