"""Who is a lead, what they are worth, and who is left alone."""

import json
from datetime import timedelta
from itertools import permutations
from pathlib import Path
from typing import Any, Final

import pytest
from ruamel.yaml import YAML

from tests.story.conftest import OpenWorld
from tests.story.world import World

CTO = "cto@prospect.example"
ANA: Final = "ana@acme.example"
ROOT: Final = Path(__file__).parents[2]


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


# --- facts act by their own time -----------------------------------------------------------------------------------


async def test_a_late_consent_and_a_late_form_page_no_rep_about_a_person_who_opted_out(world: World) -> None:
    start = world.clock.business()
    await world.wait(minutes=10)
    await world.event("consent.withdrawn", email=CTO)
    await world.event("consent.given", email=CTO, time=start)
    await world.event("form.submitted", email=CTO, form="demo-request", time=start)
    assert await world.status_of(CTO) == "opted-out"
    assert world.slack_recipients == []


async def test_a_form_from_before_a_rejection_brings_points_and_no_page(world: World) -> None:
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
    assert lead["score"]["engagement"] == 100, "as much as engagement can be"
    assert world.slack_recipients == ["ana"]


async def test_a_late_event_adds_exactly_the_points_that_it_would_have_added_in_time(world: World) -> None:
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


async def test_a_touch_of_a_sender_with_a_slow_clock_stops_the_clock(world: World) -> None:
    await world.submit_form(email=CTO)
    at = world.clock.business() - timedelta(seconds=40)
    await world.event("touch.recorded", email=CTO, channel="phone", answered=True, time=at)
    await world.wait(hours=2)
    lead = await world.lead(CTO)
    assert (lead["status"], lead["owner"]["id"], lead["clock"]["state"]) == ("working", "ana", "met")
    assert world.slack_recipients == ["ana"]


async def test_the_timeline_says_why_a_touch_counts_for_nothing(world: World) -> None:
    await world.submit_form(email=CTO)
    at = world.clock.business() - timedelta(minutes=10)
    await world.event("touch.recorded", email=CTO, channel="phone", answered=True, time=at)
    assert (await world.lead(CTO))["clock"]["state"] == "live"
    [line] = [item["line"] for item in await world.lead_items(CTO, "timeline") if item["type"] == "touch.applied"]
    assert line.endswith("(ignored: it was 600 s before the submit, and the tolerance is 300 s)")


async def test_an_opt_out_after_the_hosts_clock_was_set_back_holds(world: World) -> None:
    people = (CTO, "cfo@prospect.example")
    world.clock.advance(hours=5)
    for email in people:
        await world.event("consent.given", email=email)
    world.clock.advance(hours=-5)
    await world.opt_out(people[0])
    await world.event("email.unsubscribed", email=people[1])
    assert [await world.status_of(email) for email in people] == ["opted-out", "opted-out"]


async def test_a_consent_after_the_hosts_clock_was_set_back_undoes_no_opt_out(world: World) -> None:
    world.clock.advance(hours=5)
    await world.event("consent.withdrawn", email=CTO)
    world.clock.advance(hours=-5)
    await world.event("consent.given", email=CTO)
    assert await world.status_of(CTO) == "opted-out"


async def test_a_touch_after_the_hosts_clock_was_set_back_stops_the_clock(world: World) -> None:
    world.clock.advance(hours=5)
    await world.submit_form(email=CTO)
    world.clock.advance(hours=-5)
    await world.touch(CTO, by="ana")
    assert (await world.lead(CTO))["clock"]["state"] == "met"
    await world.wait(hours=8)
    assert world.slack_recipients == ["ana"]


async def test_a_form_after_the_hosts_clock_was_set_back_is_handed_over(world: World) -> None:
    await world.event("consent.withdrawn", email=CTO)
    await world.wait(hours=5)
    await world.event("consent.given", email=CTO)
    world.clock.advance(hours=-5)
    await world.submit_form(email=CTO)
    assert await world.owner_of(CTO) == "ana"
    assert world.slack_recipients == ["ana"]


async def test_a_deal_after_the_hosts_clock_was_set_back_moves_the_lead(world: World) -> None:
    await world.submit_form(email=CTO)
    await world.touch(CTO, by="ana")
    world.clock.advance(hours=5)
    await world.event("opportunity.changed", email=CTO, stage="open")
    world.clock.advance(hours=-5)
    await world.event("opportunity.changed", email=CTO, stage="won")
    assert await world.status_of(CTO) == "customer"


async def test_every_type_of_event_counts_for_the_score_and_hands_over(open_world: OpenWorld) -> None:
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


async def test_an_opt_out_that_meets_a_line_hands_over_no_lead(open_world: OpenWorld) -> None:
    world = await open_world(agreement={"qualify": [{"name": "any", "urgency": "hot", "on": "consent.withdrawn"}]})
    await world.event("consent.withdrawn", email=CTO)
    assert await world.status_of(CTO) == "opted-out"
    assert world.slack_recipients == []


# --- one person, many identifiers ----------------------------------------------------------------------------------


@pytest.mark.parametrize("identifier", [{"crm_id": "003A"}, {"phone": "+49 30 1234567"}, {"anonymous_id": "browser"}])
async def test_a_touch_by_any_identifier_the_person_came_with_stops_the_clock(
    world: World, identifier: dict[str, str]
) -> None:
    await world.event("form.submitted", email=CTO, form="demo-request", **identifier)
    await world.event("touch.recorded", channel="phone", answered=True, **identifier)
    assert len(await world.leads()) == 1
    assert (await world.lead(CTO))["clock"]["state"] == "met"

    await world.event("consent.withdrawn", **identifier)
    assert len(await world.leads()) == 1
    assert await world.status_of(CTO) == "opted-out"


async def test_a_shared_phone_finds_the_person_whose_lead_is_open_and_the_timeline_says_so(world: World) -> None:
    other = "cfo@prospect.example"
    phone = "+49 30 1234567"
    await world.event("form.submitted", email=CTO, phone=phone, form="demo-request")
    await world.wait(minutes=1)
    await world.event("page.viewed", email=other, phone=phone)
    await world.event("touch.recorded", phone=phone, channel="phone", answered=True)
    assert len(await world.leads()) == 2
    assert (await world.lead(CTO))["clock"]["state"] == "met"
    lines = [item["line"] for item in await world.lead_items(CTO, "timeline")]
    assert any(
        line.endswith("(identified by phone, shared by 2 people; this person was active last)") for line in lines
    )


@pytest.mark.parametrize("type", ["consent.withdrawn", "email.unsubscribed"])
async def test_an_opt_out_by_a_shared_phone_holds_for_everyone_known_by_it(world: World, type: str) -> None:
    stranger, beside = "stranger@other.example", "cfo@prospect.example"
    phone = "+49 30 1234567"
    await world.event("form.submitted", email=CTO, phone=phone, form="demo-request")
    await world.event("page.viewed", email=beside)
    await world.wait(minutes=1)
    await world.event("form.submitted", email=stranger, phone=phone, form="demo-request")
    told = list(world.slack_recipients)

    await world.event(type, phone=phone)
    assert len(await world.leads()) == 3
    for email in (CTO, stranger):
        lead = await world.lead(email)
        assert (lead["status"], lead["owner"]) == ("opted-out", None)
        assert type in await world.event_types_of(email)
    assert await world.status_of(beside) == "new"
    await world.wait(hours=2)
    assert world.slack_recipients == told

    await world.event("consent.given", email=CTO)
    assert (await world.status_of(CTO), await world.status_of(stranger)) == ("nurturing", "opted-out")


async def test_the_telephony_source_of_the_examples_stops_a_clock(open_world: OpenWorld) -> None:
    example = (ROOT / "deploy/examples/sources.yaml").read_text()
    lines = [line.replace("  #", "", 1)[1:] for line in example.splitlines() if line.startswith("  # ")]
    telephony, *_ = YAML(typ="safe", pure=True).load("\n".join(lines[lines.index("- id: telephony") :]))
    telephony["verify"]["secrets"] = [{"file": "phone.secret"}]
    world = await open_world(sources={"sources": [telephony]})
    await world.event("form.submitted", email=CTO, phone="+49 30 1234567", form="demo-request")
    await world.wait(minutes=5)
    ended = world.clock.business().isoformat()
    call = {"state": "ended", "call_id": "1", "ended_at": ended, "callee": "+49301234567", "seconds": 90, "agent": ANA}
    assert (await world.hook("telephony", json.dumps(call).encode())).status_code == 202
    await world.settle()
    assert len(await world.leads()) == 1
    assert (await world.lead(CTO))["clock"]["state"] == "met"
