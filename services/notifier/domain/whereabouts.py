"""The probable place of a person, the local time there, and whether it is office hours there.

The place follows from the stated time zone, else from the country of the person, the phone number, or the company. A country
with several local times is shown with all of them: a guess would have the rep call at night.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

from firsthour.kernel.business_time import WorkingHours
from firsthour.kernel.calendar import CalendarHours
from firsthour.kernel.countries import country_code
from firsthour.kernel.normalisation.phones import region_of
from firsthour.kernel.public_holidays import holidays_of, is_known, weekend_of
from firsthour.kernel.time_units import micros, moment
from firsthour.kernel.time_zones import by_offset, country_name, known_zone, zones_of
from schemas.events.routes import LeadCard

OFFICE_HOURS: Final = (9 * 60, 17 * 60)
"""Usual office hours, in minutes since local midnight: those of the prospect are not known."""
_AHEAD: Final = timedelta(days=14)
_KEPT: Final = 1_024


@dataclass(frozen=True)
class Place:
    """A country or a city, and its time zones."""

    name: str
    zones: Sequence[str]
    country: str | None  # ISO 3166-1 alpha-2, for its weekend and holidays


@dataclass(frozen=True)
class LocalTime:
    """The local time of a person at one instant.

    Attributes:
        place: The name of the place.
        earliest: The local time in its westernmost zone.
        latest: The local time in its easternmost zone; equal to `earliest` where one time holds.
        in_office: Whether it is office hours; None: in parts of the place.
        changes_at: When office hours end or begin; None: unknown, or the place has several local times.
    """

    place: str
    earliest: datetime
    latest: datetime
    in_office: bool | None
    changes_at: datetime | None = None

    @property
    def sure(self) -> bool:
        """Whether one local time holds in the whole place."""
        return self.earliest.utcoffset() == self.latest.utcoffset()


def place_of(card: LeadCard) -> Place | None:
    """Return the probable place of the person; None: nothing is known."""
    countries = (country_code(card.country), region_of(card.phone), country_code(card.company_country))
    return _place(next((code for code in countries if code), None), known_zone(card.zone))


@lru_cache(_KEPT)
def _place(country: str | None, zone: str | None) -> Place | None:
    zones = zones_of(country) if country else ()
    name = (country_name(country) if country else None) or country or ""
    if zone:
        if zone in zones:
            return Place(name, (zone,), country)
        return Place(zone.rpartition("/")[2].replace("_", " "), (zone,), None)  # the person is elsewhere
    return Place(name, zones, country) if zones else None


def local_time(place: Place, at: datetime) -> LocalTime:
    """Return the local time of a place at this instant."""
    zones = list(by_offset(place.zones, at).values())
    hours = [office_hours(zone.key, place.country) for zone in zones]
    earliest = at.astimezone(zones[0])
    if len(zones) == 1:
        in_office, changes_at = _state(hours[0], at)
        return LocalTime(place.name, earliest, earliest, in_office, changes_at)
    states = {_is_open(each, at) for each in hours}
    return LocalTime(place.name, earliest, at.astimezone(zones[-1]), states.pop() if len(states) == 1 else None)


@lru_cache(_KEPT)
def office_hours(zone: str, country: str | None) -> WorkingHours:
    """Return usual office hours in a zone: without the weekend and the public holidays of the country, where known."""
    weekend: Collection[int] = weekend_of(country or "")
    week = [[] if day in weekend else [OFFICE_HOURS] for day in range(7)]
    if country and is_known(country):
        return CalendarHours(ZoneInfo(zone), week, holidays_of(country))
    return CalendarHours(ZoneInfo(zone), week)


def _is_open(hours: WorkingHours, at: datetime) -> bool:
    now = micros(at)
    return any(span.start <= now < span.end for span in hours.spans(now, now + 1))


def _state(hours: WorkingHours, at: datetime) -> tuple[bool, datetime | None]:
    """Return whether office hours hold at this instant, and their end, else the beginning of the next ones."""
    now = micros(at)
    span = next(hours.spans(now, micros(at + _AHEAD)), None)
    if span is None:
        return False, None
    return span.start <= now, moment(span.end if span.start <= now else span.start)
