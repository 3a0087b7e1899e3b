"""Which times from outside can be true. Senders with an unset clock say 1970 or 1; others say next century."""

from datetime import UTC, datetime, timedelta
from typing import Final

EARLIEST: Final = datetime(2000, 1, 1, tzinfo=UTC)
"""Replayed history is younger; an older time comes from a zero, an empty date or a wrong unit."""
AHEAD_MAX: Final = timedelta(days=1)
"""A wrong time zone puts a sender ahead by hours. A moment this far ahead or less counts as now."""


def is_possible(at: datetime, now: datetime) -> bool:
    """Return whether an event reported at `now` can have happened at `at`, allowing for a clock that is fast."""
    return EARLIEST <= at <= now + AHEAD_MAX
