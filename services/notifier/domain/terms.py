"""The terms under which pages are sent: the agreement, the team and the channels of this installation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from firsthour.kernel.business_time import WorkingHours
from schemas.agreement.calendars import Calendar
from schemas.agreement.promises import AttemptsPromise
from schemas.agreement.response import (
    ALWAYS,
    CHANNELS,
    OWNER,
    SLACK,
    Budget,
    QuietHours,
    Reminder,
    Rung,
    Urgency,
)
from schemas.agreement.routing import QueuePolicy
from schemas.mail import deliverable
from schemas.team import Team
from services.notifier.domain.follow_up import FollowUp
from services.notifier.domain.working_hours import (
    ALWAYS_OPEN,
    NO_LEAVE,
    Leave,
    hours_of_calendar,
    hours_of_owner,
    hours_of_pool,
)

_DEFAULT: Final = Urgency(touch_within=timedelta(hours=1))
"""The promise under an agreement without any."""


@dataclass(frozen=True)
class Terms:
    """The parts of the agreement and of this installation that decide on pages."""

    ladder: Sequence[Rung]
    urgencies: Mapping[str, Urgency]
    team: Team
    channels: tuple[str, ...]  # set up in this installation
    calendars: Mapping[str, Calendar] = field(default_factory=dict)
    leave: Leave = NO_LEAVE  # read only where a clock counts in hours of work
    quiet_hours: QuietHours | None = None
    budget: Budget | None = None
    single: frozenset[str] = (
        frozenset()
    )  # channels to machines: each message is about one page, and no budget counts it
    stopped_by: str = "attempt"  # `attempt`: any touch ends a clock; `conversation`: only one with an answer does
    cadence: AttemptsPromise | None = None  # the attempts that are promised to a lead without an answer
    pauses: Mapping[str, timedelta] = field(default_factory=dict)  # the longest time of all pauses of a kind
    follow_up: FollowUp = field(default_factory=lambda: FollowUp(Reminder().every, CHANNELS, CHANNELS))
    bursts_told: bool = False  # a team is told of bursts that are held back: their leads make no pages meanwhile
    queue_alert_after: timedelta = QueuePolicy().after
    unavailable: Mapping[str, str] = field(default_factory=dict)  # why reps get no lead now; set for a hand-over only
    _hours: dict[tuple[str, str | None, str | None], WorkingHours] = field(
        default_factory=dict, init=False, compare=False, repr=False
    )

    def promise(self, urgency: str) -> Urgency:
        """Return the promise of an urgency. One that the agreement no longer names counts as its most urgent one."""
        return self.urgencies.get(urgency) or next(iter(self.urgencies.values()), _DEFAULT)

    def hours(self, counted_in: str, rep: str | None, pool: str | None) -> WorkingHours | None:
        """Return the hours in which a clock counts; None: every minute counts.

        Args:
            counted_in: `always`, `owner`, or the name of a calendar.
            rep: the owner of the lead; None: the lead has no owner, so the united hours of the pool count.
            pool: the pool of the lead; None: it is not known yet, so the members of all pools count.
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
        owner = self.team.rep_by_id.get(rep or "")
        if owner is not None:
            return hours_of_owner(owner, self.calendars, self.leave)
        known = self.team.pool_by_id.get(pool or "")
        pools = [known] if known else self.team.pools
        members = (member.rep for pool in pools for member in pool.members)
        return hours_of_pool(members, self.team, self.calendars, self.leave)

    def zone(self, person: str) -> str | None:
        """Return the time zone of this person's calendar; None: the team file gives the person no calendar."""
        rep = self.team.rep_by_id.get(person)
        calendar = self.calendars.get(rep.calendar) if rep and rep.calendar else None
        return calendar.timezone if calendar else None

    def lasting(self, channels: tuple[str, ...]) -> tuple[str, ...]:
        """Return these channels of a page, and all others after them if these ended while its clock was running.

        A channel has ended if it is not set up here and the agreement in force no longer names it.
        """
        pages = [rung.by for rung in self.ladder]
        pages += [by for by in (self.follow_up.by, self.follow_up.missed_by) if by != CHANNELS]  # the default
        known = {*self.channels, *(name for by in pages for name in by)}
        return channels if known.intersection(channels) else tuple(dict.fromkeys([*channels, *CHANNELS]))

    def reaching(self, person: str, channels: Sequence[str]) -> tuple[str, ...]:
        """Return the `channels` for which the team file gives this person an address. A Slack channel has one of its own."""
        rep = self.team.rep_by_id.get(person)
        if rep is None:
            return tuple(name for name in channels if name in SLACK) if person.startswith("#") else ()
        lacks = {"slack": rep.slack is None, "email": deliverable(rep.email) is None}
        return tuple(name for name in channels if not lacks.get(name, False))
