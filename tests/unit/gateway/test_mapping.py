"""Parsing the short form: identifiers, facts, fields, times."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid5

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.gateway.domain.coerce import UnmappableError, boolean, headcount, number
from services.gateway.domain.event_times import parse_time
from services.gateway.domain.facts import FIELDS_MAX
from services.gateway.domain.mapping import NAMESPACE, ParsedEvent, event_id, parse_event

NOW = datetime(2026, 12, 1, 9, 0, tzinfo=UTC)


def event_of(data: dict[str, Any], type: str = "form.submitted", **top: Any) -> ParsedEvent:
    return parse_event(
        {"id": "1", "type": type, "email": "ann@acme.example", "data": data, **top}, origin="k", scope="k\n", now=NOW
    )


def error_of(**sent: Any) -> UnmappableError:
    with pytest.raises(UnmappableError) as caught:
        parse_event({"id": "1", "type": "page.viewed", **sent}, origin="k", scope="k\n", now=NOW)
    return caught.value


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


def test_identifiers_are_read_at_the_top_or_in_data() -> None:
    sent: dict[str, Any] = {
        "id": 7,
        "type": "page.viewed",
        "data": {"email": " Ann@ACME.example ", "crm_id": 42, "phone": "030 123456", "country": "DE"},
    }
    event = parse_event(sent, origin="k", scope="k\n", now=NOW).external
    assert (event.source_id, event.email, event.crm_id, event.phone) == ("7", "ann@acme.example", "42", "+4930123456")
    assert event.person == {"country": "DE"}
    assert event.key == "ann@acme.example"


def test_malformed_phone_is_kept_as_a_fact() -> None:
    event = event_of({"phone": "extension 5"}).external
    assert event.phone is None
    assert event.person == {"phone": "extension 5"}
    assert event_of({"phone": " \u200b"}).external.person == {}


def test_malformed_phone_without_another_identifier_is_rejected() -> None:
    assert error_of(phone="extension 5").pointer == "#/phone"


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
        ({"email": "a@b.example", "data": []}, "#/data"),
        ({"email": "a@b.example", "data": {str(n): n for n in range(FIELDS_MAX + 1)}}, "#/data"),
        ({"email": "a@b.example", "name": "Ann"}, "#/name"),
    ],
)
def test_error_names_the_pointer_of_the_mistake(sent: dict[str, Any], pointer: str) -> None:
    assert error_of(**sent).pointer == pointer


def test_misspelt_type_suggests_the_nearest() -> None:
    assert "did you mean `page.viewed`?" in error_of(email="a@b.example", type="page.veiwed").remedy


def test_cost_needs_no_person() -> None:
    event = parse_event(
        {"id": "1", "type": "cost.recorded", "data": {"amount": "1,200"}}, origin="k", scope="k\n", now=NOW
    ).external
    assert event.key == ""
    assert event.fields == {"amount": 1200}


def test_touches_and_deals_keep_their_own_fields() -> None:
    touch = event_of(
        {"channel": "phone", "answered": "no", "rep_email": "Ana@Acme.example", "rep": "ana"}, "touch.recorded"
    )
    assert touch.external.fields == {
        "channel": "phone",
        "answered": False,
        "rep_email": "ana@acme.example",
        "rep": "ana",
    }
    deal = event_of({"id": 9, "stage": "won", "amount": "12,000.50", "currency": "EUR"}, "opportunity.changed")
    assert deal.external.fields == {"opportunity_id": "9", "stage": "won", "amount": 12000.5, "currency": "EUR"}


def test_time_up_to_a_day_ahead_is_cut_to_now() -> None:
    for ahead in ("2026-12-01T10:00:01+01:00", "2026-12-02T09:00:00Z"):
        event = event_of({}, time=ahead)
        assert (event.at, event.external.altered, event.external.flags) == (NOW, True, ())
    for past in ("2011-03-05T00:00", "2000-01-01T00:00:00Z"):
        event = event_of({}, time=past)
        assert (event.at, event.external.altered) == (datetime.fromisoformat(past[:10]).replace(tzinfo=UTC), False)


@pytest.mark.parametrize("type", ["form.submitted", "opportunity.changed", "touch.recorded", "consent.withdrawn"])
def test_date_alone_is_the_end_of_that_day_but_not_after_now(type: str) -> None:
    for today in ("2026-12-01", "20261201", " 2026-12-01 ", "2026-W49-2"):
        event = event_of({}, type, time=today)
        assert (event.at, event.external.altered, event.external.flags) == (NOW, False, ())
    assert event_of({}, type, time="2011-03-05").at == datetime(2011, 3, 5, 23, 59, 59, 999_999, tzinfo=UTC)
    assert event_of({}, type, time="2026-12-02").at == NOW
    for with_time in ("2026-12-01T00", "20261201T00", "2026-12-01 00:00"):
        assert event_of({}, type, time=with_time).at == datetime(2026, 12, 1, tzinfo=UTC)
    for seconds in (1796083200, "1796083200"):
        assert event_of({}, type, time=seconds).at == datetime(2026, 12, 1, tzinfo=UTC)


def test_date_of_a_consent_is_the_beginning_of_that_day() -> None:
    assert event_of({}, "consent.given", time="2026-12-01").at == datetime(2026, 12, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    "impossible",
    [
        *(0, -1, 1.5, "0", "-1", 946684799, "946684799000", 1e300, -1e300, 2**53, "9" * 20),
        *("1969-07-20", "1999-12-31T23:59:59Z", "0001-01-01T00:00:00Z", "0001-01-01T00:00:00+02:00"),
        *("0000-00-00 00:00:00", "0000-00-00", "2026-12-02T09:00:01Z", "9999-12-31T23:59:59-02:00", 4102444800),
    ],
)
def test_impossible_time_is_replaced_by_now_and_flagged(impossible: Any) -> None:
    event = event_of({}, time=impossible)
    assert (event.at, event.external.received_at) == (NOW, NOW)
    assert (event.external.flags, event.external.altered) == (("time-replaced",), True)


@pytest.mark.parametrize("empty", [None, "", "  "])
def test_empty_time_counts_as_missing(empty: Any) -> None:
    event = event_of({}, time=empty)
    assert (event.at, event.external.flags, event.external.altered) == (NOW, (), False)


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


def test_malformed_email_with_a_valid_phone_becomes_a_custom_fact() -> None:
    event = event_of({"phone": "+49 30 123456"}, email="n/a").external
    assert (event.email, event.phone, event.person) == (None, "+4930123456", {"custom.email": "n/a"})


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *(("201-500 employees", 201), ("201 – 500 Mitarbeiter", 201), ("1,001-5,000", 1001), ("1.001 - 5.000", 1001)),
        *(("10,001+ employees", 10001), ("500+", 500), ("11 to 50", 11), ("51 bis 200 Mitarbeitende", 51)),
        *(("more than 500", 501), ("> 1000", 1001), ("over 10k", 10001), ("1k-5k", 1000), ("1-5k", 1000)),
        *(("<10", 1), ("less than 50 people", 1), ("up to 20", 1), ("Just me", 1), ("Self-employed", 1)),
        *(("about 300", 300), ("ca. 300", 300), ("at least 50", 50), (["", "51-200"], 51), (1200.9, 1200)),
        *(("a few", None), ("", None), ("founded 1999 with 20", None), ("2 offices, 30 people", None), (True, None)),
        *(("9" * 40, None), ("1-" * 40, None), ("1" + " " * 90_000 + "x", 1)),
    ],
)
def test_company_size_is_the_least_possible_number(text: Any, value: int | None) -> None:
    assert headcount(text) == value


@pytest.mark.parametrize(
    "blank", ["\u3164", "\u115f\u1160", "\u2800", "\uffa0", "\u200b\u200d", "\U000e0041", "\u00ad", "\ufe0f"]
)
def test_invisible_characters_are_not_a_name(blank: str) -> None:
    assert event_of({"name": blank, "company": f" {blank}"}).external.person == {}
    assert event_of({"name": f"Ann{blank}"}).external.person["name"] in ("Ann", "Ann\ufe0f")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2026-12-01T09:00:00Z", NOW),
        ("2026-12-01T10:00:00+01:00", NOW),
        ("2026-12-01 09:00", NOW),
        (1796115600, NOW),
        (1796115600000, NOW),
        ("1796115600", NOW),
        ("1796115600.000", NOW),
        ("1796115600000000", NOW),
        ("1796115600000000000", NOW),
        ("20261201", datetime(2026, 12, 1, tzinfo=UTC)),
        (1796115600.5, NOW + timedelta(milliseconds=500)),
    ],
)
def test_times_are_parsed_in_common_formats(text: str | float, value: datetime) -> None:
    assert parse_time(text, "#/time") == value


@pytest.mark.parametrize(
    ("text", "value"),
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
def test_numbers_are_parsed_in_common_formats(text: Any, value: float | None) -> None:
    assert number(text) == value


def test_unclear_consent_is_none() -> None:
    assert [boolean(word) for word in ("on", "Yes", "1", 1, True)] == [True] * 5
    assert [boolean(word) for word in ("off", "No", "0", 0, False)] == [False] * 5
    unsure: list[Any] = ["perhaps", 2, None, []]
    assert [boolean(word) for word in unsure] == [None] * 4


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_event_id_equals_uuid5_of_the_standard_library(name: str) -> None:
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
def test_any_data_becomes_flat_scalars_or_is_rejected(data: dict[str, Any], kind: str) -> None:
    try:
        event = event_of(data, kind).external
    except UnmappableError as error:
        assert error.pointer.startswith("#/data")
        return
    for facts in (event.person, event.fields):
        assert all(type(value) in (str, int, float, bool) and value != "" for value in facts.values())
        assert all(name and " " not in name and len(name) <= 100 for name in facts)
