"""Public holidays of countries and their regions, from the library `holidays`."""

from collections.abc import Callable, Sequence
from datetime import date
from functools import lru_cache

import holidays

_YEARS_KEPT = 512


def holidays_of(code: str) -> Callable[[date], bool]:
    """Return a function that says whether a local day is a public holiday.

    Args:
        code: of a country (`DE`), or of one of its regions (`DE-BE`).

    Raises:
        ValueError: for a code without known holidays.
    """
    if not is_known(code):
        raise ValueError(f"{code!r} is no country or region with known holidays")
    return lambda day: day in _of_year(code, day.year)


def is_known(code: str) -> bool:
    """Return whether the holidays of this country, or of this region of it, are known."""
    country, _, region = code.partition("-")
    regions = regions_of(country)
    return regions is not None and (not region or region in regions)


def regions_of(country: str) -> Sequence[str] | None:
    """Return the codes of the regions with holidays of their own; None: the holidays of this country are not known."""
    return holidays.list_supported_countries().get(country)


@lru_cache(_YEARS_KEPT)
def _of_year(code: str, year: int) -> frozenset[date]:
    country, _, region = code.partition("-")
    return frozenset(holidays.country_holidays(country, subdiv=region or None, years=year))


@lru_cache
def weekend_of(country: str) -> frozenset[int]:
    """Return the weekend of a country, Monday as 0; Saturday and Sunday if its holidays are not known."""
    if regions_of(country) is None:
        return frozenset({5, 6})
    return frozenset(holidays.country_holidays(country).weekend)
