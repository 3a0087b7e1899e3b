"""Companies: the registrable domain of a host, URL or address."""

import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Final

import idna
from publicsuffixlist import PSLFILE, PublicSuffixList

DOMAIN_LABEL: Final = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_CACHED: Final = 65_536
_CACHED_CHARS_MAX: Final = 100  # a longer text is not worth its place in the cache
_HOST_MAX: Final = 253
_HOST = re.compile(rf"(?:{DOMAIN_LABEL}\.)+{DOMAIN_LABEL}").fullmatch
_SCHEME = re.compile(r"^[a-z][a-z0-9+.-]*:(?=//)|^mailto:", re.IGNORECASE)


@lru_cache(1)
def suffixes() -> PublicSuffixList:
    """Return the list of public suffixes, read at first use. The library itself would take twice as long: it encodes each line."""
    return PublicSuffixList(_rules(), accept_encoded_idn=False)


def _rules() -> Iterator[str]:
    for line in Path(PSLFILE).read_text(encoding="utf-8").splitlines():
        yield line
        if not line.isascii() and not line.startswith("//"):
            rule = line.lower().split(" ")[0]
            yield "!" * rule.startswith("!") + rule.lstrip("!").encode("idna").decode()


def company_domain(domain_or_url: str) -> str | None:
    """Return the registrable domain of a host, URL or address (`https://www.acme.co.uk/x` is `acme.co.uk`).

    None: the text has no registrable domain.
    """
    return _cached_domain(domain_or_url) if len(domain_or_url) <= _CACHED_CHARS_MAX else _domain(domain_or_url)


def _domain(domain_or_url: str) -> str | None:
    host = ascii_host(domain_or_url)
    return None if host is None else registrable_domain(host)


def ascii_host(domain_or_url: str) -> str | None:
    """Return the host of a URL, an address or a domain, in lower case and ASCII. None: the text names no host with a domain."""
    authority = re.split(r"[/?#\\]", _SCHEME.sub("", domain_or_url.strip()).removeprefix("//"), maxsplit=1)[0]
    host = authority.rpartition("@")[2].partition(":")[0].rstrip(".")
    if not 0 < len(host) <= _HOST_MAX:
        return None
    lower = host.lower()
    if not host.isascii():
        try:
            lower = idna.encode(host, uts46=True).decode()
        except (idna.IDNAError, UnicodeError):
            return None
    if not _HOST(lower) or lower.rpartition(".")[2].isdigit():  # the latter is an IP address
        return None
    return lower


def registrable_domain(host: str) -> str | None:
    """Return the registrable domain of a host in ASCII. None: it is a public suffix itself."""
    return suffixes().privatesuffix(host)


_cached_domain = lru_cache(_CACHED)(_domain)


def is_public_suffix(name: str) -> bool:
    """Return whether a name in ASCII is on the list of public suffixes, such as `com`, `co.uk` and `github.io`."""
    return bool(name) and suffixes().publicsuffix(name, accept_unknown=False) == name


def has_public_suffix(host: str) -> bool:
    """Return whether the name ends in a public suffix, so that programs may show it as a link."""
    return suffixes().publicsuffix(host.lower(), accept_unknown=False) is not None
