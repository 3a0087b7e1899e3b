"""The effect of the router's records on the response clock of a lead."""

from datetime import datetime
from typing import TypeGuard

from msgspec.structs import replace

from schemas.agreement.response import OWNER
from schemas.events.pages import PromiseKept
from schemas.events.routes import (
    HELD_BACK,
    LeadAccepted,
    LeadAskedAgain,
    LeadAssigned,
    LeadCard,
    LeadEvent,
    LeadOptedOut,
    LeadQualified,
    LeadQueued,
    LeadReleased,
    LeadSnoozed,
    TouchApplied,
)
from schemas.team import NO_END
from services.notifier.domain.cadence import counted, scheduled
from services.notifier.domain.clock import COUNTED, ResponseClock, State, ladder_of, timed
from services.notifier.domain.clock_step import Cancel, ClockEvent, ClockStep, promise_missed
from services.notifier.domain.counting import counted_anew, counted_until, held_back, passed_on, paused, stopped
from services.notifier.domain.loss import handed_on, notice, previous_owner
from services.notifier.domain.page import page_number
from services.notifier.domain.snooze import SNOOZED, snoozed
from services.notifier.domain.terms import Terms

WORKING = "working"
WRITTEN = frozenset({"email", "chat"})
"""The channels of an attempt after which the prospect has to answer, if only a conversation ends the clock."""
TOUCHED = "a touch was recorded"
"""Why pages are cancelled after a touch."""
BY_OWNER = "the owner accepted"
"""Why pages to the owner are cancelled after an acceptance."""


def hear(clock: ResponseClock | None, event: LeadEvent, terms: Terms, now: datetime) -> ClockStep:
    """Apply a record of the router to the clock of its lead. An older record adds facts but never changes the state."""
    if clock is not None and event.version <= clock.version:
        return _late_fact(clock, event, terms, now)
    match event:
        case LeadQualified() | LeadQueued():
            return _waiting(clock, event, terms, now)
        case LeadAssigned():
            return _assigned(clock, event, terms, now)
        case LeadAskedAgain():
            return _asked_again(clock, event, terms, now)
    return ClockStep(None) if clock is None else _progress(clock, event, terms, now)  # None: there is no promise


def _progress(clock: ResponseClock, event: LeadEvent, terms: Terms, now: datetime) -> ClockStep:
    """Apply a record about a lead that was handed over to Sales before."""
    clock = replace(clock, version=event.version, updated_at=now)
    if _counts(event, clock):
        return _touch(clock, event, terms, now)
    previous = previous_owner(clock, event)
    if previous is not None:
        step = _ended(replace(clock, previous=previous), event, terms)
        return ClockStep(step.clock, step.events, notice(clock, previous, now), step.cancels)
    if isinstance(event, LeadOptedOut):
        return _over(replace(clock, opted_out=True), "the person opted out")
    if event.status == WORKING and clock.state == "met":
        return ClockStep(clock)  # the cadence goes on
    if event.status not in COUNTED and event.status != event.was:
        return _over(clock, f"the lead is {event.status}")
    if isinstance(event, LeadAccepted):
        cancel = Cancel(clock.lead_id, clock.epoch, BY_OWNER, scope="owner")
        return ClockStep(accepted(clock, terms, now), cancels=(cancel,))
    if isinstance(event, LeadSnoozed):
        return _snoozed(clock, event, terms, now)
    return _ended(clock, event, terms) if isinstance(event, LeadReleased) else ClockStep(clock)


def _ended(clock: ResponseClock, event: LeadEvent, terms: Terms) -> ClockStep:
    """Apply a record that ends the assignment: the lead waits for another owner, or leaves Sales."""
    if isinstance(event, LeadReleased):
        return ClockStep(
            _unowned(clock, clock.epoch, None, event.at, terms),
            cancels=(Cancel(clock.lead_id, clock.epoch, "the assignment ended", scope="assignment"),),
        )
    if isinstance(event, LeadOptedOut):
        return _over(replace(clock, opted_out=True), "the person opted out")
    return _over(clock, f"the lead is {event.status}")


def _waiting(clock: ResponseClock | None, event: LeadQualified | LeadQueued, terms: Terms, now: datetime) -> ClockStep:
    old = clock.epoch if clock else 0
    base = _for_submit(clock, event, event.urgency, event.submit_at, terms, now)
    cancels = (Cancel(base.lead_id, old, "the assignment ended", scope="assignment"),) if clock and clock.rep else ()
    previous = previous_owner(clock, event) if clock else None
    base = replace(base, previous=previous or base.previous)
    pages = notice(clock, previous, now) if clock else ()
    pool = None
    if isinstance(event, LeadQueued):
        pool = event.pool
        if pool == HELD_BACK:
            base = held_back(base)
        if event.card != LeadCard():  # a router of an older release sends none
            base = replace(base, card=event.card)
    if base.waiting_at is not None and base.epoch >= event.epoch:  # it waits in another pool, or for another reason
        return ClockStep(timed(passed_on(base, terms, None, pool or None, event.at), terms))
    after = _unowned(base, max(event.epoch, old), pool or None, event.at, terms)
    return ClockStep(after, pages=pages, cancels=cancels)


def _assigned(clock: ResponseClock | None, event: LeadAssigned, terms: Terms, now: datetime) -> ClockStep:
    base = _for_submit(clock, event, event.urgency, event.submit_at, terms, now)
    is_touched = base.touched_at is None and event.touched_at is not None
    base = passed_on(base, terms, event.rep, event.pool or None, event.assigned_at)
    base = replace(base, card=event.card, reassignments=event.reassignments)
    cancels = (Cancel(base.lead_id, event.epoch - 1, "the lead has another owner", scope="assignment"),)
    previous = previous_owner(clock, event) if clock else None
    pages = notice(clock, previous, now) if clock else ()
    base = replace(base, previous=previous or base.previous)
    is_new = event.epoch > base.epoch
    if is_new:
        base = replace(_from_the_start(base), epoch=event.epoch, assigned_at=event.assigned_at, request=0)
    base = replace(base, rep_version=event.rep_version)
    if is_touched and event.touched_at is not None:
        step = touched(base, event.touched_at, None, terms, now)
        base = step.clock or base
        told = step.pages if is_new else ()
        of_before = Cancel(base.lead_id, event.epoch - 1, TOUCHED)
        return ClockStep(base, step.events, (*pages, *told), cancels=(*cancels, of_before))
    base = scheduled(base, terms)
    told = handed_on(base, now) if is_new else ()
    return ClockStep(base, pages=(*pages, *told), cancels=cancels)


def _asked_again(clock: ResponseClock | None, event: LeadAskedAgain, terms: Terms, now: datetime) -> ClockStep:
    """Let the clock run from the new request. The ladder begins again; the owner stays."""
    base = _for_submit(clock, event, event.urgency, event.submit_at, terms, now)
    base = counted_anew(replace(base, rep=event.rep, pool=event.pool or base.pool), terms)
    base = replace(base, epoch=event.epoch, assigned_at=event.at, card=event.card, rep_version=event.rep_version)
    cancel = Cancel(base.lead_id, event.epoch, "the person asked again", below=page_number(base.request, 0))
    return ClockStep(timed(base, terms), cancels=(cancel,))


def _for_submit(
    clock: ResponseClock | None, event: LeadEvent, urgency: str, submit_at: datetime, terms: Terms, now: datetime
) -> ResponseClock:
    """Return the clock of this submit: the present one, or a new one that keeps only the epoch and the card.

    A lead that is handed over again gets a new clock, even if the time of the submit is the same (the same form under
    another id).
    """
    if clock is None or clock.submit_at != submit_at or isinstance(event, LeadQualified):
        promise = terms.promise(urgency)
        return ResponseClock(
            lead_id=event.lead_id,
            version=event.version,
            urgency=urgency,
            submit_at=submit_at,
            promise_at=submit_at + promise.touch_within,  # of an `owner`: counted anew with the owner or the pool
            updated_at=now,
            epoch=clock.epoch if clock else 0,
            request=clock.request + 1 if clock else 0,
            card=clock.card if clock else LeadCard(),
            follow_up=terms.follow_up,
            ladder=tuple(terms.ladder),
            counted_in=promise.counted_in,
            touch_within=promise.touch_within,
            counted_from=submit_at,
            reminders=clock.reminders if clock else 0,
        )
    state: State = "met" if clock.touched_at else "missed" if clock.missed_at else "live"
    return replace(clock, version=event.version, updated_at=now, state=state, opted_out=False)


def _unowned(clock: ResponseClock, epoch: int, pool: str | None, at: datetime, terms: Terms) -> ResponseClock:
    """Return the clock of a lead that has no owner since `at`. `pool` None: that of the clock."""
    clock = passed_on(clock, terms, None, pool, at)
    return timed(replace(_from_the_start(clock), epoch=epoch, assigned_at=None, waiting_at=at), terms)


def _from_the_start(clock: ResponseClock) -> ResponseClock:
    """Return the clock as it is before the first rung of an assignment."""
    return replace(
        clock,
        next_rung=0,
        accepted=False,
        fired_at=None,
        rung_told_at=None,
        rung_empty=False,
        waiting_at=None,
        told_at=None,
        untold_at=None,
        rep_version=0,
        snoozed_until=None,
    )


def accepted(clock: ResponseClock, terms: Terms, now: datetime) -> ResponseClock:
    """Return the clock after its owner accepted: reminders to the owner end."""
    return owner_knows(replace(clock, accepted=True), terms, now)


def owner_knows(clock: ResponseClock, terms: Terms, now: datetime) -> ResponseClock:
    """Record that the owner knows of the lead: later rungs no longer wait for a page to the owner."""
    clock = replace(clock, told_at=clock.told_at or now)
    before = ladder_of(clock, terms)[: clock.next_rung][-1:]
    if before and before[0].page == OWNER and clock.rung_told_at is None:
        clock = replace(clock, rung_told_at=now)
    return timed(clock, terms)


def _snoozed(clock: ResponseClock, event: LeadSnoozed, terms: Terms, now: datetime) -> ClockStep:
    after = snoozed(clock, event.until, terms, event.at)
    if isinstance(after, str):
        return ClockStep(clock)  # the time has passed, or the agreement allows no more
    cancel = Cancel(clock.lead_id, clock.epoch, SNOOZED, scope="owner")
    return ClockStep(owner_knows(after, terms, now), cancels=(cancel,))


def _touch(clock: ResponseClock, event: TouchApplied, terms: Terms, now: datetime) -> ClockStep:
    """Apply the record of a touch: count it, and schedule the next attempt.

    After an attempt in writing the clock waits for the prospect, as long as the agreement says. A conversation ends that.
    """
    before, clock = clock, counted(clock, event.touched_at, answered=event.answered)
    apply = touched if event.stops else attempted
    step = apply(clock, event.touched_at, event.rep, terms, now)
    after = step.clock
    if after is not None and not event.stops and event.channel in WRITTEN:
        after = paused(after, "waiting_for_prospect", NO_END, terms, event.at) or after
    after = scheduled(after, terms) if after is not None else None
    cancels = step.cancels if before.running else (Cancel(clock.lead_id, clock.epoch, TOUCHED),)
    return ClockStep(after, step.events, step.pages, cancels)


def attempted(clock: ResponseClock, at: datetime, rep: str | None, terms: Terms, now: datetime) -> ClockStep:
    """Apply an attempt where only a conversation ends the clock: the next rung comes its span after the attempt."""
    after = replace(clock, updated_at=now)
    if not clock.running or clock.rep is None:
        return ClockStep(after)
    after = owner_knows(after, terms, now)
    if clock.next_rung > 0:
        after = replace(after, rung_told_at=max(clock.rung_told_at or at, at))
    return ClockStep(timed(after, terms), cancels=(Cancel(clock.lead_id, clock.epoch, TOUCHED),))


def touched(clock: ResponseClock, at: datetime, rep: str | None, terms: Terms, now: datetime) -> ClockStep:
    """Apply a touch. The first touch ends the ladder and the clock, before or after the end of the promise.

    The stored time is that of the earliest touch, in whichever order touches are read: a click is applied before its record.
    An owner whom no page has told of the lead is told of it now, unless they made the touch.
    """
    clock = counted_anew(clock, terms)
    after = replace(stopped(clock, terms, at), updated_at=now)
    if not clock.running:
        return ClockStep(after)
    late = at > clock.promise_at
    events: list[ClockEvent] = []
    if late and clock.state == "live":
        after = replace(after, missed_at=now)
        events.append(promise_missed(clock, terms, now))
    events.append(_promise_kept(clock, at, rep, terms, late, now))
    met = replace(after, state="met", due_at=None)
    told = handed_on(met, now) if clock.told_at is None and rep != clock.rep else ()
    return ClockStep(met, tuple(events), told, (Cancel(clock.lead_id, clock.epoch, TOUCHED),))


def _promise_kept(
    clock: ResponseClock, at: datetime, rep: str | None, terms: Terms, late: bool, now: datetime
) -> PromiseKept:
    return PromiseKept(
        lead_id=clock.lead_id,
        at=now,
        submit_at=clock.submit_at,
        seconds=max(0.0, (at - clock.submit_at).total_seconds()),
        working_seconds=counted_until(clock, terms, at).total_seconds(),
        late=late,
        rep=rep or clock.rep,
    )


def _over(clock: ResponseClock, why: str) -> ClockStep:
    ended = replace(clock, state="over" if clock.running else clock.state, due_at=None, rep=None)
    return ClockStep(ended, cancels=(Cancel(clock.lead_id, clock.epoch, why),))


def _late_fact(clock: ResponseClock, event: LeadEvent, terms: Terms, now: datetime) -> ClockStep:
    """Apply an older record. A touch or an opt-out since the submit counts even if it is read late."""
    if _counts(event, clock):
        return _touch(clock, event, terms, now)
    if isinstance(event, LeadOptedOut) and event.at >= clock.submit_at:
        return _over(replace(clock, opted_out=True, updated_at=now), "the person opted out")
    return ClockStep(clock)


def _counts(event: LeadEvent, clock: ResponseClock) -> TypeGuard[TouchApplied]:
    """Return whether the event is a touch of this submit. The router has applied the tolerance for clocks of senders."""
    return isinstance(event, TouchApplied) and event.ignored is None and event.touched_at >= clock.submit_at
