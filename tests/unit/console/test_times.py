"""Times as readers see them."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from services.console.markup import Times


@pytest.mark.parametrize("zone", ["Asia/Tokyo", "America/Los_Angeles"])
@pytest.mark.parametrize("text", ["9999-12-31T23:59:00Z", "0001-01-01T00:00:00Z"])
def test_time_at_the_end_of_the_calendar_is_shown_in_each_zone(text: str, zone: str) -> None:
    times = Times("en", ZoneInfo(zone), datetime(2026, 1, 1, tzinfo=UTC))
    assert times.at(text)
    assert times.ago(text)
