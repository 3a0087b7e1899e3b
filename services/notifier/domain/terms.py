"""The terms under which pages are sent: the agreement, the team and the channels of this installation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from firsthour.kernel.business_time import WorkingHours
from schemas.agreement.calendars import Calendar
from schemas.agreement.response import ALWAYS, OWNER, Rung, Urgency
from schemas.mail import deliverable
from schemas.team import Team
from services.notifier.domain.working_hours import (
    ALWAYS_OPEN,
    Leave,
    hours_of_calendar,
    hours_of_owner,
    hours_of_pool,
)


@dataclass(frozen=True)
class Terms:
    """The parts of the agreement and of this installation that decide on pages."""

    ladder: Sequence[Rung]
    urgencies: Mapping[str, Urgency]
    team: Team
    channels: tuple[str, ...]  # set up in this installation
    calendars: Mapping[str, Calendar] = field(default_factory=dict)
    leave: Leave = field(default_factory=dict)  # read only where a clock counts in hours of work
    _hours: dict[tuple[str, str | None, str | None], WorkingHours] = field(
        default_factory=dict, init=False, compare=False, repr=False
    )

    def promise_at(self, urgency: str, submit_at: datetime) -> datetime:
        """Return the end of the promise. An urgency that the agreement no longer names counts as its most urgent one."""
        terms = self.urgencies.get(urgency) or next(iter(self.urgencies.values()), None)
        return submit_at + (terms.touch_within if terms else timedelta(hours=1))

    def hours(self, counted_in: str, rep: str | None, pool: str | None) -> WorkingHours | None:
        """Return the hours in which a clock counts; None: every minute counts.

        Args:
            counted_in: `always`, `owner`, or the name of a calendar.
            rep: the owner of the lead; None: the lead has no owner, so the united hours of the pool count.
            pool: the pool of the lead; None: it is in none.
        """
        if counted_in == ALWAYS:
            return None
        key = (counted_in, rep, pool) if counted_in == OWNER else (counted_in, None, None)
        hours = self._hours.get(key)
        if hours is None:
            hours = self._hours[key] = self._compiled(*key)
        return None if hours is ALWAYS_OPEN else hours

    def _compiled(self, counted_in: str, rep: str | None, pool: str | None) -> WorkingHours:
        if counted_in != OWNER:
            return hours_of_calendar(counted_in, self.calendars)
        if rep is not None:
            owner = self.team.rep_by_id.get(rep)
            return hours_of_owner(owner, self.calendars, self.leave) if owner else ALWAYS_OPEN
        members = self.team.pool_by_id.get(pool or "")
        if members is None:
            return ALWAYS_OPEN
        reps = (member.rep for member in members.members)
        return hours_of_pool(reps, self.team, self.calendars, self.leave)

    def reaching(self, person: str, channels: Sequence[str]) -> tuple[str, ...]:
        """Return the `channels` for which the team file gives this person an address."""
        rep = self.team.rep_by_id.get(person)
        if rep is None:
            return ()
        lacks = {"slack": rep.slack is None, "email": deliverable(rep.email) is None}
        return tuple(name for name in channels if not lacks.get(name, False))
