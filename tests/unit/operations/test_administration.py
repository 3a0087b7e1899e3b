"""Keys, dead letters, verify and doctor over HTTP: answers, roles, and stored rows."""

import json
from typing import Any

import pytest

from firsthour.operations import drain
from firsthour.runtime.storage.packing import unpacked
from tests.unit.operations.harness import OperationsHarness


async def letter_of(harness: OperationsHarness, event: dict[str, Any]) -> str:
    """Post an event that the gateway cannot read, and return its dead letter."""
    answer = await harness.client.post("/v1/events", json=event)
    assert answer.status_code == 422, answer.text
    return str(answer.json()["dead_letter"])


# --- keys --------------------------------------------------------------------------------------------------------


async def test_new_key_is_valid_at_once_and_stored_only_as_a_hash(harness: OperationsHarness) -> None:
    key = (await harness.client.post("/v1/keys", json={"role": "sales", "name": "Noor", "rep": "noor"})).json()
    assert set(key) == {"id", "key", "role", "name"}
    async with harness.key(key["key"]) as noor:
        assert (await noor.get("/v1/reps")).status_code == 200
        assert (await noor.get("/v1/keys")).status_code == 403
    listed = (await harness.client.get("/v1/keys")).json()["items"]
    assert [(key["name"], key["rep"], key["state"]) for key in listed] == [("Noor", "noor", "alive")]
    assert key["key"] not in json.dumps(listed)
    assert not any(key["key"].encode() in path.read_bytes() for path in (harness.place / "data").iterdir())


async def test_revoked_key_is_refused_at_once_and_stays_revoked(harness: OperationsHarness) -> None:
    key = (await harness.client.post("/v1/keys", json={"role": "admin", "name": "x"})).json()
    async with harness.key(key["key"]) as other:
        assert (await other.get("/v1/keys")).status_code == 200
        first = (await harness.client.delete(f"/v1/keys/{key['id']}")).json()
        harness.clock.advance(minutes=1)
        assert (await harness.client.delete(f"/v1/keys/{key['id']}")).json() == first
        assert (await other.get("/v1/keys")).status_code == 401
    assert (await harness.client.delete("/v1/keys/unknown")).status_code == 404


async def test_key_expires_at_its_time(harness: OperationsHarness) -> None:
    body = {"role": "sales", "name": "x", "expires_at": "2026-12-01T10:00:00Z"}
    key = (await harness.client.post("/v1/keys", json=body)).json()
    async with harness.key(key["key"]) as other:
        assert (await other.get("/v1/leads")).status_code == 200
        harness.clock.advance(hours=2)
        assert (await other.get("/v1/leads")).status_code == 401
    assert (await harness.client.get("/v1/keys")).json()["items"][0]["state"] == "expired"


@pytest.mark.parametrize(
    ("wrong", "pointer"),
    [
        ({"role": "owner"}, "#/role"),
        ({"rep": "zed"}, "#/rep"),
        ({"name": ""}, "#/name"),
        ({"name": "two\nlines"}, "#/name"),
        ({"name": "\x1b[31mred"}, "#/name"),
        ({"name": "right\u202eto left"}, "#/name"),
        ({"name": "x" * 101}, "#/name"),
        ({"source": "website"}, "#/source"),
        ({"source": "nowhere"}, "#/source"),
        ({"expires_at": "2020-01-01T00:00:00Z"}, "#/expires_at"),
        ({"colour": "red"}, "#/colour"),
    ],
)
async def test_wrong_field_of_a_key_is_refused_with_its_pointer(
    harness: OperationsHarness, wrong: Any, pointer: str
) -> None:
    answer = await harness.client.post("/v1/keys", json={"role": "sales", "name": "x", **wrong})
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, pointer)
    assert "validation" not in answer.text
    assert (await harness.client.get("/v1/keys")).json()["items"] == []


async def test_idempotency_key_creates_one_key_and_stores_no_secret(harness: OperationsHarness) -> None:
    send: dict[str, Any] = {"headers": {"Idempotency-Key": "again"}, "json": {"role": "sales", "name": "x"}}
    key = (await harness.client.post("/v1/keys", **send)).json()
    second = await harness.client.post("/v1/keys", **send)
    assert (second.status_code, second.json()["title"]) == (409, "Key already shown")
    assert len((await harness.client.get("/v1/keys")).json()["items"]) == 1
    rows = await harness.rows("SELECT body FROM idempotency")
    assert key["key"] not in str(rows)


# --- dead letters ------------------------------------------------------------------------------------------------


async def test_corrected_dead_letter_of_the_gateway_becomes_a_lead(harness: OperationsHarness) -> None:
    id = await letter_of(harness, {"id": "e1", "type": "form.submitted", "data": {"form": "demo-request"}})
    shown = (await harness.client.get(f"/v1/deadletters/{id}")).json()
    assert json.loads(shown["body"])["id"] == "e1"
    right = {"id": "e1", "type": "form.submitted", "email": "gus@gus.example", "data": {"form": "demo-request"}}
    answer = await harness.client.post(f"/v1/deadletters/{id}/retry", content=json.dumps(right))
    assert (answer.status_code, answer.json()["state"]) == (200, "retried")
    await harness.system.settle()
    assert (await harness.lead("gus"))["owner"] is not None
    assert (await harness.client.get("/v1/deadletters")).json()["items"] == []
    assert await harness.broken() == {}


async def test_dead_letter_that_fails_again_waits_with_its_error(harness: OperationsHarness) -> None:
    id = await letter_of(harness, {"id": "e1", "type": "form.submitted"})
    answer = await harness.client.post(f"/v1/deadletters/{id}/retry", content=b'{"id": "e1", "type": "nonsense"}')
    assert answer.status_code == 422
    (letter,) = (await harness.client.get("/v1/deadletters")).json()["items"]
    assert (letter["state"], letter["tries"]) == ("waiting", 2)
    assert "type" in letter["error"]


async def test_dead_letter_of_a_service_is_retried_by_that_service_only(harness: OperationsHarness) -> None:
    await harness.system.settle()
    await harness.client.post("/v1/forms/demo-request", data={"email": "hal@hal.example"})
    [(stored,)] = await harness.rows("SELECT body FROM log WHERE topic = 'events'")
    await harness.break_by(
        "UPDATE cursors SET position = (SELECT max(id) FROM log) WHERE consumer = 'scoring' AND topic = 'events'",
        "INSERT INTO dead_letters (id, at, consumer, origin, source, content_type, body, error, code, state, changed_at, tries) SELECT 'l1', at, 'scoring', 'events/0/1', event_id, 'x', ?, 'e', 'c', 'waiting', at, 3 "
        "FROM log WHERE topic = 'events'",
        body=unpacked(stored),
    )
    await harness.close()
    await harness.open()
    await harness.system.settle()
    assert (await harness.client.get("/v1/leads?email=hal@hal.example")).json()["items"] == []
    answer = await harness.client.post("/v1/deadletters/l1/retry")
    assert answer.status_code == 200, answer.text
    await harness.system.settle()
    assert (await harness.lead("hal"))["status"] == "assigned"
    assert (await harness.client.post("/v1/deadletters/l1/retry")).status_code == 409
    assert await harness.broken() == {}


async def test_dead_letter_that_is_no_event_waits_after_a_retry(harness: OperationsHarness) -> None:
    await harness.break_by(
        "INSERT INTO dead_letters (id, at, consumer, origin, source, content_type, body, error, code, state, changed_at, tries) VALUES ('l1', 1, 'scoring', 'events/0/1', 'e', 'x', x'ff00', 'boom', 'c', 'waiting', 1, 3)"
    )
    answer = await harness.client.post("/v1/deadletters/l1/retry")
    assert (answer.status_code, answer.json()["title"]) == (422, "Not an event")
    shown = (await harness.client.get("/v1/deadletters/l1")).json()
    assert (shown["tries"], shown["body"], shown["body_base64"]) == (4, None, "/wA=")


async def test_dead_letter_without_a_consumer_can_only_be_dropped(harness: OperationsHarness) -> None:
    await harness.break_by(
        "INSERT INTO dead_letters (id, at, consumer, origin, source, content_type, body, error, code, state, changed_at, tries) VALUES ('l1', 1, 'gone', 'events/0/1', 'e', 'x', x'00', 'boom', 'c', 'waiting', 1, 3)"
    )
    assert (await harness.client.post("/v1/deadletters/l1/retry")).status_code == 409
    assert (await harness.client.post("/v1/deadletters/l1/drop")).json() == {"id": "l1", "state": "dropped"}
    assert (await harness.client.post("/v1/deadletters/l1/drop")).status_code == 409
    assert (await harness.client.get("/v1/deadletters?state=dropped")).json()["items"][0]["id"] == "l1"
    assert (await harness.client.post("/v1/deadletters/l2/drop")).status_code == 404


@pytest.mark.parametrize(
    ("method", "path", "role"),
    [
        ("POST", "/v1/keys", "admin"),
        ("GET", "/v1/keys", "admin"),
        ("DELETE", "/v1/keys/x", "admin"),
        ("GET", "/v1/deadletters", "manager"),
        ("GET", "/v1/deadletters/x", "admin"),
        ("POST", "/v1/deadletters/x/retry", "admin"),
        ("POST", "/v1/deadletters/x/drop", "admin"),
        ("POST", "/v1/verify", "admin"),
        ("POST", "/v1/doctor", "admin"),
    ],
)
async def test_administration_is_refused_for_lower_roles(
    harness: OperationsHarness, method: str, path: str, role: str
) -> None:
    lower = {"admin": "manager", "manager": "sales"}[role]
    key = (await harness.client.post("/v1/keys", json={"role": lower, "name": "x"})).json()
    async with harness.key(key["key"]) as other:
        assert (await other.request(method, path)).status_code == 403
    async with harness.key("unknown") as unknown:
        answer = await unknown.request(method, path)
        assert (answer.status_code, "firsthour keys create" in answer.text) == (401, True)


# --- checks ------------------------------------------------------------------------------------------------------


async def test_verify_over_http_names_broken_invariants(harness: OperationsHarness) -> None:
    await harness.ask("ann")
    harness.clock.advance(seconds=1)
    report = (await harness.client.post("/v1/verify")).json()
    assert (report["ok"], report["behind"], len(report["items"])) == (True, [], 10)
    await harness.break_by("DELETE FROM notifier_clocks")
    report = (await harness.client.post("/v1/verify")).json()
    assert (report["ok"], [one["invariant"] for one in report["items"] if not one["ok"]]) == (False, ["I4"])


async def test_verify_over_http_names_ten_rows_or_all(harness: OperationsHarness) -> None:
    people = [f"person{n}" for n in range(12)]
    await harness.ask(*people)
    harness.clock.advance(seconds=1)
    await harness.break_by("DELETE FROM notifier_clocks")
    leads = [(await harness.lead(person))["id"] for person in people]
    for path, named in (("/v1/verify", 10), ("/v1/verify?all=true", 12)):
        report = (await harness.client.post(path)).json()
        [broken] = [one for one in report["items"] if not one["ok"]]
        assert (broken["invariant"], broken["broken"], len(broken["rows"])) == ("I4", 12, named)
        assert sum(any(lead in row for row in broken["rows"]) for lead in leads) == named


async def test_verify_names_the_service_that_is_behind(
    harness: OperationsHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drain, "WAIT_SECONDS", 0.1)
    await harness.client.post("/v1/forms/demo-request", data={"email": "ida@ida.example"})
    report = (await harness.client.post("/v1/verify")).json()
    assert report["ok"] is False
    assert "scoring has not read all of events: 1 records to go" in report["behind"]


async def test_doctor_over_http_is_ok_for_a_sound_installation(harness: OperationsHarness) -> None:
    report = (await harness.client.post("/v1/doctor")).json()
    assert report["ok"] is True
    assert {"data directory", "configuration", "database", "tables", "clock", "dead letters"} <= {
        one["what"] for one in report["items"]
    }
