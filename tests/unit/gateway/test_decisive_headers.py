"""Headers that decide about a request: each has one value, and a binary CloudEvent needs four of them."""

import json

import pytest

from tests.unit.gateway.harness import GatewayHarness

BINARY = {
    "ce-specversion": "1.0",
    "ce-id": "1",
    "ce-source": "/crm",
    "ce-type": "form.submitted",
    "ce-time": "2026-12-01T08:00:00Z",
    "ce-own": "x",
    "content-type": "application/json",
}
DATA = b'{"email": "ann@acme.example", "form": "demo-request"}'
REPEATED = ("CE-Specversion", "CE-Id", "CE-Source", "CE-Type", "CE-Time", "CE-Own", "Content-Type", "Authorization")


@pytest.mark.parametrize("name", REPEATED)
async def test_binary_event_with_a_repeated_header_is_refused_by_name(harness: GatewayHarness, name: str) -> None:
    headers = {**BINARY, "authorization": f"Bearer {harness.secrets['ingest']}"}
    assert (await harness.request("POST", "/v1/events", headers, DATA)).status == 202
    again = {name: headers[name.lower()], **headers, "accept": "*/*", "Accept": "text/html"}
    answer = await harness.request("POST", "/v1/events", again, DATA)
    assert (answer.status, answer.pointer.lower()) == (400, f"header:{name.lower()}")
    assert "occurs twice; send it once" in answer.json["detail"]
    assert (len(harness.records), harness.letters) == (1, [])


async def test_event_with_two_idempotency_keys_is_refused(harness: GatewayHarness) -> None:
    event = {"id": "1", "type": "form.submitted", "email": "ann@acme.example", "data": {"form": "demo-request"}}
    answer = await harness.event(event, idempotency_key="a", Idempotency_Key="b")
    assert (answer.status, answer.pointer, harness.records) == (400, "header:Idempotency-Key", [])


async def test_form_with_two_content_types_is_refused_and_other_headers_may_repeat(harness: GatewayHarness) -> None:
    fields = {"email": "ann@acme.example"}
    answer = await harness.form(fields, Content_Type="application/json")
    assert (answer.status, answer.pointer, harness.records) == (400, "header:Content-Type", [])
    assert (await harness.form(fields, accept_language="de", Accept_Language="fr")).status == 202


async def test_call_with_two_write_keys_is_refused_in_the_form_of_its_libraries(harness: GatewayHarness) -> None:
    key = f"Bearer {harness.secrets['ingest']}"
    answer = await harness.request("POST", "/v1/track", {"authorization": key, "Authorization": key}, b"{}")
    assert (answer.status, answer.json["success"], answer.json["code"]) == (400, False, "400")
    assert "occurs twice" in answer.json["message"]


@pytest.mark.parametrize("name", ["specversion", "id", "type", "source"])
async def test_binary_event_without_an_attribute_is_kept_with_the_others(harness: GatewayHarness, name: str) -> None:
    headers = {**BINARY, "authorization": f"Bearer {harness.secrets['ingest']}"}
    del headers[f"ce-{name}"]
    answer = await harness.request("POST", "/v1/events", headers, DATA)
    assert (answer.status, answer.pointer, harness.records) == (422, f"#/{name}", [])
    [letter] = harness.letters
    kept = json.loads(letter.body)
    assert {f"ce-{one}" for one, value in kept.items() if value is not None} == {
        *(one for one in headers if one.startswith("ce-")),
        "ce-data_base64",
    }
