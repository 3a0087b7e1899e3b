"""Pages that wait or go another way: quiet hours, outages, and the budget of a person."""

import json
from datetime import UTC, datetime, timedelta

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


async def asked_by_score(world: World, *emails: str) -> None:
    """Let people qualify by score, which is not urgent."""
    fields = {"title": "CTO", "company": {"employees": 400}}
    events = [world.event_body("webinar.attended", email=email, **fields) for email in emails for _ in range(3)]
    answer = await world.post_events(*events)
    assert answer.status_code == 202, answer.text
    await world.settle()


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


@pytest.mark.both_profiles
async def test_burst_of_50_leads_is_told_within_the_budget_and_the_hot_one_first(open_world: OpenWorld) -> None:
    response = {"budget": {"pages": 6, "per": "10m"}, "warm": {"touch_within": "4h"}}
    world = await open_world(agreement={"response": response}, team=reps(pool=["ana"]))
    await asked_by_score(world, *(f"warm{n}@prospect.example" for n in range(49)))
    await world.submit_form(email=CTO, name="Ann Lee")
    assert len(world.slack.messages) == 1
    await world.wait(seconds=30)

    headers = [message["blocks"][0]["text"]["text"] for message in world.slack.messages]
    assert (len(headers), world.mail_recipients) == (6, [])
    assert headers[1].startswith("Hot lead: write to Ann Lee")
    pages = await world.pages()
    assert {page["state"] for page in pages} == {"sent"}
    last = json.dumps(world.slack.messages[-1])
    untold = [page for page in pages if page["carried_by"]]
    assert len(untold) == 44
    assert sum(f"warm{n}@" in last.replace(" @", "@") for n in range(49)) == 45


@pytest.mark.slow
async def test_pages_go_by_mail_while_slack_is_down_for_20_minutes(world: World) -> None:
    world.slack.drop(times=None)
    await world.submit_form(email=CTO)
    submitted = world.clock.now
    await world.wait(seconds=30)
    assert world.mail_recipients == ["ana"], "the second channel within 30 seconds"
    for n in range(8):
        await world.submit_form(email=f"person{n}@prospect.example")
    await world.wait(seconds=31)
    assert len(world.mail_recipients) == 9
    [warning] = [line for line in (await world.get("/readyz"))["warnings"] if line.startswith("slack accepts no pages")]
    assert "no answer" in warning
    await world.submit_form(email="late@prospect.example")
    assert len(world.mail_recipients) == 10, "at once, because Slack is known to be down"
    calls = world.slack.calls
    await world.wait(minutes=19)
    assert world.slack.calls - calls <= 19 * 4 + 1, "single pages probe it"
    assert world.clock.now - submitted >= timedelta(minutes=20)

    world.slack.recover()
    await world.wait(minutes=1)
    assert world.slack_recipients, "reminders over Slack alone have waited"
    await world.submit_form(email="after@prospect.example")
    assert (await world.pages("after@prospect.example"))[0]["channel"] == "slack"
    assert {page["state"] for page in await world.pages()} <= {"sent", "cancelled"}
