"""Events take effect by their own time, even if they arrive late or the host's clock was set back."""

from datetime import timedelta
from typing import Any

import pytest

from tests.story.conftest import OpenWorld
from tests.story.world import World

CTO = "cto@prospect.example"


@pytest.mark.both_profiles
async def test_late_consent_and_late_form_do_not_end_an_opt_out(world: World) -> None:
    start = world.clock.business()
    await world.wait(minutes=10)
    await world.event("consent.withdrawn", email=CTO)
    await world.event("consent.given", email=CTO, time=start)
    await world.event("form.submitted", email=CTO, form="demo-request", time=start)
    assert await world.status_of(CTO) == "opted-out"
    assert world.slack_recipients == []


@pytest.mark.both_profiles
async def test_form_before_a_rejection_adds_points_and_sends_no_page(world: World) -> None:
    start = world.clock.business()
    await world.wait(minutes=10)
    await world.submit_form(email=CTO)
    await world.reject(CTO, by="ana", reason="not-now")
    assert (await world.lead(CTO))["score"]["engagement"] == 60
    await world.event("form.submitted", email=CTO, form="demo-request", time=start)
    lead = await world.lead(CTO)
    assert (lead["status"], lead["owner"]) == ("nurturing", None)
    parts = (await world.get(f"/v1/leads/{lead['id']}/score"))["parts"]
    assert [(part["because"], part["points"]) for part in parts] == [("Asked for a demo", 60)] * 2
    assert lead["score"]["engagement"] == 100, "the maximum of engagement"
    assert world.slack_recipients == ["ana"]


@pytest.mark.slow
async def test_late_event_gives_the_same_score_as_an_event_in_time(world: World) -> None:
    other = "cfo@prospect.example"
    start = world.clock.business()
    for email in (CTO, other):
        await world.event("webinar.attended", email=email, time=start - timedelta(days=14))
    await world.event("form.submitted", email=other, form="demo-request", time=start)
    await world.wait(days=14)
    await world.event("webinar.attended", email=CTO)
    await world.event("webinar.attended", email=other)
    before = (await world.lead(CTO))["score"]["engagement"]
    assert before == 10 + 40
    await world.event("form.submitted", email=CTO, form="demo-request", time=start)
    in_time, late = [(await world.lead(email))["score"] for email in (other, CTO)]
    assert late["engagement"] == before + 30, "of 60 points, after a half-life"
    assert late == in_time


async def test_touch_within_the_tolerance_before_the_submit_stops_the_clock(world: World) -> None:
    await world.submit_form(email=CTO)
    at = world.clock.business() - timedelta(seconds=40)
    await world.event("touch.recorded", email=CTO, channel="phone", answered=True, time=at)
    await world.wait(hours=2)
    lead = await world.lead(CTO)
    assert (lead["status"], lead["owner"]["id"], lead["clock"]["state"]) == ("working", "ana", "met")
    assert world.slack_recipients == ["ana"]


async def test_ignored_touch_is_in_the_timeline_with_its_reason(world: World) -> None:
    await world.submit_form(email=CTO)
    at = world.clock.business() - timedelta(minutes=10)
    await world.event("touch.recorded", email=CTO, channel="phone", answered=True, time=at)
    assert (await world.lead(CTO))["clock"]["state"] == "live"
    [line] = [item["line"] for item in await world.lead_items(CTO, "timeline") if item["type"] == "touch.applied"]
    assert line.endswith("(ignored: 600 s before the submit; the tolerance is 300 s)")


async def test_opt_out_holds_after_the_host_clock_was_set_back(world: World) -> None:
    people = (CTO, "cfo@prospect.example")
    world.clock.advance(hours=5)
    for email in people:
        await world.event("consent.given", email=email)
    world.clock.advance(hours=-5)
    await world.opt_out(people[0])
    await world.event("email.unsubscribed", email=people[1])
    assert [await world.status_of(email) for email in people] == ["opted-out", "opted-out"]


async def test_consent_ends_no_opt_out_after_the_host_clock_was_set_back(world: World) -> None:
    world.clock.advance(hours=5)
    await world.event("consent.withdrawn", email=CTO)
    world.clock.advance(hours=-5)
    await world.event("consent.given", email=CTO)
    assert await world.status_of(CTO) == "opted-out"


@pytest.mark.both_profiles
async def test_touch_stops_the_clock_after_the_host_clock_was_set_back(world: World) -> None:
    world.clock.advance(hours=5)
    await world.submit_form(email=CTO)
    world.clock.advance(hours=-5)
    await world.touch(CTO, by="ana")
    assert (await world.lead(CTO))["clock"]["state"] == "met"
    await world.wait(hours=8)
    assert world.slack_recipients == ["ana"]


@pytest.mark.both_profiles
async def test_form_is_handed_over_after_the_host_clock_was_set_back(world: World) -> None:
    await world.event("consent.withdrawn", email=CTO)
    await world.wait(hours=5)
    await world.event("consent.given", email=CTO)
    world.clock.advance(hours=-5)
    await world.submit_form(email=CTO)
    assert await world.owner_of(CTO) == "ana"
    assert world.slack_recipients == ["ana"]


async def test_deal_moves_the_lead_after_the_host_clock_was_set_back(world: World) -> None:
    await world.submit_form(email=CTO)
    await world.touch(CTO, by="ana")
    world.clock.advance(hours=5)
    await world.event("opportunity.changed", email=CTO, stage="open")
    world.clock.advance(hours=-5)
    await world.event("opportunity.changed", email=CTO, stage="won")
    assert await world.status_of(CTO) == "customer"


async def test_every_event_type_can_score_and_qualify(open_world: OpenWorld) -> None:
    types: dict[str, dict[str, Any]] = {
        "consent.given": {},
        "touch.recorded": {"channel": "phone", "answered": False},
        "opportunity.changed": {"stage": "proposal"},
        "email.bounced": {},
        "custom.asked": {},
    }
    rules = [{"points": 10, "because": f"Because of {type}", "on": type} for type in types]
    lines = [{"name": f"by {type}", "urgency": "hot", "on": type} for type in types]
    world = await open_world(agreement={"scoring": {"engagement": {"rules": rules}}, "qualify": lines})
    for n, (type, data) in enumerate(types.items()):
        email = f"person{n}@prospect.example"
        await world.event("page.viewed", email=email)
        assert await world.status_of(email) == "new"
        await world.event(type, email=email, **data)
        lead = await world.lead(email)
        assert (lead["score"]["engagement"], lead["owner"] is not None) == (10, True), type
        assert "lead.qualified" in await world.event_types_of(email)


async def test_opt_out_that_matches_a_line_hands_over_no_lead(open_world: OpenWorld) -> None:
    world = await open_world(agreement={"qualify": [{"name": "any", "urgency": "hot", "on": "consent.withdrawn"}]})
    await world.event("consent.withdrawn", email=CTO)
    assert await world.status_of(CTO) == "opted-out"
    assert world.slack_recipients == []
