"""The section `calendars`: working hours and holidays."""

import re
from functools import lru_cache
from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, Field

from schemas.values import Shape, shown, wrong

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
HOLIDAYS = re.compile(r"^[A-Z]{2}(-[A-Z0-9]{1,3})?$", re.ASCII)
_HOURS = re.compile(r"([01]\d|2[0-4]):([0-5]\d)-([01]\d|2[0-4]):([0-5]\d)", re.ASCII)


@lru_cache(maxsize=1_024)
def _known_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


def _zone(name: str) -> str:
    if len(name) <= 64 and _known_zone(name):
        return name
    raise wrong(f"{shown(name)} is not a time zone", "write an IANA name such as Europe/Berlin or UTC")


def minutes_of(hours: str) -> tuple[int, int]:
    """Return the begin and the end of `09:00-18:00` in minutes since midnight. Raises `ValueError` for other texts."""
    match = _HOURS.fullmatch(hours)
    start, end = (int(match[1]) * 60 + int(match[2]), int(match[3]) * 60 + int(match[4])) if match else (0, 0)
    if not 0 <= start < end <= 24 * 60:
        raise wrong(f"{shown(hours)} is not a span of hours", 'write "09:00-18:00", with the end after the start')
    return start, end


def _hours(value: str) -> str:
    minutes_of(value)
    return value


def days_of(days: str) -> list[int]:
    """Return the weekdays of `mon`, `mon-fri` or `sat-mon`, Monday as 0. Raises `ValueError` for other texts."""
    first, dash, last = days.partition("-")
    if first not in DAYS or (dash and last not in DAYS):
        raise wrong(f"{shown(days)} is not a day or a span of days", "write mon, or mon-fri")
    begin = DAYS.index(first)
    count = (DAYS.index(last) - begin) % len(DAYS) + 1 if dash else 1
    return [(begin + n) % len(DAYS) for n in range(count)]


def _days(value: str) -> str:
    days_of(value)
    return value


class Calendar(Shape):
    """Working hours. `hours` maps days (`mon`, `mon-fri`) to spans (`09:00-18:00`) in `timezone`."""

    timezone: Annotated[str, AfterValidator(_zone)]
    hours: dict[Annotated[str, AfterValidator(_days)], tuple[Annotated[str, AfterValidator(_hours)], ...]] = Field(
        default={"mon-fri": ("09:00-18:00",)}
    )
    holidays: Annotated[str, Field(pattern=HOLIDAYS.pattern)] | None = None  # DE, or DE-BE
