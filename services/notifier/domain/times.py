"""Times and spans as people read them."""

from datetime import datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from services.notifier.domain.page_words import Instant


def zone_of(name: str | None) -> ZoneInfo:
    """Return the zone of this name; None: UTC, since the zone of the reader is unknown."""
    return ZoneInfo(name or "UTC")


def lasting(span: timedelta) -> str:
    """Return a span for people: `12 minutes`, `2 h 5 min`, `3 days 4 h`. It is cut, never rounded up."""
    minutes = int(span.total_seconds() // 60)
    if minutes < 1:
        return "less than a minute"
    if minutes < 60:
        return "1 minute" if minutes == 1 else f"{minutes} minutes"
    if minutes < 24 * 60:
        return f"{minutes // 60} h {minutes % 60} min" if minutes % 60 else f"{minutes // 60} h"
    days, hours = divmod(minutes // 60, 24)
    return f"{days} day{'s' if days > 1 else ''}" + (f" {hours} h" if hours else "")


def at(moment: datetime, seen_from: datetime, zone: ZoneInfo) -> str:
    """Return `10:00 CET`, with the day if it differs from that of `seen_from`."""
    local, here = moment.astimezone(zone), _here(seen_from, zone)
    clock = f"{local.hour:02}:{local.minute:02} {_abbreviation(local)}"
    if local.date() == here.date():
        return clock
    year = "" if abs(local - here) < timedelta(days=180) else f"{local:%Y} "
    return f"{local:%a} {local.day} {local:%b} {year}{clock}"


@lru_cache(16)
def _here(seen_from: datetime, zone: ZoneInfo) -> datetime:
    """Return the local time of a page, which every time on it is compared with."""
    return seen_from.astimezone(zone)


def _abbreviation(local: datetime) -> str:
    name = local.tzname() or "UTC"
    return f"UTC{name}" if name[0] in "+-" else name


def instant(moment: datetime, seen_from: datetime, zone: ZoneInfo) -> Instant:
    """Return an instant to come, or that is best told by its clock time."""
    return Instant(moment, at(moment, seen_from, zone))


def earlier(moment: datetime, seen_from: datetime, zone: ZoneInfo) -> Instant:
    """Return an instant in the past, with its age at the time of the page: `earlier` does not become stale."""
    age = lasting(max(seen_from - moment, timedelta(0)))
    return Instant(moment, f"{at(moment, seen_from, zone)} ({age} earlier)", ago=True)
