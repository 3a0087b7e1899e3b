"""Scores, qualification, opt-outs and deals: the effect of events on a lead."""

from datetime import timedelta
from itertools import permutations
from typing import Any

from tests.story.conftest import OpenWorld
from tests.story.world import World

CTO = "cto@prospect.example"


async def test_an_opt_out_stops_everything(world: World) -> None:
    await world.submit_form(email=CTO)
    await world.wait(minutes=5)
    await world.opt_out(CTO)
    lead = await world.lead(CTO)
    assert (lead["status"], lead["owner"], lead["clock"]) == ("opted-out", None, None)

    await world.wait(hours=5)
    await world.event("webinar.attended", email=CTO)
    assert world.slack_recipients == ["ana"]
    assert await world.status_of(CTO) == "opted-out"


async def test_a_page_that_waits_is_not_sent_after_an_opt_out(world: World) -> None:
    world.slack.drop(times=None)
    await world.submit_form(email=CTO)
    await world.event("consent.withdrawn", email=CTO)
    world.slack.recover()

    await world.wait(hours=2)
    assert (world.slack_recipients, world.mail_recipients) == ([], [])
    [page] = await world.pages(CTO)
    assert (page["state"], page["error"]) == ("cancelled", "the person opted out")


async def test_unsubscribing_is_an_opt_out(world: World) -> None:
    await world.submit_form(email=CTO)
    await world.event("email.unsubscribed", email=CTO)
    assert await world.status_of(CTO) == "opted-out"


async def test_consent_given_again_brings_back_to_nurturing_and_asking_hands_over(world: World) -> None:
    await world.submit_form(email=CTO)
    await world.opt_out(CTO)
    await world.event("consent.given", email=CTO)
    assert await world.status_of(CTO) == "opted-out"  # of one moment the opt-out holds

    await world.wait(minutes=1)
    await world.event("consent.given", email=CTO)
    assert await world.status_of(CTO) == "nurturing"

    await world.submit_form(email=CTO)
    assert await world.status_of(CTO) == "assigned"


async def test_a_disposable_mailbox_never_gets_a_rep(world: World) -> None:
    await world.submit_form(email="somebody@mailinator.com", employees=400, title="CTO")
    assert (await world.lead("somebody@mailinator.com"))["owner"] is None
    assert world.slack_recipients == []


async def test_our_own_people_and_competitors_are_never_scored_and_never_routed(world: World) -> None:
    for email in ("ana@acme.example", "spy@rival.example"):
        await world.submit_form(email=email, employees=400, title="CTO")
        lead = await world.lead(email)
        assert (lead["status"], lead["owner"], lead["queue"]) == ("new", None, None)
        assert (lead["score"]["fit"], lead["score"]["engagement"], lead["score"]["total"]) == (0, 0, 0)
    assert world.slack_recipients == []
    assert "suppressed: Competitor" in [
        item["line"] for item in await world.lead_items("spy@rival.example", "timeline")
    ]


async def test_one_event_posted_again_and_again_makes_one_lead_and_one_page(world: World) -> None:
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


async def test_one_person_is_one_lead_however_they_write_their_address(world: World) -> None:
    for email in ("CTO@Prospect.Example", " cto@prospect.example ", "cto@PROSPECT.example"):
        await world.submit_form("newsletter", email=email)
    assert [lead["email"] for lead in await world.leads()] == [CTO]


async def test_the_same_events_in_another_order_give_the_same_score(world: World) -> None:
    start = world.clock.business() - timedelta(days=20)
    happened: list[tuple[str, dict[str, Any]]] = [
        ("form.submitted", {"form": "demo-request", "title": "Clerk"}),
        ("content.downloaded", {"content": "paper"}),
        ("content.downloaded", {"content": "paper"}),
        ("webinar.attended", {"title": "CTO", "company": {"employees": 400}}),
    ]
    scores = []
    for n, order in enumerate(permutations(range(len(happened)))):
        email = f"person{n}@prospect.example"
        for at in order:
            type, data = happened[at]
            await world.post_events(world.event_body(type, email=email, time=start + timedelta(days=at), **data))
        await world.settle()
        scores.append((await world.lead(email))["score"])
    assert all(score == scores[0] for score in scores)
    assert scores[0]["fit"] == 70


async def test_a_line_of_the_score_qualifies_once(world: World) -> None:
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


async def test_what_came_before_a_recycle_counts_nothing_after_it(world: World) -> None:
    await world.submit_form(email=CTO, employees=400, title="CTO")
    await world.touch(CTO, by="ana")
    await world.recycle(CTO, by="ana")

    assert (await world.lead(CTO))["score"] == {"fit": 70, "engagement": 0, "total": 35, "grade": "A"}


async def test_interest_fades(world: World) -> None:
    await world.event("webinar.attended", email=CTO)
    await world.wait(days=14)
    lead = (await world.lead(CTO))["id"]
    score = await world.get(f"/v1/leads/{lead}/score")

    assert score["engagement"] == 20
    [part] = [part for part in score["parts"] if part["kind"] == "engagement"]
    assert (part["because"], part["points"], part["worth"]) == ("Came to a webinar", 40, 20)


async def test_a_robot_that_fills_the_hidden_field_is_no_lead_and_is_kept(world: World) -> None:
    await world.submit_form(email=CTO, _hp="buy now")
    assert await world.leads() == []
    assert await world.rows("SELECT consumer, error, state FROM dead_letters") == [("gateway", "honeypot", "waiting")]


async def test_somebody_with_a_phone_alone_is_called(open_world: OpenWorld) -> None:
    world = await open_world()
    await world.submit_form(phone="+49 30 1234567", name="Ann Lee")
    [lead] = await world.leads()
    assert (lead["email"], lead["name"], lead["owner"]["id"]) == (None, "Ann Lee", "ana")
    assert world.slack.messages[0]["text"].startswith("Hot lead: call Ann Lee")


async def test_a_deal_with_a_date_alone_follows_what_happened_on_that_day(world: World) -> None:
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


async def test_a_deal_won_in_the_crm_makes_a_customer(world: World) -> None:
    await world.submit_form(email=CTO)
    await world.touch(CTO, by="ana")
    await world.event("opportunity.changed", email=CTO, stage="open")
    assert await world.status_of(CTO) == "opportunity"
    await world.event("opportunity.changed", email=CTO, stage="won", amount=1000)
    assert await world.status_of(CTO) == "customer"
