"""From a body in our short form to who it was and what happened."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid5

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.gateway.domain.mapping import FIELDS_MAX, NAMESPACE, Understood, event_id, understand
from services.gateway.domain.values import UnmappableError, moment_of, number, truth

NOW = datetime(2026, 12, 1, 9, 0, tzinfo=UTC)


def happened(data: dict[str, Any], type: str = "form.submitted", **top: Any) -> Understood:
    return understand(
        {"id": "1", "type": type, "email": "ann@acme.example", "data": data, **top}, origin="k", scope="k\n", now=NOW
    )


def refused(**sent: Any) -> UnmappableError:
    with pytest.raises(UnmappableError) as wrong:
        understand({"id": "1", "type": "page.viewed", **sent}, origin="k", scope="k\n", now=NOW)
    return wrong.value


@pytest.mark.parametrize(
    "data",
    [
        {"company": {"name": "Acme", "employees": 1200}, "utm": {"source": "x"}},
        {"company.name": "Acme", "company.employees": "1,200", "utm.source": "x"},
        {"company": "Acme", "employees": "1 200", "utm_source": "x"},
        {"company_name": "Acme", "company_employees": 1200.0, "utm_source": " x "},
    ],
)
def test_a_person_may_be_described_nested_dotted_or_flat(data: dict[str, Any]) -> None:
    assert happened(data).happened.person == {"company.name": "Acme", "company.employees": 1200, "utm.source": "x"}


def test_what_a_form_asks_besides_is_a_custom_fact() -> None:
    event = happened(
        {"form": "demo", "path": "/demo", "shoe size": 43, "topics": ["a", "b"], "custom": {"x": True}}
    ).happened
    assert event.fields == {"form": "demo", "path": "/demo"}
    assert event.person == {"custom.shoe_size": 43, "custom.topics": "a, b", "custom.x": True}


def test_a_usual_field_of_events_is_both_the_forms_and_the_persons() -> None:
    event = happened({"message": "call me"}).happened
    assert event.fields["message"] == event.person["custom.message"] == "call me"


def test_other_events_keep_what_is_not_the_persons() -> None:
    event = happened(
        {"path": "/pricing", "a": {"b": {"c": 1}}, "none": None, "empty": "", "title": "CTO"}, "page.viewed"
    ).happened
    assert event.fields == {"path": "/pricing", "a.b.c": 1}
    assert event.person == {"title": "CTO"}


def test_objects_deeper_than_three_are_kept_as_text() -> None:
    event = happened({"a": {"b": {"c": {"d": {"e": 1}}}}, "many": [{"x": 1}]}, "custom.x").happened
    assert event.fields == {"a.b.c.d": '{"e":1}', "many": '[{"x":1}]'}


def test_a_value_not_of_its_kind_is_kept_as_a_custom_fact() -> None:
    person = happened(
        {"employees": "a few", "consent": "maybe", "company": {"revenue": "lots", "founded": 1999}}
    ).happened.person
    assert person == {
        "custom.company.employees": "a few",
        "custom.consent": "maybe",
        "custom.company.revenue": "lots",
        "custom.company.founded": 1999,
    }


def test_countries_and_languages_are_written_one_way() -> None:
    person = happened(
        {"country": "Germany", "language": "de-AT", "company": {"country": "at", "domain": "https://www.acme.co.uk/x"}}
    )
    assert person.happened.person == {
        "country": "DE",
        "language": "de",
        "company.country": "AT",
        "company.domain": "acme.co.uk",
    }


def test_identifiers_stand_at_the_top_or_in_data() -> None:
    sent: dict[str, Any] = {
        "id": 7,
        "type": "page.viewed",
        "data": {"email": " Ann@ACME.example ", "crm_id": 42, "phone": "030 123456", "country": "DE"},
    }
    event = understand(sent, origin="k", scope="k\n", now=NOW).happened
    assert (event.source_id, event.email, event.crm_id, event.phone) == ("7", "ann@acme.example", "42", "+4930123456")
    assert event.person == {"country": "DE"}
    assert event.key == "ann@acme.example"


def test_a_phone_nobody_can_dial_does_not_lose_the_lead() -> None:
    event = happened({"phone": "extension 5"}).happened
    assert event.phone is None
    assert event.person == {"phone": "extension 5"}
    assert happened({"phone": " \u200b"}).happened.person == {}


def test_a_phone_that_is_all_there_is_must_be_one() -> None:
    assert refused(phone="extension 5").pointer == "#/phone"


@pytest.mark.parametrize(
    ("sent", "pointer"),
    [
        ({}, "#/email"),
        ({"email": "ann"}, "#/email"),
        ({"data": {"email": "ann@"}}, "#/data/email"),
        ({"email": ["a@b.example"]}, "#/email"),
        ({"email": "a@b.example", "type": "page.veiwed"}, "#/type"),
        ({"email": "a@b.example", "type": "custom."}, "#/type"),
        ({"email": "a@b.example", "type": "custom.a b"}, "#/type"),
        ({"email": "a@b.example", "type": None}, "#/type"),
        ({"email": "a@b.example", "id": ""}, "#/id"),
        ({"email": "a@b.example", "id": True}, "#/id"),
        ({"email": "a@b.example", "id": "x" * 501}, "#/id"),
        ({"email": "a@b.example", "time": "yesterday"}, "#/time"),
        ({"email": "a@b.example", "time": True}, "#/time"),
        ({"email": "a@b.example", "time": 1e300}, "#/time"),
        ({"email": "a@b.example", "data": []}, "#/data"),
        ({"email": "a@b.example", "data": {str(n): n for n in range(FIELDS_MAX + 1)}}, "#/data"),
        ({"email": "a@b.example", "name": "Ann"}, "#/name"),
    ],
)
def test_a_mistake_is_named_by_its_place(sent: dict[str, Any], pointer: str) -> None:
    assert refused(**sent).pointer == pointer


def test_a_misspelt_type_is_told_the_nearest() -> None:
    assert "did you mean `page.viewed`?" in refused(email="a@b.example", type="page.veiwed").remedy


def test_costs_are_about_nobody() -> None:
    event = understand(
        {"id": "1", "type": "cost.recorded", "data": {"amount": "1,200"}}, origin="k", scope="k\n", now=NOW
    ).happened
    assert event.key == ""
    assert event.fields == {"amount": 1200}


def test_touches_and_deals_keep_what_they_are_judged_by() -> None:
    touch = happened(
        {"channel": "phone", "answered": "no", "rep_email": "Ana@Acme.example", "rep": "ana"}, "touch.recorded"
    )
    assert touch.happened.fields == {
        "channel": "phone",
        "answered": False,
        "rep_email": "ana@acme.example",
        "rep": "ana",
    }
    deal = happened({"id": 9, "stage": "won", "amount": "12,000.50", "currency": "EUR"}, "opportunity.changed")
    assert deal.happened.fields == {"opportunity_id": "9", "stage": "won", "amount": 12000.5, "currency": "EUR"}


def test_the_future_counts_as_now_and_the_past_as_it_was() -> None:
    ahead = happened({}, time="2026-12-01T10:00:01+01:00")
    assert (ahead.at, ahead.happened.altered) == (NOW, True)
    long_ago = happened({}, time="1969-07-20")
    assert (long_ago.at, long_ago.happened.altered) == (datetime(1969, 7, 20, tzinfo=UTC), False)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("2026-12-01T09:00:00Z", NOW),
        ("2026-12-01T10:00:00+01:00", NOW),
        ("2026-12-01 09:00", NOW),
        (1796115600, NOW),
        (1796115600000, NOW),
        ("1796115600", NOW),
        (1796115600.5, NOW + timedelta(milliseconds=500)),
    ],
)
def test_moments_are_read_as_written_by_people_and_machines(written: str | float, read: datetime) -> None:
    assert moment_of(written, "#/time") == read


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("1,200", 1200),
        ("1.200.000", 1200000),
        ("12.5", 12.5),
        ("500+", 500),
        ("51-200", 51),
        ("51 – 200", 51),
        ("1'200", 1200),
        *(("many", None), ("", None), (True, None), ("9" * 30, None), (2**60, None), ("-3", -3), ("1e5", None)),
    ],
)
def test_numbers_are_read_as_people_write_them(written: Any, read: float | None) -> None:
    assert number(written) == read


def test_consent_is_never_guessed() -> None:
    assert [truth(word) for word in ("on", "Yes", "1", 1, True)] == [True] * 5
    assert [truth(word) for word in ("off", "No", "0", 0, False)] == [False] * 5
    unsure: list[Any] = ["perhaps", 2, None, []]
    assert [truth(word) for word in unsure] == [None] * 4


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_our_id_is_the_standard_uuid5(name: str) -> None:
    assert event_id(name) == str(uuid5(NAMESPACE, name))


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=4)
    ),
    max_leaves=12,
)
NAMES = st.sampled_from(
    [
        "company",
        "utm",
        "custom",
        "employees",
        "consent",
        "country",
        "language",
        "phone",
        "name",
        "amount",
        "answered",
        "id",
        "email",
    ]
)


@given(
    st.dictionaries(NAMES | st.text(st.characters(exclude_categories=["Cs"]), max_size=8), JSON, max_size=8),
    st.sampled_from(["form.submitted", "touch.recorded", "opportunity.changed", "custom.x"]),
)
def test_whatever_stands_in_data_becomes_flat_scalars_or_is_refused(data: dict[str, Any], kind: str) -> None:
    try:
        event = happened(data, kind).happened
    except UnmappableError as wrong:
        assert wrong.pointer.startswith("#/data")
        return
    for facts in (event.person, event.fields):
        assert all(type(value) in (str, int, float, bool) and value != "" for value in facts.values())
        assert all(name and " " not in name and len(name) <= 100 for name in facts)
