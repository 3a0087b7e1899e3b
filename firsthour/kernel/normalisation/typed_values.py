"""Converts values of untrusted senders to numbers, booleans and days. None: the value is not of that type."""

import re
from datetime import timedelta
from typing import Final

from firsthour.kernel.time_units import EPOCH
from schemas.conditions.moments import instant
from schemas.events.base import Value

INT_MAX: Final = 2**53
_DIGITS_MAX: Final = 15  # every number with at most this many digits is below 2**53
_YES: Final = frozenset(
    {"yes", "y", "true", "on", "1", "ja", "oui", "si", "sí", "agree", "agreed", "accept", "accepted"}
)
_NO: Final = frozenset({"no", "n", "false", "off", "0", "nein", "non"})
_GROUPED = re.compile(r"\d{1,3}([,.])\d{3}(?:\1\d{3})*", re.ASCII)  # 1,200 or 1.200.000
_GROUPED_WITH_CENTS = re.compile(r"\d{1,3}(?:,\d{3})+\.\d+", re.ASCII)  # 1,200.50
_PLAIN_NUMBER = re.compile(r"[+-]?\d{1,15}(?:\.\d{1,15})?", re.ASCII)
_RANGE = re.compile(r"([\d,.']+)(?:\+|(?:-|–|—|to)[\d,.']+)", re.ASCII)  # 500+, 51-200: the lower end counts
_BLANKS = re.compile(r"[\s'_\u2019]")
_WORD_MAX: Final = 50  # characters: longer than any word for yes or no
_DAY_CHARS: Final = 10


def number(value: object) -> Value | None:
    """Return the number in texts such as `1,200`, `1.200.000`, `12.5`, `500+` and `51-200` (its lower end)."""
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, int | float):
        return value if abs(value) <= INT_MAX else None
    if not isinstance(value, str):
        return None
    if value.isascii() and value.isdigit() and len(value) <= _DIGITS_MAX:
        return int(value)
    short = _BLANKS.sub("", value[:100])
    span = _RANGE.fullmatch(short)
    short = span[1] if span else short
    if _GROUPED.fullmatch(short):
        short = short.replace(",", "").replace(".", "")
    elif _GROUPED_WITH_CENTS.fullmatch(short):
        short = short.replace(",", "")
    if not _PLAIN_NUMBER.fullmatch(short):
        return None
    return float(short) if "." in short else int(short)


def boolean(value: object) -> Value | None:
    """Return the boolean of a word for yes or no. None: any other word, because consent is not guessed."""
    if isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        return bool(value) if value in (0, 1) else None
    if not isinstance(value, str):
        return None
    word = value[:_WORD_MAX].strip().lower()
    return True if word in _YES else False if word in _NO else None


def day_or_time(value: object) -> Value | None:
    """Return a day as it is written, and a time in UTC: `2026-12-31`, `2026-12-31T08:00:00Z`."""
    text = value.strip() if isinstance(value, str) else ""
    at = instant(text)
    if at is None:
        return None
    return text if len(text) == _DAY_CHARS else (EPOCH + timedelta(microseconds=at)).isoformat().replace("+00:00", "Z")
