"""Scores, qualification, opt-outs and deals: the effect of events on a lead."""

from datetime import timedelta
from itertools import permutations
from typing import Any

import pytest

from tests.story.conftest import OpenWorld
from tests.story.world import World

CTO = "cto@prospect.example"


@pytest.mark.both_profiles
async def test_opt_out_ends_owner_clock_and_pages(world: World) -> None:
    await world.submit_form(email=CTO)
    await world.wait(minutes=5)
    await world.opt_out(CTO)
    lead = await world.lead(CTO)
    assert (lead["status"], lead["owner"], lead["clock"]) == ("opted-out", None, None)

    await world.wait(hours=5)
    await world.event("webinar.attended", email=CTO)
    assert sorted(page["kind"] for page in await world.pages(CTO) if page["state"] == "sent") == ["lost", "owner"]
    assert world.slack_recipients == ["ana", "ana"]
    assert await world.status_of(CTO) == "opted-out"


async def test_waiting_page_is_not_sent_after_an_opt_out(world: World) -> None:
    world.slack.drop(times=None)
    await world.submit_form(email=CTO)
    await world.event("consent.withdrawn", email=CTO)
    world.slack.recover()

    await world.wait(hours=2)
    assert (world.slack_recipients, world.mail_recipients) == ([], [])
    [page] = await world.pages(CTO)
    assert (page["state"], page["error"]) == ("cancelled", "the person opted out")


async def test_unsubscribe_is_an_opt_out(world: World) -> None:
    await world.submit_form(email=CTO)
    await world.event("email.unsubscribed", email=CTO)
    assert await world.status_of(CTO) == "opted-out"


async def test_consent_returns_to_nurturing_and_a_form_hands_over(world: World) -> None:
    await world.submit_form(email=CTO)
    await world.opt_out(CTO)
    await world.event("consent.given", email=CTO)
    assert await world.status_of(CTO) == "opted-out"  # at the same time, the opt-out wins

    await world.wait(minutes=1)
    await world.event("consent.given", email=CTO)
    assert await world.status_of(CTO) == "nurturing"

    await world.submit_form(email=CTO)
    assert await world.status_of(CTO) == "assigned"


async def test_disposable_mailbox_gets_no_rep(world: World) -> None:
    await world.submit_form(email="somebody@mailinator.com", employees=400, title="CTO")
    assert (await world.lead("somebody@mailinator.com"))["owner"] is None
    assert world.slack_recipients == []


async def test_suppressed_domains_are_not_scored_and_not_routed(world: World) -> None:
    for email in ("ana@acme.example", "spy@rival.example"):
        await world.submit_form(email=email, employees=400, title="CTO")
        lead = await world.lead(email)
        assert (lead["status"], lead["owner"], lead["queue"]) == ("new", None, None)
        assert (lead["score"]["fit"], lead["score"]["engagement"], lead["score"]["total"]) == (0, 0, 0)
    assert world.slack_recipients == []
    assert "suppressed: Competitor" in [
        item["line"] for item in await world.lead_items("spy@rival.example", "timeline")
    ]


@pytest.mark.both_profiles
async def test_repeated_event_makes_one_lead_and_one_page(world: World) -> None:
    event = world.event_body("form.submitted", email=CTO, form="demo-request")
    for _ in range(3):
        assert (await world.post_events(event)).status_code == 202
    assert (await world.post_events(event, event, event)).status_code == 202
    await world.settle()
    assert (await world.post_events(event)).status_code == 202
    await world.settle()

    assert len(await world.leads()) == 1
    assert world.slack_recipients == ["ana"]
    assert (await world.event_types_of(CTO)).count("lead.scored") == 1


async def test_spellings_of_one_address_are_one_lead(world: World) -> None:
    for email in ("CTO@Prospect.Example", " cto@prospect.example ", "cto@PROSPECT.example"):
        await world.submit_form("newsletter", email=email)
    assert [lead["email"] for lead in await world.leads()] == [CTO]


async def test_score_does_not_depend_on_the_order_of_events(world: World) -> None:
    start = world.clock.business() - timedelta(days=20)
    sequence: list[tuple[str, dict[str, Any]]] = [
        ("form.submitted", {"form": "demo-request", "title": "Clerk"}),
        ("content.downloaded", {"content": "paper"}),
        ("content.downloaded", {"content": "paper"}),
        ("webinar.attended", {"title": "CTO", "company": {"employees": 400}}),
    ]
    scores = []
    for n, order in enumerate(permutations(range(len(sequence)))):
        email = f"person{n}@prospect.example"
        for at in order:
            type, data = sequence[at]
            await world.post_events(world.event_body(type, email=email, time=start + timedelta(days=at), **data))
        await world.settle()
        scores.append((await world.lead(email))["score"])
    assert all(score == scores[0] for score in scores)
    assert scores[0]["fit"] == 70


@pytest.mark.both_profiles
async def test_qualification_line_by_score_applies_once(world: World) -> None:
    await world.event("webinar.attended", email=CTO, title="CTO", company={"employees": 400})
    assert await world.status_of(CTO) == "new"
    for _ in range(5):
        await world.event("webinar.attended", email=CTO)
    assert (await world.event_types_of(CTO)).count("lead.qualified") == 1
    assert world.slack_recipients == ["ana"]

    await world.touch(CTO, by="ana")
    await world.recycle(CTO, by="ana")
    await world.event("content.downloaded", email=CTO)
    assert await world.status_of(CTO) == "nurturing"


async def test_engagement_before_a_recycle_counts_nothing_after_it(world: World) -> None:
    await world.submit_form(email=CTO, employees=400, title="CTO")
    await world.touch(CTO, by="ana")
    await world.recycle(CTO, by="ana")

    assert (await world.lead(CTO))["score"] == {"fit": 70, "engagement": 0, "total": 35, "grade": "A"}


async def test_engagement_points_halve_after_the_half_life(world: World) -> None:
    await world.event("webinar.attended", email=CTO)
    await world.wait(days=14)
    lead = (await world.lead(CTO))["id"]
    score = await world.get(f"/v1/leads/{lead}/score")

    assert score["engagement"] == 20
    [part] = [part for part in score["parts"] if part["kind"] == "engagement"]
    assert (part["because"], part["points"], part["worth"]) == ("Came to a webinar", 40, 20)


async def test_form_with_the_honeypot_field_becomes_a_dead_letter(world: World) -> None:
    await world.submit_form(email=CTO, _hp="buy now")
    assert await world.leads() == []
    assert await world.rows("SELECT consumer, error, state FROM dead_letters") == [("gateway", "honeypot", "waiting")]


async def test_lead_with_only_a_phone_is_to_be_called(open_world: OpenWorld) -> None:
    world = await open_world()
    await world.submit_form(phone="+49 30 1234567", name="Ann Lee")
    [lead] = await world.leads()
    assert (lead["email"], lead["name"], lead["owner"]["id"]) == (None, "Ann Lee", "ana")
    assert world.slack.messages[0]["text"].startswith("Hot lead: call Ann Lee")


async def test_event_with_only_a_date_follows_earlier_events_of_that_day(world: World) -> None:
    await world.submit_form(email=CTO)
    await world.touch(CTO, by="ana")
    today = world.clock.business().date().isoformat()
    await world.event("opportunity.changed", email=CTO, stage="open", time=today)
    assert await world.status_of(CTO) == "opportunity"
    await world.event("opportunity.changed", email=CTO, stage="lost", time=today)
    assert await world.status_of(CTO) == "nurturing"
    await world.wait(minutes=1)
    await world.event("form.submitted", email=CTO, form="demo-request", time=today)
    assert await world.status_of(CTO) == "assigned"
    await world.event("touch.recorded", email=CTO, channel="phone", answered=True, time=today)
    assert await world.status_of(CTO) == "working"
    await world.event("consent.withdrawn", email=CTO, time=today)
    await world.event("consent.given", email=CTO, time=today)
    assert await world.status_of(CTO) == "opted-out"


@pytest.mark.both_profiles
async def test_deal_won_makes_a_customer(world: World) -> None:
    await world.submit_form(email=CTO)
    await world.touch(CTO, by="ana")
    await world.event("opportunity.changed", email=CTO, stage="open")
    assert await world.status_of(CTO) == "opportunity"
    await world.event("opportunity.changed", email=CTO, stage="won", amount=1000)
    assert await world.status_of(CTO) == "customer"
