"""Values of conditions, written as the facts are that they are compared with."""

from collections.abc import Callable, Mapping
from typing import Final

from services.runtime import normalise
from services.runtime.normalise import MalformedError

EQUALITY: Final = frozenset({"eq", "ne", "in", "not_in"})
"""The operators that compare a whole value. The others look into texts, whose parts have no form of their own."""


class UnreadableError(ValueError):
    """No fact is ever written so. `what` is wrong, and `remedy` is the right spelling."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(f"{what}; {remedy}")
        self.what = what
        self.remedy = remedy


def _country(text: str) -> str:
    code = normalise.country(text)
    if code is None:
        raise UnreadableError("is not a country", "write its two-letter code, such as DE or GB")
    return code


def _email(text: str) -> str:
    try:
        return normalise.email(text)
    except MalformedError as wrong:
        raise UnreadableError("is not an email address", wrong.remedy) from None


def _phone(text: str) -> str:
    try:
        return normalise.phone(text)
    except MalformedError as wrong:
        raise UnreadableError("is not a phone number with its country code", wrong.remedy) from None


def _company_domain(text: str) -> str:
    domain = normalise.company_domain(text)
    if domain is None:
        raise UnreadableError("is not the domain of a company", "write it such as acme.com")
    return domain


def _email_domain(text: str) -> str:
    """The domain as it stands behind the @ of an address, which may be below that of the company."""
    try:
        return normalise.email(f"a@{text.strip().removeprefix('@')}").removeprefix("a@")
    except MalformedError:
        raise UnreadableError("is not the domain of an email address", "write it such as acme.com") from None


_WRITTEN: Final[Mapping[str, Callable[[str], str]]] = {
    "country": _country,
    "company.country": _country,
    "language": normalise.language,
    "email": _email,
    "phone": _phone,
    "company.domain": _company_domain,
    "email.domain": _email_domain,
}


def written(field: str, op: str, value: object) -> object:
    """One value as facts of this field are written. Raises `UnreadableError` when none ever is."""
    if not isinstance(value, str):
        return value
    made = _WRITTEN.get(field) if op in EQUALITY else None
    return made(value) if made is not None else normalise.clean(value) or value


def normalised(field: str, op: str, value: object) -> object:
    """The value of a test, or each of its values, as facts are written; one that cannot be read is left as it is."""
    if isinstance(value, tuple):
        return tuple(normalised(field, op, one) for one in value)
    try:
        return written(field, op, value)
    except UnreadableError:
        return value
