"""Pages that wait or go another way: quiet hours, outages, and the budget of a person."""

from datetime import UTC, datetime

import pytest

from tests.story.conftest import OpenWorld
from tests.story.sample_config import reps
from tests.story.world import World

CTO = "cto@prospect.example"
OFFICE = {"office": {"timezone": "Europe/Berlin", "hours": {"mon-fri": ["09:00-18:00"]}}}
IN_OFFICE = reps(*({"id": rep, "calendar": "office"} for rep in ("ana", "bo", "cy", "max")))


def friday_evening(world: World) -> None:
    """Move the time to Friday, 18:30 in Berlin."""
    world.clock.now = datetime(2026, 12, 4, 17, 30, tzinfo=UTC)


async def asked_by_score(world: World, email: str) -> None:
    """Let a person qualify by score, which is not urgent."""
    fields = {"email": email, "title": "CTO", "company": {"employees": 400}}
    for n in range(3):
        await world.event("webinar.attended", id=f"{email} {n}", **fields)


@pytest.mark.same_on_both_profiles
async def test_weekend_is_quiet_for_warm_leads_and_not_for_hot_ones(open_world: OpenWorld) -> None:
    response = {
        "warm": {"touch_within": "4h", "counted_in": "owner"},
        "quiet_hours": {"outside": "owner", "but": ["hot"]},
    }
    world = await open_world(agreement={"calendars": OFFICE, "response": response}, team=IN_OFFICE)
    friday_evening(world)
    await asked_by_score(world, "warm@prospect.example")
    await world.submit_form(email=CTO)
    owner = await world.owner_of("warm@prospect.example")
    [page] = await world.pages("warm@prospect.example")
    assert (page["state"], page["error"]) == (
        "pending",
        f"outside the hours of {owner}; waits until 07 Dec 08:00 UTC",
    )
    assert len(world.slack_recipients) == 1, "the hot lead"
    await world.touch(CTO, by=str(await world.owner_of(CTO)))

    await world.wait(hours=62.4)
    assert (len(world.slack_recipients), world.mail_recipients) == (1, []), "Monday, 8:54"
    assert await world.owner_of("warm@prospect.example") == owner
    await world.wait(minutes=6)
    assert world.slack_recipients[1:] == [owner]
    await world.wait(minutes=30)
    assert await world.owner_of("warm@prospect.example") != owner, "the ladder goes on from the first page"
