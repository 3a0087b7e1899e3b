"""Presets of vendors: a delivery as the vendor signs and shapes it becomes the event that it means."""

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from firsthour.runtime.config import presets
from schemas.sources import PRESETS
from tests.hand_clock import HandClock
from tests.unit.gateway.harness import HMAC_SECRET, Answer, GatewayHarness

KEY = HMAC_SECRET.encode()
BODIES = Path(__file__).with_name("vendor_bodies")
Headers = Mapping[str, str]


class PresetCase(NamedTuple):
    """A delivery of a vendor, and what it means. The body is the file of this name in `vendor_bodies/`."""

    preset: str
    body: str
    sign: Callable[[bytes, HandClock], Headers]
    type: str
    email: str | None
    person: Mapping[str, Any]
    fields: Mapping[str, Any] = {}


def _typeform(body: bytes, _: HandClock) -> Headers:
    return {"Typeform-Signature": "sha256=" + base64.b64encode(hmac.digest(KEY, body, "sha256")).decode()}


def _hubspot(version: int) -> Callable[[bytes, HandClock], Headers]:
    address = b"https://leads.example/hooks/vendor"

    def sign(body: bytes, clock: HandClock) -> Headers:
        stamp = str(int(clock.real().timestamp() * 1_000))
        if version == 3:
            code = hmac.digest(KEY, b"POST" + address + body + stamp.encode(), "sha256")
            return {
                "X-HubSpot-Signature-v3": base64.b64encode(code).decode(),
                "X-HubSpot-Request-Timestamp": stamp,
            }
        text = KEY + (b"POST" + address if version == 2 else b"") + body
        return {"X-HubSpot-Signature": hashlib.sha256(text).hexdigest(), "X-HubSpot-Signature-Version": f"v{version}"}

    return sign


def _nothing(body: bytes, _: HandClock) -> Headers:
    return {}


ANN = {"first_name": "Ann", "last_name": "Lee"}
HUBSPOT_FORM = {**ANN, "title": "VP Sales", "company.name": "Acme", "company.employees": 500}
CASES = [
    PresetCase(
        "typeform",
        "typeform.json",
        _typeform,
        "form.submitted",
        "ann@acme.example",
        {**ANN, "company.name": "Acme", "company.employees": 201, "utm.source": "newsletter"},
        {"form": "lT4Z3j", "message": "We need a quote."},
    ),
    *(
        PresetCase(
            "hubspot", "hubspot_workflow.json", _hubspot(version), "form.submitted", "ann@acme.example", HUBSPOT_FORM
        )
        for version in (1, 2, 3)
    ),
    PresetCase("hubspot", "hubspot_contact.json", _hubspot(3), "lead.updated", "ann@acme.example", HUBSPOT_FORM),
    PresetCase(
        "marketo",
        "marketo.json",
        lambda body, clock: {"X-FirstHour-Key": HMAC_SECRET},
        "form.submitted",
        "ann@acme.example",
        HUBSPOT_FORM,
        {"form": "Demo request", "message": "We need a quote."},
    ),
    PresetCase(
        "google-ads",
        "google_ads.json",
        _nothing,
        "form.submitted",
        "ann@acme.example",
        {"name": "Ann Lee", "company.name": "Acme", "custom.gcl_id": "Cj0KCQ"},
        {"form": "40000000000"},
    ),
]


def configure(harness: GatewayHarness, preset: str, more: str = "") -> None:
    harness.configure(f"sources:\n  - {{id: vendor, preset: {preset}, secrets: [{{file: phone.secret}}]{more}}}\n")


def body_of(case: PresetCase) -> bytes:
    return (BODIES / case.body).read_bytes().replace(b"KEY", KEY)


async def deliver(harness: GatewayHarness, case: PresetCase, body: bytes | None = None) -> Answer:
    text = body_of(case) if body is None else body
    headers = {"content-type": "application/json", **case.sign(text, harness.clock)}
    return await harness.request("POST", "/hooks/vendor", headers, text)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.body}-{case.sign.__qualname__}")
async def test_delivery_of_a_vendor_becomes_its_event(harness: GatewayHarness, case: PresetCase) -> None:
    configure(harness, case.preset)
    answer = await deliver(harness, case)
    assert answer.status in (200, 202), answer.body
    assert harness.letters == []
    [record] = harness.records
    assert (record.type, record.event.email) == (case.type, case.email)
    assert case.person.items() <= record.event.person.items()
    assert case.fields.items() <= record.event.fields.items()
    assert HMAC_SECRET not in repr(record)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.body}-{case.sign.__qualname__}")
async def test_delivery_with_an_altered_body_is_refused(harness: GatewayHarness, case: PresetCase) -> None:
    configure(harness, case.preset)
    body = body_of(case)
    headers = {"content-type": "application/json", **case.sign(body, harness.clock)}
    altered = body.replace(KEY, b"another key of a sender") if KEY in body else body.replace(b"ann@", b"eve@")
    if case.preset == "marketo":  # which signs nothing: its key is in a header
        headers["X-FirstHour-Key"] = "another key of a sender"
    assert (await harness.request("POST", "/hooks/vendor", headers, altered)).status == 401
    assert (harness.records, harness.letters) == ([], [])


def test_each_preset_has_a_file_and_a_delivery() -> None:
    assert sorted(file.stem for file in presets.DIRECTORY.glob("*.yaml")) == sorted(PRESETS)
    assert {case.preset for case in CASES} == set(PRESETS)


async def test_own_entry_replaces_those_of_its_type_and_others_stay(harness: GatewayHarness) -> None:
    own = "{when: event_type, type: form.submitted, email: form_response.hidden.email, data: {form: \"'ours'\"}}"
    added = "{when: event_type, type: custom.typeform, email: form_response.hidden.email}"
    configure(harness, "typeform", f", events: [{own}, {added}]")
    await deliver(harness, CASES[0])
    assert [(record.type, record.event.fields.get("form")) for record in harness.records] == [
        ("form.submitted", "ours"),
        ("custom.typeform", None),
    ]


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
