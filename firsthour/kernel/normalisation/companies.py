"""Companies: the registrable domain of a host, URL or address."""

import re
from functools import lru_cache
from typing import Final

import idna
from publicsuffixlist import PublicSuffixList

DOMAIN_LABEL: Final = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_CACHED: Final = 65_536
_CACHED_CHARS_MAX: Final = 100  # a longer text is not worth its place in the cache
_HOST_MAX: Final = 253
_HOST = re.compile(rf"(?:{DOMAIN_LABEL}\.)+{DOMAIN_LABEL}").fullmatch
_SCHEME = re.compile(r"^[a-z][a-z0-9+.-]*:(?=//)|^mailto:", re.IGNORECASE)


@lru_cache(1)
def _suffixes() -> PublicSuffixList:
    return PublicSuffixList()  # at first use: it takes about 35 ms


def company_domain(domain_or_url: str) -> str | None:
    """Return the registrable domain of a host, URL or address (`https://www.acme.co.uk/x` is `acme.co.uk`).

    None: the text has no registrable domain.
    """
    return _cached_domain(domain_or_url) if len(domain_or_url) <= _CACHED_CHARS_MAX else _domain(domain_or_url)


def _domain(domain_or_url: str) -> str | None:
    authority = re.split(r"[/?#\\]", _SCHEME.sub("", domain_or_url.strip()).removeprefix("//"), maxsplit=1)[0]
    host = authority.rpartition("@")[2].partition(":")[0].rstrip(".")
    return _registrable(host) if 0 < len(host) <= _HOST_MAX else None


_cached_domain = lru_cache(_CACHED)(_domain)


def _registrable(host: str) -> str | None:
    ascii_host = host.lower()
    if not host.isascii():
        try:
            ascii_host = idna.encode(host, uts46=True).decode()
        except (idna.IDNAError, UnicodeError):
            return None
    if not _HOST(ascii_host) or ascii_host.rpartition(".")[2].isdigit():  # the latter is an IP address
        return None
    return _suffixes().privatesuffix(ascii_host)


def has_public_suffix(host: str) -> bool:
    """Return whether the name ends in a public suffix, so that programs may show it as a link."""
    return _suffixes().publicsuffix(host.lower(), accept_unknown=False) is not None
