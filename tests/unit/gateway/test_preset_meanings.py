"""Details of vendors' bodies: what they mean, and what looks like a lead and is none."""

from typing import Any

import pytest

from firsthour.runtime.config import presets
from schemas.sources import PresetSource
from schemas.verification import Secret
from services.gateway.domain import webhooks
from services.gateway.domain.mapping import ParsedEvent, parse_relayed
from services.gateway.intake.segment import parse_call
from services.gateway.sources import entries_of
from tests.unit.gateway.short_form import NOW

EMAIL = "ann@acme.example"


def events(preset: str, body: Any) -> list[ParsedEvent]:
    """Return the events of a body."""
    source = presets.webhook_source(PresetSource(id="vendor", preset=preset, secrets=(Secret(env="X"),)))
    entries, ids = entries_of(source, {}), webhooks.EventIds()
    return [
        parse_relayed(form, origin="vendor", scope="vendor", now=NOW)
        for item in webhooks.items_of(entries, body, "delivery")
        for _, form in webhooks.short_forms(item, ids)
    ]


def meanings(preset: str, body: Any) -> list[tuple[str, str | None]]:
    return [(event.type, event.external.email) for event in events(preset, body)]


@pytest.mark.parametrize(
    ("author", "types"), [("user", ["chat.started"]), ("lead", ["chat.started"]), ("admin", []), ("bot", [])]
)
def test_only_a_prospect_starts_a_chat_in_intercom(author: str, types: list[str]) -> None:
    item = {"source": {"author": {"type": author, "email": EMAIL, "name": "Ann"}, "body": "Hi"}}
    body = {"topic": "conversation.user.created", "id": "n1", "created_at": 1796115540, "data": {"item": item}}
    assert [event.type for event in events("intercom", body)] == types


@pytest.mark.parametrize(
    ("object_type", "metric", "types"),
    [
        ("email", "clicked", ["email.clicked"]),
        ("push", "clicked", []),
        ("sms", "clicked", []),
        ("in_app", "opened", []),
        ("sms", "unsubscribed", []),
        ("customer", "unsubscribed", ["email.unsubscribed"]),
        ("customer", "subscribed", ["consent.given"]),
    ],
)
def test_only_mails_of_customerio_are_mails(object_type: str, metric: str, types: list[str]) -> None:
    data = {"identifiers": {"email": EMAIL}, "href": "app://product/2"}
    body = {"object_type": object_type, "metric": metric, "event_id": "e", "timestamp": 1796115540, "data": data}
    assert [event.type for event in events("customerio", body)] == types


def test_submission_of_the_api_of_hubspot_is_a_form() -> None:
    values = [
        {"name": "email", "value": EMAIL},
        {"name": "numemployees", "value": "500"},
        {"name": "shoe", "value": "41"},
    ]
    body = {"submittedAt": 1796115540000, "values": values, "pageUrl": "https://www.ours.example/demo"}
    [event] = events("hubspot", body)
    assert (event.type, event.external.email) == ("form.submitted", EMAIL)
    assert event.external.person == {"company.employees": 500, "custom.shoe": "41"}


def test_answers_of_typeform_are_understood_by_their_questions() -> None:
    questions = ["First name", "Company", "How many employees?", "What do you need?", "Colours", "Newsletter?"]
    fields = [{"id": f"f{n}", "ref": f"0b7c-{n}", "title": title} for n, title in enumerate(questions)]
    values: list[dict[str, Any]] = [
        {"text": "Ann"},
        {"text": "Acme"},
        {"number": 500},
        {"text": "A quote."},
        {"choices": {"labels": ["red", "blue"]}},
        {"boolean": False},
    ]
    answers = [{**value, "field": {"id": f"f{n}", "ref": f"0b7c-{n}"}} for n, value in enumerate(values)]
    answers[3]["field"]["type"] = "long_text"
    answers.append({"type": "email", "email": EMAIL, "field": {"id": "f9", "type": "email"}})
    response = {"form_id": "x", "definition": {"fields": fields}, "answers": answers, "hidden": {"gclid": "g1"}}
    [event] = events("typeform", {"event_id": "e", "event_type": "form_response", "form_response": response})
    assert event.external.email == EMAIL
    assert {
        "first_name": "Ann",
        "company.name": "Acme",
        "custom.Colours": "red, blue",
        "custom.Newsletter?": False,
        "custom.gclid": "g1",
    }.items() <= event.external.person.items()
    assert event.external.fields["message"] == "A quote."


def test_answers_to_own_questions_of_google_ads_are_kept() -> None:
    columns = [
        ("EMAIL", "User Email", EMAIL),
        ("COMPANY_NAME", "Company", "Acme"),
        ("QUESTION_1", "Which car?", "A van"),
    ]
    data = [{"column_id": id, "column_name": name, "string_value": value} for id, name, value in columns]
    [event] = events("google-ads", {"lead_id": "l1", "user_column_data": data, "form_id": 1})
    assert (event.external.email, event.external.person) == (
        EMAIL,
        {"company.name": "Acme", "custom.Which_car?": "A van"},
    )


def test_choices_of_tally_are_texts_and_no_ids() -> None:
    options = [{"id": "5f1c", "text": "1-50"}, {"id": "7a2d", "text": "201-500 people"}]
    fields = [
        {"label": "Email", "type": "INPUT_EMAIL", "value": EMAIL},
        {"label": "Company size", "type": "DROPDOWN", "value": ["7a2d"], "options": options},
        {"label": "Interests", "type": "CHECKBOXES", "value": ["5f1c", "7a2d", "gone"], "options": options},
        {"label": "Other", "type": "MULTIPLE_CHOICE", "value": None, "options": options},
    ]
    body = {"eventType": "FORM_RESPONSE", "eventId": "e", "data": {"formName": "Demo", "fields": fields}}
    [event] = events("tally", body)
    assert event.external.person == {"company.employees": 201, "custom.Interests": "1-50, 201-500 people, gone"}


def test_questions_of_a_booking_are_understood() -> None:
    asked = [{"question": "Company", "answer": "Acme"}, {"question": "What is your job title?", "answer": "CTO"}]
    invitee = {"email": EMAIL, "uri": "u", "questions_and_answers": [*asked, {"question": "Shoe", "answer": "41"}]}
    [event] = events("calendly", {"event": "invitee.created", "payload": invitee})
    assert event.external.person == {"company.name": "Acme", "title": "CTO"}
    assert event.external.fields["Shoe"] == "41"
    answers = {"company": {"label": "Your company", "value": "Acme"}, "size": {"label": "employees", "value": "500+"}}
    for name in ("responses", "userFieldsResponses"):
        payload = {"uid": "u", "attendees": [{"email": EMAIL, "name": "Ann Lee"}], name: answers}
        [event] = events("cal-com", {"triggerEvent": "BOOKING_CREATED", "payload": payload})
        assert event.external.person == {"name": "Ann Lee", "company.name": "Acme", "company.employees": 500}


def test_subscription_that_ends_in_mautic_or_begins_anew_in_sendgrid_counts() -> None:
    contact = {"fields": {"core": {"email": {"value": EMAIL}}}}
    change = {"channel": "email", "new_status": "unsubscribed", "contact": contact, "timestamp": "2026-12-01T08:59:00Z"}
    body = {"mautic.lead_channel_subscription_changed": [change, {**change, "channel": "sms"}]}
    assert meanings("mautic", body) == [("email.unsubscribed", EMAIL)]
    again = {"event": "group_resubscribe", "email": EMAIL, "sg_event_id": "s", "timestamp": 1796115540}
    assert meanings("sendgrid", [again]) == [("consent.given", EMAIL)]


PERSON = {"email": EMAIL, "firstname": "Ann", "company": "Acme", "address": {"country": "Germany"}}
CALLS: list[dict[str, Any]] = [
    {"type": "identify", "anonymousId": "a1", "traits": PERSON},
    {"type": "identify", "userId": EMAIL, "context": {"traits": {"Company": "Acme", "numemployees": 500}}},
    {"type": "identify", "userId": 7, "traits": {"Email": EMAIL}},
    {"type": "identify", "userId": "7", "context": {"externalId": [{"identifierType": "email", "id": EMAIL}]}},
    {"type": "group", "userId": "7", "groupId": "g", "traits": {"name": "Acme", "email": "info@acme.example"}},
    {"type": "alias", "userId": EMAIL, "previousId": "a0"},
    {"type": "page", "anonymousId": "a1", "properties": {"title": "Pricing", "path": "/pricing"}},
    {"type": "screen", "anonymousId": "a1", "name": "Home"},
    {
        "type": "track",
        "anonymousId": "a1",
        "event": "Form Submitted",
        "properties": {"email": EMAIL, "jobtitle": "CTO"},
    },
    {"type": "track", "anonymousId": "a1", "event": "Trial Started", "properties": {"plan": "pro", "name": "Pro"}},
    {"type": "track", "anonymousId": "a1", "event": "Product Clicked", "properties": {"name": "A chair", "title": "X"}},
    {
        "type": "track",
        "anonymousId": "a1",
        "event": "Form Submitted",
        "context": {"ip": "203.0.113.7", "campaign": {"name": "spring"}},
        "properties": {"email": EMAIL, "form": "demo-request", "address": {"country": "Germany"}},
    },
    {"type": "track", "anonymousId": "a1"},
    {"type": "identify", "anonymousId": "000000-0000", "traits": {"name": "Ann"}},
]


def _meaning(event: ParsedEvent) -> Any:
    external = event.external
    return event.type, external.email, external.anonymous_id, external.person, external.fields, event.client


def outcome(call: dict[str, Any], preset: str | None) -> Any:
    """Return what a call means to the tracking API, or through a webhook. None: it is no event."""
    try:
        found = [parse_call(call, "1", "key", NOW)] if preset is None else events(preset, call)
    except ValueError:
        return None
    return _meaning(found[0]) if found else None


@pytest.mark.parametrize("preset", ["segment", "rudderstack"])
@pytest.mark.parametrize("call", CALLS, ids=lambda call: f"{call['type']}-{call.get('event', '')}-{CALLS.index(call)}")
def test_call_means_the_same_through_a_webhook_of_its_vendor(preset: str, call: dict[str, Any]) -> None:
    assert outcome(call, preset) == outcome(call, None)


def test_identify_finds_its_person_in_every_place_of_the_libraries() -> None:
    assert [outcome(call, None)[1] for call in CALLS[:4]] == [EMAIL] * 4
    assert outcome(CALLS[0], None)[3] == {"first_name": "Ann", "company.name": "Acme", "country": "DE"}


def test_properties_of_a_tracked_event_are_no_facts_of_the_person() -> None:
    for call in (CALLS[6], CALLS[9], CALLS[10]):
        assert outcome(call, None)[3] == {}
    product = parse_call(CALLS[10], "1", "key", NOW).external
    assert product.fields == {"properties.name": "A chair", "properties.title": "X", "event": "Product Clicked"}


def test_address_of_a_company_is_none_of_the_person_who_belongs_to_it() -> None:
    assert outcome(CALLS[4], None)[:3] == ("lead.updated", None, "user:7")
