"""Sentences for refused values: a fault, a remedy, no value, and nothing of the library's own texts."""

from typing import Any

import pytest
from pydantic import BaseModel, TypeAdapter, ValidationError

from firsthour.runtime.value_faults import value_fault
from schemas import http
from schemas.http import Moment, TouchBody


def sentence(kind: Any, value: Any) -> str:
    """Return the sentence for a value that `kind` refuses."""
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(kind).validate_python(value)
    (error,) = caught.value.errors()
    return str(value_fault(error))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("tomorrow", "is not a time; write it as 2026-12-01T09:00:00Z"),
        (1_790_000_000, "is not a time; write it as 2026-12-01T09:00:00Z"),
        ("2026-13-01T09:00:00Z", "is not a time; write it as 2026-12-01T09:00:00Z"),
        ("2026-12-01T09:00:00", "has no offset from UTC; write it as 2026-12-01T09:00:00Z"),
        ("0001-01-01T00:00:00+14:00", "lies outside the years 1 to 9999 in UTC; send a time between them"),
    ],
)
def test_invalid_time_is_refused_with_an_example(value: Any, text: str) -> None:
    assert sentence(Moment, value) == text


def test_value_outside_a_list_is_refused_with_the_list() -> None:
    body = {"channel": "fax", "answered": True}
    assert sentence(TouchBody, body) == (
        "is not one of the allowed values; use one of: phone, email, meeting, chat, other"
    )


def bodies() -> list[type[BaseModel]]:
    return [kind for kind in vars(http).values() if isinstance(kind, type) and issubclass(kind, http.RequestModel)]


@pytest.mark.parametrize("kind", bodies(), ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("value", [None, 7, -1.5, "\x00", "canary" * 2000, [], {"canary": 1}, True])
def test_field_of_every_body_is_refused_with_a_remedy_and_without_its_value(
    kind: type[BaseModel], value: object
) -> None:
    for body in (value, dict.fromkeys(kind.model_fields, value)):
        try:
            kind.model_validate(body)
        except ValidationError as refused:
            for error in refused.errors():
                text = str(value_fault(error))
                assert "; " in text
                assert "Input should" not in text
                assert "valid value" not in text
                assert "canary" not in text
