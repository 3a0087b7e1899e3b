"""Moments as the database keeps them: whole microseconds since the epoch."""

from datetime import UTC, datetime, timedelta
from typing import Final

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


def micros(at: datetime) -> int:
    """Return the microseconds between the epoch and `at`, rounded down."""
    return (at - EPOCH) // _MICROSECOND


def moment(us: int) -> datetime:
    """Return the moment `us` microseconds after the epoch, in UTC."""
    return EPOCH + timedelta(microseconds=us)
