"""Converts values of untrusted senders to texts, numbers and booleans. None: the value is not of that type."""

import math
import re
from typing import Final

import msgspec

from firsthour.kernel.countries import CODES, country_code
from firsthour.kernel.languages import language_code
from firsthour.kernel.normalisation import typed_values
from firsthour.kernel.normalisation.companies import company_domain
from firsthour.kernel.normalisation.texts import TEXT_MAX, normalise_text
from schemas.errors import FirstHourError
from schemas.events.base import Value

Json = str | int | float | bool | None | list["Json"] | dict[str, "Json"]

INT_MAX: Final = typed_values.INT_MAX
number = typed_values.number
boolean = typed_values.boolean


class UnmappableError(FirstHourError, ValueError):
    """Raised when a body cannot be mapped to an event.

    Attributes:
        pointer: The place, such as `#/email`.
        fault: The fault there, as a predicate.
        remedy: The correction that the sender should make.
        status: The status of the answer.
        title: The title of the answer. Empty: the title that belongs to the status.
    """

    def __init__(self, pointer: str, fault: str, remedy: str, status: int = 422, title: str = "") -> None:
        super().__init__(f"{pointer}: {fault}; {remedy}")
        self.pointer = pointer
        self.fault = fault
        self.remedy = remedy
        self.status = status
        self.title = title

    def anew(self) -> "UnmappableError":
        """Return a copy, to raise where this error is in a local variable.

        The traceback of an error refers to the frames that raised it. A frame that also refers to the error would form a
        reference cycle with it.
        """
        return UnmappableError(self.pointer, self.fault, self.remedy, self.status, self.title)


def clean_text(text: str) -> str:
    """Return `normalise_text(text)`. Most texts are clean already and skip the call."""
    if text.isascii() and text.isprintable() and len(text) <= TEXT_MAX:
        return text.strip()
    return normalise_text(text)


def scalar(value: Json) -> Value | None:
    """Return a scalar, with its text cleaned, or a list of scalars as the text `a, b`.

    None: the value is empty, an object, or a list with nested values.
    """
    if type(value) is str:
        return clean_text(value) or None
    if value is None or isinstance(value, dict):
        return None
    if isinstance(value, list):
        if any(isinstance(item, list | dict) for item in value):
            return None
        return normalise_text(_joined(value)) or None
    return value


def _joined(items: list[Json]) -> str:
    """Return the items as one text. The text ends after about twice `TEXT_MAX` characters, so that a long list costs little."""
    texts: list[str] = []
    room = 2 * TEXT_MAX
    for item in items:
        if item is not None and item != "":
            texts.append(_plain_text(item)[:room])
            room -= len(texts[-1]) + 2
            if room <= 0:
                break
    return ", ".join(texts)


def last_value(value: Json) -> Json:
    """Return the last non-blank item of a list, for a field that has one value. A value that is no list is returned itself."""
    if not isinstance(value, list):
        return value
    return next((item for item in reversed(value) if scalar(item) is not None), None)


def text(value: Json) -> Value | None:
    """Return the value as a text. None: as for `scalar`."""
    if type(value) is str:
        if value.isascii() and value.isprintable() and len(value) <= TEXT_MAX:  # holds for most texts
            return value.strip() or None
        return normalise_text(value) or None
    plain = scalar(value)
    return plain if plain is None or type(plain) is str else _plain_text(plain)


def json_text(value: Json) -> str:
    """Return the JSON of a value that is nested too deeply to become separate fields."""
    return normalise_text(msgspec.json.encode(value).decode())


def _plain_text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def integer(value: Json) -> Value | None:
    """Return the value of `number`, rounded down."""
    if type(value) is int:
        return value if -INT_MAX <= value <= INT_MAX else None
    exact = number(value)
    return exact if exact is None or type(exact) is int else math.floor(float(exact))


_COUNT = r"\d{1,3}(?:[,.' \u2019]\d{3})+|\d{1,9}"
_THOUSAND = r"(?:\s?(k|tsd)\b\.?)?"
_BELOW = r"<=?|≤|less than|fewer than|under|up to|below|max\.?|unter|bis(?: zu)?|weniger als|moins de|menos de"
_ABOVE = r">|more than|over|above|über|mehr als|plus de|más de"
_ABOUT = r">=|≥|=|~|about|around|approx\.?|approximately|circa|ca\.?|at least|from|min\.?|ab|mindestens|etwa|rund|de|du|entre|between|von|zwischen|env\.?|environ|unos"
_HEADCOUNT = re.compile(
    rf"(?:({_BELOW})|({_ABOVE})|{_ABOUT})?\s?({_COUNT}){_THOUSAND}"
    rf"(?:\s?(?:-|–|—|to|bis|à|a|until|and|und|et|y|e|\.\.\.?|…)\s?(?:{_COUNT}){_THOUSAND})?\s?(?:\+)?\s?[^\d<>]{{0,60}}"
)
_HEADCOUNT_MAX: Final = 100  # only this many characters are examined
_ALONE: Final = frozenset({"just me", "only me", "self-employed", "self employed", "freelancer", "solo"})


def headcount(value: Json) -> Value | None:
    """Return the least integer that a text such as `201-500 employees`, `1k+` or `more than 500` can mean."""
    if type(value) is not str:
        return integer(last_value(value))
    count = integer(value)
    if count is not None:
        return count
    words = " ".join(value[:_HEADCOUNT_MAX].lower().split())
    if words in _ALONE:
        return 1
    match = _HEADCOUNT.fullmatch(words)
    if match is None:
        return None
    below, above, digits, thousands, thousands_of_end = match.groups()
    if below:
        return 1
    size = int(re.sub(r"\D", "", digits)) * (1_000 if thousands or thousands_of_end else 1)
    return size + 1 if above else size


def country(value: Json) -> Value | None:
    """Return the ISO code of a country, or the text itself if the country is unknown."""
    if type(value) is str and value in CODES:
        return value
    name = text(value)
    return name if name is None else country_code(str(name)) or name


def language(value: Json) -> Value | None:
    """Return the code of a language: `de` for `DE`, `de-AT` and `German`. Other words are returned in lower case."""
    if type(value) is str and len(value) == 2 and value.isascii() and value.isalpha():
        return value.lower()
    name = text(value)
    return None if name is None else language_code(str(name))


def domain(value: Json) -> Value | None:
    """Return the registrable domain of a host or a URL, or the text itself if it has none."""
    host = text(value)
    return host if host is None else company_domain(str(host)) or host
