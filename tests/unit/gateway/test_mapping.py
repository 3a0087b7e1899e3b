"""Parsing the short form: pointers of errors, types, ids, and any data."""

from typing import Any
from uuid import uuid5

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.gateway.domain.coerce import UnmappableError
from services.gateway.domain.facts import FIELDS_MAX
from services.gateway.domain.mapping import NAMESPACE, event_id, parse_event
from tests.unit.gateway.short_form import NOW, error_of, event_of


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
