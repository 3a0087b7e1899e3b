"""The hours in which a response clock counts: those of a calendar, of a rep, or of all members of a pool together."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Final, Protocol

from firsthour.kernel.business_time import AlwaysOpen, ReducedHours, Span, UnitedHours, WorkingHours, joined
from firsthour.kernel.cache import once_per_version
from firsthour.kernel.calendar import hours_of
from firsthour.kernel.time_units import micros
from schemas.agreement.agreement import Agreement
from schemas.agreement.calendars import Calendar
from schemas.team import NO_END, Rep, Team

ALWAYS_OPEN: Final = AlwaysOpen()
WITHOUT_END: Final = micros(NO_END)
"""The end of an absence that has none, in microseconds."""
_CALENDARS_KEPT: Final = 256
_DAY: Final = 24 * 60 * 60 * 1_000_000


class Leave(Protocol):
    """The absences that reps stated over the API."""

    def of(self, rep: str) -> Sequence[Span]:
        """Return the absences of this rep."""

    @property
    def revision(self) -> int:
        """The number of changes of calendars and leave until now."""


class NoLeave:
    """No absences."""

    revision = 0

    def of(self, rep: str) -> Sequence[Span]:
        return ()


NO_LEAVE: Final = NoLeave()


def fingerprint(agreement: Agreement, team: Team) -> str:
    """Return a hash of all parts of a configuration on which hours depend."""
    calendars = {name: calendar.model_dump(mode="json") for name, calendar in agreement.calendars.items()}
    reps = [rep.model_dump(mode="json", include={"id", "calendar", "away", "active"}) for rep in team.reps]
    pools = [pool.model_dump(mode="json", include={"id", "members"}) for pool in team.pools]
    content = json.dumps([calendars, reps, pools], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:12]


fingerprint_of = once_per_version(lambda config: fingerprint(config.agreement, config.team))


def hours_of_calendar(name: str | None, calendars: Mapping[str, Calendar]) -> WorkingHours:
    """Return the hours of a calendar, without any leave. In a calendar that the agreement lacks every minute counts."""
    calendar = calendars.get(name or "")
    if calendar is None:
        return ALWAYS_OPEN
    return _compiled(calendar.timezone, calendar.holidays, tuple(calendar.hours.items()))


@lru_cache(_CALENDARS_KEPT)
def _compiled(timezone: str, holidays: str | None, hours: tuple[tuple[str, tuple[str, ...]], ...]) -> WorkingHours:
    """Return the hours of a calendar. Equal calendars share one, which keeps the days that it has computed."""
    return hours_of(Calendar.model_construct(timezone=timezone, hours=dict(hours), holidays=holidays))


def hours_of_owner(rep: Rep, calendars: Mapping[str, Calendar], leave: Leave) -> WorkingHours:
    """Return the hours of the owner of a lead: their calendar without their leave.

    An absence without an end does not count as leave: otherwise the clock would never be due, and the ladder would never
    pass the lead on.
    """
    hours = hours_of_calendar(rep.calendar, calendars)
    absences = [span for span in _absences(rep, leave) if span.end < WITHOUT_END]
    return ReducedHours(hours, absences) if absences else hours


class PoolHours:
    """The time in which at least one member of a pool is at work. Each day is computed once, whatever the number of clocks."""

    def __init__(self, members_by_calendar: Mapping[WorkingHours, Sequence[Sequence[Span]]]) -> None:
        """Describe the hours.

        Args:
            members_by_calendar: by the hours of a calendar the absences of each member who has it.
        """
        self._members = members_by_calendar
        self._days: dict[int, Sequence[Span]] = {}

    def spans(self, start: int, end: int) -> Iterator[Span]:
        days = range(start // _DAY, (end - 1) // _DAY + 1) if start < end else range(0)
        return joined(span for day in days for span in self._of(day) if span.end > start and span.start < end)

    def _of(self, day: int) -> Sequence[Span]:
        spans = self._days.get(day)
        if spans is None:
            begin, end = day * _DAY, (day + 1) * _DAY
            parts = [_united(hours, members, begin, end) for hours, members in self._members.items()]
            clipped = (Span(max(span.start, begin), min(span.end, end)) for part in parts for span in part)
            spans = self._days[day] = tuple(joined(sorted(clipped)))
        return spans


def _united(hours: WorkingHours, members: Iterable[Sequence[Span]], begin: int, end: int) -> Iterator[Span]:
    """Yield the time of one day in which at least one of these colleagues, who have the same calendar, is at work."""
    reduced: list[WorkingHours] = []
    for absences in members:
        overlapping = [span for span in absences if span.start < end and span.end > begin]
        if not overlapping:
            return hours.spans(begin, end)
        reduced.append(ReducedHours(hours, overlapping))
    return UnitedHours(reduced).spans(begin, end)


def hours_of_pool(members: Iterable[str], team: Team, calendars: Mapping[str, Calendar], leave: Leave) -> WorkingHours:
    """Return the time in which at least one member is at work. In a pool without active members every minute counts."""
    by_calendar: dict[WorkingHours, list[Sequence[Span]]] = {}
    for member in dict.fromkeys(members):
        rep = team.rep_by_id.get(member)
        if rep is not None and rep.active:
            hours = hours_of_calendar(rep.calendar, calendars)
            by_calendar.setdefault(hours, []).append(_absences(rep, leave))
    whole = [hours for hours, absences in by_calendar.items() if not all(absences)]
    if ALWAYS_OPEN in whole or not by_calendar:
        return ALWAYS_OPEN
    return whole[0] if len(whole) == len(by_calendar) == 1 else PoolHours(by_calendar)


def _absences(rep: Rep, leave: Leave) -> list[Span]:
    return [Span(micros(away.starts), micros(away.ends)) for away in rep.away] + list(leave.of(rep.id))
