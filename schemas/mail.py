"""Mail addresses as a mail server takes them: plain ASCII, an international domain encoded by IDNA."""

import re
from functools import lru_cache
from typing import Final

import idna

ADDRESS_CHARS_MAX: Final = 254
_LOCAL: Final = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*").fullmatch
_DOMAIN: Final = re.compile(
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z0-9][A-Za-z0-9-]{0,61}[A-Za-z0-9]"
).fullmatch
_CACHED: Final = 4_096


@lru_cache(_CACHED)
def deliverable(address: str) -> str | None:
    """Return the address as a mail server takes it. None: no mail can be sent to it."""
    return None if trouble(address) else _encoded(address)


def trouble(address: str) -> str | None:
    """Return why no mail can be sent to this address. None: mail can be sent."""
    local = address.rpartition("@")[0]
    if not local.isascii():
        return "the part before the @ has letters beyond ASCII, which mail servers refuse"
    if not _LOCAL(local) or len(local) > 64:
        return "the part before the @ is not that of a plain address"
    encoded = _encoded(address)
    if encoded is None or not _DOMAIN(encoded.rpartition("@")[2]):
        return "the part after the @ is not a domain"
    return "the address is too long" if len(encoded) > ADDRESS_CHARS_MAX else None


def _encoded(address: str) -> str | None:
    local, _, domain = address.rpartition("@")
    if domain.isascii():
        return address
    try:
        return f"{local}@{idna.encode(domain, uts46=True).decode()}"
    except (idna.IDNAError, UnicodeError):
        return None
