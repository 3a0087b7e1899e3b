"""Parses the time of an event in the formats that senders use. A time in the future becomes the present."""

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from firsthour.kernel.plausible_times import is_possible
from firsthour.kernel.time_units import EPOCH
from schemas.events.outside import FLAG_TIME
from services.gateway.domain.coerce import Json, UnmappableError

_SECONDS_MAX: Final = 100_000_000_000  # the year 5138; a larger number counts a smaller unit
_TEXT_MAX: Final = 50  # only this many characters of a text are examined
_LAST_OF_DAY: Final = timedelta(days=1, microseconds=-1)

_REMEDY = "send it as 2026-12-31T09:30:00Z, or leave it out"
_NUMBER = re.compile(r"[+-]?\d{1,20}(?:\.\d{1,9})?", re.ASCII)
_BASIC_DATE = re.compile(r"(?:19|20)\d{6}", re.ASCII)  # 20261231
_ZERO_DATE = re.compile(r"0{4}-0{2}-0{2}(?:[T ][0:.]*)?Z?", re.ASCII)  # MySQL writes a missing date like this
_DATE_MAX: Final = 10  # characters: a date with a time of day is longer
_UNITS: Final = ((100_000_000_000_000_000, 1_000_000_000), (100_000_000_000_000, 1_000_000), (_SECONDS_MAX, 1_000))
"""The smallest number that counts nanoseconds, microseconds or milliseconds, and how many of them make a second."""


def parse_time(value: Json, pointer: str) -> datetime | None:
    """Parse ISO 8601 (UTC without an offset), or seconds, milliseconds, micro- or nanoseconds since 1970.

    Returns:
        The time in UTC. None: the value has the form of a time, but no calendar has it, such as 0000-00-00.

    Raises:
        UnmappableError: The value is not a time.
    """
    if isinstance(value, str):
        text = value[:_TEXT_MAX].strip()
        if text[4:5] == "-" or not _NUMBER.fullmatch(text) or _BASIC_DATE.fullmatch(text):
            try:
                at = datetime.fromisoformat(text)
            except ValueError:
                if _ZERO_DATE.fullmatch(text):
                    return None
                raise UnmappableError(pointer, "is not a time", _REMEDY) from None
            return at if at.tzinfo is UTC else _in_utc(at)
        value = float(text) if "." in text else int(text)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UnmappableError(pointer, "is not a time", _REMEDY)
    unit = next((unit for least, unit in _UNITS if abs(value) >= least), 1)
    try:
        return EPOCH + timedelta(microseconds=round(value * 1_000_000 / unit))
    except (ValueError, OverflowError):
        return None


def is_date(value: Json) -> bool:
    """Tell whether a valid time is a date without a time of day."""
    if not isinstance(value, str):
        return False
    text = value[:_TEXT_MAX].strip()
    if len(text) > _DATE_MAX:
        return False
    return _NUMBER.fullmatch(text) is None or _BASIC_DATE.fullmatch(text) is not None


def _in_utc(at: datetime) -> datetime | None:
    try:
        return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except OverflowError:  # the offset moves the time out of the calendar
        return None


def time_of(sent: Json, type_: str, now: datetime, pointer: str) -> tuple[datetime, str | None]:
    """Return the time of an event, and the change that was made to the sent time. None: no change.

    An impossible time is replaced by `now` and flagged. A time after `now`, from a fast clock, is cut to `now`.

    CRMs send dates without a time of day. Such a date means the end of that day: at its beginning, a deal, a touch or an
    opt-out would be older than earlier events of the same day. For a consent the date means the beginning of the day, so that
    the consent ends only opt-outs of earlier days.
    """
    if type(sent) is str and not sent.strip():
        return now, None
    at = parse_time(sent, f"{pointer}/time")
    if at is None or not is_possible(at, now):
        return now, FLAG_TIME
    if at <= now and type_ != "consent.given" and is_date(sent):
        return min(at + _LAST_OF_DAY, now), None
    return (at, None) if at <= now else (now, "cut")
