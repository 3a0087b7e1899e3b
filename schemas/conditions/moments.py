"""Moments and time spans in conditions: `2026-12-31`, `2026-12-31T09:00:00+01:00`, `14d`, `next 30d`."""

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final

from pydantic_core import PydanticCustomError

from schemas.values import duration

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_CHARS_MAX: Final = 40
_MOMENT = re.compile(
    r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?(?:Z|[+-]\d\d:?\d\d)?)?", re.ASCII
).fullmatch
_NEXT: Final = "next "


def instant(text: str) -> int | None:
    """Return the microseconds since the epoch of a day or a time in ISO 8601. Without an offset it is in UTC.

    A day is its first moment. None: the text is neither.
    """
    return _instant(text) if len(text) <= _CHARS_MAX else None


@lru_cache(maxsize=4096)
def _instant(text: str) -> int | None:
    if not _MOMENT(text):
        return None
    try:
        at = datetime.fromisoformat(text)
        return ((at if at.tzinfo else at.replace(tzinfo=UTC)) - _EPOCH) // _MICROSECOND
    except (ValueError, OverflowError):
        return None


def span_us(text: str) -> tuple[int, int] | None:
    """Return the first and the last moment of a span, in microseconds from now: `14d` ends now, `next 14d` starts now.

    None: the text is no span.
    """
    ahead = text.startswith(_NEXT)
    try:
        length = duration(text.removeprefix(_NEXT)) // _MICROSECOND
    except PydanticCustomError:
        return None
    if not length:
        return None
    return (0, length) if ahead else (-length, 0)
