"""The hours in which a response clock counts: those of a calendar, of a rep, or of all members of a pool together."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Final, Protocol

from firsthour.kernel.business_time import AlwaysOpen, ReducedHours, Span, UnitedHours, WorkingHours
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


def hours_of_pool(members: Iterable[str], team: Team, calendars: Mapping[str, Calendar], leave: Leave) -> WorkingHours:
    """Return the time in which at least one member is at work. In a pool without active members every minute counts."""
    whole: dict[int, WorkingHours] = {}
    reduced: list[tuple[WorkingHours, list[Span]]] = []
    for member in members:
        rep = team.rep_by_id.get(member)
        if rep is None or not rep.active:
            continue
        hours = hours_of_calendar(rep.calendar, calendars)
        absences = _absences(rep, leave)
        if absences:
            reduced.append((hours, absences))
        else:
            whole[id(hours)] = hours  # colleagues with the same calendar count once
    parts = [*whole.values(), *(ReducedHours(hours, spans) for hours, spans in reduced if id(hours) not in whole)]
    if id(ALWAYS_OPEN) in whole or not parts:
        return ALWAYS_OPEN
    return parts[0] if len(parts) == 1 else UnitedHours(parts)


def _absences(rep: Rep, leave: Leave) -> list[Span]:
    return [Span(micros(away.starts), micros(away.ends)) for away in rep.away] + list(leave.of(rep.id))
