"""Working time: how much of it lies between two instants, and the instant at which a given amount has passed.

Working hours are spans of UTC. Sums and searches walk these spans, so they take time by days and never by seconds.
No duration is ever added to a local time.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from heapq import merge
from typing import Final, NamedTuple, Protocol

from firsthour.kernel.time_units import micros, moment

HORIZON: Final = timedelta(days=400)
"""How far a search looks ahead. It ends the search in hours that never come, such as those of a rep on endless leave."""
_MICROSECOND: Final = timedelta(microseconds=1)


class Span(NamedTuple):
    """The time from `start` until just before `end`, in microseconds since the epoch."""

    start: int
    end: int


class WorkingHours(Protocol):
    """The time in which work is done."""

    def spans(self, start: int, end: int) -> Iterator[Span]:
        """Yield all spans of work that overlap this time, in order and without overlaps. The outer two may extend beyond."""


class AlwaysOpen:
    """Hours in which every minute counts."""

    def spans(self, start: int, end: int) -> Iterator[Span]:
        if start < end:
            yield Span(start, end)


class ReducedHours:
    """Hours without certain times, such as leave."""

    def __init__(self, hours: WorkingHours, absences: Iterable[Span]) -> None:
        """Describe the hours. `absences` may be in any order and may overlap."""
        self._hours = hours
        self._absences = tuple(joined(sorted(absences)))

    def spans(self, start: int, end: int) -> Iterator[Span]:
        parts = (part for span in self._hours.spans(start, end) for part in self._without_absences(span))
        return (part for part in parts if part.start < end and part.end > start)

    def _without_absences(self, span: Span) -> Iterator[Span]:
        at = span.start
        for absence in self._absences:
            if absence.start >= span.end:
                break
            if absence.start > at:
                yield Span(at, absence.start)
            at = max(at, absence.end)
        if at < span.end:
            yield Span(at, span.end)


class UnitedHours:
    """The time in which at least one of several is at work, such as the members of a pool."""

    def __init__(self, hours: Iterable[WorkingHours]) -> None:
        self._hours = tuple(hours)

    def spans(self, start: int, end: int) -> Iterator[Span]:
        return joined(merge(*(hours.spans(start, end) for hours in self._hours)))


def joined(spans: Iterable[Span]) -> Iterator[Span]:
    """Yield these spans, which are ordered by their starts, with those that overlap or touch made one."""
    current: Span | None = None
    for span in spans:
        if current is None:
            current = span
        elif span.start <= current.end:
            current = Span(current.start, max(current.end, span.end))
        else:
            yield current
            current = span
    if current is not None:
        yield current


def working_time(hours: WorkingHours, start: datetime, end: datetime) -> timedelta:
    """Return the working time between two instants; zero if `end` is not after `start`.

    Args:
        hours: in which time counts.
        start: an instant with an offset.
        end: an instant with an offset.
    """
    first, last = micros(start), max(micros(start), micros(end))
    return sum((min(span.end, last) - max(span.start, first) for span in hours.spans(first, last)), 0) * _MICROSECOND


def due_after(hours: WorkingHours, start: datetime, amount: timedelta) -> datetime | None:
    """Return the first instant at which this amount of working time has passed since `start`, in UTC.

    Time that ends with a working day is due at the end of that day, not at the beginning of the next one.

    Args:
        hours: in which time counts.
        start: an instant with an offset.
        amount: a working time; if it is zero or less, `start` itself is due.

    Returns:
        The instant; None if it does not come within `HORIZON`.
    """
    first, rest = micros(start), amount // _MICROSECOND
    if rest <= 0:
        return moment(first)
    last = first + HORIZON // _MICROSECOND
    for span in hours.spans(first, last):
        begin = max(span.start, first)
        if begin + rest <= min(span.end, last):
            return moment(begin + rest)
        rest -= span.end - begin
    return None
