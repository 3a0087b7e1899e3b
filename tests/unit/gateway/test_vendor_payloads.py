"""Bodies that vendors or their integrators publish: each is mapped to what it means, or makes no event, and none fails."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from firsthour.runtime.config import presets
from schemas.sources import PresetSource
from schemas.verification import Secret
from services.gateway.domain import webhooks
from services.gateway.domain.coerce import UnmappableError
from services.gateway.domain.mapping import parse_event
from services.gateway.domain.verification.request import SignedRequest
from services.gateway.domain.verification.verifier import verification
from tests.hand_clock import HandClock

PAYLOADS = Path(__file__).parents[4] / "shared" / "payloads"
pytestmark = pytest.mark.skipif(not PAYLOADS.is_dir(), reason="the published bodies are not beside this tree")


def events(preset: str, body: Any) -> list[tuple[str, str | None]]:
    """Return type and email of the events of a body."""
    source = presets.webhook_source(PresetSource(id="vendor", preset=preset, secrets=(Secret(env="X"),)))
    entries = [webhooks.compile_mapping(mapping) for mapping in source.events]
    now, ids = HandClock().business(), webhooks.EventIds()
    parsed = [
        parse_event(form, origin="vendor", scope="vendor", now=now)
        for item in webhooks.items_of(entries, body, "delivery")
        for _, form in webhooks.short_forms(item, ids)
    ]
    return [(event.type, event.external.email) for event in parsed]


@pytest.mark.parametrize(
    ("preset", "file", "expected"),
    [
        ("calendly", "calendly/invitee_created.json", [("meeting.booked", "invitee@example.com")]),
        ("google-ads", "google_ads/lead_form_webhook.json", [("form.submitted", "jane@example.com")]),
        ("slack", "slack/slack_00_webhook_url_verificatin_event.json", []),
    ],
)
def test_published_body_becomes_its_event(preset: str, file: str, expected: list[tuple[str, str]]) -> None:
    assert events(preset, json.loads((PAYLOADS / file).read_text())) == expected


def _customerio() -> Iterator[Any]:
    for file in sorted((PAYLOADS / "customerio").glob("*.json")):
        yield pytest.param(json.loads(file.read_text()), id=file.stem)


@pytest.mark.parametrize("sample", list(_customerio()))
def test_body_of_customerio_is_mapped_or_refused_with_its_place(sample: Any) -> None:
    try:
        mapped = events("customerio", json.loads(sample["request"]["body"]))
    except (UnmappableError, ValueError) as error:
        assert str(error)
        return
    assert all(type.startswith("email.") for type, _ in mapped)


def _vector(file: str) -> Any:
    return json.loads((PAYLOADS / file).read_text())


def test_signature_vectors_of_hubspot_hold() -> None:
    source = presets.webhook_source(PresetSource(id="vendor", preset="hubspot", secrets=(Secret(env="X"),)))
    for vector in _vector("hubspot/signature_vectors.json")["vectors"]:
        proofs = [verification(scheme, [vector["client_secret"]]) for scheme in source.verify]
        clock = HandClock()
        name = "x-hubspot-signature-v3" if vector["version"] == "v3" else "x-hubspot-signature"
        headers = {name.encode(): vector["signature"].encode()}
        now = clock.real()
        if vector["version"] == "v3":
            headers[b"x-hubspot-request-timestamp"] = str(vector["timestamp"]).encode()
            now = now.fromtimestamp(int(vector["timestamp"]) / 1_000, tz=now.tzinfo)
        request = SignedRequest(
            headers, vector["body"].encode(), vector.get("method", "POST").encode(), vector["url"].encode()
        )
        assert any(proof.check(request, now).holds for proof in proofs), vector["id"]


def test_signature_vector_of_sendgrid_holds() -> None:
    vector = _vector("sendgrid/event_webhook_ecdsa_vector.json")
    source = presets.webhook_source(PresetSource(id="vendor", preset="sendgrid", secrets=(Secret(env="X"),)))
    proof = verification(source.verify[0], [vector["public_key"]])
    headers = {
        b"x-twilio-email-event-webhook-signature": vector["signature"].encode(),
        b"x-twilio-email-event-webhook-timestamp": vector["timestamp"].encode(),
    }
    now = HandClock().real()
    at = now.fromtimestamp(int(vector["timestamp"]), tz=now.tzinfo)
    assert proof.check(SignedRequest(headers, vector["body"].encode()), at).fault == ""
    assert not proof.check(SignedRequest(headers, vector["body"].rstrip().encode()), at).holds
