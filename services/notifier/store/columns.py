"""Times as columns hold them: microseconds, or NULL."""

from datetime import datetime

from firsthour.kernel.time_units import micros, moment


def optional_micros(at: datetime | None) -> int | None:
    """Return microseconds since the epoch, or None."""
    return None if at is None else micros(at)


def optional_moment(us: int | None) -> datetime | None:
    """Return the time of microseconds since the epoch, or None."""
    return None if us is None else moment(us)
