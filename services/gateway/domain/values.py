"""Turns what strangers write into values we keep: texts, numbers, yes and no, moments; or says that it cannot."""

import math
import re
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec

from schemas.events import Value
from services.runtime import normalise
from services.runtime.clock import EPOCH
from services.runtime.countries import CODES

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
_WORD = re.compile(r"[a-z]{2,3}", re.ASCII)
_SECONDS_MAX: Final = 100_000_000_000  # the year 5138; beyond it a number means milliseconds


class UnmappableError(ValueError):
    """The body cannot be understood. `pointer` is the place (`#/email`); `what` is wrong there and what is the `remedy`."""

    def __init__(self, pointer: str, what: str, remedy: str, status: int = 422) -> None:
        super().__init__(f"{pointer}: {what}; {remedy}")
        self.pointer = pointer
        self.what = what
        self.remedy = remedy
        self.status = status


# --- one value -----------------------------------------------------------------------------------------------------


def cleaned(text: str) -> str:
    """`normalise.clean`, with a shortcut for what is clean already, as nearly everything is."""
    if text.isascii() and text.isprintable() and len(text) <= normalise.TEXT_MAX:
        return text.strip()
    return normalise.clean(text)


def plain(value: Json) -> Value | None:
    """A scalar as it is, cleaned; a list of scalars as `a, b`; None for nothing, and for what has parts of its own."""
    if type(value) is str:
        return cleaned(value) or None
    if value is None or isinstance(value, dict):
        return None
    if isinstance(value, list):
        if any(isinstance(item, list | dict) for item in value):
            return None
        return normalise.clean(", ".join(_written(item) for item in value if item is not None and item != "")) or None
    return value


def text(value: Json) -> Value | None:
    """As a text."""
    if type(value) is str:
        if value.isascii() and value.isprintable() and len(value) <= normalise.TEXT_MAX:  # as nearly every text is
            return value.strip() or None
        return normalise.clean(value) or None
    found = plain(value)
    return found if found is None or type(found) is str else _written(found)


def as_json(value: Json) -> str:
    """What lies too deep to be a field of its own."""
    return normalise.clean(msgspec.json.encode(value).decode())


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


def whole(value: Json) -> Value | None:
    """As `number`, without what comes after the point."""
    if type(value) is int:
        return value if -INT_MAX <= value <= INT_MAX else None
    found = number(value)
    return found if found is None or type(found) is int else math.floor(float(found))


def truth(value: Json) -> Value | None:
    """A yes or a no; None when it is neither, because consent is not guessed."""
    if isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        return bool(value) if value in (0, 1) else None
    if not isinstance(value, str):
        return None
    word = value.strip().lower()
    return True if word in _YES else False if word in _NO else None


def country(value: Json) -> Value | None:
    """Its ISO code, or the words themselves when nobody knows that country."""
    if type(value) is str and value in CODES:
        return value
    found = text(value)
    return found if found is None else normalise.country(str(found)) or found


def language(value: Json) -> Value | None:
    """`de` for `de`, `DE` and `de-AT`; other words in lower case."""
    if type(value) is str and len(value) == 2 and value.isascii() and value.isalpha():
        return value.lower()
    found = text(value)
    if found is None:
        return None
    lower = str(found).lower()
    primary = lower.replace("_", "-").partition("-")[0]
    return primary if _WORD.fullmatch(primary) else lower


def domain(value: Json) -> Value | None:
    """The registrable domain of a host or an address of the web, or the words themselves."""
    found = text(value)
    return found if found is None else normalise.company_domain(str(found)) or found


# --- moments -------------------------------------------------------------------------------------------------------

_REMEDY_TIME = "write it as 2026-12-31T09:30:00Z, or leave it out"


def moment_of(value: Json, pointer: str) -> datetime:
    """ISO 8601 (UTC when it names no offset), or seconds or milliseconds since 1970. Raises `UnmappableError`."""
    try:
        if isinstance(value, str):
            written = value.strip()
            if not (written.isascii() and written.isdigit() and len(written) >= 9):
                at = datetime.fromisoformat(written)
                return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
            value = int(written[:20])
        if isinstance(value, int | float) and not isinstance(value, bool):
            return EPOCH + timedelta(milliseconds=value if abs(value) >= _SECONDS_MAX else value * 1_000)
    except (ValueError, OverflowError):
        pass
    raise UnmappableError(pointer, "is not a time", _REMEDY_TIME)
