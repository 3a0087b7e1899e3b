"""Which leads a rep sees: their own, those of their pools, or all; everywhere, and at once after a change."""

from typing import Any, Final

import pytest

from tests.story.conftest import OpenWorld
from tests.story.test_console import csrf_in, signed_in
from tests.story.test_console_live import OpenStream, streaming
from tests.story.test_roles import NEEDED, PUBLIC, SIGNED, STREAM
from tests.story.world import World

POOLS: Final = {
    "pools": [
        {"id": "north", "members": [{"rep": "ana"}, {"rep": "bo"}]},
        {"id": "south", "members": [{"rep": "cy"}]},
    ],
    "accounts": [],
}
RULES: Final = {
    "rules": [
        {"name": "South", "when": {"country": "ES"}, "pool": "south"},
        {"name": "Others", "when": {"not": {"country": "ES"}}, "pool": "north"},
    ]
}
NORTH, SOUTH, WAITING = "n{}@prospect.example", "s{}@client.example", "w@waiting.example"


@pytest.fixture(params=["own", "pool"])
async def scope(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def open_scope(open_world: OpenWorld, scope: str | None, **team: Any) -> World:
    """Return a world of two pools in which reps see these leads."""
    agreement: dict[str, Any] = {"routing": RULES}
    if scope is not None:
        agreement["visibility"] = {"reps": scope}
    return await open_world(agreement=agreement, team={**POOLS, **team})


async def fill(world: World) -> dict[str, str]:
    """Submit two leads of north (of ana and bo), one of south (of cy) and one that waits for south. Return their ids."""
    for n in (1, 2):
        await world.submit_form(email=NORTH.format(n))
    await world.submit_form(email=SOUTH.format(1), country="ES")
    await world.is_away("cy")
    await world.submit_form(email=WAITING, country="ES")
    owners = {lead["owner"]["id"] if lead["owner"] else "-": lead["id"] for lead in await world.leads()}
    assert owners.keys() == {"ana", "bo", "cy", "-"}
    return owners


async def seen(world: World, rep: str | None, path: str = "/v1/leads", role: str = "sales") -> set[str]:
    """Return the leads in a list, as the key of a rep gets it."""
    answer = await world.ask("GET", path, role, rep)
    assert answer.status_code == 200, answer.text
    return {str(item["lead"] if "lead" in item else item["id"]) for item in answer.json()["items"]}


EXPECTED: Final = {
    None: {"ana": {"ana", "bo", "cy", "-"}, "cy": {"ana", "bo", "cy", "-"}},
    "all": {"ana": {"ana", "bo", "cy", "-"}, "cy": {"ana", "bo", "cy", "-"}},
    "pool": {"ana": {"ana", "bo"}, "cy": {"cy", "-"}},
    "own": {"ana": {"ana"}, "cy": {"cy"}},
}


@pytest.mark.parametrize("scope", [None, "all", "pool", "own"], ids=["default", "all", "pool", "own"])
@pytest.mark.both_profiles
async def test_reps_see_their_own_leads_those_of_their_pools_or_all(open_world: OpenWorld, scope: str | None) -> None:
    world = await open_scope(open_world, scope)
    leads = await fill(world)
    for rep, owners in EXPECTED[scope].items():
        visible = {leads[owner] for owner in owners}
        assert await seen(world, rep) == visible
        assert await seen(world, rep, "/v1/leads?limit=1") <= visible
        assert await seen(world, rep, "/v1/clocks") == visible
        assert await seen(world, rep, "/v1/queue") == visible & {leads["-"]}
        assert await seen(world, rep, "/v1/pages?limit=200") <= visible
        assert await seen(world, rep, "/v1/reports/funnel/leads") == visible
        for owner, lead in leads.items():
            status = (await world.ask("GET", f"/v1/leads/{lead}", "sales", rep)).status_code
            assert status == (200 if lead in visible else 404), owner
    for one, role in (("max", "manager"), (None, "sales"), (None, "marketing")):
        assert await seen(world, one, role=role) == set(leads.values())


@pytest.mark.both_profiles
async def test_pages_of_the_list_go_on_and_are_filtered(open_world: OpenWorld) -> None:
    world = await open_scope(open_world, "pool")
    leads = await fill(world)
    first = (await world.ask("GET", "/v1/leads?limit=1", "sales", "ana")).json()
    rest = (await world.ask("GET", f"/v1/leads?limit=1&cursor={first['next']}", "sales", "ana")).json()
    assert [lead["id"] for lead in (*first["items"], *rest["items"])] == sorted([leads["ana"], leads["bo"]])[::-1]
    assert rest["next"] is None
    assert await seen(world, "ana", "/v1/leads?owner=bo&status=assigned") == {leads["bo"]}
    assert await seen(world, "ana", "/v1/leads?owner=cy") == set()
    assert await seen(world, "ana", f"/v1/leads?email={SOUTH.format(1)}") == set()


async def test_no_endpoint_tells_a_rep_of_a_lead_that_they_do_not_see(open_world: OpenWorld, scope: str) -> None:
    """A new endpoint is asked too: each is called with the ids of hidden leads, and searched for them."""
    world = await open_scope(open_world, scope)
    leads = await fill(world)
    hidden = leads["cy"]
    for endpoint, needed in NEEDED.items():
        method, path = endpoint.split()
        if path == STREAM or needed in (PUBLIC, SIGNED) or endpoint == "POST /v1/import/{source}":
            continue
        query = f"?lead={hidden}&owner=cy&email={SOUTH.format(1)}&q=client" if method == "GET" else ""
        for asked in {query, "", "?limit=200"} if method == "GET" else {""}:
            target = path.replace("{lead}", hidden).replace("{", "no-such-").replace("}", "")
            answer = await world.ask(method, target + asked, "sales", "ana", body=None if method == "GET" else {})
            if "{lead}" in path:
                unknown = await world.ask(
                    method,
                    path.replace("{lead}", "no-such-lead") + asked,
                    "sales",
                    "ana",
                    body=None if method == "GET" else {},
                )
                assert (answer.status_code, unknown.status_code) == (404, 404), endpoint
                told = answer.text.replace(hidden, "").replace(answer.headers["x-request-id"], "")
                assert told == unknown.text.replace("no-such-lead", "").replace(unknown.headers["x-request-id"], "")
            else:
                for text in (hidden, leads["-"], SOUTH.format(1), WAITING) if path != "/v1/bursts" else ():
                    assert text not in answer.text, (endpoint, asked)


@pytest.mark.both_profiles
async def test_reassigned_lead_is_unknown_to_its_owner_before(open_world: OpenWorld) -> None:
    world = await open_scope(open_world, "own")
    leads = await fill(world)
    body = {"rep": "bo", "reason": "knows them"}
    for _ in range(2):  # the answer that was lost comes again, although the lead is out of sight
        answer = await world.ask(
            "POST", f"/v1/leads/{leads['ana']}/assign", "sales", "ana", body=body, headers={"Idempotency-Key": "k"}
        )
        assert (answer.status_code, answer.json()["owner"]) == (200, "bo")
        await world.settle()
    assert await seen(world, "ana") == set()
    assert await seen(world, "bo") == {leads["ana"], leads["bo"]}
    other = await world.ask(
        "POST", f"/v1/leads/{leads['ana']}/accept", "sales", "ana", headers={"Idempotency-Key": "another"}
    )
    assert other.status_code == 404


async def test_rep_who_leaves_a_pool_sees_its_leads_no_more(open_world: OpenWorld) -> None:
    world = await open_scope(open_world, "pool")
    leads = await fill(world)
    assert await seen(world, "bo") == {leads["ana"], leads["bo"]}
    await world.change("team", {"pools": [{"id": "north", "members": [{"rep": "ana"}]}, POOLS["pools"][1]]})
    assert await seen(world, "bo") == {leads["bo"]}
    assert await seen(world, "ana") == {leads["ana"]}
    await world.change("agreement", {"routing": RULES, "visibility": {"reps": "all"}})
    assert await seen(world, "bo") == set(leads.values())


async def test_rep_who_manages_reps_sees_their_leads(open_world: OpenWorld) -> None:
    world = await open_scope(open_world, "own")
    leads = await fill(world)
    assert await seen(world, "max") == {leads["ana"], leads["bo"], leads["cy"]}


async def test_effect_of_an_event_is_not_told_to_a_rep_who_may_not_see_the_lead(open_world: OpenWorld) -> None:
    world = await open_scope(open_world, "own")
    await fill(world)
    event = world.event_body("page.viewed", email=SOUTH.format(1), path="/pricing")
    key = await world.key("sales", "ana")
    answer = await world.http.post("/v1/events?wait=1", json=event, headers={"Authorization": f"Bearer {key}"})
    assert answer.status_code == 202
    assert "score" not in answer.text


async def test_response_report_of_a_rep_has_the_requests_of_the_leads_they_see(open_world: OpenWorld) -> None:
    world = await open_scope(open_world, "own")
    await fill(world)
    answer = (await world.ask("GET", "/v1/reports/response?by=rep", "sales", "ana")).json()
    assert [(row["key"], row["requests"]) for row in answer["items"]] == [("ana", 1)]
    assert answer["total"]["requests"] == 1
    hops = [(await world.ask("GET", "/v1/reports/response/hops", "sales", rep)).json() for rep in ("ana", None)]
    assert hops[0]["requests"] == 1 < hops[1]["requests"]


def told(stream: OpenStream, leads: dict[str, str]) -> set[str]:
    """Return the leads that a stream told of, by their owners."""
    return {owner for owner, lead in leads.items() if lead in stream.text}


async def test_stream_sends_no_record_of_a_lead_outside(open_world: OpenWorld, scope: str) -> None:
    world = await open_scope(open_world, scope)
    keys = {rep: f"Bearer {await world.key('sales', rep)}" for rep in ("ana", "cy")}
    async with (
        streaming(world, STREAM, authorization=keys["ana"]) as ana,
        streaming(world, STREAM, authorization=keys["cy"]) as cy,
        streaming(world, STREAM, authorization=f"Bearer {await world.key('manager')}") as manager,
    ):
        leads = await fill(world)
        await manager.until(lambda _: told(manager, leads) == set(leads))
        await ana.until(lambda _: leads["ana"] in ana.text)
        await cy.until(lambda _: leads["cy"] in cy.text)
        assert told(ana, leads) == EXPECTED[scope]["ana"]
        assert told(cy, leads) == EXPECTED[scope]["cy"]
    async with streaming(world, STREAM, authorization=keys["ana"], last_event_id="0.x") as resumed:
        await resumed.until(lambda _: leads["ana"] in resumed.text)
    assert told(resumed, leads) == EXPECTED[scope]["ana"]


async def test_console_goes_on_to_my_leads_when_a_lead_was_given_away(open_world: OpenWorld) -> None:
    world = await open_scope(open_world, "own")
    leads = await fill(world)
    browser = await signed_in(world, "sales", "ana")
    page = await browser.get(f"/console/leads/{leads['ana']}")
    answer = await browser.post(
        f"/console/leads/{leads['ana']}/assign", {"csrf": csrf_in(page), "rep": "bo", "reason": "knows them"}
    )
    assert (answer.status_code, answer.headers["location"]) == (303, "/console/mine?done=assign")
    assert (await browser.get(f"/console/leads/{leads['ana']}")).status_code == 404
    assert leads["ana"] not in (await browser.get("/console/leads")).text
