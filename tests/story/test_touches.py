"""Attempts and conversations: what they stop, postpone and schedule."""

from datetime import timedelta

import pytest

from tests.story.conftest import OpenWorld
from tests.story.world import World

CTO = "cto@prospect.example"
CADENCE = {"promises": {"sales": [{"attempts": 3, "within": "6d", "share": 0.9}]}}
CONVERSATION = {"response": {"stopped_by": "conversation"}}


async def kinds(world: World) -> list[str]:
    return [page["kind"] for page in await world.pages(CTO)]


@pytest.mark.both_profiles
async def test_attempt_without_an_answer_schedules_the_next_one(open_world: OpenWorld) -> None:
    world = await open_world(agreement=CADENCE)
    await world.submit_form(email=CTO, name="Ann Lee", country="JP")  # a Tuesday, 18:00 in Tokyo
    await world.touch(CTO, by="ana", answered=False)
    assert (await world.lead(CTO))["touches"] == {"attempts": 1, "conversations": 0}
    await world.wait(days=1, hours=23)
    assert world.slack_recipients == ["ana"]

    # Two attempts are left for six days: two days after the first it is Thursday evening in Tokyo, so Friday 9:00.
    await world.wait(hours=16, minutes=1)
    assert world.slack_recipients == ["ana", "ana"]
    page = (await world.pages(CTO))[-1]
    assert (page["kind"], page["due_at"]) == ("next_attempt", "2026-12-04T00:00:00Z")
    assert "ana paged by slack (next attempt)" in [item["line"] for item in await world.lead_items(CTO, "timeline")]
    assert page["text"] == "Try again: write to Ann Lee (prospect.example)"
    await world.touch(CTO, by="ana", answered=False)
    await world.touch(CTO, by="ana")
    await world.wait(days=7)
    assert world.slack_recipients == ["ana", "ana"]
    assert (await world.lead(CTO))["touches"] == {"attempts": 2, "conversations": 1}


@pytest.mark.parametrize("ending", ["recycle", "opt_out"])
async def test_lead_that_leaves_sales_gets_no_further_reminder(open_world: OpenWorld, ending: str) -> None:
    world = await open_world(agreement=CADENCE)
    await world.submit_form(email=CTO)
    await world.touch(CTO, by="ana", answered=False)
    if ending == "recycle":
        await world.recycle(CTO, by="max", reason="no-answer")
    else:
        await world.opt_out(CTO)
    await world.wait(days=6)
    assert {page["kind"] for page in await world.pages(CTO) if page["state"] == "sent"} == {"owner", "lost"}
    assert world.slack_recipients == ["ana", "ana"]


async def test_reminder_that_waits_is_cancelled_by_a_conversation_of_the_telephone_system(
    open_world: OpenWorld,
) -> None:
    world = await open_world(agreement=CADENCE)
    await world.submit_form(email=CTO)
    await world.touch(CTO, by="ana", answered=False)
    world.slack.respond(503, times=None)
    world.smtp.refuse(451, times=None)
    await world.wait(days=2, minutes=1)
    assert (await world.pages(CTO))[-1]["state"] in ("pending", "sending")
    await world.call_ended(CTO, agent="ana@acme.example")
    world.slack.recover()
    await world.wait(minutes=5)
    assert (await world.pages(CTO))[-1]["state"] == "cancelled"


async def test_attempt_postpones_the_ladder_where_only_a_conversation_stops_the_clock(open_world: OpenWorld) -> None:
    world = await open_world(agreement=CONVERSATION)
    await world.submit_form(email=CTO)
    await world.wait(minutes=9)
    await world.touch(CTO, by="ana", answered=False)
    assert (await world.lead(CTO))["clock"]["state"] == "live"
    assert await world.status_of(CTO) == "assigned"
    await world.wait(minutes=9, seconds=59)
    assert world.slack_recipients == ["ana"]
    await world.wait(seconds=1)
    assert world.slack_recipients == ["ana", "ana"]

    await world.call_ended(CTO, agent="ana@acme.example", seconds=5)  # not answered
    await world.wait(minutes=9)
    assert world.slack_recipients == ["ana", "ana"]
    await world.call_ended(CTO, agent="ana@acme.example")
    await world.wait(hours=3)
    assert world.slack_recipients == ["ana", "ana"]
    assert await world.status_of(CTO) == "working"
    assert (await world.lead(CTO))["touches"] == {"attempts": 2, "conversations": 1}


async def test_promise_ends_without_a_conversation_in_spite_of_attempts(open_world: OpenWorld) -> None:
    world = await open_world(agreement=CONVERSATION)
    await world.submit_form(email=CTO)
    for _ in range(8):
        await world.wait(minutes=8)
        await world.touch(CTO, by="ana", answered=False)
    assert (await world.lead(CTO))["clock"]["state"] == "missed"
    assert "promise.missed" in await world.event_types_of(CTO)


async def test_person_who_asks_again_gets_a_cadence_of_their_new_request(open_world: OpenWorld) -> None:
    world = await open_world(agreement=CADENCE)
    await world.submit_form(email=CTO)
    await world.touch(CTO, by="ana", answered=False)
    await world.wait(days=1)
    await world.submit_form(email=CTO)
    assert world.slack_recipients == ["ana", "ana"]
    assert (await world.lead(CTO))["touches"] == {"attempts": 0, "conversations": 0}
    await world.touch(CTO, by="ana", answered=False)
    await world.wait(days=1, hours=23)
    assert world.slack_recipients == ["ana", "ana"]
    await world.wait(hours=1, minutes=1)
    assert world.slack_recipients == ["ana", "ana", "ana"]
    total = (await world.get("/v1/reports/response?since=5d"))["total"]
    assert (total["requests"], total["touched"], total["attempts"]) == (2, 2, 2)


async def test_touches_of_any_identifier_and_kind_count(world: World) -> None:
    await world.submit_form(email=CTO, phone="+49 30 1234567")
    await world.event("touch.recorded", phone="+49301234567", channel="email", answered=False)
    await world.event("touch.recorded", email=CTO, channel="meeting")
    late = world.clock.business() - timedelta(minutes=1)
    await world.event("touch.recorded", id="same", email=CTO, time=late, channel="phone", answered=False)
    await world.event("touch.recorded", id="same", email=CTO, time=late, channel="phone", answered=False)
    assert (await world.lead(CTO))["touches"] == {"attempts": 2, "conversations": 1}
    lines = [item["line"] for item in await world.lead_items(CTO, "timeline") if item["type"] == "touch.applied"]
    assert lines == ["touch by email, unanswered", "touch by meeting, answered", "touch by phone, unanswered"]
