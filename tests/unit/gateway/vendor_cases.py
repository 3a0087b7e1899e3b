"""Deliveries of vendors: how each is signed, and what it means. The bodies are in `vendor_bodies/`."""

import base64
import hashlib
import hmac
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from standardwebhooks.webhooks import Webhook

from tests.hand_clock import HandClock
from tests.unit.gateway.harness import HMAC_SECRET, STANDARD_SECRET

KEY = HMAC_SECRET.encode()
BODIES = Path(__file__).with_name("vendor_bodies")
Headers = Mapping[str, str]


Sign = Callable[[bytes, HandClock], Headers]
"""Returns the headers that prove a body."""
ECDSA_KEY = ec.generate_private_key(ec.SECP256R1())
ECDSA_PUBLIC = base64.b64encode(
    ECDSA_KEY.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
).decode()
SECRETS = {"sendgrid": ECDSA_PUBLIC, "standard-webhooks": STANDARD_SECRET}
"""The secrets of vendors whose secret is not any text."""
UNSIGNED = frozenset(
    {"marketo", "rudderstack", "activecampaign", "salesforce", "pipedrive", "aircall", "google-ads"}
    | {"jotform", "elementor", "contact-form-7", "gravity-forms"}
)
"""Vendors that prove themselves by a secret alone, so an altered body is not noticed."""
MEDIA = {
    ".json": "application/json",
    ".txt": "application/x-www-form-urlencoded",
    ".xml": "text/xml; charset=UTF-8",
    ".multipart": "multipart/form-data; boundary=b0und",
}


class PresetCase(NamedTuple):
    """A delivery of a vendor, and what it means. The body is the file of this name in `vendor_bodies/`."""

    preset: str
    body: str
    sign: Sign
    type: str
    email: str | None
    person: Mapping[str, Any]
    fields: Mapping[str, Any] = {}
    path: str = "/hooks/vendor"
    phone: str | None = None


def _based(header: str) -> Sign:
    return lambda body, clock: {header: base64.b64encode(hmac.digest(KEY, body, "sha256")).decode()}


def _webflow(body: bytes, clock: HandClock) -> Headers:
    stamp = str(int(clock.real().timestamp() * 1_000))
    code = hmac.new(KEY, f"{stamp}:".encode() + body, "sha256").hexdigest()
    return {"X-Webflow-Signature": code, "X-Webflow-Timestamp": stamp}


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


def _hexed(header: str, digest: str = "sha256", prefix: str = "", text: str = "{body}", stamp_header: str = "") -> Sign:
    def sign(body: bytes, clock: HandClock) -> Headers:
        stamp = str(int(clock.real().timestamp()))
        signed = text.replace("{stamp}", stamp).encode().replace(b"{body}", body)
        headers = {header: prefix + hmac.new(KEY, signed, digest).hexdigest()}
        return headers | ({stamp_header: stamp} if stamp_header else {})

    return sign


def _calendly(body: bytes, clock: HandClock) -> Headers:
    stamp = str(int(clock.real().timestamp()))
    code = hmac.new(KEY, f"{stamp}.".encode() + body, "sha256").hexdigest()
    return {"Calendly-Webhook-Signature": f"t={stamp},v1={code}"}


def _sendgrid(body: bytes, clock: HandClock) -> Headers:
    stamp = str(int(clock.real().timestamp()))
    code = ECDSA_KEY.sign(stamp.encode() + body, ec.ECDSA(hashes.SHA256()))
    return {
        "X-Twilio-Email-Event-Webhook-Signature": base64.b64encode(code).decode(),
        "X-Twilio-Email-Event-Webhook-Timestamp": stamp,
    }


def _twilio(body: bytes, _: HandClock) -> Headers:
    fields = sorted(parse_qsl(body.decode(), keep_blank_values=True))
    text = "https://leads.example/hooks/vendor" + "".join(name + value for name, value in fields)
    return {"X-Twilio-Signature": base64.b64encode(hmac.digest(KEY, text.encode(), "sha1")).decode()}


def _standard(body: bytes, clock: HandClock) -> Headers:
    now = clock.real()
    signature = Webhook(STANDARD_SECRET).sign("msg_1", now, body.decode())
    stamp = str(int(now.timestamp()))
    return {"webhook-id": "msg_1", "webhook-timestamp": stamp, "webhook-signature": signature}


def _keyed(header: str, value: str = HMAC_SECRET) -> Sign:
    return lambda body, clock: {header: value}


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
        "calendly",
        "calendly.json",
        _calendly,
        "meeting.booked",
        "ann@acme.example",
        {"name": "Ann Lee", "custom.timezone": "Europe/Berlin", "utm.source": "newsletter"},
        {"meeting": "Demo", "message": "We need a quote."},
    ),
    PresetCase(
        "cal-com",
        "cal_com.json",
        _hexed("X-Cal-Signature-256"),
        "meeting.booked",
        "ann@acme.example",
        {"name": "Ann Lee", "language": "de"},
        {"meeting_at": "2026-12-03T10:00:00Z"},
    ),
    PresetCase(
        "customerio",
        "customerio.json",
        _hexed("X-CIO-Signature", text="v0:{stamp}:{body}", stamp_header="X-CIO-Timestamp"),
        "email.clicked",
        "ann@acme.example",
        {},
        {"url": "https://www.ours.example/pricing"},
    ),
    PresetCase(
        "intercom",
        "intercom.json",
        _hexed("X-Hub-Signature", "sha1", "sha1="),
        "lead.updated",
        "ann@acme.example",
        {"name": "Ann Lee", "country": "DE", "company.name": "Acme"},
    ),
    PresetCase(
        "sendgrid",
        "sendgrid.json",
        _sendgrid,
        "email.clicked",
        "ann@acme.example",
        {},
        {"url": "https://www.ours.example/pricing"},
    ),
    PresetCase(
        "segment",
        "segment.json",
        _hexed("X-Signature", "sha1"),
        "lead.updated",
        "ann@acme.example",
        {**HUBSPOT_FORM, "utm.source": "newsletter"},
    ),
    PresetCase(
        "rudderstack", "segment.json", _keyed("X-FirstHour-Key"), "lead.updated", "ann@acme.example", HUBSPOT_FORM
    ),
    PresetCase(
        "activecampaign",
        "activecampaign.txt",
        _nothing,
        "lead.updated",
        "ann@acme.example",
        {**ANN, "company.name": "Acme"},
        path=f"/hooks/vendor/{HMAC_SECRET}",
    ),
    PresetCase(
        "salesforce",
        "salesforce.xml",
        _nothing,
        "lead.updated",
        "ann@acme.example",
        HUBSPOT_FORM,
        path=f"/hooks/vendor/{HMAC_SECRET}",
    ),
    PresetCase(
        "pipedrive",
        "pipedrive.json",
        _keyed("Authorization", "Basic " + base64.b64encode(b"firsthour:" + KEY).decode()),
        "lead.updated",
        "ann@acme.example",
        {**ANN, "title": "VP Sales"},
    ),
    PresetCase(
        "twilio",
        "twilio.txt",
        _twilio,
        "touch.recorded",
        None,
        {},
        {"channel": "phone", "answered": True},
        phone="+493012345678",
    ),
    PresetCase(
        "aircall",
        "aircall.json",
        _nothing,
        "touch.recorded",
        None,
        {},
        {"channel": "phone", "answered": True, "rep_email": "noor@ourcompany.example"},
        phone="+493012345678",
    ),
    PresetCase(
        "standard-webhooks",
        "standard_webhooks.json",
        _standard,
        "trial.started",
        "ann@acme.example",
        {"name": "Ann Lee"},
        {"plan": "pro"},
    ),
    PresetCase(
        "slack",
        "slack.json",
        _hexed("X-Slack-Signature", prefix="v0=", text="v0:{stamp}:{body}", stamp_header="X-Slack-Request-Timestamp"),
        "lead.updated",
        "ann@acme.example",
        {"name": "Ann Lee", "title": "VP Sales"},
    ),
    PresetCase(
        "mautic", "mautic.json", _based("Webhook-Signature"), "form.submitted", "ann@acme.example", HUBSPOT_FORM
    ),
    PresetCase("tally", "tally.json", _based("Tally-Signature"), "form.submitted", "ann@acme.example", HUBSPOT_FORM),
    PresetCase(
        "jotform",
        "jotform.multipart",
        _nothing,
        "form.submitted",
        "ann@acme.example",
        {"name": "Ann Lee", "company.name": "Acme", "title": "VP Sales"},
        {"form": "Demo request"},
        path=f"/hooks/vendor/{HMAC_SECRET}",
    ),
    PresetCase("webflow", "webflow.json", _webflow, "form.submitted", "ann@acme.example", HUBSPOT_FORM),
    PresetCase(
        "elementor",
        "elementor.txt",
        _nothing,
        "form.submitted",
        "ann@acme.example",
        {**ANN, "company.name": "Acme"},
        {"form": "Demo request"},
        path=f"/hooks/vendor/{HMAC_SECRET}",
    ),
    PresetCase(
        "contact-form-7",
        "contact_form_7.json",
        _nothing,
        "form.submitted",
        "ann@acme.example",
        {"name": "Ann Lee", "company.name": "Acme"},
        {"form": "Demo request", "message": "We need a quote."},
        path=f"/hooks/vendor/{HMAC_SECRET}",
    ),
    PresetCase(
        "gravity-forms",
        "gravity_forms.json",
        _keyed("X-FirstHour-Key"),
        "form.submitted",
        "ann@acme.example",
        {**ANN, "company.name": "Acme"},
        {"form": "Demo request"},
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
