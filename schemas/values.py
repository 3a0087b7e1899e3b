"""Values that the configuration files share: durations, names and numbers, and the errors of their validators."""

import difflib
import math
import re
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainSerializer, PlainValidator, Strict, WithJsonSchema
from pydantic_core import InitErrorDetails, PydanticCustomError, ValidationError

Loc = tuple[str | int, ...]

_UNITS = {"w": 604_800, "d": 86_400, "h": 3_600, "m": 60, "s": 1}
_DURATION = re.compile(r"(?:\d{1,9}[wdhms])+", re.ASCII)
_PART = re.compile(r"(\d+)([wdhms])", re.ASCII)
_UNQUOTED = re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)|true|false", re.ASCII | re.IGNORECASE)
DURATION_MAX = timedelta(days=3_660)
ID_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
EMAIL_PATTERN = r"^[^@\s,;<>\x00-\x1f\x7f]{1,64}@[^@\s,;<>\x00-\x1f\x7f]+\.[^@\s,;<>.\x00-\x1f\x7f]+$"


class Shape(BaseModel):
    """A mapping of a configuration file: frozen, without unknown fields."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, hide_input_in_errors=True)


def wrong(mistake: str, remedy: str) -> PydanticCustomError:
    """Return the error of a validator. Mistake and remedy are shown to the author of the file."""
    return PydanticCustomError("wrong", "{mistake}; {remedy}", {"mistake": mistake, "remedy": remedy})


def all_wrong(title: str, mistakes: Iterable[tuple[Loc, PydanticCustomError]]) -> ValidationError:
    """Return one error of several mistakes, each at its location below the validated value."""
    lines: list[InitErrorDetails] = [{"type": error, "loc": loc, "input": None} for loc, error in mistakes]
    return ValidationError.from_exception_data(title, lines, hide_input=True)


def did_you_mean(name: str, candidates: Iterable[str]) -> str:
    """Return the remedy for a misspelt name: the most similar candidate, or the first 20 candidates."""
    names = list(candidates)
    matches = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if matches:
        return f"did you mean `{matches[0]}`?"
    if not names:
        return "remove it"
    listing = ", ".join(names[:20])
    return f"use one of: {listing}{', ...' if len(names) > 20 else ''}"


def duration(value: object) -> timedelta:
    """Return the timedelta of a text such as `14d`, `1h30m` or `10s`. The error for another value shows the format."""
    if isinstance(value, timedelta):
        return value
    remedy = "write a number and a unit out of w, d, h, m, s, such as `14d`, `1h30m` or `10s`"
    if not isinstance(value, str) or not _DURATION.fullmatch(value):
        raise wrong(f"{shown(value)} is not a duration", remedy)
    seconds = sum(int(count) * _UNITS[unit] for count, unit in _PART.findall(value))
    if seconds > DURATION_MAX.total_seconds():
        raise wrong(f"{value} is longer than ten years", f"write at most `{duration_text(DURATION_MAX)}`")
    return timedelta(seconds=seconds)


def positive_duration(value: object) -> timedelta:
    """Return a duration above zero."""
    span = duration(value)
    if not span:
        raise wrong(f"{value} is zero", "write a duration above zero, such as `30m`")
    return span


def duration_text(value: timedelta) -> str:
    """Return the text of a duration: `1h30m` for 90 minutes, and days for weeks. `duration` reads this text."""
    seconds = int(value.total_seconds())
    parts = []
    for unit in ("d", "h", "m", "s"):
        count, seconds = divmod(seconds, _UNITS[unit])
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


def shown(value: object) -> str:
    """Return the text of a value for a message: short, on one line, in backquotes."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "an empty value"
    if isinstance(value, (list, tuple)):
        return "a list"
    if isinstance(value, dict):
        return "a mapping"
    text = " ".join(str(value).split())
    text = text if text.isprintable() else ascii(text)
    return f"`{text[:57]}...`" if len(text) > 60 else f"`{text}`"


def quoted(value: object) -> bool:
    """Return whether the value is a text that YAML reads as a number or as true or false, if its quotes are removed."""
    return isinstance(value, str) and _UNQUOTED.fullmatch(value.strip()) is not None


def _finite(value: object) -> float:
    if quoted(value):
        raise wrong(f"{shown(value)} in quotes is text, not a number", "remove the quotes")
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise wrong(f"{shown(value)} is not a number", "write digits, such as `40` or `0.5`")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise wrong(f"{shown(value)} is not a finite number", "write digits, such as `40` or `0.5`")
    return number


def as_list(value: object) -> object:
    """Return a tuple of one item for a text, and any other value unchanged."""
    return (value,) if isinstance(value, str) else value


def repeated_indexes(names: Sequence[object]) -> list[int]:
    """Return the index of each name that occurs earlier in the sequence too."""
    earlier: set[object] = set()
    indexes = []
    for index, name in enumerate(names):
        if name in earlier:
            indexes.append(index)
        earlier.add(name)
    return indexes


_DURATION_SCHEMA = WithJsonSchema(
    {
        "type": "string",
        "pattern": r"^([0-9]+[wdhms])+$",
        "examples": ["30m", "14d"],
        "description": "A duration: 30m, 14d",
    }
)
_AS_TEXT = PlainSerializer(duration_text, return_type=str)

Duration = Annotated[timedelta, PlainValidator(duration), _AS_TEXT, _DURATION_SCHEMA]
Span = Annotated[timedelta, PlainValidator(positive_duration), _AS_TEXT, _DURATION_SCHEMA]
"""A duration above zero."""
Number = Annotated[float, PlainValidator(_finite), WithJsonSchema({"type": "number"})]
Whole = Annotated[int, Strict()]
Flag = Annotated[bool, Strict()]
Words = Annotated[tuple[str, ...], BeforeValidator(as_list, json_schema_input_type=str | list[str])]
