"""The audit log: each action of a person is listed with actor, role, target and result."""

from datetime import timedelta
from typing import Any, Final

import pytest

from firsthour.runtime.http.audit_trail import REFUSALS_PER_MINUTE
from firsthour.runtime.storage.unit import Unit
from tests.backends import execute
from tests.story.test_console import Browser, csrf_in, link_of, signed_in
from tests.story.test_roles import CALLS, NEEDED, PUBLIC, SIGNED
from tests.story.test_slack_clicks import click, run
from tests.story.world import World

CTO = "cto@prospect.example"
CHECKS: Final = ("POST /v1/verify", "POST /v1/doctor", "POST /v1/sources/{id}/try", "POST /v1/agreement/check")
"""They only read."""
INTAKE: Final = ("POST /v1/events", *CALLS)
"""Events of programs. The history has them."""


async def records(world: World, query: str = "") -> list[dict[str, Any]]:
    """Return the records of a query, oldest first."""
    return list(reversed((await world.get(f"/v1/audit?limit=500{query}"))["items"]))


async def actions(world: World, query: str = "") -> list[tuple[str, str, str | None, str]]:
    return [(one["actor"], one["action"], one["target"], one["outcome"]) for one in await records(world, query)]


@pytest.mark.both_profiles
async def test_actions_on_a_lead_are_listed_with_actor_role_target_and_result(world: World) -> None:
    await world.submit_form(email=CTO)
    lead = (await world.lead(CTO))["id"]
    assert (await world.act(CTO, "accept", "bo")).status_code == 403
    await world.accept(CTO, "ana")
    await world.touch(CTO, "ana", note="spoke to Ada Lovelace")
    await world.opt_out(CTO)
    assert await actions(world, f"&target={lead}") == [
        ("rep:bo", "leads.accept", lead, "refused"),
        ("rep:ana", "leads.accept", lead, "done"),
        ("rep:ana", "leads.touch", lead, "done"),
        ("rep:max", "leads.opt-out", lead, "done"),
    ]
    [first, *_, last] = await records(world, f"&target={lead}")
    assert (first["role"], first["status"], last["role"], last["status"]) == ("sales", 403, "manager", 200)
    assert "Ada" not in str(await records(world))


@pytest.mark.both_profiles
async def test_list_is_filtered_by_actor_action_and_period_and_continued(world: World) -> None:
    await world.is_away("ana")
    await world.wait(hours=2)
    await world.is_back("ana")
    await world.is_away("bo")
    assert [one[0] for one in await actions(world, "&action=reps.availability")] == ["rep:ana", "rep:ana", "rep:bo"]
    assert len(await records(world, "&actor=rep:ana")) == 2
    assert len(await records(world, "&actor=rep:ana&since=1h")) == 1
    assert len(await records(world, "&actor=rep:ana&until=1h")) == 1
    first = await world.get("/v1/audit?actor=rep:ana&limit=1")
    rest = await world.get(f"/v1/audit?actor=rep:ana&limit=1&cursor={first['next']}")
    assert [one["id"] for one in [*first["items"], *rest["items"]]] == [
        one["id"] for one in reversed(await records(world, "&actor=rep:ana"))
    ]
    assert rest["next"] is None
    for wrong in ("since=soon", "until=2026-12-01", "cursor=x", "limit=0"):
        assert (await world.ask("GET", f"/v1/audit?{wrong}")).status_code == 422


async def test_repeated_request_with_one_key_is_one_action(world: World) -> None:
    await world.submit_form(email=CTO)
    for _ in range(2):
        answer = await world.act(CTO, "accept", "ana", {"Idempotency-Key": "tap"})
        assert answer.status_code == 200
    assert [one[1] for one in await actions(world, "&actor=rep:ana")] == ["leads.accept"]


async def test_every_endpoint_that_changes_something_leaves_a_record(world: World) -> None:
    for endpoint, needed in NEEDED.items():
        method, path = endpoint.split()
        if method == "GET" or needed in (PUBLIC, SIGNED) or endpoint in (*INTAKE, *CHECKS):
            continue
        answer = await world.ask(method, path.replace("{", "no-such-").replace("}", ""), body={})
        [*_, newest] = await records(world)
        assert newest["request_id"] == answer.headers["x-request-id"], endpoint
        assert newest["status"] == answer.status_code, endpoint


async def test_keys_links_and_sessions_are_listed(world: World) -> None:
    created = await world.ask("POST", "/v1/keys", body={"role": "sales", "name": "phone", "rep": "ana"})
    key = created.json()
    await world.ask("DELETE", f"/v1/keys/{key['id']}")
    browser = await signed_in(world, "sales", "ana")
    [session] = (await world.get("/v1/sessions"))["items"]
    await browser.post("/console/sign-out", {"csrf": csrf_in(await browser.get("/console/mine"))})
    assert await actions(world) == [
        ("key:given", "keys.create", key["id"], "done"),
        ("key:given", "keys.delete", key["id"], "done"),
        ("key:given", "console-links.create", "ana", "done"),
        ("rep:ana", "sessions.begin", session["id"], "done"),
        ("rep:ana", "sessions.delete", session["id"], "done"),
    ]
    assert key["key"] not in str(await records(world))


async def test_action_in_the_console_is_listed_with_its_session(world: World) -> None:
    await world.submit_form(email=CTO)
    lead = (await world.lead(CTO))["id"]
    browser = await signed_in(world, "sales", "ana")
    page = await browser.get(f"/console/leads/{lead}")
    await browser.post(f"/console/leads/{lead}/accept", {"csrf": csrf_in(page)})
    [session] = (await world.get("/v1/sessions"))["items"]
    [record] = await records(world, f"&target={lead}")
    assert (record["actor"], record["action"], record["via"]) == ("rep:ana", "leads.accept", f"session:{session['id']}")


async def test_click_in_slack_is_listed_as_requested(world: World) -> None:
    await world.submit_form(email=CTO)
    lead = (await world.lead(CTO))["id"]
    await click(world, "accept")
    await run(world, "/away")
    assert await actions(world) == [
        ("rep:ana", "leads.accept", lead, "requested"),
        ("rep:ana", "reps.availability", "ana", "requested"),
    ]


@pytest.mark.both_profiles
async def test_new_configuration_is_listed(world: World) -> None:
    before = len(await records(world, "&action=configuration.apply"))
    await world.change("agreement", {"name": "Our second agreement"})
    listed = await records(world, "&action=configuration.apply")
    assert len(listed) == before + 1
    assert (listed[-1]["actor"], listed[-1]["role"]) == ("system", None)
    assert listed[-1]["target"]


async def test_address_in_a_path_is_not_stored(world: World) -> None:
    assert (await world.ask("POST", f"/v1/leads/{CTO}/accept")).status_code == 404
    [record] = await records(world)
    assert (record["action"], record["target"], record["outcome"]) == ("leads.accept", "?", "refused")


async def test_key_that_is_refused_again_and_again_does_not_fill_the_table(world: World) -> None:
    for _ in range(REFUSALS_PER_MINUTE + 5):
        assert (await world.ask("POST", "/v1/verify", "sales", "ana")).status_code == 403
    assert len(await records(world)) == REFUSALS_PER_MINUTE
    await world.wait(minutes=1)
    await world.ask("POST", "/v1/verify", "sales", "ana")
    assert len(await records(world)) == REFUSALS_PER_MINUTE + 1


async def test_stranger_adds_no_record(world: World) -> None:
    for headers in ({}, {"Authorization": "Bearer none"}):
        assert (await world.ask("POST", "/v1/verify", None, headers=headers)).status_code == 401
    browser = Browser(world)
    await browser.post("/console/sign-in", {"key": "none"})
    assert await records(world) == []


async def test_records_are_removed_after_400_days(world: World) -> None:
    await world.is_away("ana")

    def age(unit: Unit) -> None:
        execute(unit, f"UPDATE audit_log SET at = at - {timedelta(days=401) // timedelta(microseconds=1)}")

    await world.system.units.run(age)
    await world.is_back("ana")
    await world.system.runners["runtime.sweep"].step()
    [(count,)] = await world.system.units.run(lambda unit: execute(unit, "SELECT count(*) FROM audit_log"))
    assert count == 1


async def test_link_is_listed_when_it_is_made_and_when_it_is_used(world: World) -> None:
    link = await link_of(world, "manager")
    await Browser(world).post(f"/console/{link}", {})
    assert [(one[0], one[1]) for one in await actions(world)] == [
        ("key:given", "console-links.create"),
        ("key:operator", "sessions.begin"),
    ]
