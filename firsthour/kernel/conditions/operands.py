"""Values of conditions, in the form of the facts with which they are compared."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from firsthour.kernel.countries import country_code
from firsthour.kernel.languages import language_code
from firsthour.kernel.normalisation.companies import company_domain
from firsthour.kernel.normalisation.emails import normalise_email
from firsthour.kernel.normalisation.malformed import MalformedError
from firsthour.kernel.normalisation.phones import normalise_phone
from firsthour.kernel.normalisation.texts import normalise_text
from schemas.errors import FirstHourError

EQUALITY: Final = frozenset({"eq", "ne", "in", "not_in"})
"""The operators that compare a whole value. The others search in texts, whose parts have no normal form."""


class UnreadableError(FirstHourError, ValueError):
    """Raised for a value that no fact has. `remedy`: the right spelling."""

    def __init__(self, mistake: str, remedy: str) -> None:
        super().__init__(f"{mistake}; {remedy}")
        self.mistake = mistake
        self.remedy = remedy


@dataclass(frozen=True)
class _Form:
    """The normal form of the facts of a field. `read` returns None for a text without one, or raises with the remedy."""

    read: Callable[[str], str | None]
    mistake: str = ""
    remedy: str = ""

    def written(self, text: str) -> str:
        """Return the text in the form of facts. Raises `UnreadableError`."""
        try:
            normal_form = self.read(text)
        except MalformedError as wrong:
            raise UnreadableError(self.mistake, self.remedy or wrong.remedy) from None
        if normal_form is None:
            raise UnreadableError(self.mistake, self.remedy)
        return normal_form


def _email_domain(text: str) -> str:
    """Return the domain of an address. It may be below the domain of the company."""
    return normalise_email(f"a@{text.strip().removeprefix('@')}").removeprefix("a@")


_COUNTRY: Final = _Form(country_code, "is not a country", "write its two-letter code, such as DE or GB")
_DOMAIN_REMEDY: Final = "write it such as acme.com"
_FORMS: Final[Mapping[str, _Form]] = {
    "country": _COUNTRY,
    "company.country": _COUNTRY,
    "language": _Form(language_code),
    "email": _Form(normalise_email, "is not an email address"),
    "phone": _Form(normalise_phone, "is not a phone number with its country code"),
    "company.domain": _Form(company_domain, "is not the domain of a company", _DOMAIN_REMEDY),
    "email.domain": _Form(_email_domain, "is not the domain of an email address", _DOMAIN_REMEDY),
}


def written(field: str, op: str, value: object) -> object:
    """Return a value in the form of the facts of this field. Raises `UnreadableError` if no fact has such a value."""
    if not isinstance(value, str):
        return value
    form = _FORMS.get(field) if op in EQUALITY else None
    return form.written(value) if form is not None else normalise_text(value) or value


def normalised(field: str, op: str, value: object) -> object:
    """Return the value of a test, or each of its values, in the form of facts. An unreadable value stays unchanged."""
    if isinstance(value, tuple):
        return tuple(normalised(field, op, item) for item in value)
    try:
        return written(field, op, value)
    except UnreadableError:
        return value
