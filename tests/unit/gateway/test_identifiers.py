"""Identifiers of an event: their places, and malformed ones."""

from typing import Any

import pytest

from services.gateway.domain.mapping import parse_event
from tests.unit.gateway.short_form import NOW, error_of, event_of


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


def test_malformed_email_with_a_valid_phone_becomes_a_custom_fact() -> None:
    event = event_of({"phone": "+49 30 123456"}, email="n/a").external
    assert (event.email, event.phone, event.person) == (None, "+4930123456", {"custom.email": "n/a"})


@pytest.mark.parametrize(
    "id", ["0000-00", "0", "-1", "null", "NULL", " undefined ", "anonymous", "user:null", "[object Object]"]
)
def test_placeholder_of_an_id_joins_no_people(id: str) -> None:
    for name in ("anonymous_id", "crm_id"):
        event = event_of({name: id}, email="ann@acme.example").external
        assert (event.anonymous_id, event.crm_id) == (None, None)
        error = error_of(**{name: id})
        assert (error.pointer, error.fault) == (f"#/{name}", "is a placeholder, which many people share")


def test_id_that_begins_like_a_placeholder_is_an_id() -> None:
    for id in ("0001", "10", "nullpointer", "anonymous-7", "user:1"):
        assert event_of({}, anonymous_id=id).external.anonymous_id == id
