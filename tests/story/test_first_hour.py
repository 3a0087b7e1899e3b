"""From the form to the first touch: owner, pages, and the end of the ladder."""

import asyncio
from datetime import timedelta

import pytest

from tests.backends import Backends
from tests.story.conftest import OpenWorld
from tests.story.sample_config import reps
from tests.story.world import World

CTO = "cto@prospect.example"


@pytest.mark.both_profiles
async def test_form_creates_an_owned_lead_and_pages_the_owner(world: World) -> None:
    await world.submit_form(email=CTO, name="Ann Lee", company="Prospect", employees=400, title="CTO")

    assert await world.status_of(CTO) == "assigned"
    assert await world.owner_of(CTO) == "ana"
    assert world.slack_recipients == ["ana"]
    assert world.mail_recipients == []
    [page] = await world.pages(CTO)
    assert (page["person"], page["channel"], page["state"], page["tries"]) == ("ana", "slack", "sent", 1)
    assert page["text"] == "Hot lead: write to Ann Lee (Prospect) by 10:00 UTC"
    assert world.slack.messages[0]["text"] == page["text"]


async def test_three_leads_go_to_three_reps(world: World) -> None:
    for n in range(6):
        await world.submit_form(email=f"person{n}@prospect.example")

    assert [await world.owner_of(f"person{n}@prospect.example") for n in range(6)] == ["ana", "bo", "cy"] * 2


async def assert_whole_ladder(world: World) -> None:
    """Check that ana, who has just been paged, is reminded, that max is paged, and that bo gets the lead, each on time."""
    await world.wait(minutes=9, seconds=59)
    assert world.slack_recipients == ["ana"]
    await world.wait(seconds=1)
    assert world.slack_recipients == ["ana", "ana"]
    await world.wait(minutes=10)
    assert world.slack_recipients == ["ana", "ana", "max"]
    await world.wait(minutes=9, seconds=59)
    assert await world.owner_of(CTO) == "ana"
    await world.wait(seconds=1)
    assert await world.owner_of(CTO) == "bo"


@pytest.mark.both_profiles
async def test_lead_without_a_touch_goes_to_the_next_rep(world: World) -> None:
    await world.submit_form(email=CTO)
    assert world.slack_recipients == ["ana"]

    await assert_whole_ladder(world)
    assert world.slack_recipients == ["ana", "ana", "max", "ana", "bo"], "ana is told that she lost the lead"
    assert (await world.lead(CTO))["epoch"] == 2


async def test_lead_without_a_touch_goes_to_the_manager_in_the_end(world: World) -> None:
    await world.submit_form(email=CTO)
    await world.wait(minutes=59)
    assert await world.owner_of(CTO) == "bo"
    assert world.slack_recipients == ["ana", "ana", "max", "ana", "bo", "bo", "max"]

    await world.wait(minutes=1)
    assert await world.owner_of(CTO) == "max"
    assert world.slack_recipients[7:] == ["bo", "max"]

    await world.wait(hours=12)
    assert await world.owner_of(CTO) == "max", "max has no manager"
    assert (await world.lead(CTO))["epoch"] == 3
    last = (await world.lead_items(CTO, "decisions"))[-1]
    assert last["rule"] == "the manager owns it"


async def test_touch_ends_the_ladder(world: World) -> None:
    await world.submit_form(email=CTO)
    await world.wait(minutes=12)
    await world.touch(CTO, by="ana")

    await world.wait(days=2)
    assert world.slack_recipients == ["ana", "ana"]
    assert await world.status_of(CTO) == "working"
    assert await world.owner_of(CTO) == "ana"
    assert (await world.lead(CTO))["clock"]["state"] == "met"


async def test_unanswered_touch_keeps_the_promise(world: World) -> None:
    await world.submit_form(email=CTO)
    await world.touch(CTO, by="ana", answered=False)
    await world.wait(hours=3)

    assert world.slack_recipients == ["ana"]
    assert "promise.kept" in await world.event_types_of(CTO)


async def test_call_from_the_telephone_system_stops_the_clock(world: World) -> None:
    await world.submit_form(email=CTO)
    await world.wait(minutes=4)
    await world.call_ended(CTO, agent="ana@acme.example")

    await world.wait(hours=3)
    assert world.slack_recipients == ["ana"]
    assert await world.status_of(CTO) == "working"
    [promise] = [item for item in await world.lead_items(CTO, "timeline") if item["type"] == "promise.kept"]
    assert promise["data"]["seconds"] == 240
    assert promise["data"]["rep"] == "ana"


async def test_acceptance_ends_reminders_but_the_manager_is_still_paged(world: World) -> None:
    await world.submit_form(email=CTO)
    await world.wait(minutes=5)
    await world.accept(CTO, by="ana")

    await world.wait(minutes=20)
    assert world.slack_recipients == ["ana", "max"]
    assert await world.status_of(CTO) == "accepted"

    await world.wait(minutes=5)
    assert await world.owner_of(CTO) == "bo", "acceptance does not stop the clock"


async def test_missed_promise_is_recorded_once(world: World) -> None:
    await world.submit_form(email=CTO)
    await world.wait(minutes=59, seconds=59)
    assert "promise.missed" not in await world.event_types_of(CTO)

    await world.wait(seconds=1)
    assert (await world.event_types_of(CTO)).count("promise.missed") == 1
    assert (await world.lead(CTO))["clock"]["state"] == "missed"


async def test_promise_kept_late_is_recorded_as_late(world: World) -> None:
    await world.submit_form(email=CTO)
    await world.wait(minutes=90)
    await world.touch(CTO, by="max")

    [promise] = [item["data"] for item in await world.lead_items(CTO, "timeline") if item["type"] == "promise.kept"]
    assert (promise["late"], promise["seconds"]) == (True, 5400)
    assert (await world.event_types_of(CTO)).count("promise.missed") == 1


async def test_touch_reported_late_counts_from_its_own_time(world: World) -> None:
    await world.submit_form(email=CTO)
    called = world.clock.business() + timedelta(minutes=7)
    await world.wait(minutes=70)
    await world.touch(CTO, by="ana", at=called.isoformat())

    [promise] = [item["data"] for item in await world.lead_items(CTO, "timeline") if item["type"] == "promise.kept"]
    assert (promise["late"], promise["seconds"]) == (False, 420)


async def test_touch_before_the_submit_is_ignored(world: World) -> None:
    before = world.clock.business() - timedelta(minutes=7)
    await world.submit_form(email=CTO)
    await world.touch(CTO, by="ana", at=before.isoformat())

    assert await world.status_of(CTO) == "assigned"
    await world.wait(minutes=10)
    assert world.slack_recipients == ["ana", "ana"]


async def test_clock_runs_while_the_lead_waits_for_a_rep(open_world: OpenWorld) -> None:
    world = await open_world(team=reps(*({"id": rep, "capacity": {"open": 0}} for rep in ("ana", "bo", "cy"))))
    await world.submit_form(email=CTO)
    await world.wait(minutes=61)

    assert (await world.lead(CTO))["clock"]["state"] == "missed"
    assert "promise.missed" in await world.event_types_of(CTO)


@pytest.mark.both_profiles
async def test_form_that_is_sent_twice_is_one_request(world: World) -> None:
    await world.submit_form(email=CTO)
    await world.wait(seconds=20)
    await world.submit_form(email=CTO)

    lead = await world.lead(CTO)
    assert (lead["owner"]["id"], lead["epoch"], lead["clock"]["due_at"]) == ("ana", 1, "2026-12-01T10:00:00Z")
    assert world.slack_recipients == ["ana"]


async def test_second_request_of_an_owned_lead_starts_its_clock_again(world: World) -> None:
    await world.submit_form(email=CTO)
    await world.wait(minutes=12)
    assert world.slack_recipients == ["ana", "ana"]
    await world.submit_form("contact-sales", email=CTO, title="CTO")

    lead = await world.lead(CTO)
    assert (lead["owner"]["id"], lead["epoch"], lead["clock"]["due_at"]) == ("ana", 1, "2026-12-01T10:12:00Z")
    assert world.slack_recipients == ["ana", "ana", "ana"]
    [page] = [page for page in await world.pages(CTO) if page["kind"] == "again"]
    assert (page["state"], page["text"]) == ("sent", "Asked again: write to cto@prospect.example by 10:12 UTC")
    await world.wait(minutes=20)
    assert world.slack_recipients[3:] == ["ana", "max"]
    await world.touch(CTO, by="ana")
    await world.wait(hours=3)
    assert len(world.slack_recipients) == 5
    assert (await world.event_types_of(CTO)).count("promise.kept") == 1


async def test_person_asks_again_while_the_rep_works_on_the_lead(world: World) -> None:
    await world.submit_form(email=CTO)
    await world.touch(CTO, by="ana")
    await world.wait(days=2)
    await world.submit_form(email=CTO)

    lead = await world.lead(CTO)
    assert (lead["status"], lead["owner"]["id"], lead["epoch"], lead["clock"]["state"]) == ("working", "ana", 1, "live")
    assert world.slack_recipients == ["ana", "ana"]
    await world.accept(CTO, by="ana")
    await world.wait(minutes=19)
    assert world.slack_recipients == ["ana", "ana"]
    await world.wait(minutes=1)
    assert world.slack_recipients == ["ana", "ana", "max"]
    await world.touch(CTO, by="ana")
    await world.wait(hours=5)
    assert (world.slack_recipients, await world.owner_of(CTO)) == (["ana", "ana", "max"], "ana")
    assert (await world.event_types_of(CTO)).count("promise.kept") == 2


async def test_customer_asks_again_and_the_owner_is_paged(world: World) -> None:
    await world.submit_form(email=CTO)
    await world.touch(CTO, by="ana")
    await world.event("opportunity.changed", email=CTO, stage="won")
    assert await world.status_of(CTO) == "customer"
    await world.wait(days=30)
    await world.submit_form(email=CTO)
    assert world.slack_recipients == ["ana", "ana"]
    assert (await world.lead(CTO))["status"] == "customer"
    await world.wait(minutes=50)
    assert await world.owner_of(CTO) == "ana", "a customer is never reassigned"
    await world.touch(CTO, by="ana")
    await world.wait(days=1)
    assert (await world.lead(CTO))["clock"]["state"] == "met"


async def test_form_after_a_recycle_starts_a_new_clock(world: World) -> None:
    await world.submit_form(email=CTO)
    await world.touch(CTO, by="ana")
    await world.recycle(CTO, by="ana")
    await world.wait(days=100)
    await world.submit_form(email=CTO)

    lead = await world.lead(CTO)
    assert (lead["status"], lead["epoch"], lead["clock"]["state"]) == ("assigned", 2, "live")
    await world.wait(minutes=10)
    assert len(world.slack_recipients) == 3


async def test_late_form_has_its_promise_from_the_submit(world: World) -> None:
    submit_at = world.clock.business() - timedelta(minutes=50)
    await world.event("form.submitted", email=CTO, time=submit_at, form="demo-request")
    assert (await world.lead(CTO))["clock"]["due_at"] == "2026-12-01T09:10:00Z"

    await world.wait(minutes=10)
    assert "promise.missed" in await world.event_types_of(CTO)
    assert world.slack_recipients[:1] == ["ana"]
    assert await world.owner_of(CTO) != "ana", "rungs after the end of the promise are due at its end"


async def test_submit_in_the_future_counts_as_received_now(world: World) -> None:
    ahead = world.clock.business() + timedelta(days=3)
    await world.event("form.submitted", email=CTO, time=ahead, form="demo-request")
    assert (await world.lead(CTO))["clock"]["due_at"] == "2026-12-01T10:00:00Z"


async def test_business_time_and_real_time_are_kept_apart(open_world: OpenWorld) -> None:
    world = await open_world()
    world.clock.drift = timedelta(days=40)
    await world.is_away("cy", minutes=15)
    world.slack.drop(times=None)
    await world.submit_form(email=CTO)
    await world.wait(seconds=30)
    assert world.mail_recipients == ["ana"]

    world.slack.recover()
    await world.wait(minutes=31)
    assert await world.owner_of(CTO) == "bo"
    assert world.slack_recipients == ["ana", "max", "ana", "bo"]
    assert (await world.lead(CTO))["clock"]["due_at"] == "2027-01-10T10:00:00Z"
    assert {rep["state"] for rep in (await world.get("/v1/reps"))["items"]} == {"available"}


@pytest.mark.slow
@pytest.mark.both_profiles
async def test_concurrent_forms_and_actions_are_all_handled(world: World, profile: Backends | None) -> None:
    many = 30 if profile is None else 12
    emails = [f"person@prospect{n}.example" for n in range(many)]  # of one domain they would be a burst
    answers = await asyncio.gather(*(world.post_form("demo-request", email=email) for email in [*emails, *emails]))
    assert {answer.status_code for answer in answers} == {202}
    await world.settle()
    assert len(await world.leads()) == many
    assert [len(await world.leads(owner=rep)) for rep in ("ana", "bo", "cy")] == [many // 3] * 3

    hers = [lead["email"] for lead in await world.leads(owner="ana")]
    requests = [world.act(email, "reject", "ana", reason="no-time") for email in hers]
    requests += [world.act(email, "touch", "ana", channel="phone", answered=True) for email in hers]
    requests += [world.act(email, "accept", "ana") for email in hers]
    statuses = {answer.status_code for answer in await asyncio.gather(*requests)}
    assert statuses <= {200, 403, 409}
    await world.wait(hours=4)


async def test_old_form_under_another_id_is_not_handed_over_again(world: World) -> None:
    submit_at = world.clock.business()
    await world.event("form.submitted", email=CTO, time=submit_at, form="demo-request")
    await world.touch(CTO, by="ana")
    await world.wait(minutes=20)
    await world.recycle(CTO, by="ana", reason="no-answer")
    await world.event("form.submitted", email=CTO, time=submit_at, form="demo-request")

    lead = await world.lead(CTO)
    assert (lead["status"], lead["epoch"], lead["clock"]["state"]) == ("nurturing", 1, "met")
    assert world.slack_recipients == ["ana"]

    await world.submit_form(email=CTO)
    lead = await world.lead(CTO)
    assert (lead["status"], lead["epoch"], lead["clock"]["state"]) == ("assigned", 2, "live")
    assert world.slack_recipients == ["ana", "ana"]


@pytest.mark.both_profiles
async def test_rungs_missed_during_an_outage_keep_their_spans(world: World) -> None:
    with world.down("notifier"):
        await world.submit_form(email=CTO)
        assert await world.owner_of(CTO) == "ana"
        world.clock.advance(minutes=40)
    await world.settle()
    assert world.slack_recipients == ["ana"]

    await assert_whole_ladder(world)


async def test_changed_ladder_applies_to_the_next_clock(world: World) -> None:
    await world.submit_form(email=CTO)
    await world.wait(minutes=12)
    assert world.slack_recipients == ["ana", "ana"]
    ladder = [{"at": "0m", "page": "owner", "by": "email"}, {"at": "13m", "page": "owner", "by": "email"}]
    await world.change("agreement", {"response": {"ladder": ladder}})
    await world.wait(minutes=8)
    assert (world.slack_recipients, world.mail_recipients) == (["ana", "ana", "max"], [])
    await world.wait(minutes=10)
    assert await world.owner_of(CTO) == "bo"

    await world.submit_form(email="next@prospect.example")
    await world.wait(minutes=13)
    assert len(world.mail_recipients) == 2
