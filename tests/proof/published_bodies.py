"""The bodies that vendors or their integrators publish, each with the source that receives it and the proof that it needs.

They are not part of this tree: they are read from `../shared/payloads`, if it is there.
"""

import base64
import hmac
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

from ruamel.yaml import YAML

from tests.fakes.slack_clicks import SIGNING_SECRET, signed
from tests.hand_clock import HandClock
from tests.unit.gateway.harness import HMAC_SECRET
from tests.unit.gateway.vendor_cases import CASES, Sign

PAYLOADS: Final = Path(__file__).parents[3] / "shared" / "payloads"
NOW: Final = datetime(2026, 12, 1, 9, tzinfo=UTC)
_FACEBOOK_AT: Final = datetime(2025, 9, 25, 10, 6, tzinfo=UTC)
_JSON: Final = "application/json"
_FORM: Final = "application/x-www-form-urlencoded"


@dataclass(frozen=True)
class PublishedBody:
    """A delivery. `preset`: of the source; empty: the path is no webhook. `at`: the time at which it is received.

    `secret`: of the source; `sign`: returns the headers of the proof; `key`: it has an API key.
    """

    file: str
    preset: str
    body: bytes
    at: datetime = NOW
    path: str = "/hooks/vendor"
    media: str = _JSON
    secret: str = HMAC_SECRET
    sign: Sign = lambda body, clock: {}
    headers: Mapping[str, str] = field(default_factory=dict)
    key: bool = False
    public_url: str = "https://leads.example"


def bodies() -> Iterator[PublishedBody]:
    """Yield the deliveries, in the order of their files."""
    for read in (_plain, _in_requests, _intercom, _slack, _tracked, _cloudevents, _vectors):
        yield from read()


def _signs() -> dict[str, Sign]:
    return {case.preset: case.sign for case in CASES}


def _text(name: str) -> bytes:
    return (PAYLOADS / name).read_bytes()


def _json(name: str) -> Any:
    return json.loads(_text(name))


def _plain() -> Iterator[PublishedBody]:
    """Yield the bodies that are files, received a minute after the time that they state."""
    stated = {
        "calendly/invitee_created.json": ("calendly", "2023-01-29T13:50:13"),
        "hubspot/batch_propertyChange_and_creation_eventType.json": ("hubspot", "2016-05-02T19:11:47"),
        "hubspot/batch_propertyChange_and_creation_subscriptionType.json": ("hubspot", "2016-05-02T19:11:47"),
        "hubspot/pipedream_contact.json": ("hubspot", "2024-06-20T02:08:27"),
        "hubspot/pipedream_email_event_sent.json": ("hubspot", "2014-06-02T13:28:57"),
        "hubspot/pipedream_new_form_submission.json": ("hubspot", "2024-06-24T18:09:22"),
        "mautic/lead_post_save_new.json": ("mautic", "2017-12-01T06:05:18"),
        "typeform/form_response_docs_example.json": ("typeform", "2018-01-18T18:17:02"),
    }
    for file, (preset, time) in stated.items():
        at = datetime.fromisoformat(time).replace(tzinfo=UTC) + timedelta(minutes=1)
        yield PublishedBody(file, preset, _text(file), at, sign=_signs()[preset])
    google = "google_ads/lead_form_webhook.json"
    body = _text(google).replace(b"shared-key", HMAC_SECRET.encode())
    yield PublishedBody(google, "google-ads", body)


def _in_requests() -> Iterator[PublishedBody]:
    """Yield the bodies beside which an integrator states what is expected."""
    for file in sorted((PAYLOADS / "customerio").glob("*.json")):
        body = json.loads(file.read_text())["request"]["body"].encode()
        yield PublishedBody(f"customerio/{file.name}", "customerio", body, sign=_signs()["customerio"])
    for file in sorted((PAYLOADS / "facebook").glob("*.json")):
        body = json.loads(file.read_text())["request"]["body"].encode()
        preset = "meta" if "native" in file.name else "zapier"
        sign = _signs()["marketo"] if preset == "zapier" else _meta
        yield PublishedBody(f"facebook/{file.name}", preset, body, _FACEBOOK_AT, sign=sign)


def _meta(body: bytes, _: HandClock) -> Mapping[str, str]:
    return {"X-Hub-Signature-256": "sha256=" + hmac.new(HMAC_SECRET.encode(), body, "sha256").hexdigest()}


def _intercom() -> Iterator[PublishedBody]:
    """Yield items, each in the notification of a topic to which such an item belongs."""
    topics = {
        "item_contact_lead": ("contact.lead.created",),
        "item_contact_user": ("contact.user.created", "contact.lead.signed_up"),
        "item_contact_user_b": ("contact.unsubscribed", "contact.user.created"),
        "item_contact_tag_5": ("contact.lead.tag.created",),
        "item_contact_tag_7": ("contact.user.tag.created",),
        "item_conversation_2": ("conversation.user.created", "conversation.admin.single.created"),
        "item_conversation_2_b": ("conversation.admin.closed",),
        "item_ticket_2": ("ticket.created",),
        "item_ticket_2_b": ("ticket.state.updated",),
    }
    for name, of_item in topics.items():
        for topic in of_item:
            item = _json(f"intercom/{name}.json")
            note = {"type": "notification_event", "id": f"notif_{topic}", "topic": topic, "created_at": 1796115540}
            body = json.dumps({**note, "data": {"type": "notification_event_data", "item": item}}).encode()
            yield PublishedBody(f"intercom/{name}.json as {topic}", "intercom", body, sign=_signs()["intercom"])


def _slack() -> Iterator[PublishedBody]:
    """Yield events of Slack, and the requests of clicks and commands in it."""
    for file in sorted((PAYLOADS / "slack").glob("*.json")):
        if file.name == "signature_vector.json":
            continue
        value = json.loads(file.read_text())
        name = f"slack/{file.name}"
        if ("Payload" in file.name and "event_" not in file.name) or file.name.startswith("bolt_"):
            command = "SlashCommand" in file.name
            path = "/slack/commands" if command else "/slack/interactions"
            fields = value if command else {"payload": json.dumps(value)}
            request = signed(urlencode(fields).encode(), NOW, SIGNING_SECRET)
            yield PublishedBody(name, "", request.body, path=path, media=_FORM, headers=request.headers)
        else:
            body = value["request"]["body"] if "request" in value else json.dumps(value)
            yield PublishedBody(name, "slack", body.encode(), sign=_signs()["slack"])


def _tracked() -> Iterator[PublishedBody]:
    """Yield calls of Segment's tracking API: to our tracking API, and through the webhooks of the two vendors."""
    batch = "segment/sdk_batch_00.json"
    yield PublishedBody(batch, "", _text(batch), path="/v1/batch", key=True)
    for file in sorted((PAYLOADS / "rudder_segment_spec_events").glob("*.jsonl")):
        for number, line in enumerate(file.read_text().splitlines(), 1):
            name, body = f"rudder_segment_spec_events/{file.name}:{number}", line.encode()
            whole = json.dumps({"batch": [json.loads(line)]}).encode()
            yield PublishedBody(name, "", whole, path="/v1/batch", key=True)
            yield PublishedBody(name, "rudderstack", body, sign=_signs()["rudderstack"])
            yield PublishedBody(name, "segment", body, _just_after(line), sign=_signs()["segment"])


def _just_after(line: str) -> datetime:
    """Return a time after that of the call: the signature of Segment states none, so an old call may be a replay."""
    call = json.loads(line)
    stamp = call.get("timestamp") or call.get("originalTimestamp")
    try:
        return datetime.fromisoformat(stamp).astimezone(UTC) + timedelta(minutes=1)
    except (TypeError, ValueError):
        return NOW


def _cloudevents() -> Iterator[PublishedBody]:
    """Yield the samples of the specification in the binary mode, and the one that asks for it in the structured mode."""
    for file in sorted((PAYLOADS / "cloudevents").glob("*.yaml")):
        for number, sample in enumerate(YAML(typ="safe", pure=True).load_all(file.read_text()), 1):
            name, attributes = f"cloudevents/{file.name}:{number}", dict(sample["ContextAttributes"])
            own = {key: str(value).strip() for key, value in attributes.pop("Extensions", {}).items()}
            texts = {key: _attribute(value) for key, value in attributes.items()} | own
            data = str(sample.get("Data", ""))
            if sample.get("Mode") == "structured":
                body = json.dumps({**texts, "data": json.loads(data)}).encode()
                media = "application/cloudevents+json"
                yield PublishedBody(name, "", body, path="/v1/events", media=media, key=True)
                continue
            media = texts.pop("datacontenttype", _JSON)
            headers = {f"ce-{key}": base_quoted(value) for key, value in texts.items()}
            yield PublishedBody(name, "", data.encode(), path="/v1/events", media=media, headers=headers, key=True)


def base_quoted(value: str) -> str:
    """Return an attribute as a header has it: only blanks, quotes, percent signs and what is not ASCII are encoded."""
    return "".join(c if "!" <= c <= "~" and c not in '"%' else "".join(f"%{b:02X}" for b in c.encode()) for c in value)


def _attribute(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _vectors() -> Iterator[PublishedBody]:
    """Yield the signature vectors, received when they were signed."""
    for vector in _json("hubspot/signature_vectors.json")["vectors"]:
        if vector["method"] != "POST":
            continue
        header = "X-HubSpot-Signature-v3" if vector["version"] == "v3" else "X-HubSpot-Signature"
        headers = {header: vector["signature"]}
        at = NOW
        if "timestamp" in vector:
            headers["X-HubSpot-Request-Timestamp"] = vector["timestamp"]
            at = datetime.fromtimestamp(int(vector["timestamp"]) / 1_000, UTC)
        name = f"hubspot/signature_vectors.json: {vector['id']}"
        yield PublishedBody(
            name,
            "hubspot",
            vector["body"].encode(),
            at,
            "/webhook_uri",
            secret=vector["client_secret"],
            headers=headers,
            public_url="https://www.example.com",
        )
    vector = _json("sendgrid/event_webhook_ecdsa_vector.json")
    names = ("X-Twilio-Email-Event-Webhook-Signature", "X-Twilio-Email-Event-Webhook-Timestamp")
    headers = dict(zip(names, (vector["signature"], vector["timestamp"]), strict=True))
    at = datetime.fromtimestamp(int(vector["timestamp"]), UTC)
    file = "sendgrid/event_webhook_ecdsa_vector.json"
    yield PublishedBody(file, "sendgrid", vector["body"].encode(), at, secret=vector["public_key"], headers=headers)
    vector = _json("slack/signature_vector.json")
    headers = {"X-Slack-Signature": vector["signature"], "X-Slack-Request-Timestamp": vector["timestamp"]}
    at = datetime.fromtimestamp(int(vector["timestamp"]), UTC)
    yield PublishedBody(
        "slack/signature_vector.json",
        "slack",
        vector["body"].encode(),
        at,
        media=_FORM,
        secret=vector["signing_secret"],
        headers=headers,
    )
    yield from _standard_webhooks()


def _standard_webhooks() -> Iterator[PublishedBody]:
    """Yield the vectors of Standard Webhooks, and the cases of its reference tests made from the first of them."""
    vectors = _json("standard_webhooks/vectors.json")
    for number, vector in enumerate(vectors["vectors"], 1):
        yield _standard(f"vector {number}", vector)
    first = vectors["vectors"][0]
    changes: dict[str, Callable[[dict[str, Any]], Any]] = {
        "missing webhook-id": lambda v: v | {"id": None},
        "missing webhook-timestamp": lambda v: v | {"timestamp": None},
        "webhook-timestamp not an integer": lambda v: v | {"timestamp": "hello"},
        "missing webhook-signature": lambda v: v | {"signature": None},
        "signature with no v1, prefix": lambda v: v | {"signature": v["signature"].removeprefix("v1,")},
        "timestamp older than 300 s": lambda v: v | {"at": 301},
        "timestamp more than 300 s in the future": lambda v: v | {"at": -301},
        "body altered by one byte": lambda v: v | {"body": v["body"].replace("2432", "2433")},
        "webhook-signature lists several space-separated signatures, one of them valid": lambda v: (
            v | {"signature": f"v1,{base64.b64encode(b'x' * 32).decode()} v2,abc {v['signature']}"}
        ),
    }
    for case in vectors["case_list_from_reference_tests"]:
        yield _standard(f"{case['case']} ({case['expect']})", changes[case["case"]](first))


def _standard(name: str, vector: Mapping[str, Any]) -> PublishedBody:
    values = {"webhook-id": "id", "webhook-timestamp": "timestamp", "webhook-signature": "signature"}
    headers = {header: vector[key] for header, key in values.items() if vector[key] is not None}
    sent = vector["timestamp"] or "1614265330"
    at = datetime.fromtimestamp(int(sent if sent.isdigit() else 1614265330) + vector.get("at", 0), UTC)
    file = f"standard_webhooks/vectors.json: {name}"
    return PublishedBody(
        file, "standard-webhooks", vector["body"].encode(), at, secret=vector["secret"], headers=headers
    )
