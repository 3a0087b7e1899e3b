"""Time zones of countries, by the tables of the IANA database (`zone.tab`, `iso3166.tab`) in the package `tzdata`."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import cache
from importlib import resources
from typing import Final
from zoneinfo import ZoneInfo

_NAME_MAX: Final = 64
_PLACELESS: Final = frozenset({"Factory", "localtime"})


def known_zone(name: str) -> str | None:
    """Return the name if it is a zone of the database. Its case counts."""
    return name if len(name) <= _NAME_MAX and name in _names() else None


def zones_of(country: str) -> Sequence[str]:
    """Return the zones of a country (ISO 3166-1 alpha-2). An unknown code has none."""
    return _by_country().get(country, ())


def country_name(country: str) -> str | None:
    """Return the usual English name of a country (ISO 3166-1 alpha-2); None: unknown code."""
    return _country_names().get(country)


def by_offset(zones: Iterable[str], at: datetime) -> Mapping[timedelta, ZoneInfo]:
    """Return one zone for each offset from UTC that these zones have at this instant, westernmost first."""
    offsets: dict[timedelta, ZoneInfo] = {}
    for name in zones:
        zone = ZoneInfo(name)
        offsets.setdefault(at.astimezone(zone).utcoffset() or timedelta(), zone)
    return dict(sorted(offsets.items(), key=lambda item: item[0]))


@cache
def _names() -> frozenset[str]:
    return frozenset(_table("zones")) - _PLACELESS


@cache
def _by_country() -> Mapping[str, Sequence[str]]:
    zones: dict[str, list[str]] = {}
    for line in _table("zoneinfo/zone.tab"):
        country, _, zone = line.split("\t")[:3]
        zones.setdefault(country, []).append(zone)
    return zones


@cache
def _country_names() -> Mapping[str, str]:
    return dict(line.split("\t", 1) for line in _table("zoneinfo/iso3166.tab"))


def _table(name: str) -> list[str]:
    text = resources.files("tzdata").joinpath(name).read_text(encoding="utf-8")
    return [line for line in text.splitlines() if line and not line.startswith("#")]
