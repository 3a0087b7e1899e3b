"""Plausible times of outside events. A sender with an unset clock sends the year 1970 or 1, or one of the next century."""

from datetime import UTC, datetime, timedelta
from typing import Final

EARLIEST: Final = datetime(2000, 1, 1, tzinfo=UTC)
"""Replayed history is younger. An older time comes from a zero, an empty date or a wrong unit."""
AHEAD_MAX: Final = timedelta(days=1)
"""A wrong time zone puts a sender ahead by hours. A moment this far ahead or less counts as now."""


def is_possible(at: datetime, now: datetime) -> bool:
    """Return whether an event reported at `now` can have happened at `at`, by a clock that may be fast."""
    return EARLIEST <= at <= now + AHEAD_MAX
