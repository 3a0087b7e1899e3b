"""What bad input gets: an answer that names the place and the remedy, and, where a person may stand behind it, a second
chance."""

import json
from typing import Any

import pytest

from firsthour.runtime.http.client import Response
from tests.story.conftest import OpenWorld
from tests.story.installation import ADMIN
from tests.story.world import World

CTO = "cto@prospect.example"
JSON = {"Content-Type": "application/json"}


def problem(answer: Response, status: int, slug: str) -> dict[str, Any]:
    """The members of a problem, whose frame is as RFC 9457 has it."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    found: dict[str, Any] = answer.json()
    assert (found["type"], found["status"]) == (f"urn:firsthour:problem:{slug}", status)
    assert found["title"]
    assert found["detail"].endswith(".")
    assert found["instance"] == f"urn:firsthour:request:{answer.headers['x-request-id']}"
    return found


@pytest.mark.same_on_both_profiles
async def test_an_unknown_form(world: World) -> None:
    found = problem(await world.post_form("demo", email=CTO), 404, "unknown-form")
    assert "sources.yaml" in found["detail"]


@pytest.mark.same_on_both_profiles
async def test_an_unknown_source(world: World) -> None:
    problem(await world.hook("fax", b"{}"), 404, "unknown-source")


@pytest.mark.same_on_both_profiles
async def test_nobody_to_answer_to(world: World) -> None:
    found = problem(await world.post_form("demo-request", name="Ann"), 422, "invalid-event")
    assert found["errors"] == [
        {"pointer": "#/email", "detail": "is missing; send an `email` or a `phone`, so that a rep can answer"}
    ]


@pytest.mark.same_on_both_profiles
@pytest.mark.parametrize("email", ["ann", "ann@", "@example.com", "ann@example", "a b@example.com", "ann@ex..com"])
async def test_a_malformed_address(world: World, email: str) -> None:
    found = problem(await world.post_form("demo-request", email=email), 422, "invalid-event")
    [error] = found["errors"]
    assert error["pointer"] == "#/email"
    assert "ann@example.com" in error["detail"]
    assert await world.appended() == 0


@pytest.mark.same_on_both_profiles
@pytest.mark.parametrize(
    ("body", "status", "slug", "says"),
    [
        (b'{"email":"%s","note":"' + b"x" * 300_000 + b'"}', 413, "content-too-large", "262144"),
        (b'{"email":"%s","note":' + b"[" * 40 + b"]" * 40 + b"}", 422, "invalid-event", "deeper than 32"),
        (b'{"email":"%s","note":' + b"[" * 99_999 + b"]" * 99_999 + b"}", 422, "invalid-event", "deeper"),
        (b'{"email":"%s","note":"\xff"}', 400, "malformed-body", "UTF-8"),
        (b'{"email":"%s","email":"%s"}', 422, "invalid-event", "more than once"),
        (b'{"email":"%s","n":123456789012345678901}', 422, "invalid-event", "/n"),
        (b'{"email":"%s"', 400, "malformed-body", "not JSON"),
        (b'"%s"', 422, "invalid-event", "not an object"),
        (b"", 400, "malformed-body", ""),
    ],
)
async def test_a_body_that_cannot_be_taken(world: World, body: bytes, status: int, slug: str, says: str) -> None:
    sent = body.replace(b"%s", CTO.encode())
    found = problem(await world.http.post("/v1/forms/demo-request", content=sent, headers=JSON), status, slug)
    assert says in json.dumps(found)
    key = {"Authorization": f"Bearer {await world.key('ingest')}"}
    problem(await world.http.post("/v1/events", content=sent, headers=JSON | key), status, slug)


@pytest.mark.same_on_both_profiles
async def test_a_type_of_body_we_do_not_take(world: World) -> None:
    for path in ("/v1/forms/demo-request", "/v1/events"):
        headers = {"Content-Type": "text/csv", "Authorization": f"Bearer {ADMIN}"}
        found = problem(await world.http.post(path, content=b"a,b", headers=headers), 415, "unsupported-media-type")
        assert "application/json" in found["detail"]


@pytest.mark.same_on_both_profiles
@pytest.mark.parametrize("body", [b"{}", b"", b"\xff\xff", b"[" * 99_999, b"x" * 1000])
async def test_a_wrong_signature_whatever_its_shape(world: World, body: bytes) -> None:
    answer = await world.hook("phone", body, secret="another secret")
    problem(answer, 401, "invalid-signature")
    problem(await world.http.post("/hooks/phone", content=body), 401, "invalid-signature")
    assert await world.rows("SELECT count(*) FROM dead_letters") == [(0,)]


@pytest.mark.same_on_both_profiles
async def test_an_event_without_a_key(world: World) -> None:
    for headers in ({}, {"Authorization": "Bearer fh_1_wrong"}, {"Authorization": "Basic x"}):
        answer = await world.http.post("/v1/events", content=b"{}", headers=JSON | headers)
        problem(answer, 401, "unauthorized")
        assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.same_on_both_profiles
async def test_a_type_of_event_nobody_knows(world: World) -> None:
    found = problem(await world.post_events({"id": "1", "type": "form.submited"}), 422, "invalid-event")
    assert "did you mean `form.submitted`" in found["detail"]


@pytest.mark.same_on_both_profiles
async def test_one_bad_event_of_many_refuses_the_whole_and_is_named(world: World) -> None:
    good, bad = world.event_body("form.submitted", email=CTO), {"id": "2", "type": "form.submitted"}
    found = problem(await world.post_events(good, bad), 422, "invalid-event")
    assert found["errors"][0]["pointer"] == "#/1/email"
    await world.settle()
    assert await world.leads() == []


@pytest.mark.same_on_both_profiles
async def test_a_page_of_another_site_may_not_post(world: World) -> None:
    evil = {"Origin": "https://evil.example"}
    problem(await world.post_form("demo-request", headers=evil, email=CTO), 403, "origin-not-allowed")
    ours = await world.post_form("demo-request", headers={"Origin": "https://www.acme.example"}, email=CTO)
    assert (ours.status_code, ours.headers["access-control-allow-origin"]) == (202, "https://www.acme.example")


async def test_nul_and_lone_surrogates_are_replaced_and_the_lead_is_kept(world: World) -> None:
    body = b'{"email": "cto@prospect.example", "name": "A\\u0000nn \\ud800", "company": "\\ud83d\\ude00 & Co"}'
    answer = await world.http.post("/v1/forms/demo-request", content=body, headers=JSON)
    assert answer.status_code == 202
    await world.settle()
    assert (await world.lead(CTO))["company"] == "\U0001f600 & Co"
    assert world.slack_recipients == ["ana"]


@pytest.mark.same_on_both_profiles
async def test_problems_on_other_paths_look_the_same(world: World) -> None:
    assert "/docs" in problem(await world.ask("GET", "/nowhere"), 404, "not-found")["detail"]
    problem(await world.ask("GET", "/v1/leads/none"), 404, "unknown-lead")
    wrong = await world.ask("DELETE", "/v1/leads")
    assert "GET" in problem(wrong, 405, "method-not-allowed")["detail"]
    assert wrong.headers["allow"] == "GET"
    assert (await world.ask("GET", "/v1/events")).headers["allow"] == "POST"
    large = await world.http.post("/v1/leads/x/touch", content=b"x" * 300_000, headers={"Authorization": ADMIN})
    assert problem(large, 413, "content-too-large")["limit"] == 262_144
    found = problem(await world.ask("GET", "/v1/leads?limit=0"), 422, "invalid-request")
    assert found["errors"][0]["pointer"] == "query:limit"
    body = {"channel": "pigeon", "answered": "yes", "volume": 3}
    found = problem(await world.ask("POST", "/v1/leads/x/touch", body=body), 422, "invalid-request")
    assert {error["pointer"] for error in found["errors"]} == {"#/channel", "#/answered", "#/volume"}


async def test_our_own_failure_tells_nothing_of_the_inside(world: World) -> None:
    await world.submit_form(email=CTO)
    await world.break_view("leads")
    found = problem(await world.ask("GET", f"/v1/leads?email={CTO}"), 500, "internal-server-error")
    assert not _INSIDE & _words(found)


async def test_a_database_that_lacks_a_table_is_a_state_of_it_and_tells_nothing_of_the_inside(
    open_world: OpenWorld,
) -> None:
    world = await open_world()
    if world.backends is None:
        return  # a process with a database of its own has made all of its tables
    await world.execute("DROP VIEW leads")
    found = problem(await world.ask("GET", f"/v1/leads?email={CTO}"), 503, "storage-unavailable")
    assert not _INSIDE & _words(found)


_INSIDE = {"leads", "sqlite", "asyncpg", "relation", "overflow", "zero", "prospect"}


def _words(found: dict[str, Any]) -> set[str]:
    return set(json.dumps(found).lower().replace(".", " ").split())


# --- a second chance --------------------------------------------------------------------------------------------------


async def test_a_signed_body_that_cannot_be_mapped_is_kept_corrected_and_becomes_a_lead(world: World) -> None:
    event = {"id": "1", "type": "form.submitted", "email": "cto at prospect", "data": {"form": "demo-request"}}
    found = problem(await world.post_events(event), 422, "invalid-event")
    assert "kept" in found["detail"]
    [letter] = (await world.get("/v1/deadletters"))["items"]
    assert letter["id"] == found["dead_letter"]

    still = await world.ask("POST", f"/v1/deadletters/{letter['id']}/retry")
    assert still.status_code == 422
    assert (await world.get("/v1/deadletters"))["items"][0]["state"] == "waiting"

    corrected = await world.ask("POST", f"/v1/deadletters/{letter['id']}/retry", body={**event, "email": CTO})
    assert corrected.status_code == 200, corrected.text
    await world.settle()
    assert await world.owner_of(CTO) == "ana"
    assert world.slack_recipients == ["ana"]
    assert (await world.get("/v1/deadletters"))["items"] == []


async def test_a_hook_whose_mapping_was_wrong_is_retried_as_it_came(open_world: OpenWorld) -> None:
    world = await open_world()
    await world.submit_form(email=CTO)
    call = {
        "kind": "call.ended",
        "uuid": "1",
        "ended_at": "2026-12-01T09:00:00Z",
        "customer": {"email": "Cto <" + CTO + ">"},
        "agent": {"email": "ana@acme.example"},
        "duration": 60,
    }
    body = json.dumps(call).encode()
    letter = problem(await world.hook("phone", body), 422, "invalid-event")["dead_letter"]
    corrected = {**call, "customer": {"email": CTO}}
    answer = await world.ask("POST", f"/v1/deadletters/{letter}/retry", body=corrected)
    assert answer.status_code == 200, answer.text
    await world.settle()
    assert await world.status_of(CTO) == "working"


# --- the same request again -------------------------------------------------------------------------------------------


async def test_a_form_sent_again_under_its_idempotency_key_is_answered_again_and_not_done_again(world: World) -> None:
    key = {"Idempotency-Key": "submit-1"}
    first = await world.post_form("demo-request", headers=key, email=CTO)
    again = await world.post_form("demo-request", headers=key, email=CTO)
    await world.settle()

    assert (first.status_code, first.json()) == (again.status_code, again.json())
    assert (first.headers.get("idempotent-replayed"), again.headers["idempotent-replayed"]) == (None, "true")
    assert await world.appended("events") == 1
    other = await world.post_form("demo-request", headers=key, email="another@prospect.example")
    problem(other, 422, "idempotency-key-reused")


async def test_events_sent_again_under_their_idempotency_key_are_done_once(world: World) -> None:
    key, event = {"Idempotency-Key": "batch-1"}, world.event_body("form.submitted", email=CTO, form="demo-request")
    answers = [await world.post_events(event, headers=key) for _ in range(3)]
    await world.settle()

    assert [answer.json() for answer in answers] == [{"ids": [event["id"]]}] * 3
    assert await world.appended("events") == 1


@pytest.mark.parametrize(
    ("action", "body"),
    [("touch", {"channel": "phone", "answered": False}), ("accept", {}), ("opt-out", {"reason": "x"})],
)
async def test_a_command_sent_again_under_its_idempotency_key_is_done_once(
    world: World, action: str, body: dict[str, Any]
) -> None:
    await world.submit_form(email=CTO)
    key = {"Idempotency-Key": "press-1"}
    first = await world.act(CTO, action, "ana", headers=key, **body)
    await world.wait(minutes=1)
    again = await world.act(CTO, action, "ana", headers=key, **body)
    await world.settle()

    assert (first.status_code, first.json()) == (again.status_code, again.json())
    assert again.headers["idempotent-replayed"] == "true"
    assert (await world.event_types_of(CTO)).count("touch.applied") <= 1
