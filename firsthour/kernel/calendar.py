"""A working calendar: weekly hours in a time zone, without public holidays, as spans of UTC.

An instant is working time if its local time lies in the hours of its local day. Local times that a change of the clock
skips do not count, and local times that come twice count twice.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from functools import lru_cache
from itertools import pairwise
from typing import Final
from zoneinfo import ZoneInfo

from firsthour.kernel.business_time import Span, joined
from firsthour.kernel.public_holidays import holidays_of
from schemas.agreement.calendars import DAYS, Calendar, days_of, minutes_of

_SECOND: Final = 1_000_000
_MINUTE: Final = 60 * _SECOND
_DAY: Final = 24 * 60 * _MINUTE
_EPOCH: Final = date(1970, 1, 1).toordinal()
_FIRST_DAY: Final = date(1, 1, 3).toordinal() - _EPOCH
_LAST_DAY: Final = date(9999, 12, 29).toordinal() - _EPOCH
"""Beyond these days a local time could leave the years that a `datetime` has."""
_LOOKS_PER_DAY: Final = 4
"""Looks at the offset of a zone. No zone has ever changed it twice in six hours."""
_DAYS_KEPT: Final = 2_048

WeeklyHours = Sequence[Sequence[tuple[int, int]]]
"""For each weekday from Monday on: spans of working time, in minutes since local midnight."""


class CalendarHours:
    """The hours of a calendar of the agreement."""

    def __init__(
        self, zone: ZoneInfo, week: WeeklyHours, is_holiday: Callable[[date], bool] = lambda day: False
    ) -> None:
        """Describe the hours.

        Args:
            zone: in which the hours are local times.
            week: the working time of each weekday; its spans may be in any order, and may overlap.
            is_holiday: says whether nobody works on this local day.
        """
        self._zone = zone
        self._week = [list(joined(sorted(Span(begin * _MINUTE, end * _MINUTE) for begin, end in day))) for day in week]
        self._is_holiday = is_holiday
        self._spans_of = lru_cache(_DAYS_KEPT)(self._compute)

    def spans(self, start: int, end: int) -> Iterator[Span]:
        if start >= end:
            return iter(())
        first, last = max(start // _DAY, _FIRST_DAY), min((end - 1) // _DAY, _LAST_DAY)
        return joined(
            span
            for day in range(first, last + 1)
            for span in self._spans_of(day)
            if span.end > start and span.start < end
        )

    def _compute(self, day: int) -> Sequence[Span]:
        """Return the working time of one day of UTC."""
        return [
            Span(max(begin, start - offset), min(end, stop - offset))
            for begin, end, offset in _segments(self._zone, day * _DAY)
            for start, stop in self._local(begin + offset, end + offset)
        ]

    def _local(self, begin: int, end: int) -> Iterator[Span]:
        """Yield the working time that overlaps this local time, in local time."""
        for day in range(begin // _DAY, (end - 1) // _DAY + 1):
            hours = self._week[(day + 3) % 7]  # the epoch was a Thursday
            if hours and not self._is_holiday(date.fromordinal(_EPOCH + day)):
                for span in hours:
                    start, stop = day * _DAY + span.start, day * _DAY + span.end
                    if start < end and stop > begin:
                        yield Span(start, stop)


def hours_of(calendar: Calendar) -> CalendarHours:
    """Return the hours of a calendar of the agreement. Raises `ValueError` for a country without known holidays."""
    is_holiday = holidays_of(calendar.holidays) if calendar.holidays else lambda day: False
    return CalendarHours(ZoneInfo(calendar.timezone), week_of(calendar.hours), is_holiday)


def week_of(hours: Mapping[str, Sequence[str]]) -> WeeklyHours:
    """Return the hours of each weekday, from days (`mon`, `mon-fri`, `sat-mon`) to spans (`09:00-18:00`)."""
    week: list[list[tuple[int, int]]] = [[] for _ in DAYS]
    for days, spans in hours.items():
        for day in days_of(days):
            week[day] += [minutes_of(span) for span in spans]
    return week


def _segments(zone: ZoneInfo, midnight: int) -> Iterator[tuple[int, int, int]]:
    """Yield the parts of the day of UTC that begins here, each with the zone's offset in it, in microseconds."""
    begin = midnight
    step = _DAY // _LOOKS_PER_DAY
    for look, following in pairwise(range(midnight, midnight + _DAY + 1, step)):
        offset, next_offset = _offset(zone, look), _offset(zone, following)
        if offset != next_offset:
            change = _change(zone, look, following)
            yield begin, change, offset
            begin = change
    yield begin, midnight + _DAY, _offset(zone, midnight + _DAY - _SECOND)


def _change(zone: ZoneInfo, before: int, after: int) -> int:
    """Return the second at which the offset changes between these two."""
    offset = _offset(zone, before)
    while after - before > _SECOND:
        middle = (before + after) // 2 // _SECOND * _SECOND
        before, after = (middle, after) if _offset(zone, middle) == offset else (before, middle)
    return after


def _offset(zone: ZoneInfo, at: int) -> int:
    offset = datetime.fromtimestamp(at // _SECOND, zone).utcoffset() or timedelta()
    return (offset.days * 86_400 + offset.seconds) * _SECOND
