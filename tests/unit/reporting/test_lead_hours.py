"""Leads by the hour of the day, as the reader's clock shows it."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from firsthour.kernel.time_units import micros
from services.reporting.lead_hours import QUARTER_US, by_hour_of_day

NOW = datetime(2026, 12, 3, 6, 0, tzinfo=UTC)


def counts(*times: tuple[int, int, int]) -> dict[int, int]:
    """Return one lead at each of these days of December, hours and minutes (UTC)."""
    return {micros(datetime(2026, 12, *time, tzinfo=UTC)) // QUARTER_US: 1 for time in times}


def by_hour(leads: dict[int, int], zone: str) -> tuple[dict[int, int], dict[int, int], int]:
    rows, days = by_hour_of_day(leads, NOW, ZoneInfo(zone))
    before = {hour: number for hour, (number, _) in enumerate(rows) if number}
    return before, {hour: number for hour, (_, number) in enumerate(rows) if number}, days


def test_hours_of_a_zone_may_begin_at_half_past() -> None:
    leads = counts((3, 3, 15), (3, 3, 30), (3, 4, 15))  # 8:45, 9:00 and 9:45 in India; 9:00, 9:15 and 10:00 in Nepal
    assert by_hour(leads, "Asia/Kolkata") == ({}, {8: 1, 9: 2}, 0)
    assert by_hour(leads, "Asia/Kathmandu") == ({}, {9: 2, 10: 1}, 0)


def test_day_ends_at_midnight_of_the_zone() -> None:
    assert by_hour(counts((2, 18, 15), (2, 18, 30)), "Asia/Kolkata") == ({23: 1}, {0: 1}, 1)


def test_usual_day_is_that_of_the_days_since_the_first_lead() -> None:
    assert by_hour(counts((1, 12, 0), (2, 12, 0)), "UTC") == ({12: 2}, {}, 2)
