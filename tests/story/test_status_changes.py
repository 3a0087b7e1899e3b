"""The status of a lead set by people: the agreement's transitions say by whom, from where and for which reason."""

from typing import Any

import pytest

from tests.story.test_console import CTO, signed_in
from tests.story.test_console_pages import do, lead_path
from tests.story.world import World


async def _set(world: World, role: str, rep: str | None = None, **body: Any) -> Any:
    lead = (await world.lead(CTO))["id"]
    answer = await world.ask("POST", f"/v1/leads/{lead}/status", role, rep, body=body)
    await world.settle()
    return answer


@pytest.mark.both_profiles
async def test_owner_moves_a_lead_to_opportunity_and_back_to_marketing(world: World) -> None:
    await world.submit_form(email=CTO)
    owner = str(await world.owner_of(CTO))
    await world.touch(CTO, owner)
    answer = await _set(world, "sales", owner, status="opportunity", reason="asked for an offer")
    assert (answer.status_code, answer.json()["status"], answer.json()["owner"]) == (200, "opportunity", owner)
    answer = await _set(world, "sales", owner, status="nurturing", reason="lost")
    assert (answer.json()["status"], answer.json()["owner"]) == ("nurturing", None)
    assert await world.status_of(CTO) == "nurturing"


async def test_lead_that_leaves_sales_by_hand_has_no_clock(world: World) -> None:
    await world.submit_form(email=CTO)
    owner = str(await world.owner_of(CTO))
    answer = await _set(world, "sales", owner, status="nurturing", reason="not-now")
    assert answer.status_code == 200
    await world.wait(hours=3)
    lead = await world.lead(CTO)
    assert (lead["status"], lead["owner"]) == ("nurturing", None)
    assert lead["clock"] is None or lead["clock"]["state"] not in ("live", "missed")


@pytest.mark.parametrize(
    ("role", "body", "status", "text"),
    [
        ("marketing", {"status": "opportunity"}, 403, "Only its owner or FirstHour can do this with a lead that is"),
        ("manager", {"status": "sold"}, 422, "one of: new, nurturing"),
        ("manager", {"status": "customer"}, 409, "possible from assigned"),
        ("manager", {"status": "nurturing", "reason": "bored"}, 422, "one of: not-now"),
        ("manager", {"status": "nurturing"}, 422, "requires a reason"),
        ("manager", {"status": "accepted", "until": "2099-01-01T00:00:00Z"}, 422, "omit `until`"),
        ("manager", {}, 422, "status"),
    ],
)
async def test_refused_change_names_the_fence_and_is_in_the_audit_log(
    world: World, role: str, body: dict[str, Any], status: int, text: str
) -> None:
    await world.submit_form(email=CTO)
    answer = await _set(world, role, **body)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert text in answer.text
    assert await world.status_of(CTO) == "assigned"
    lead = (await world.lead(CTO))["id"]
    records = (await world.ask("GET", f"/v1/audit?target={lead}", "admin")).json()["items"]
    refusals = [record for record in records if record["action"] == "leads.status"]
    assert [record["status"] for record in refusals] == [status]


async def test_marketing_disqualifies_and_revives_a_lead_of_its_own_on_its_page(world: World) -> None:
    await world.submit_form("newsletter", email=CTO)
    browser, path = await signed_in(world, "marketing"), await lead_path(world)
    page = (await browser.get(path)).text
    assert "Set to disqualified" in page
    answer = await do(world, browser, path, "status", status="disqualified", reason="duplicate")
    assert (answer.status_code, answer.headers.get("location")) == (303, f"{path}?done=status"), answer.text
    await world.settle()
    assert await world.status_of(CTO) == "disqualified"
    await do(world, browser, path, "status", status="nurturing")
    await world.settle()
    assert await world.status_of(CTO) == "nurturing"


async def test_repeated_change_is_applied_once(world: World) -> None:
    await world.submit_form("newsletter", email=CTO)
    for _ in range(2):
        assert (await _set(world, "marketing", status="disqualified", reason="spam")).status_code == 200
    assert (await world.lead(CTO))["status"] == "disqualified"
