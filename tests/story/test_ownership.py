"""The owner of a lead: after rejections, at capacity, during absences, and for known companies and persons."""

from itertools import count

import pytest

from firsthour.runtime.storage.records import partition_of
from schemas import topics
from tests.backends import PARTITIONS, distributed, embedded
from tests.story.conftest import OpenWorld
from tests.story.sample_config import reps
from tests.story.world import World

CTO = "cto@prospect.example"
BUSY = {"capacity": {"open": 0}}
ONE = {"capacity": {"open": 1}}


async def test_lead_rejected_for_lack_of_time_goes_to_the_next_rep(world: World) -> None:
    await world.submit_form(email=CTO)
    for rep, following in (("ana", "bo"), ("bo", "cy")):
        assert await world.owner_of(CTO) == rep
        await world.reject(CTO, by=rep, reason="no-time")
        assert await world.owner_of(CTO) == following

    await world.reject(CTO, by="cy", reason="no-time")
    lead = await world.lead(CTO)
    assert (lead["status"], lead["owner"]) == ("qualified", None)
    assert lead["queue"]["reason"] == "all 3 had the lead before and did not take it"
    assert world.slack_recipients == ["ana", "bo", "cy"]


async def test_decision_names_ineligible_reps_with_reasons(world: World) -> None:
    await world.submit_form(email=CTO)
    await world.is_away("cy")
    await world.reject(CTO, by="ana", reason="no-time")

    decision = (await world.lead_items(CTO, "decisions"))[-1]
    assert decision["chosen"] == "bo"
    in_pool = {one["rep"]: one["ruled_out_by"] for one in decision["considered"] if one["rule"] == "Everyone"}
    assert in_pool == {"ana": "had the lead before and did not take it", "bo": None, "cy": "away"}


async def test_rep_can_get_a_rejected_lead_again_after_the_pause(open_world: OpenWorld) -> None:
    world = await open_world(agreement={"response": {"remind": {"every": "40d"}}})  # nothing else happens meanwhile
    await world.submit_form(email=CTO)
    for rep in ("ana", "bo", "cy"):
        await world.reject(CTO, by=rep, reason="no-time")
        await world.wait(minutes=1)

    await world.wait(days=29)
    assert await world.owner_of(CTO) is None
    await world.wait(days=2)
    assert await world.owner_of(CTO) == "bo", (
        "cy had the lead last, and ana has had one of the two leads that bo could take"
    )


async def test_lead_rejected_for_now_is_handed_over_by_a_new_form_only(world: World) -> None:
    await world.submit_form(email=CTO, employees=400, title="CTO")
    await world.reject(CTO, by="ana", reason="not-now")
    lead = await world.lead(CTO)
    assert (lead["status"], lead["status_team"], lead["owner"]) == ("nurturing", "marketing", None)

    await world.event("page.viewed", email=CTO, path="/pricing")
    await world.event("webinar.attended", email=CTO)
    assert (await world.lead(CTO))["score"]["total"] > 60
    assert await world.status_of(CTO) == "nurturing"
    await world.wait(hours=2)
    assert world.slack_recipients == ["ana"]

    await world.submit_form("contact-sales", email=CTO)
    assert await world.status_of(CTO) == "assigned"
    assert await world.owner_of(CTO) == "bo", "ana rejected the lead"


@pytest.mark.both_profiles
async def test_lead_rejected_for_now_qualifies_by_score_after_a_fall(world: World) -> None:
    await world.submit_form(email=CTO, employees=400, title="CTO")
    await world.reject(CTO, by="ana", reason="not-now")
    await world.wait(days=42)
    await world.event("email.opened", email=CTO)
    assert (await world.lead(CTO))["score"]["total"] < 40

    await world.event("webinar.attended", email=CTO)
    assert await world.status_of(CTO) == "nurturing"
    await world.event("webinar.attended", email=CTO)
    assert await world.status_of(CTO) == "assigned"
    assert "qualified by `score` (warm)" in [item["line"] for item in await world.lead_items(CTO, "timeline")]


async def test_unknown_reason_of_a_rejection_lists_the_valid_ones(world: World) -> None:
    await world.submit_form(email=CTO)
    answer = await world.act(CTO, "reject", "ana", reason="because")

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "#/reason"
    assert "no-time" in answer.json()["detail"]
    assert await world.owner_of(CTO) == "ana"


async def test_rep_cannot_reject_the_lead_of_another_rep(world: World) -> None:
    await world.submit_form(email=CTO)
    answer = await world.act(CTO, "reject", "bo", reason="no-time")

    assert answer.status_code == 403
    assert await world.owner_of(CTO) == "ana"


@pytest.mark.both_profiles
async def test_repeated_rejection_counts_once(world: World) -> None:
    await world.submit_form(email=CTO)
    await world.reject(CTO, by="ana", reason="no-time")
    await world.reject(CTO, by="ana", reason="no-time")

    lead = await world.lead(CTO)
    assert (lead["owner"]["id"], lead["epoch"]) == ("bo", 2)


# --- capacity -----------------------------------------------------------------------------------------------------------


async def test_lead_waits_with_a_reason_if_every_rep_is_at_capacity(open_world: OpenWorld) -> None:
    world = await open_world(team=reps(*({"id": rep, **BUSY} for rep in ("ana", "bo", "cy"))))
    await world.submit_form(email=CTO)

    lead = await world.lead(CTO)
    assert (lead["status"], lead["owner"]) == ("qualified", None)
    assert (lead["queue"]["pool"], lead["queue"]["reason"]) == ("everyone", "all 3 at capacity")
    assert lead["clock"]["state"] == "live"
    assert world.slack_recipients == []


@pytest.mark.both_profiles
async def test_queue_serves_the_most_urgent_then_the_oldest_lead(open_world: OpenWorld) -> None:
    world = await open_world(team=reps({"id": "ana", **ONE}, pool=["ana"]))
    await world.submit_form(email="first@prospect.example")
    assert await world.owner_of("first@prospect.example") == "ana"

    await world.event("webinar.attended", email="warm@prospect.example", title="CTO", company={"employees": 400})
    await world.event("webinar.attended", email="warm@prospect.example")
    assert await world.status_of("warm@prospect.example") == "qualified"
    await world.wait(minutes=1)
    await world.submit_form(email="hot@prospect.example")
    await world.wait(minutes=1)
    await world.submit_form(email="later@prospect.example")

    served = []
    for _ in range(3):
        world.clock.advance(seconds=1)
        [mine] = await world.leads(owner="ana")
        await world.touch(mine["email"], by="ana")
        await world.recycle(mine["email"], by="ana")
        served += [lead["email"] for lead in await world.leads(owner="ana")]
    assert served == ["hot@prospect.example", "later@prospect.example", "warm@prospect.example"]


async def test_more_capacity_in_the_team_file_serves_waiting_leads(open_world: OpenWorld) -> None:
    world = await open_world(team=reps({"id": "ana", **ONE}, pool=["ana"]))
    for n in range(3):
        await world.submit_form(email=f"person{n}@prospect.example")
    assert len(await world.leads(owner="ana")) == 1

    world.clock.advance(seconds=1)
    await world.change("team", reps({"id": "ana", "capacity": {"open": 5}}, pool=["ana"]))
    assert len(await world.leads(owner="ana")) == 3


async def test_waiting_lead_is_served_before_a_new_one(open_world: OpenWorld) -> None:
    world = await open_world(team=reps({"id": "ana", **ONE}, pool=["ana"]))
    for name in ("has", "waits", "is-new"):
        await world.submit_form(email=f"{name}@prospect.example")
        await world.wait(minutes=1)
    await world.opt_out("has@prospect.example")

    assert await world.owner_of("waits@prospect.example") == "ana"
    assert await world.owner_of("is-new@prospect.example") is None


async def test_rep_at_capacity_is_passed_over(open_world: OpenWorld) -> None:
    world = await open_world(team=reps({"id": "ana", **ONE}))
    for n in range(5):
        await world.submit_form(email=f"person{n}@prospect.example")

    assert len(await world.leads(owner="ana")) == 1
    assert len(await world.leads(owner="bo")) == len(await world.leads(owner="cy")) == 2


# --- absence -------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
async def test_away_rep_gets_no_leads_and_keeps_their_own(world: World) -> None:
    await world.submit_form(email="before@prospect.example")
    await world.is_away("ana", hours=2)
    for n in range(4):
        await world.submit_form(email=f"person{n}@prospect.example")
    assert [lead["email"] for lead in await world.leads(owner="ana")] == ["before@prospect.example"]

    await world.wait(hours=2)
    reps_now = {rep["id"]: rep["state"] for rep in (await world.get("/v1/reps"))["items"]}
    assert reps_now["ana"] == "available"


async def test_absence_in_the_team_file_is_respected(open_world: OpenWorld) -> None:
    away = {"id": "ana", "away": [{"from": "2026-12-01", "to": "2026-12-02"}]}
    world = await open_world(team=reps(away, pool=["ana"]))
    await world.submit_form(email=CTO)
    assert (await world.lead(CTO))["queue"]["reason"].startswith("the only rep: away")

    await world.wait(hours=38, minutes=59)
    assert await world.owner_of(CTO) is None
    await world.wait(minutes=2)
    assert await world.owner_of(CTO) == "ana"


async def test_absence_until_the_last_date_is_respected(open_world: OpenWorld) -> None:
    world = await open_world()
    await world.change("team", reps({"id": "ana", "away": [{"from": "2026-12-01", "to": "9999-12-31"}]}))
    await world.submit_form(email=CTO)
    assert await world.owner_of(CTO) == "bo"
    considered = (await world.lead_items(CTO, "decisions"))[0]["considered"]
    assert [one["ruled_out_by"] for one in considered if one["rep"] == "ana"] == ["away: until 9999-12-31 23:59Z"]


@pytest.mark.both_profiles
async def test_waiting_lead_is_assigned_when_a_rep_returns(open_world: OpenWorld) -> None:
    world = await open_world(team=reps(pool=["ana"]))
    await world.is_away("ana")
    await world.submit_form(email=CTO)
    assert await world.owner_of(CTO) is None

    await world.is_back("ana")
    assert await world.owner_of(CTO) == "ana"


async def test_away_rep_is_not_paged(world: World) -> None:
    await world.submit_form(email=CTO)
    await world.is_away("ana")
    await world.wait(minutes=10)

    assert world.slack_recipients == ["ana", "max"], "the rung of the absent owner does not delay the next"
    assert [page["error"] for page in await world.pages(CTO) if page["state"] == "cancelled"] == ["ana is away"]


@embedded
async def test_returned_rep_is_paged_though_the_record_of_it_is_lost(world: World) -> None:
    for rep in ("ana", "bo", "cy"):
        await world.is_away(rep)
    await world.submit_form(email=CTO)
    with world.down("notifier"):
        await world.is_back("ana")
        assert await world.owner_of(CTO) == "ana"
    await world.execute(
        "DELETE FROM log WHERE topic = 'routes' AND key = 'ana' AND id = (SELECT max(id) FROM log WHERE key = 'ana')"
    )
    await world.settle()
    assert world.slack_recipients == ["ana"]


@distributed
@pytest.mark.both_profiles
async def test_returned_rep_is_paged_though_the_record_of_it_is_unread(world: World) -> None:
    """The records of a rep and of a lead are in different partitions, so that either may be read first."""
    for rep in ("ana", "bo", "cy"):
        await world.is_away(rep)
    behind = partition_of("ana", PARTITIONS)
    email = ""
    for n in count():
        email = f"person{n}@prospect.example"
        await world.submit_form(email=email)
        if partition_of((await world.lead(email))["id"], PARTITIONS) != behind:
            break
        await world.opt_out(email)
    with world.down("notifier"):
        await world.is_back("ana")
        assert await world.owner_of(email) == "ana"
    with world.behind("notifier", topics.ROUTES, behind):
        await world.settle()
        assert world.slack_recipients == ["ana"]
    await world.settle()
    assert world.slack_recipients == ["ana"]


async def test_rep_returns_after_the_host_clock_was_set_back(world: World) -> None:
    world.clock.advance(hours=5)
    await world.is_away("ana")
    world.clock.advance(hours=-5)
    await world.is_back("ana")
    await world.submit_form(email=CTO)
    assert await world.owner_of(CTO) == "ana"
    assert world.slack_recipients == ["ana"]


@pytest.mark.both_profiles
async def test_leads_of_a_deactivated_rep_are_routed_again(world: World) -> None:
    for n in range(6):
        await world.submit_form(email=f"person{n}@prospect.example")
    await world.wait(seconds=3)
    hers = [lead["email"] for lead in await world.leads(owner="ana")]
    assert len(hers) == 2

    await world.change("team", reps({"id": "ana", "active": False}))
    await world.wait(seconds=3)
    assert await world.leads(owner="ana") == []
    assert {await world.owner_of(email) for email in hers} == {"bo", "cy"}
    assert world.slack_recipients[6:] == ["bo", "cy"]
    await world.submit_form(email=CTO)
    assert await world.owner_of(CTO) != "ana"


async def test_next_owner_of_a_contacted_lead_is_told_of_it(world: World) -> None:
    await world.submit_form(email=CTO)
    await world.wait(minutes=2)
    await world.touch(CTO, by="ana")
    await world.change("team", reps({"id": "ana", "active": False}))
    await world.wait(hours=3)
    owner = await world.owner_of(CTO)
    assert owner in ("bo", "cy")
    assert world.slack_recipients == ["ana", owner]
    assert [page["kind"] for page in await world.pages(CTO) if page["person"] == owner] == ["handed_on"]


# --- known persons ---------------------------------------------------------------------------------------------------------


async def test_account_owner_gets_the_leads_of_the_account(world: World) -> None:
    for n in range(3):
        await world.submit_form(email=f"person{n}@bigcorp.example")
    assert len(await world.leads(owner="cy")) == 3
    assert {(await world.lead_items(f"person{n}@bigcorp.example", "decisions"))[0]["rule"] for n in range(3)} == {
        "Account has an owner"
    }


async def test_pool_gets_the_lead_of_an_away_account_owner(world: World) -> None:
    await world.is_away("cy")
    await world.submit_form(email="cto@bigcorp.example")
    assert await world.owner_of("cto@bigcorp.example") == "ana"


async def test_returning_lead_goes_to_its_previous_owner(world: World) -> None:
    await world.submit_form(email=CTO)
    await world.touch(CTO, by="ana")
    await world.recycle(CTO, by="ana")
    await world.wait(days=30)
    await world.submit_form(email=CTO)

    assert await world.owner_of(CTO) == "ana", "bo has the next turn of the pool"
    assert (await world.lead_items(CTO, "decisions"))[-1]["rule"] == "Came back"


async def test_lead_returning_after_the_limit_goes_to_the_pool(world: World) -> None:
    await world.submit_form(email=CTO)
    await world.touch(CTO, by="ana")
    await world.recycle(CTO, by="ana")
    await world.wait(days=91)
    await world.submit_form(email=CTO)

    assert await world.owner_of(CTO) == "bo"


async def test_manager_assigns_a_lead_to_a_rep(world: World) -> None:
    await world.submit_form(email=CTO)
    answer = await world.act(CTO, "assign", "max", rep="cy", reason="knows them")
    await world.settle()

    assert answer.status_code == 200
    assert await world.owner_of(CTO) == "cy"
    assert world.slack_recipients == ["ana", "cy"]
