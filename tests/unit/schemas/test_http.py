"""Bodies of the HTTP interface: times, texts, listings."""

from datetime import UTC, datetime

import pytest

from schemas.http import Listing, Moment, ReasonBody, RequestModel


class Timed(RequestModel):
    until: Moment


def test_time_with_an_offset_is_converted_to_utc() -> None:
    body = Timed.model_validate({"until": "2026-12-01T10:00:00+01:00"})
    assert body.until == datetime(2026, 12, 1, 9, tzinfo=UTC)
    assert body.until.tzinfo is UTC


@pytest.mark.parametrize("until", ["2026-12-01T10:00:00", 1764579600, "9999-12-31T23:59:59-01:00", None, "soon", True])
def test_time_without_an_offset_is_rejected(until: object) -> None:
    with pytest.raises(ValueError, match="until"):
        Timed.model_validate({"until": until})


def test_nul_and_surrogates_of_a_text_are_replaced() -> None:
    body = ReasonBody.model_validate({"reason": " a\0b\ud800c\n"})
    assert body.reason == "a\ufffdb\ufffdc"


def test_last_page_of_a_listing_has_null_as_next() -> None:
    assert Listing[int](items=[1]).model_dump() == {"items": [1], "next": None}
