"""A lead without a touch for a long time: paging never ends in silence, and ends at once when it is no longer needed."""

from collections import Counter

import pytest

from tests.story.conftest import OpenWorld
from tests.story.world import World

CTO = "cto@prospect.example"


@pytest.mark.slow
async def test_manager_is_reminded_for_three_days_until_a_touch(world: World) -> None:
    await world.submit_form(email=CTO)
    await world.wait(hours=4)
    told = Counter(world.slack_recipients)
    await world.wait(hours=68)
    later = Counter(world.slack_recipients) - told
    assert set(later) == {"max"}, "after the ladder only the manager is reminded"
    assert 32 <= later["max"] <= 35, "every two hours"

    await world.touch(CTO, by="max")
    pages = len(world.slack_recipients)
    await world.wait(hours=6)
    assert len(world.slack_recipients) == pages


async def test_opt_out_between_two_rungs_ends_the_pages(world: World) -> None:
    await world.submit_form(email=CTO)
    await world.wait(minutes=5)
    assert world.slack_recipients == ["ana"]
    await world.opt_out(CTO)
    await world.wait(hours=3)
    assert set(world.slack_recipients) == {"ana"}, "the manager hears nothing of a person who opted out"
    asked = [page for page in await world.pages(CTO) if page["state"] == "sent" and page["kind"] != "lost"]
    assert len(asked) == 1
    lead = await world.lead(CTO)
    assert (lead["status"], lead["owner"]) == ("opted-out", None)


@pytest.mark.slow
async def test_owner_is_told_first_after_two_hours_without_slack(open_world: OpenWorld) -> None:
    world = await open_world(channels=("slack",))
    world.slack.drop(times=None)
    await world.submit_form(email=CTO)
    await world.wait(hours=2)
    assert (world.slack_recipients, await world.owner_of(CTO)) == ([], "ana")

    world.slack.recover()
    await world.wait(minutes=12)
    assert "ana" in world.slack_recipients
    assert await world.owner_of(CTO) == "ana", "a lead of which its owner was not told stays with the owner"
    assert len(world.slack_recipients) <= 4, "pages that are overdue are bundled"
    await world.touch(CTO, by="ana")
    pages = len(world.slack_recipients)
    await world.wait(hours=5)
    assert len(world.slack_recipients) == pages
