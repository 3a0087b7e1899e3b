"""Thin events: what is selected in a delivery, the address of the rest, and what the answer of the API means."""

import base64
import hmac
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from firsthour.runtime.config import presets, source_secrets
from firsthour.runtime.config.reading import ConfigError
from firsthour.runtime.http import client
from schemas.fetching import Fetch
from schemas.sources import THIN_PRESETS, PresetSource
from schemas.verification import Secret
from services.gateway.domain import thin_events
from services.gateway.domain.coerce import UnmappableError
from services.gateway.domain.fetch_outcomes import (
    OPEN_AFTER,
    PAUSE_SECONDS_MAX,
    PROBE_SECONDS,
    RETRY_AFTER_SECONDS_MAX,
    Breaker,
    FetchRefused,
    TryLater,
    judged,
    pause_seconds,
    retry_after,
)
from services.gateway.intake.completed import map_completed
from services.gateway.sources import WebhookEndpoint, source_index
from tests.fakes.services import FakeService
from tests.hand_clock import HandClock
from tests.unit.gateway.harness import HMAC_SECRET, GatewayHarness
from tests.unit.gateway.test_trial import tried

BODIES = Path(__file__).with_name("vendor_bodies")
PAYLOADS = Path(__file__).parents[4] / "shared" / "payloads"
TOKEN = "a-token-of-the-vendor"
ADDRESSES = {
    "meta": "https://graph.facebook.com/v25.0/901?fields=id,created_time",
    "linkedin": "https://api.linkedin.com/rest/leadFormResponses/1b1e7ca3-4?fields=id,leadType",
    "hubspot": "https://api.hubapi.com/crm/objects/2026-09/contacts/1246978?properties=email,phone",
}
EXPECTED = {
    "meta": ("form.submitted", "901", {"form": "77"}),
    "linkedin": ("form.submitted", "urn:li:leadGenFormResponse:1b1e7ca3-4", {"form": "Demo request"}),
    "hubspot": ("lead.updated", "3816279480-22-1246978", {}),
}


def configure(harness: GatewayHarness, preset: str, more: str = "") -> WebhookEndpoint:
    (harness.directory / "vendor.secret").write_text(HMAC_SECRET)
    (harness.directory / "vendor.token").write_text(TOKEN)
    harness.configure(
        f"sources:\n  - {{id: vendor, preset: {preset}, secrets: [{{file: vendor.secret}}], "
        f"fetch: {{token: {{file: vendor.token}}{more}}}}}\n"
    )
    return source_index(harness.files.current, {}).webhooks["vendor"]


def sample(preset: str, part: str) -> bytes:
    return (BODIES / f"{preset}_thin_{part}.json").read_bytes()


async def deliver(harness: GatewayHarness, preset: str, body: bytes) -> int:
    headers = {"content-type": "application/json"}
    match preset:
        case "meta":
            headers["x-hub-signature-256"] = "sha256=" + hmac.new(HMAC_SECRET.encode(), body, "sha256").hexdigest()
        case "linkedin":
            signed = b"hmacsha256=" + body
            headers["x-li-signature"] = hmac.new(HMAC_SECRET.encode(), signed, "sha256").hexdigest()
        case _:
            at = str(int(harness.clock.real().timestamp() * 1_000))
            signed = b"POSThttps://leads.example/hooks/vendor" + body + at.encode()
            digest = hmac.digest(HMAC_SECRET.encode(), signed, "sha256")
            headers["x-hubspot-signature-v3"] = base64.b64encode(digest).decode()
            headers["x-hubspot-request-timestamp"] = at
    return (await harness.request("POST", "/hooks/vendor", headers, body)).status


def waiting(harness: GatewayHarness) -> list[str]:
    with harness.units.engine.begin() as connection:
        rows = connection.exec_driver_sql("SELECT event_id FROM gateway_fetches ORDER BY event_id")
        return [row[0] for row in rows]


# --- presets ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("preset", THIN_PRESETS)
async def test_thin_delivery_of_a_vendor_is_kept_and_its_answer_is_mapped(harness: GatewayHarness, preset: str) -> None:
    endpoint = configure(harness, preset)
    assert await deliver(harness, preset, sample(preset, "delivery")) in (200, 202)
    type, id, fields = EXPECTED[preset]
    assert id in waiting(harness)
    assert (harness.records, harness.letters) == ([], [])

    report = tried(harness, sample(preset, "delivery"), "vendor", answer=sample(preset, "answer"), signed=False)
    assert any(fetch["url"].startswith(ADDRESSES[preset]) for fetch in report["fetches"])
    [event] = report["events"]
    assert (event["type"], event["email"]) == (type, "ann@acme.example")
    assert fields.items() <= event["fields"].items()
    person = {"first_name": "Ann", "last_name": "Lee", "title": "CTO", "company.name": "Acme"}
    assert person.items() <= event["person"].items()
    assert endpoint.api is not None
    assert TOKEN not in repr(endpoint)
    assert TOKEN in str(dict(endpoint.api.headers))


def test_vendors_with_thin_events_are_those_whose_preset_fetches() -> None:
    names = sorted(file.stem for file in presets.DIRECTORY.glob("*.yaml"))
    assert sorted(THIN_PRESETS) == [name for name in names if "fetch" in presets.preset(name)]


async def test_batch_is_not_fetched_without_a_token(harness: GatewayHarness) -> None:
    (harness.directory / "vendor.secret").write_text(HMAC_SECRET)
    harness.configure("sources:\n  - {id: vendor, preset: hubspot, secrets: [{file: vendor.secret}]}\n")
    assert await deliver(harness, "hubspot", sample("hubspot", "delivery")) == 202
    assert (waiting(harness), harness.records) == ([], [])


async def test_rest_of_a_batch_is_mapped_beside_its_thin_events(harness: GatewayHarness) -> None:
    configure(harness, "hubspot")
    contact = {"vid": 5, "properties": {"email": {"value": "bo@acme.example"}}}
    batch = [*json.loads(sample("hubspot", "delivery")), contact, {"subscriptionType": "company.creation"}]
    assert await deliver(harness, "hubspot", json.dumps(batch).encode()) == 202
    assert len(waiting(harness)) == 2
    assert [record.event.email for record in harness.records] == ["bo@acme.example"]


async def test_altered_thin_delivery_is_refused(harness: GatewayHarness) -> None:
    configure(harness, "meta")
    body = sample("meta", "delivery")
    headers = {"x-hub-signature-256": "sha256=" + hmac.new(HMAC_SECRET.encode(), body, "sha256").hexdigest()}
    altered = body.replace(b"901", b"902")
    assert (await harness.request("POST", "/hooks/vendor", headers, altered)).status == 401
    assert waiting(harness) == []


async def test_thin_delivery_that_cannot_be_stored_is_not_acknowledged(harness: GatewayHarness) -> None:
    configure(harness, "meta")
    harness.units.full = True
    assert await deliver(harness, "meta", sample("meta", "delivery")) == 503


@pytest.mark.skipif(not PAYLOADS.is_dir(), reason="the published bodies are not beside this tree")
def test_published_deliveries_of_meta_name_their_leads(harness: GatewayHarness) -> None:
    endpoint = configure(harness, "meta")
    assert endpoint.api is not None
    named = {}
    for file in sorted((PAYLOADS / "facebook").glob("facebook_lead_ads_native_*.json")):
        body = json.loads(json.loads(file.read_text())["request"]["body"])
        named[file.stem[25:27]] = [event.id for event in thin_events.select(endpoint.api.lookup, body).events]
    assert named == {
        "00": ["1459076748710713", "1459076748710714", "1459076748710715"],
        "01": [],
        "02": ["1459076748710713", "1459076748710714"],
        "03": [],
        "04": [],
    }


def test_test_lead_of_linkedin_and_a_deleted_one_make_no_event(harness: GatewayHarness) -> None:
    endpoint = configure(harness, "linkedin")
    assert endpoint.api is not None
    deleted = {**json.loads(sample("linkedin", "delivery")), "leadAction": "DELETED"}
    assert thin_events.select(endpoint.api.lookup, deleted).events == []
    answer = {**json.loads(sample("linkedin", "answer")), "testLead": True}
    team, now = harness.files.current.team, harness.clock.business()
    event = json.loads(sample("linkedin", "delivery"))
    assert map_completed(endpoint, "x", event, answer, team, now).events == ()


def test_completed_event_of_an_old_delivery_is_kept_as_a_possible_replay(harness: GatewayHarness) -> None:
    endpoint = configure(harness, "meta")
    event: dict[str, Any] = {
        "leadgen_id": "901",
        "created_time": int((harness.clock.real() - timedelta(days=21)).timestamp()),
    }
    answer = json.loads(sample("meta", "answer"))
    outcome = map_completed(endpoint, "901", event, answer, harness.files.current.team, harness.clock.business())
    [body] = outcome.bodies
    assert "more than 20 days ago" in body.error


# --- selection and address --------------------------------------------------------------------------------------------


def lookup(**fields: Any) -> thin_events.Lookup:
    defaults = {"base_url": "https://api.example", "path": "/leads/{id}", "id": "id"}
    return thin_events.compile_lookup(Fetch.model_validate({**defaults, **fields}))


@pytest.mark.parametrize(
    ("value", "path"),
    [(7, "/leads/7"), ("a b", "/leads/a%20b"), ("a/../b?c#d", "/leads/a%2F..%2Fb%3Fc%23d"), ("ä", "/leads/%C3%A4")],
)
def test_value_in_a_path_is_one_segment(value: Any, path: str) -> None:
    assert thin_events.path_of(lookup(), {"id": value}) == path


@pytest.mark.parametrize("value", [None, "", "..", ".", " ", True, 1.5, [], {}, "x" * 201, "a\r\nHost: evil"])
def test_value_that_is_no_part_of_a_path_is_refused(value: Any) -> None:
    with pytest.raises(UnmappableError) as caught:
        thin_events.path_of(lookup(), {"id": value})
    assert caught.value.pointer == "fetch/path"


def test_expression_of_fetch_that_fails_is_named() -> None:
    with pytest.raises(UnmappableError) as caught:
        thin_events.select(lookup(when="length(note) > `0`"), {"id": 1, "note": 5})
    assert caught.value.pointer == "fetch/when"


def test_event_is_selected_once_and_the_rest_of_a_list_stays() -> None:
    part = thin_events.select(lookup(when="thin"), [{"id": 1, "thin": True}, {"id": 1, "thin": True}, {"id": 2}, "x"])
    assert ([event.id for event in part.events], part.rest, part.nothing_left) == (["1"], [{"id": 2}, "x"], False)


@pytest.mark.parametrize(
    "fields",
    [
        {"base_url": "http://api.example"},
        {"base_url": "https://user:secret@api.example"},
        {"base_url": "https://api.example?x=1"},
        {"path": "leads/{id}"},
        {"path": "/leads/{}"},
        {"path": "/leads/{id"},
        {"path": "/leads/ {id}"},
        {"headers": {"X-A": "a\nb"}},
    ],
)
def test_fetch_that_cannot_be_made_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        lookup(**fields)


def test_mistaken_expressions_of_fetch_are_named_with_their_place(harness: GatewayHarness) -> None:
    sources = (
        "sources:\n  - id: vendor\n    kind: webhook\n    verify: {scheme: header, header: X-Key, secrets: [{file: s}]}\n"
        "    fetch: {base_url: 'https://api.example', path: '/x/{upper(id)}', id: 'id ==', token: {file: t}}\n"
        "    events: [{type: lead.updated, email: _answer.email}]\n"
    )
    with pytest.raises(ConfigError) as caught:
        harness.configure(sources)
    text = str(caught.value)
    assert "`upper` is not a function" in text
    assert "sources.yaml:5" in text


def test_fetch_of_a_preset_without_thin_events_is_refused() -> None:
    with pytest.raises(ValidationError, match="no thin events"):
        PresetSource.model_validate(
            {"id": "x", "preset": "typeform", "secrets": [{"env": "A"}], "fetch": {"token": {"env": "B"}}}
        )


def test_missing_token_is_a_warning_that_names_it(harness: GatewayHarness) -> None:
    configure(harness, "meta")
    (harness.directory / "vendor.token").unlink()
    examined = source_secrets.examine(harness.files.current, {"META_VERIFY_TOKEN": "a-verify-token-of-ours"})
    [warning] = examined.warnings
    assert "the thin events of vendor wait" in warning
    assert "vendor.token" in warning


def test_preset_names_the_variable_of_its_token() -> None:
    source = presets.webhook_source(PresetSource(id="vendor", preset="meta", secrets=(Secret(env="X"),)))
    assert {secret.env for secret, _ in source_secrets.named(source)} == {"X", "META_VERIFY_TOKEN", "META_ACCESS_TOKEN"}


# --- answers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_temporary_refusal_is_tried_later(status: int) -> None:
    assert isinstance(judged(status, {}, False, HandClock().real()), TryLater)


@pytest.mark.parametrize("status", [301, 302, 400, 401, 403, 404, 405, 410, 422])
def test_final_refusal_has_a_remedy(status: int) -> None:
    outcome = judged(status, {}, False, HandClock().real())
    assert isinstance(outcome, FetchRefused)
    assert "; " in outcome.why
    assert isinstance(judged(status, {}, True, HandClock().real()), TryLater)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30", 30.0),
        ("Tue, 01 Dec 2026 09:00:45 GMT", 45.0),
        ("-5", 0.0),
        ("1e9", RETRY_AFTER_SECONDS_MAX),
        ("nan", 0.0),
        ("soon", 0.0),
        ("", 0.0),
    ],
)
def test_retry_after_is_read_and_bounded(text: str, seconds: float) -> None:
    assert retry_after({"retry-after": text}, HandClock().real()) == seconds


def test_pause_is_a_part_of_a_limit_that_doubles_and_ends() -> None:
    assert [pause_seconds(tries, 0.0, 1.0) for tries in (1, 2, 3)] == [5.0, 10.0, 20.0]
    assert pause_seconds(1_000, 0.0, 1.0) == PAUSE_SECONDS_MAX
    assert pause_seconds(3, 0.0, 0.0) == 0.0
    assert pause_seconds(1, 60.0, 0.5) == 60.0


def test_breaker_probes_an_api_that_fails_and_closes_with_an_answer() -> None:
    breaker = Breaker()
    for _ in range(OPEN_AFTER):
        assert breaker.places(4, 0.0) == 4
        breaker.record(TryLater("503"), 0.0)
    assert (breaker.places(4, PROBE_SECONDS - 1), breaker.places(4, PROBE_SECONDS)) == (0, 1)
    breaker.record(TryLater("503"), PROBE_SECONDS)
    assert (breaker.places(4, PROBE_SECONDS * 3 - 1), breaker.places(4, PROBE_SECONDS * 3)) == (0, 1)
    breaker.record(None, PROBE_SECONDS * 3)
    assert breaker.places(4, PROBE_SECONDS * 3) == 4


def test_breaker_waits_as_long_as_the_api_asks_for() -> None:
    breaker = Breaker()
    breaker.record(TryLater("429", 600.0), 0.0)
    assert (breaker.places(4, 599.0), breaker.places(4, 600.0)) == (0, 4)


async def test_pinned_get_bounds_the_answer_and_follows_no_redirect() -> None:
    async with FakeService() as service:
        service.respond(200, b"[" + b" " * 70_000 + b"]")
        with pytest.raises(client.AnswerTooLargeError):
            await client.get_pinned(f"{service.url}/x", ["127.0.0.1"], {}, 5.0)
        service.respond(302, b"{}", location="/y")
        answer = await client.get_pinned(f"{service.url}/x", ["127.0.0.1"], {"authorization": "Bearer t"}, 5.0)
        assert (answer.status, [call.target for call in service.calls]) == (302, ["/x", "/x"])
        service.hang()
        with pytest.raises(client.NoAnswerError):
            await client.get_pinned(f"{service.url}/x", ["127.0.0.1"], {}, 0.05)
