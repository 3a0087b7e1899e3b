"""Turns what strangers write into values we keep: texts, numbers, yes and no, moments; or says that it cannot."""

import math
import re
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec

from firsthour.kernel import normalisation
from firsthour.kernel.countries import CODES
from firsthour.kernel.time_units import EPOCH
from schemas.errors import FirstHourError
from schemas.events import Value

Json = str | int | float | bool | None | list["Json"] | dict[str, "Json"]

INT_MAX: Final = 2**53
_DIGITS_MAX: Final = 15  # below 2**53 whatever they are
_YES: Final = frozenset(
    {"yes", "y", "true", "on", "1", "ja", "oui", "si", "sí", "agree", "agreed", "accept", "accepted"}
)
_NO: Final = frozenset({"no", "n", "false", "off", "0", "nein", "non"})
_GROUPED = re.compile(r"\d{1,3}([,.])\d{3}(?:\1\d{3})*", re.ASCII)  # 1,200 or 1.200.000
_GROUPED_WITH_CENTS = re.compile(r"\d{1,3}(?:,\d{3})+\.\d+", re.ASCII)  # 1,200.50
_PLAIN_NUMBER = re.compile(r"[+-]?\d{1,15}(?:\.\d{1,15})?", re.ASCII)
_RANGE = re.compile(r"([\d,.']+)(?:\+|(?:-|–|—|to)[\d,.']+)", re.ASCII)  # 500+, 51-200: its lower end
_BLANKS = re.compile(r"[\s'_\u2019]")
_WORD_MAX: Final = 50  # characters: no yes and no no is longer
_SECONDS_MAX: Final = 100_000_000_000  # the year 5138; beyond it a number means milliseconds


class UnmappableError(FirstHourError, ValueError):
    """The body cannot be understood. `pointer` is the place (`#/email`); `what` is wrong there and what is the `remedy`."""

    def __init__(self, pointer: str, what: str, remedy: str, status: int = 422) -> None:
        super().__init__(f"{pointer}: {what}; {remedy}")
        self.pointer = pointer
        self.what = what
        self.remedy = remedy
        self.status = status

    def anew(self) -> "UnmappableError":
        """The same, to be raised where this one is at hand: raised itself, it and the frame would keep each other."""
        return UnmappableError(self.pointer, self.what, self.remedy, self.status)


# --- one value -----------------------------------------------------------------------------------------------------


def clean_text(text: str) -> str:
    """`normalisation.clean`, with a shortcut for what is clean already, as nearly everything is."""
    if text.isascii() and text.isprintable() and len(text) <= normalisation.TEXT_MAX:
        return text.strip()
    return normalisation.clean(text)


def scalar(value: Json) -> Value | None:
    """A scalar as it is, cleaned; a list of scalars as `a, b`; None for nothing, and for what has parts of its own."""
    if type(value) is str:
        return clean_text(value) or None
    if value is None or isinstance(value, dict):
        return None
    if isinstance(value, list):
        if any(isinstance(item, list | dict) for item in value):
            return None
        return normalisation.clean(_joined(value)) or None
    return value


def _joined(items: list[Json]) -> str:
    """The items as one text; those beyond what is kept of a text are left out before they are joined."""
    kept: list[str] = []
    room = 2 * normalisation.TEXT_MAX
    for item in items:
        if item is not None and item != "":
            kept.append(_written(item)[:room])
            room -= len(kept[-1]) + 2
            if room <= 0:
                break
    return ", ".join(kept)


def last_value(value: Json) -> Json:
    """Return the last item of a list that is not blank, for a field that has one value."""
    if not isinstance(value, list):
        return value
    return next((item for item in reversed(value) if scalar(item) is not None), None)


def text(value: Json) -> Value | None:
    """As a text."""
    if type(value) is str:
        if value.isascii() and value.isprintable() and len(value) <= normalisation.TEXT_MAX:  # as nearly every text is
            return value.strip() or None
        return normalisation.clean(value) or None
    found = scalar(value)
    return found if found is None or type(found) is str else _written(found)


def json_text(value: Json) -> str:
    """What lies too deep to be a field of its own."""
    return normalisation.clean(msgspec.json.encode(value).decode())


def _written(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def number(value: Json) -> Value | None:
    """`1,200`, `1.200.000`, `12.5`, `500+` and `51-200` (its lower end) as a number; None when it is none."""
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, int | float):
        return value if abs(value) <= INT_MAX else None
    if not isinstance(value, str):
        return None
    if value.isascii() and value.isdigit() and len(value) <= _DIGITS_MAX:
        return int(value)
    short = _BLANKS.sub("", value[:100])
    ranged = _RANGE.fullmatch(short)
    short = ranged[1] if ranged else short
    if _GROUPED.fullmatch(short):
        short = short.replace(",", "").replace(".", "")
    elif _GROUPED_WITH_CENTS.fullmatch(short):
        short = short.replace(",", "")
    if not _PLAIN_NUMBER.fullmatch(short):
        return None
    return float(short) if "." in short else int(short)


def integer(value: Json) -> Value | None:
    """As `number`, without what comes after the point."""
    if type(value) is int:
        return value if -INT_MAX <= value <= INT_MAX else None
    found = number(value)
    return found if found is None or type(found) is int else math.floor(float(found))


_COUNT = r"\d{1,3}(?:[,.' \u2019]\d{3})+|\d{1,9}"
_THOUSAND = r"(?:\s?(k|tsd)\b\.?)?"
_BELOW = r"<=?|≤|less than|fewer than|under|up to|below|max\.?|unter|bis(?: zu)?|weniger als|moins de|menos de"
_ABOVE = r">|more than|over|above|über|mehr als|plus de|más de"
_ABOUT = r">=|≥|=|~|about|around|approx\.?|approximately|circa|ca\.?|at least|from|min\.?|ab|mindestens|etwa|rund"
_HEADCOUNT = re.compile(
    rf"(?:({_BELOW})|({_ABOVE})|{_ABOUT})?\s?({_COUNT}){_THOUSAND}"
    rf"(?:\s?(?:-|–|—|to|bis|à|until|and|und|\.\.\.?|…)\s?(?:{_COUNT}){_THOUSAND})?\s?(?:\+)?\s?[^\d<>]{{0,60}}"
)
_HEADCOUNT_MAX: Final = 100  # characters looked at
_ALONE: Final = frozenset({"just me", "only me", "self-employed", "self employed", "freelancer", "solo"})


def headcount(value: Json) -> Value | None:
    """`1,200`, `201-500 employees`, `1k+` and `more than 500` as a whole number: the least that it can mean."""
    if type(value) is not str:
        return integer(last_value(value))
    found = integer(value)
    if found is not None:
        return found
    words = " ".join(value[:_HEADCOUNT_MAX].lower().split())
    if words in _ALONE:
        return 1
    match = _HEADCOUNT.fullmatch(words)
    if match is None:
        return None
    below, above, count, thousands, thousands_of_end = match.groups()
    if below:
        return 1
    size = int(re.sub(r"\D", "", count)) * (1_000 if thousands or thousands_of_end else 1)
    return size + 1 if above else size


def boolean(value: Json) -> Value | None:
    """A yes or a no; None when it is neither, because consent is not guessed."""
    if isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        return bool(value) if value in (0, 1) else None
    if not isinstance(value, str):
        return None
    word = value[:_WORD_MAX].strip().lower()
    return True if word in _YES else False if word in _NO else None


def country(value: Json) -> Value | None:
    """Its ISO code, or the words themselves when nobody knows that country."""
    if type(value) is str and value in CODES:
        return value
    found = text(value)
    return found if found is None else normalisation.country(str(found)) or found


def language(value: Json) -> Value | None:
    """`de` for `de`, `DE`, `de-AT` and `German`; other words in lower case."""
    if type(value) is str and len(value) == 2 and value.isascii() and value.isalpha():
        return value.lower()
    found = text(value)
    if found is None:
        return None
    return normalisation.language(str(found))


def domain(value: Json) -> Value | None:
    """The registrable domain of a host or an address of the web, or the words themselves."""
    found = text(value)
    return found if found is None else normalisation.company_domain(str(found)) or found


# --- moments -------------------------------------------------------------------------------------------------------

_REMEDY_TIME = "write it as 2026-12-31T09:30:00Z, or leave it out"
_NUMBER_OF_TIME = re.compile(r"[+-]?\d{1,20}(?:\.\d{1,9})?", re.ASCII)
_BASIC_DATE = re.compile(r"(?:19|20)\d{6}", re.ASCII)  # 20261231
_ZERO_DATE = re.compile(r"0{4}-0{2}-0{2}(?:[T ][0:.]*)?Z?", re.ASCII)  # as MySQL writes no date at all
_DATE_CHARS_MAX: Final = 10  # with a time of day it is longer
_UNITS: Final = ((100_000_000_000_000_000, 1_000_000_000), (100_000_000_000_000, 1_000_000), (_SECONDS_MAX, 1_000))


def parse_time(value: Json, pointer: str) -> datetime | None:
    """ISO 8601 (UTC when it names no offset), or a number since 1970 in seconds, milliseconds, micro- or nanoseconds.

    None for a time that no calendar has, such as 0000-00-00. Raises `UnmappableError` for what is no time.
    """
    if isinstance(value, str):
        written = value[:_WORD_MAX].strip()
        if written[4:5] == "-" or not _NUMBER_OF_TIME.fullmatch(written) or _BASIC_DATE.fullmatch(written):
            try:
                at = datetime.fromisoformat(written)
            except ValueError:
                if _ZERO_DATE.fullmatch(written):
                    return None
                raise UnmappableError(pointer, "is not a time", _REMEDY_TIME) from None
            return at if at.tzinfo is UTC else _in_utc(at)
        value = float(written) if "." in written else int(written)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UnmappableError(pointer, "is not a time", _REMEDY_TIME)
    unit = next((unit for least, unit in _UNITS if abs(value) >= least), 1)
    try:
        return EPOCH + timedelta(microseconds=round(value * 1_000_000 / unit))
    except (ValueError, OverflowError):
        return None


def is_date(value: Json) -> bool:
    """Tell whether a time that can be read is a date alone, without a time of day."""
    if not isinstance(value, str):
        return False
    written = value[:_WORD_MAX].strip()
    if len(written) > _DATE_CHARS_MAX:
        return False
    return _NUMBER_OF_TIME.fullmatch(written) is None or _BASIC_DATE.fullmatch(written) is not None


def _in_utc(at: datetime) -> datetime | None:
    try:
        return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except OverflowError:  # the first or the last day that there is
        return None
