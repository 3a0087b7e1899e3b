"""Facts and fields of an event: nested, dotted and flat names, conversions, reserved facts."""

from typing import Any

import pytest

from tests.unit.gateway.short_form import event_of


@pytest.mark.parametrize(
    "data",
    [
        {"company": {"name": "Acme", "employees": 1200}, "utm": {"source": "x"}},
        {"company.name": "Acme", "company.employees": "1,200", "utm.source": "x"},
        {"company": "Acme", "employees": "1 200", "utm_source": "x"},
        {"company_name": "Acme", "company_employees": 1200.0, "utm_source": " x "},
    ],
)
def test_facts_may_be_nested_dotted_or_flat(data: dict[str, Any]) -> None:
    assert event_of(data).external.person == {"company.name": "Acme", "company.employees": 1200, "utm.source": "x"}


def test_other_fields_of_a_form_are_custom_facts() -> None:
    event = event_of(
        {"form": "demo", "path": "/demo", "shoe size": 43, "topics": ["a", "b"], "custom": {"x": True}}
    ).external
    assert event.fields == {"form": "demo", "path": "/demo"}
    assert event.person == {"custom.shoe_size": 43, "custom.topics": "a, b", "custom.x": True}


def test_common_event_field_of_a_form_is_field_and_custom_fact() -> None:
    event = event_of({"message": "call me"}).external
    assert event.fields["message"] == event.person["custom.message"] == "call me"


def test_other_events_keep_fields_that_are_not_facts() -> None:
    event = event_of(
        {"path": "/pricing", "a": {"b": {"c": 1}}, "none": None, "empty": "", "title": "CTO"}, "page.viewed"
    ).external
    assert event.fields == {"path": "/pricing", "a.b.c": 1}
    assert event.person == {"title": "CTO"}


def test_objects_deeper_than_three_levels_become_text() -> None:
    event = event_of({"a": {"b": {"c": {"d": {"e": 1}}}}, "many": [{"x": 1}]}, "custom.x").external
    assert event.fields == {"a.b.c.d": '{"e":1}', "many": '[{"x":1}]'}


def test_value_of_a_wrong_type_becomes_a_custom_fact() -> None:
    person = event_of(
        {"employees": "a few", "consent": "maybe", "company": {"revenue": "lots", "founded": 1999}}
    ).external.person
    assert person == {
        "custom.company.employees": "a few",
        "custom.consent": "maybe",
        "custom.company.revenue": "lots",
        "custom.company.founded": 1999,
    }


def test_countries_and_languages_are_normalised() -> None:
    person = event_of(
        {"country": "Germany", "language": "de-AT", "company": {"country": "at", "domain": "https://www.acme.co.uk/x"}}
    )
    assert person.external.person == {
        "country": "DE",
        "language": "de",
        "company.country": "AT",
        "company.domain": "acme.co.uk",
    }


@pytest.mark.parametrize(
    "name",
    [
        *("account.owner", "previous_owner", "email.kind", "email.domain", "fit", "engagement", "total", "grade"),
        *("status", "owner", "urgency", "segment", "attempts.total", "recycled.reason", "opportunity.stage"),
        *(" account.owner", "account\u200b.owner", "account.owner\u3164"),
    ],
)
def test_reserved_fact_is_dropped_and_counted(name: str) -> None:
    event = event_of({name: "bo", "path": "/p"}, "custom.x").external
    assert event.fields == {"path": "/p"}
    assert (event.flags, event.dropped) == (("facts-dropped",), 1)
    assert name not in event_of({name: "bo"}).external.person


def test_reserved_fact_in_an_object_is_dropped() -> None:
    event = event_of({"account": {"owner": "bo"}, "email": {}, "score": {"total": 99, "fit": 1}}, "custom.x").external
    assert (event.fields, event.dropped) == ({}, 3)


@pytest.mark.parametrize(
    "blank", ["\u3164", "\u115f\u1160", "\u2800", "\uffa0", "\u200b\u200d", "\U000e0041", "\u00ad", "\ufe0f"]
)
def test_invisible_characters_are_not_a_name(blank: str) -> None:
    assert event_of({"name": blank, "company": f" {blank}"}).external.person == {}
    assert event_of({"name": f"Ann{blank}"}).external.person["name"] in ("Ann", "Ann\ufe0f")
