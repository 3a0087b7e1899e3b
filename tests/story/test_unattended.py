"""Pages whose recipients are all away: the next manager, a team, or a manager who is away is told."""

from typing import Any

import pytest

from tests.story.conftest import OpenWorld
from tests.story.sample_config import reps
from tests.story.world import World

CTO = "cto@prospect.example"
TELL = {"sales": {"by": ["slack"], "slack": "#sales"}}
MANAGERS = (
    {"id": "max", "manager": "eve"},
    {"id": "eve", "name": "Eve Lund", "email": "eve@acme.example", "slack": "U0EVE"},
)


async def all_away(world: World, *people: str) -> None:
    for person in people:
        await world.is_away(person)


async def page_of(world: World, kind: str) -> list[tuple[str, str, str | None]]:
    """Return person, state and reason of the pages of this kind about the lead, in their order."""
    pages = sorted(await world.pages(CTO), key=lambda page: page["rung"])
    return [(page["person"], page["state"], page["error"]) for page in pages if page["kind"] == kind]


async def subjects(world: World) -> list[str]:
    return [one["subject"] for one in (await world.get("/v1/notices"))["items"]]


@pytest.mark.both_profiles
async def test_sales_is_told_of_a_waiting_lead_while_every_manager_is_away(open_world: OpenWorld) -> None:
    world = await open_world(team=reps(*MANAGERS), agreement={"tell": TELL})
    await all_away(world, "ana", "bo", "cy", "max", "eve")
    await world.submit_form(email=CTO)
    await world.wait(minutes=16)

    assert await page_of(world, "queued") == [("max", "cancelled", "max is away: sales is told instead")]
    [notice] = (await world.get("/v1/notices"))["items"]
    assert "waits: no rep can take the lead" in notice["subject"]
    assert (notice["team"], notice["state"], notice["lead"]) == ("sales", "sent", (await world.lead(CTO))["id"])
    assert [message["channel"] for message in world.slack.messages] == ["#sales"]


async def test_missed_promise_is_told_to_sales_while_every_manager_is_away(open_world: OpenWorld) -> None:
    world = await open_world(team=reps(*MANAGERS), agreement={"tell": TELL})
    await all_away(world, "max", "eve")
    await world.submit_form(email=CTO)
    await world.wait(minutes=61)

    assert [one[1:] for one in await page_of(world, "missed")] == [("cancelled", "max is away: sales is told instead")]
    assert any(subject.startswith("Overdue: no contact yet") for subject in await subjects(world))


async def test_manager_who_is_away_is_told_where_the_agreement_names_no_team(open_world: OpenWorld) -> None:
    world = await open_world(team=reps(*MANAGERS))
    await all_away(world, "max", "eve")
    await world.submit_form(email=CTO)
    await world.wait(minutes=21)

    reason = "sent although max is away: no other recipient is there"
    assert await page_of(world, "manager") == [("max", "sent", reason)]
    assert world.slack_recipients[-1] == "max"


async def leaves(world: World) -> None:
    await world.change("team", reps({**MANAGERS[0], "active": False}, MANAGERS[1]))


async def is_away(world: World) -> None:
    await world.is_away("max")


@pytest.mark.parametrize(("change", "why"), [(leaves, "max is deactivated"), (is_away, "max is away")])
async def test_waiting_alert_goes_to_the_next_manager_when_its_recipient_leaves(
    open_world: OpenWorld, change: Any, why: str
) -> None:
    world = await open_world(team=reps(*MANAGERS))
    await world.submit_form(email=CTO)
    await world.wait(minutes=11)
    world.slack.respond(503, times=None)
    world.smtp.refuse(451, times=None)
    await world.wait(minutes=10)
    assert [one[:2] for one in await page_of(world, "manager")] == [("max", "pending")]

    await change(world)
    world.slack.recover()
    world.smtp.recover()
    await world.wait(minutes=2)
    pages = await page_of(world, "manager")
    assert sorted(pages) == [("eve", "sent", None), ("max", "cancelled", f"{why}: eve is told instead")]


async def test_flood_of_unattended_leads_is_one_notice_without_names(open_world: OpenWorld) -> None:
    world = await open_world(team=reps(*MANAGERS), agreement={"tell": TELL})
    await all_away(world, "ana", "bo", "cy", "max", "eve")
    for n in range(6):
        await world.submit_form(email=f"cto@prospect{n}.example")
    await world.wait(minutes=16)
    assert await subjects(world) == ["6 leads need a manager, and none is there"]


async def test_sales_is_told_where_the_team_has_no_manager(open_world: OpenWorld) -> None:
    world = await open_world(
        team=reps(*({"id": rep, "manager": None} for rep in ("ana", "bo", "cy"))), agreement={"tell": TELL}
    )
    await world.submit_form(email=CTO)
    await world.wait(minutes=21)
    assert [why for _, _, why in await page_of(world, "manager")] == [
        "no recipient: ana has no `manager` in team.yaml: sales is told instead"
    ]
    assert any(subject.startswith("No contact yet") for subject in await subjects(world))
