"""The response clock of a lead: from the prospect's submit to the first touch.

A clock is `live` until its promise ends. It is `missed` after that, as long as no touch is recorded (the ladder goes
on). It is `met` after the first touch, and `over` when the lead leaves the statuses that require a touch.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Literal, NamedTuple

import msgspec
from msgspec.structs import replace

from firsthour.kernel.business_time import ReducedHours, Span, WorkingHours
from firsthour.kernel.time_units import micros, moment
from schemas.agreement.response import ALWAYS, OWNER, Rung
from schemas.events.routes import HELD_BACK, LeadCard
from services.notifier.domain.follow_up import FollowUp
from services.notifier.domain.ladder import Progress, later, next_due, reminder_due
from services.notifier.domain.terms import Terms
from services.notifier.domain.working_hours import ALWAYS_OPEN

COUNTED = frozenset({"qualified", "assigned", "accepted"})
"""The statuses that require a touch."""
RUNNING = frozenset({"live", "missed"})
"""The states of a clock in which the ladder goes on."""
State = Literal["live", "met", "missed", "over"]
PauseKind = Literal["snooze", "waiting_for_prospect", "held_back"]


class Pause(NamedTuple):
    """The time from `start` to `end` (microseconds), in which the clock does not count."""

    kind: PauseKind
    start: int
    end: int


class PreviousOwner(msgspec.Struct, frozen=True, kw_only=True):
    """An assignment that has ended, as the rep who lost the lead and the next owner are told of it."""

    rep: str
    epoch: int
    since: datetime
    until: datetime
    kind: str  # of the record that ended it: reassign, reject, hand-over, recycle, opted-out ...
    reason: str
    by: str
    told: bool  # a page had told the rep of the lead
    accepted: bool
    attempts: int  # touches without an answer
    talked: bool = False  # there was a conversation


class ResponseClock(msgspec.Struct, frozen=True, kw_only=True):
    """The clock of one lead. A later submit starts a new clock."""

    lead_id: str
    version: int  # of the newest record of the router that was applied
    urgency: str
    submit_at: datetime
    promise_at: datetime
    updated_at: datetime
    epoch: int = 0
    rep: str | None = None  # None: the lead waits for an owner
    assigned_at: datetime | None = None
    next_rung: int = 0
    due_at: datetime | None = None  # of the next rung or the end of the promise; None: neither is to come
    state: State = "live"
    touched_at: datetime | None = None
    opted_out: bool = False
    accepted: bool = False  # the owner accepted the lead: no more reminders to them
    missed_at: datetime | None = None
    card: LeadCard = LeadCard()
    reassignments: int = 0
    ladder: tuple[Rung, ...] | None = None  # in force when the clock started; None: written by an older release
    fired_at: datetime | None = None  # when the rung before `next_rung` was reached
    rung_told_at: datetime | None = None  # when its page was accepted or ended otherwise; None: it is still being sent
    rung_empty: bool = False  # that rung had no recipient
    told_at: datetime | None = None  # when a page first told the owner of this assignment
    untold_at: datetime | None = None  # when a page to the owner first ended without telling them
    rep_version: int = 0  # of the owner's availability that the router used
    snoozed_until: datetime | None = None  # a snooze without a pause: rungs that page the owner wait until then
    counted_in: str = ALWAYS  # as when the clock started: every minute, the owner's hours, or those of a calendar
    touch_within: timedelta = timedelta(hours=1)  # as when the clock started
    worked: timedelta = timedelta()  # the time counted before `counted_from`; after a touch: until the touch
    counted_from: datetime | None = None  # from when the rest counts; None: from the submit
    follow_up: FollowUp | None = None  # as when the clock started; None: written by an older release
    waiting_at: datetime | None = None  # from when the lead waits for an owner; None: it has one
    previous: PreviousOwner | None = None  # since the submit; None: the lead had no other owner
    request: int = 0  # of the person within this assignment; 0 is the first
    pool: str | None = None  # None: not known yet, or the lead was assigned without one
    pauses: tuple[Pause, ...] = ()  # in their order
    attempts: int = 0  # touches without an answer since the submit, as far as their records were read
    attempted_at: datetime | None = None  # the last of them
    talked_at: datetime | None = None  # the first conversation since the submit
    remind_at: datetime | None = None  # of the next attempt, after the clock has ended; None: none is owed
    reminders: int = 0  # numbers used for reminders of the next attempt; each touch uses one up
    hours_revision: int = 0  # of the calendars and the leave by which `promise_at` was computed

    @property
    def running(self) -> bool:
        return self.state in RUNNING

    @property
    def progress(self) -> Progress:
        owner_at = self.told_at or self.untold_at
        return Progress(
            self.next_rung, self.fired_at, self.rung_told_at, self.rung_empty, owner_at, self.told_at is not None
        )


def hours_of_clock(clock: ResponseClock, terms: Terms) -> WorkingHours | None:
    """Return the hours in which the promise and the rungs of this clock count; None: every minute counts."""
    hours = terms.hours(clock.counted_in, clock.rep, clock.pool)
    if not clock.pauses:
        return hours
    return ReducedHours(hours or ALWAYS_OPEN, [Span(pause.start, pause.end) for pause in clock.pauses])


def timed(clock: ResponseClock, terms: Terms | None) -> ResponseClock:
    """Return the clock with its next `due_at`. `terms` None: no rung is due."""
    return replace(clock, due_at=due_at(clock, terms))


def due_at(clock: ResponseClock, terms: Terms | None) -> datetime | None:
    """Return when the next rung or the end of the promise is due; after the clock has ended, the next reminder. None: none is.

    `terms` None: no rung is due.
    """
    if not clock.running:
        return clock.remind_at if clock.rep is not None else None
    ahead = [clock.promise_at] if clock.state == "live" else []
    rung_at = next_rung_at(clock, terms) if terms is not None else None
    if rung_at is not None:
        ahead.append(rung_at)
    return min(ahead, default=None)


def next_rung_at(clock: ResponseClock, terms: Terms) -> datetime | None:
    """Return when the next rung, reminder or page about the waiting lead is due; None: none is."""
    progress, hours = clock.progress, hours_of_clock(clock, terms)
    if clock.rep is None:
        return _waiting_due(clock, terms, progress, hours)
    if clock.assigned_at is None:
        return None
    if clock.ladder is None:  # an older release did not store these times
        fired_at = clock.fired_at or clock.assigned_at
        progress = Progress(clock.next_rung, fired_at, clock.rung_told_at or fired_at, owner_at=clock.assigned_at)
    rungs = ladder_of(clock, terms)
    if progress.next_rung >= len(rungs):
        return reminder_due(follow_up_for(clock, terms).every, clock.assigned_at, progress, hours)
    rung_at = next_due(rungs, clock.promise_at, clock.assigned_at, progress, hours)
    rung_at = None if rung_at is None else _after_pauses(clock, rung_at)
    if rung_at is None or clock.snoozed_until is None or rungs[progress.next_rung].page != OWNER:
        return rung_at
    return max(rung_at, clock.snoozed_until)


def _after_pauses(clock: ResponseClock, at: datetime) -> datetime:
    """Return the first moment from `at` on that is in no pause."""
    for pause in clock.pauses:
        if pause.start <= micros(at) < pause.end:
            at = moment(pause.end)
    return at


def _waiting_due(clock: ResponseClock, terms: Terms, progress: Progress, hours: WorkingHours | None) -> datetime | None:
    if clock.waiting_at is None:
        return None
    if clock.pool == HELD_BACK:  # its clock stands still, but without a team that was told of the burst it makes pages
        if terms.bursts_told:
            return None
        hours = terms.hours(clock.counted_in, clock.rep, clock.pool)
    if progress.next_rung == 0:
        return later(hours, clock.waiting_at, terms.queue_alert_after)
    return reminder_due(follow_up_for(clock, terms).every, clock.waiting_at, progress, hours)


def follow_up_for(clock: ResponseClock, terms: Terms) -> FollowUp:
    """Return the pages after the ladder: those of the clock's start, or the current ones for a clock of an older release."""
    return clock.follow_up or terms.follow_up


def ladder_of(clock: ResponseClock, terms: Terms) -> Sequence[Rung]:
    """Return the ladder of the clock: that of its start, or the current one for a clock of an older release."""
    return terms.ladder if clock.ladder is None else clock.ladder
