"""Presets of vendors: a delivery as the vendor signs and shapes it becomes the event that it means."""

import hmac
import json
from pathlib import Path

import pytest

from firsthour.runtime.config import presets
from schemas.sources import PRESETS, THIN_PRESETS
from tests.unit.gateway.harness import HMAC_SECRET, Answer, GatewayHarness
from tests.unit.gateway.vendor_cases import BODIES, CASES, KEY, MEDIA, SECRETS, UNSIGNED, PresetCase


def configure(harness: GatewayHarness, preset: str, more: str = "") -> None:
    (harness.directory / "vendor.secret").write_text(SECRETS.get(preset, HMAC_SECRET))
    harness.configure(f"sources:\n  - {{id: vendor, preset: {preset}, secrets: [{{file: vendor.secret}}]{more}}}\n")


def body_of(case: PresetCase) -> bytes:
    return (BODIES / case.body).read_bytes().replace(b"KEY", KEY)


async def deliver(harness: GatewayHarness, case: PresetCase, body: bytes | None = None) -> Answer:
    text = body_of(case) if body is None else body
    headers = {"content-type": MEDIA[Path(case.body).suffix], **case.sign(text, harness.clock)}
    return await harness.request("POST", case.path, headers, text)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.preset}-{case.body}-{case.sign.__qualname__}")
async def test_delivery_of_a_vendor_becomes_its_event(harness: GatewayHarness, case: PresetCase) -> None:
    configure(harness, case.preset)
    answer = await deliver(harness, case)
    assert answer.status in (200, 202), answer.body
    assert harness.letters == [], answer.body
    [record] = harness.records
    assert (record.type, record.event.email, record.event.phone) == (case.type, case.email, case.phone)
    assert case.person.items() <= record.event.person.items()
    assert case.fields.items() <= record.event.fields.items()
    assert HMAC_SECRET not in repr(record)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.preset}-{case.body}-{case.sign.__qualname__}")
async def test_delivery_that_is_altered_or_has_another_secret_is_refused(
    harness: GatewayHarness, case: PresetCase
) -> None:
    configure(harness, case.preset)
    body = body_of(case)
    headers = {"content-type": MEDIA[Path(case.body).suffix], **case.sign(body, harness.clock)}
    if case.preset in UNSIGNED:
        (harness.directory / "vendor.secret").write_text("another secret of the vendor")
        harness.clock.advance(seconds=5)
    else:
        body = body.replace(b"acme", b"evil").replace(b"12345678", b"12345670")
    assert (await harness.request("POST", case.path, headers, body)).status == 401
    assert (harness.records, harness.letters) == ([], [])


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.preset}-{case.body}-{case.sign.__qualname__}")
async def test_delivery_that_cannot_be_mapped_is_kept_counted_and_accepted(
    harness: GatewayHarness, case: PresetCase
) -> None:
    configure(harness, case.preset, ", events: [{type: custom.broken, email: \"'no address'\"}]")
    answer = await deliver(harness, case)
    assert answer.status in (200, 202), answer.body
    assert "custom.broken" not in {record.type for record in harness.records}
    assert [letter.source for letter in harness.letters] == ["vendor"]
    assert harness.gateway._counts.take()["vendor", "unmapped"].number == 1


def test_each_preset_has_a_file_and_a_delivery() -> None:
    assert sorted(file.stem for file in presets.DIRECTORY.glob("*.yaml")) == sorted(PRESETS)
    assert {case.preset for case in CASES} | set(THIN_PRESETS) == set(PRESETS)


async def test_own_entry_replaces_those_of_its_type_and_others_stay(harness: GatewayHarness) -> None:
    own = "{when: event_type, type: form.submitted, email: form_response.hidden.email, data: {form: \"'ours'\"}}"
    added = "{when: event_type, type: custom.typeform, email: form_response.hidden.email}"
    configure(harness, "typeform", f", events: [{own}, {added}]")
    await deliver(harness, CASES[0])
    assert [(record.type, record.event.fields.get("form")) for record in harness.records] == [
        ("form.submitted", "ours"),
        ("custom.typeform", None),
    ]


async def test_outbound_message_is_acknowledged_as_salesforce_expects(harness: GatewayHarness) -> None:
    case = next(case for case in CASES if case.preset == "salesforce")
    configure(harness, case.preset)
    answer = await deliver(harness, case)
    assert (answer.status, answer.headers["content-type"]) == (200, "text/xml; charset=utf-8")
    assert b"<Ack>true</Ack>" in answer.body


async def test_deal_in_pipedrive_changes_the_opportunity(harness: GatewayHarness) -> None:
    case = next(case for case in CASES if case.preset == "pipedrive")
    configure(harness, case.preset)
    deal = {"id": 7, "person_id": 12, "status": "won", "stage_id": 3, "value": 1200.5, "currency": "EUR"}
    meta = {"entity": "deal", "id": "6b1c-12", "timestamp": "2026-12-01T08:59:11.000Z"}
    await deliver(harness, case, json.dumps({"meta": meta, "data": deal}).encode())
    [record] = harness.records
    assert (record.type, record.event.crm_id) == ("opportunity.changed", "12")
    assert {"opportunity_id": "7", "stage": "won", "amount": 1200.5}.items() <= record.event.fields.items()


async def test_test_lead_of_google_makes_no_event(harness: GatewayHarness) -> None:
    case = CASES[-1]
    configure(harness, case.preset)
    body = body_of(case).replace(b'"is_test": false', b'"is_test": true')
    answer = await deliver(harness, case, body)
    assert (answer.status, answer.body, harness.records) == (200, b"{}", [])


HANDSHAKE = """
sources:
  - id: vendor
    kind: webhook
    verify: {{scheme: header, header: X-Key, secrets: [{{file: phone.secret}}]}}
    handshake: {}
    events:
      - {{type: custom.ping, email: email}}
"""


async def test_subscription_with_the_agreed_token_is_answered(harness: GatewayHarness) -> None:
    harness.configure(HANDSHAKE.format("{kind: hub, token: {file: second.secret}}"))
    token = (harness.directory / "second.secret").read_text()
    query = f"hub.mode=subscribe&hub.challenge=1158201444&hub.verify_token={token}"
    answer = await harness.request("GET", f"/hooks/vendor?{query}")
    assert (answer.status, answer.body, answer.headers["content-type"]) == (200, b"1158201444", "text/plain")
    for wrong in (
        query.replace(token, "x"),
        query.replace("subscribe", "x"),
        query.replace("1158201444", "%00"),
        query.replace("1158201444", "9" * 501),
        "",
        "%ff",
    ):
        assert (await harness.request("GET", f"/hooks/vendor?{wrong}")).status == 403


async def test_challenge_code_is_answered_with_its_hmac(harness: GatewayHarness) -> None:
    harness.configure(HANDSHAKE.format("{kind: challenge-code}"))
    answer = await harness.request("GET", "/hooks/vendor?challengeCode=abc-1")
    expected = hmac.new(KEY, b"abc-1", "sha256").hexdigest()
    assert answer.json == {"challengeCode": "abc-1", "challengeResponse": expected}


async def test_verified_challenge_is_echoed_and_makes_no_event(harness: GatewayHarness) -> None:
    harness.configure(HANDSHAKE.format("{kind: echo}"))
    body = json.dumps({"type": "url_verification", "challenge": "3eZbr"}).encode()
    headers = {"content-type": "application/json", "x-key": HMAC_SECRET}
    answer = await harness.request("POST", "/hooks/vendor", headers, body)
    assert (answer.status, answer.json, harness.records) == (200, {"challenge": "3eZbr"}, [])
    assert (await harness.request("POST", "/hooks/vendor", headers | {"x-key": "x"}, body)).status == 401


async def test_get_without_a_handshake_is_left_to_the_application(harness: GatewayHarness) -> None:
    harness.configure(HANDSHAKE.format("{kind: echo}"))
    assert (await harness.request("GET", "/hooks/vendor")).status == 299
