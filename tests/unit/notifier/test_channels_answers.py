"""How long a service asks to be left alone: a number of seconds or a date, within bounds, whatever it sends."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.notifier.channels.answers import retry_after

NOW = "Tue, 01 Dec 2026 09:00:00 GMT"


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("30", 30.0),
        ("0.5", 0.5),
        ("-5", 0.0),
        ("1e9", 300.0),
        ("9" * 400, None),
        ("nan", None),
        ("soon", None),
        ("", None),
        ("Tue, 01 Dec 2026 09:01:30 GMT", 90.0),
        ("Tue, 01 Dec 2026 10:01:30 +0100", 90.0),
        ("Tue, 01 Dec 2026 08:00:00 GMT", 0.0),
        ("Wed, 21 Oct 2099 07:28:00 GMT", 300.0),
        ("Tue, 31 Feb 2026 09:01:30 GMT", None),
    ],
)
def test_wait_is_a_number_or_a_date_within_bounds(value: str, seconds: float | None) -> None:
    assert retry_after({"retry-after": value, "date": NOW}) == seconds


def test_date_needs_the_clock_of_the_service() -> None:
    assert retry_after({"retry-after": "Tue, 01 Dec 2026 09:01:30 GMT"}) is None
    assert retry_after({"retry-after": "Tue, 01 Dec 2026 09:01:30 GMT", "date": "noon"}) is None


@given(st.text(max_size=40), st.text(max_size=40))
def test_any_header_is_read_without_an_error(value: str, date: str) -> None:
    seconds = retry_after({"retry-after": value, "date": date})
    assert seconds is None or 0.0 <= seconds <= 300.0
