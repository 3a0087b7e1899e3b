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
from services.gateway.domain.mapping import ParsedEvent, parse_relayed
from services.gateway.domain.verification.request import SignedRequest
from services.gateway.domain.verification.verifier import verification
from services.gateway.intake.segment import parse_call
from services.gateway.sources import entries_of
from tests.hand_clock import HandClock

PAYLOADS = Path(__file__).parents[4] / "shared" / "payloads"
pytestmark = pytest.mark.skipif(not PAYLOADS.is_dir(), reason="the published bodies are not beside this tree")


def events(preset: str, body: Any) -> list[tuple[str, str | None]]:
    """Return type and email of the events of a body."""
    return [(event.type, event.external.email) for event in parsed(preset, body)]


def parsed(preset: str, body: Any) -> list[ParsedEvent]:
    """Return the events of a body."""
    source = presets.webhook_source(PresetSource(id="vendor", preset=preset, secrets=(Secret(env="X"),)))
    entries, now, ids = entries_of(source, {}), HandClock().business(), webhooks.EventIds()
    return [
        parse_relayed(form, origin="vendor", scope="vendor", now=now)
        for item in webhooks.items_of(entries, body, "delivery")
        for _, form in webhooks.short_forms(item, ids)
    ]


@pytest.mark.parametrize(
    ("preset", "file", "expected"),
    [
        ("calendly", "calendly/invitee_created.json", [("meeting.booked", "invitee@example.com")]),
        ("google-ads", "google_ads/lead_form_webhook.json", [("form.submitted", "jane@example.com")]),
        ("typeform", "typeform/form_response_docs_example.json", [("form.submitted", "laura@example.com")]),
        ("mautic", "mautic/lead_post_save_new.json", [("lead.updated", "test@email.com")]),
        ("hubspot", "hubspot/pipedream_new_form_submission.json", [("form.submitted", "test@sample.com")]),
        ("hubspot", "hubspot/pipedream_contact.json", []),
        ("hubspot", "hubspot/pipedream_email_event_sent.json", []),
        ("slack", "slack/slack_00_webhook_url_verificatin_event.json", []),
    ],
)
def test_published_body_becomes_its_event(preset: str, file: str, expected: list[tuple[str, str]]) -> None:
    assert events(preset, json.loads((PAYLOADS / file).read_text())) == expected


OF_CUSTOMERIO: dict[int, list[str]] = {
    **{number: [] for number in range(12)},  # drafted, sent, delivered, attempted, and messages that are not mails
    1: ["consent.given"],
    2: ["consent.given"],
    3: ["email.unsubscribed"],
    5: ["email.bounced"],
    6: ["email.clicked"],
}


@pytest.mark.parametrize("number", [n for n in OF_CUSTOMERIO if n != 0])
def test_body_of_customerio_becomes_what_it_means(number: int) -> None:
    [file] = (PAYLOADS / "customerio").glob(f"customerio_{number:02}_*.json")
    mapped = events("customerio", json.loads(json.loads(file.read_text())["request"]["body"]))
    assert mapped == [(type, "test@example.com") for type in OF_CUSTOMERIO[number]]


def test_body_of_customerio_without_a_time_is_refused_with_its_place() -> None:
    body = json.loads((PAYLOADS / "customerio" / "customerio_00_test_0.json").read_text())["request"]["body"]
    with pytest.raises(UnmappableError, match="#/time: is not a time"):
        events("customerio", json.loads(body))


@pytest.mark.parametrize("file", ["item_conversation_2", "item_conversation_2_b"])
def test_conversation_that_an_admin_began_is_no_chat_of_a_lead(file: str) -> None:
    item = json.loads((PAYLOADS / "intercom" / f"{file}.json").read_text())
    notice = {"id": "notif_1", "topic": "conversation.user.created", "created_at": 1796115540, "data": {"item": item}}
    assert events("intercom", notice) == []


def _calls() -> Iterator[Any]:
    for file in sorted((PAYLOADS / "rudder_segment_spec_events").glob("*.jsonl")):
        for number, line in enumerate(file.read_text().splitlines(), 1):
            yield pytest.param(json.loads(line), id=f"{file.stem}-{number}")


def of_call(call: Any, preset: str | None) -> tuple[str, Any] | None:
    """Return type and person of a call, sent to the tracking API or through a webhook. None: it is no event."""
    now = HandClock().business()
    try:
        if preset is None:
            event = parse_call(call, "1", "key", now)
        else:
            [event] = parsed(preset, call)
    except (UnmappableError, ValueError):
        return None
    external = event.external
    return event.type, (external.email, external.phone, external.anonymous_id, external.person, external.fields)


@pytest.mark.parametrize("call", list(_calls()))
def test_published_call_means_the_same_through_a_webhook(call: Any) -> None:
    assert of_call(call, "segment") == of_call(call, None)


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
