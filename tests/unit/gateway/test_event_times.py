"""The time of an event: formats, dates, future and impossible times."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from services.gateway.domain.event_times import parse_time
from tests.unit.gateway.short_form import NOW, event_of


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
