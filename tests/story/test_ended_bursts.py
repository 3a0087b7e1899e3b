"""A burst that is held back ends as a whole: released, its clocks start; dropped, its leads leave Sales."""

from typing import Any

import pytest

from schemas.agreement.lifecycle import TRANSITIONS
from services.gateway.bursts import BURST_MIN
from tests.story.conftest import OpenWorld
from tests.story.test_bursts import ROBOT, TEAM, TELL, bursts, flood, owned, post
from tests.story.world import World

pytestmark = pytest.mark.both_profiles

HELD = "person9@flood.example"
NO_WAY_OUT: Any = {
    "lifecycle": {
        "transitions": [
            row.model_dump(mode="json", by_alias=True)
            for row in TRANSITIONS
            if (row.from_, row.to) != (("qualified",), "disqualified")
        ]
    }
}
"""An agreement in which a lead that waits cannot go back to Marketing."""


async def end(world: World, way: str, role: str = "manager", **body: Any) -> Any:
    [burst] = await bursts(world)
    answer = await world.ask("POST", f"/v1/bursts/{burst['id']}/{way}", role, body=body or None)
    await world.wait(minutes=2)
    return answer


async def test_clock_of_a_held_lead_starts_when_its_burst_is_released(open_world: OpenWorld) -> None:
    world = await open_world(team=TEAM, agreement=TELL)
    await flood(world, 10)
    submit = world.clock.now
    await world.wait(hours=5)
    assert (await world.lead(HELD))["clock"] == {
        "due_at": None,
        "state": "held",
        "rung": None,
        "paused_until": None,
        "snoozed_until": None,
    }
    assert await world.rows("SELECT count(*) FROM notifier_clocks WHERE state = 'missed'") == [(BURST_MIN,)]

    await end(world, "release")
    lead = await world.lead(HELD)
    assert (lead["clock"]["state"], lead["clock"]["due_at"] > submit.isoformat()) == ("live", True)
    await world.touch(HELD, lead["owner"]["id"])
    total = (await world.get("/v1/reports/response?since=1d"))["total"]
    assert (total["held_back"], total["raw"]["within_hour"], total["working"]["within_hour"]) == (5, 0, 1)


async def test_released_lead_that_no_rep_can_take_pages_the_manager(open_world: OpenWorld) -> None:
    world = await open_world(team=TEAM, agreement=TELL)
    await flood(world, 10)
    for rep in ("ana", "bo", "cy"):
        await world.is_away(rep, hours=30)
    await world.wait(hours=2)
    assert await pages_about(world, HELD) == []

    await end(world, "release")
    await world.wait(minutes=30)
    assert (await world.lead(HELD))["queue"]["pool"] == "everyone"
    assert "sent" in [page["state"] for page in await pages_about(world, HELD)]


async def pages_about(world: World, email: str) -> list[dict[str, Any]]:
    lead = (await world.lead(email))["id"]
    return [page for page in (await world.pages(email)) if page["lead"] == lead]


async def test_manager_drops_a_burst_and_later_leads_of_it_follow(open_world: OpenWorld) -> None:
    world = await open_world(team=TEAM, agreement=TELL)
    await flood(world, 10)
    answer = await end(world, "drop", reason="spam")
    assert (answer.status_code, answer.json()["dropped_by"]) == (200, "key:manager of no rep"), answer.text

    lead = await world.lead(HELD)
    assert (lead["status"], lead["queue"], lead["clock"]) == ("disqualified", None, None)
    timeline = str(await world.lead_items(HELD, "timeline"))
    assert f"spam: burst {answer.json()['id']} was dropped" in timeline
    assert await owned(world, "person0@flood.example") == [True]  # came before the burst

    await post(world, "late@flood.example", ROBOT)
    await world.settle()
    assert await world.status_of("late@flood.example") == "disqualified"
    assert (await end(world, "release")).json()["title"] == "Already resolved"
    assert (await end(world, "drop", reason="spam")).status_code == 200


async def test_released_burst_cannot_be_dropped_and_spread_releases_no_dropped_one(open_world: OpenWorld) -> None:
    world = await open_world(team=TEAM, agreement=TELL)
    for n in range(BURST_MIN + 2):
        await post(world, f"person{n}@customer.example", f"203.0.113.{n}")
    await world.settle()
    await end(world, "drop", reason="spam")
    await post(world, "person9@customer.example", "203.0.113.99")  # by its spread, the burst is genuine
    await world.wait(minutes=2)
    [burst] = await bursts(world)
    assert (burst["released_at"], burst["drop_reason"]) == (None, "spam")
    assert await world.status_of("person6@customer.example") == "disqualified"


async def test_only_a_manager_may_drop_a_burst(open_world: OpenWorld) -> None:
    world = await open_world(team=TEAM, agreement=TELL)
    await flood(world, 10)
    for role in ("ingest", "marketing", "sales"):
        assert (await end(world, "drop", role, reason="spam")).status_code == 403
    assert await world.status_of(HELD) == "qualified"
    unknown = await end(world, "drop", reason="weather")
    assert (unknown.status_code, unknown.json()["title"]) == (422, "Unknown reason")
    assert "spam" in unknown.json()["detail"]


async def test_drop_without_a_transition_is_refused_and_names_the_missing_line(open_world: OpenWorld) -> None:
    world = await open_world(team=TEAM, agreement={**TELL, **NO_WAY_OUT})
    await flood(world, 10)
    refused = await end(world, "drop", reason="spam")
    assert (refused.status_code, refused.json()["title"]) == (409, "Invalid state")
    assert "add `{from: qualified, to: disqualified, by: manager, reason: [spam]}`" in refused.json()["detail"]
    assert (await world.lead(HELD))["clock"]["state"] == "held"


async def test_held_lead_assigned_by_hand_has_its_clock_from_then_on(open_world: OpenWorld) -> None:
    world = await open_world(team=TEAM, agreement=TELL)
    await flood(world, 10)
    await world.wait(hours=5)
    lead = await world.lead(HELD)
    await world.ask("POST", f"/v1/leads/{lead['id']}/assign", body={"rep": "ana", "reason": "known"})
    await world.settle()
    assert (await world.lead(HELD))["clock"]["state"] == "live"
    await world.wait(minutes=20)
    assert "ana" in [page["person"] for page in await pages_about(world, HELD)]

    await end(world, "drop", reason="spam")  # it has an owner, so it stays
    assert (await world.lead(HELD))["owner"]["id"] == "ana"
