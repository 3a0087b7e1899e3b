"""Invalid input: the answer names the place and the remedy, and signed input is kept as a dead letter."""

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
    """Check the members that RFC 9457 defines, and return the problem."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert (body["type"], body["status"]) == (f"urn:firsthour:problem:{slug}", status)
    assert body["title"]
    assert body["detail"].endswith(".")
    assert body["instance"] == f"urn:firsthour:request:{answer.headers['x-request-id']}"
    return body


async def test_unknown_form_is_404(world: World) -> None:
    details = problem(await world.post_form("demo", email=CTO), 404, "unknown-form")
    assert "sources.yaml" in details["detail"]


async def test_unknown_source_is_404(world: World) -> None:
    problem(await world.hook("fax", b"{}"), 404, "unknown-source")


async def test_form_without_email_and_phone_is_rejected(world: World) -> None:
    details = problem(await world.post_form("demo-request", name="Ann"), 422, "invalid-event")
    assert details["errors"] == [
        {"pointer": "#/email", "detail": "is missing; send an `email` or a `phone`, so that a rep can answer"}
    ]


@pytest.mark.parametrize("email", ["ann", "ann@", "@example.com", "ann@example", "a b@example.com", "ann@ex..com"])
async def test_malformed_address_is_rejected_with_an_example(world: World, email: str) -> None:
    details = problem(await world.post_form("demo-request", email=email), 422, "invalid-event")
    [error] = details["errors"]
    assert error["pointer"] == "#/email"
    assert "ann@example.com" in error["detail"]
    assert await world.appended() == 0


@pytest.mark.parametrize(
    ("body", "status", "slug", "says"),
    [
        (b'{"email":"%s","note":"' + b"x" * 300_000 + b'"}', 413, "content-too-large", "262144"),
        (b'{"email":"%s","note":' + b"[" * 40 + b"]" * 40 + b"}", 422, "invalid-event", "deeper than 32"),
        (b'{"email":"%s","note":' + b"[" * 99_999 + b"]" * 99_999 + b"}", 422, "invalid-event", "deeper"),
        (b'{"email":"%s","note":"\xff"}', 400, "invalid-json", "UTF-8"),
        (b'{"email":"%s","email":"%s"}', 422, "invalid-event", "repeated key"),
        (b'{"email":"%s","n":123456789012345678901}', 422, "invalid-event", "/n"),
        (b'{"email":"%s"', 400, "invalid-json", "not JSON"),
        (b'"%s"', 422, "invalid-event", "not an object"),
        (b"", 400, "invalid-json", ""),
    ],
)
async def test_invalid_body_is_rejected_with_the_reason(
    world: World, body: bytes, status: int, slug: str, says: str
) -> None:
    sent = body.replace(b"%s", CTO.encode())
    details = problem(await world.http.post("/v1/forms/demo-request", content=sent, headers=JSON), status, slug)
    assert says in json.dumps(details)
    key = {"Authorization": f"Bearer {await world.key('ingest')}"}
    problem(await world.http.post("/v1/events", content=sent, headers=JSON | key), status, slug)


@pytest.mark.parametrize(
    ("media", "body"),
    [("application/x-www-form-urlencoded", b"email=%ff"), ("multipart/form-data; boundary=x", b"--x\r\n")],
)
async def test_malformed_form_is_rejected_as_a_malformed_body(world: World, media: str, body: bytes) -> None:
    answer = await world.http.post("/v1/forms/demo-request", content=body, headers={"Content-Type": media})
    problem(answer, 400, "malformed-body")


async def test_unsupported_content_type_is_rejected(world: World) -> None:
    for path in ("/v1/forms/demo-request", "/v1/events"):
        headers = {"Content-Type": "text/csv", "Authorization": f"Bearer {ADMIN}"}
        details = problem(await world.http.post(path, content=b"a,b", headers=headers), 415, "unsupported-media-type")
        assert "application/json" in details["detail"]


@pytest.mark.parametrize("body", [b"{}", b"", b"\xff\xff", b"[" * 99_999, b"x" * 1000])
async def test_wrong_signature_is_rejected_for_any_body(world: World, body: bytes) -> None:
    answer = await world.hook("phone", body, secret="another secret")
    problem(answer, 401, "invalid-signature")
    problem(await world.http.post("/hooks/phone", content=body), 401, "invalid-signature")
    assert await world.rows("SELECT count(*) FROM dead_letters") == [(0,)]


async def test_event_without_a_valid_key_is_rejected(world: World) -> None:
    for headers in ({}, {"Authorization": "Bearer fh_1_wrong"}, {"Authorization": "Basic x"}):
        answer = await world.http.post("/v1/events", content=b"{}", headers=JSON | headers)
        problem(answer, 401, "unauthorized")
        assert answer.headers["www-authenticate"] == "Bearer"


async def test_unknown_event_type_is_rejected_with_a_suggestion(world: World) -> None:
    details = problem(await world.post_events({"id": "1", "type": "form.submited"}), 422, "invalid-event")
    assert "did you mean `form.submitted`" in details["detail"]


async def test_one_invalid_event_rejects_the_batch_and_is_named(world: World) -> None:
    good, bad = world.event_body("form.submitted", email=CTO), {"id": "2", "type": "form.submitted"}
    details = problem(await world.post_events(good, bad), 422, "invalid-event")
    assert details["errors"][0]["pointer"] == "#/1/email"
    await world.settle()
    assert await world.leads() == []


async def test_form_from_another_origin_is_rejected(world: World) -> None:
    evil = {"Origin": "https://evil.example"}
    problem(await world.post_form("demo-request", headers=evil, email=CTO), 403, "origin-not-allowed")
    ours = await world.post_form("demo-request", headers={"Origin": "https://www.acme.example"}, email=CTO)
    assert (ours.status_code, ours.headers["access-control-allow-origin"]) == (202, "https://www.acme.example")


@pytest.mark.both_profiles
async def test_nul_and_lone_surrogates_are_replaced_in_an_accepted_form(world: World) -> None:
    body = b'{"email": "cto@prospect.example", "name": "A\\u0000nn \\ud800", "company": "\\ud83d\\ude00 & Co"}'
    answer = await world.http.post("/v1/forms/demo-request", content=body, headers=JSON)
    assert answer.status_code == 202
    await world.settle()
    assert (await world.lead(CTO))["company"] == "\U0001f600 & Co"
    assert world.slack_recipients == ["ana"]


async def test_problems_on_all_paths_have_the_same_form(world: World) -> None:
    assert "/docs" in problem(await world.ask("GET", "/nowhere"), 404, "not-found")["detail"]
    problem(await world.ask("GET", "/v1/leads/none"), 404, "unknown-lead")
    wrong = await world.ask("DELETE", "/v1/leads")
    assert "GET" in problem(wrong, 405, "method-not-allowed")["detail"]
    assert wrong.headers["allow"] == "GET"
    assert (await world.ask("GET", "/v1/events")).headers["allow"] == "POST"
    large = await world.http.post("/v1/leads/x/touch", content=b"x" * 300_000, headers={"Authorization": ADMIN})
    assert problem(large, 413, "content-too-large")["limit"] == 262_144
    details = problem(await world.ask("GET", "/v1/leads?limit=0"), 422, "invalid-request")
    assert details["errors"][0]["pointer"] == "query:limit"
    body = {"channel": "pigeon", "answered": "yes", "volume": 3}
    details = problem(await world.ask("POST", "/v1/leads/x/touch", body=body), 422, "invalid-request")
    assert {error["pointer"] for error in details["errors"]} == {"#/channel", "#/answered", "#/volume"}


@pytest.mark.both_profiles
async def test_internal_error_shows_no_internals(world: World) -> None:
    await world.submit_form(email=CTO)
    await world.break_view("leads")
    details = problem(await world.ask("GET", f"/v1/leads?email={CTO}"), 500, "internal-server-error")
    assert not _INTERNALS & _words(details)


@pytest.mark.both_profiles
async def test_missing_table_is_503_and_shows_no_internals(
    open_world: OpenWorld,
) -> None:
    world = await open_world()
    if world.backends is None:
        return  # the embedded profile creates its tables itself
    await world.execute("DROP VIEW leads")
    details = problem(await world.ask("GET", f"/v1/leads?email={CTO}"), 503, "storage-unavailable")
    assert not _INTERNALS & _words(details)


_INTERNALS = {"leads", "sqlite", "asyncpg", "relation", "overflow", "zero", "prospect"}


def _words(details: dict[str, Any]) -> set[str]:
    return set(json.dumps(details).lower().replace(".", " ").split())


# --- dead letters -----------------------------------------------------------------------------------------------------


@pytest.mark.both_profiles
async def test_corrected_dead_letter_becomes_a_lead(world: World) -> None:
    event = {"id": "1", "type": "form.submitted", "email": "cto at prospect", "data": {"form": "demo-request"}}
    details = problem(await world.post_events(event), 422, "invalid-event")
    assert "kept" in details["detail"]
    [letter] = (await world.get("/v1/deadletters"))["items"]
    assert letter["id"] == details["dead_letter"]

    still = await world.ask("POST", f"/v1/deadletters/{letter['id']}/retry")
    assert still.status_code == 422
    assert (await world.get("/v1/deadletters"))["items"][0]["state"] == "waiting"

    corrected = await world.ask("POST", f"/v1/deadletters/{letter['id']}/retry", body={**event, "email": CTO})
    assert corrected.status_code == 200, corrected.text
    await world.settle()
    assert await world.owner_of(CTO) == "ana"
    assert world.slack_recipients == ["ana"]
    assert (await world.get("/v1/deadletters"))["items"] == []


@pytest.mark.both_profiles
async def test_corrected_webhook_is_retried_and_applied(open_world: OpenWorld) -> None:
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
    answer = await world.hook("phone", body)
    assert answer.status_code == 202
    [letter] = answer.json()["dead_letters"]
    corrected = {**call, "customer": {"email": CTO}}
    answer = await world.ask("POST", f"/v1/deadletters/{letter}/retry", body=corrected)
    assert answer.status_code == 200, answer.text
    await world.settle()
    assert await world.status_of(CTO) == "working"


# --- idempotency keys -------------------------------------------------------------------------------------------------


@pytest.mark.both_profiles
async def test_repeated_form_under_its_idempotency_key_is_only_answered_again(world: World) -> None:
    key = {"Idempotency-Key": "submit-1"}
    first = await world.post_form("demo-request", headers=key, email=CTO)
    again = await world.post_form("demo-request", headers=key, email=CTO)
    await world.settle()

    assert (first.status_code, first.json()) == (again.status_code, again.json())
    assert (first.headers.get("idempotent-replayed"), again.headers["idempotent-replayed"]) == (None, "true")
    assert await world.appended("events") == 1
    other = await world.post_form("demo-request", headers=key, email="another@prospect.example")
    problem(other, 422, "idempotency-key-reused")


@pytest.mark.both_profiles
async def test_repeated_events_under_their_idempotency_key_are_stored_once(world: World) -> None:
    key, event = {"Idempotency-Key": "batch-1"}, world.event_body("form.submitted", email=CTO, form="demo-request")
    answers = [await world.post_events(event, headers=key) for _ in range(3)]
    await world.settle()

    assert [answer.json() for answer in answers] == [{"ids": [event["id"]]}] * 3
    assert await world.appended("events") == 1


@pytest.mark.parametrize(
    ("action", "body"),
    [("touch", {"channel": "phone", "answered": False}), ("accept", {}), ("opt-out", {"reason": "x"})],
)
@pytest.mark.both_profiles
async def test_repeated_command_under_its_idempotency_key_is_applied_once(
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
