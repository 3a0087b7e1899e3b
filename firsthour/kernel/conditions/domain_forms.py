"""The forms in which `matches_domain` compares hosts: a domain and those below it, within one registrable domain."""

from collections.abc import Iterable
from functools import lru_cache
from typing import Final, NamedTuple

from firsthour.kernel.normalisation.companies import ascii_host, registrable_domain

_CACHED: Final = 4_096
_CHARS_MAX: Final = 300  # a longer text is not worth its place in the cache


class HostPlace(NamedTuple):
    """A host, and the registrable domain to which it belongs, both in ASCII."""

    host: str
    registrable: str


def place_of(text: str) -> HostPlace | None:
    """Return the place of a host, URL or address. None: the text has no registrable domain."""
    return _cached(text) if len(text) <= _CHARS_MAX else _place(text)


def _place(text: str) -> HostPlace | None:
    host = ascii_host(text) if "." in text else None
    registrable = None if host is None else registrable_domain(host)
    return HostPlace(host, registrable) if host is not None and registrable is not None else None


_cached = lru_cache(_CACHED)(_place)


def domain_pattern(text: str) -> HostPlace | None:
    """Return the place of a domain of a condition. None: it is a public suffix, or no domain."""
    return place_of(text.strip().removeprefix("@").removeprefix("*."))


def is_below(place: HostPlace, patterns: Iterable[HostPlace]) -> bool:
    """Return whether a host is one of these domains or below one.

    A host under a deeper public suffix belongs to another registrant: `x.s3.amazonaws.com` is not below `amazonaws.com`.
    """
    host, registrable = place
    return any(
        registrable == pattern.registrable and (host == pattern.host or host.endswith(f".{pattern.host}"))
        for pattern in patterns
    )
