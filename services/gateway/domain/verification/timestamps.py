"""The time at which a request was signed."""

from datetime import datetime, timedelta
from typing import Final

from firsthour.kernel.time_units import EPOCH

_DIGITS_MAX: Final = {"s": 11, "ms": 14}


def fault_of(stamp: bytes, unit: str, now: datetime, tolerance: timedelta) -> str:
    """Return why the time of signing is not acceptable; empty: it is."""
    at = time_of(stamp, unit)
    if at is None:
        return "the timestamp is missing" if not stamp else "the timestamp is not a time"
    if abs(now - at) > tolerance:
        side = "old" if at < now else "in the future"
        return f"the timestamp is {round(abs((now - at).total_seconds()))} s {side}; {round(tolerance.total_seconds())} s are allowed"
    return ""


def time_of(stamp: bytes, unit: str = "s") -> datetime | None:
    """Return the time of a number of units since 1970, without leading zeros. None: the text is not such a number."""
    if not stamp.isdigit() or len(stamp) > _DIGITS_MAX[unit] or stamp[:1] == b"0":
        return None
    try:
        return EPOCH + (timedelta(seconds=int(stamp)) if unit == "s" else timedelta(milliseconds=int(stamp)))
    except OverflowError:
        return None
