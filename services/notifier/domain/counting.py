"""The time that a response clock has counted, the end of its promise, and its pauses.

A clock counts in the hours of now: those of its owner, of the pool of a lead without an owner, or of a calendar. Only a
change of owner fixes the time counted so far; the rest counts in the hours of the new owner.
"""

from datetime import datetime, timedelta
from typing import Final

from msgspec.structs import replace

from firsthour.kernel.business_time import ReducedHours, Span, WorkingHours, due_after, working_time
from firsthour.kernel.time_units import micros, moment
from schemas.agreement.response import ALWAYS, OWNER
from schemas.events.routes import HELD_BACK
from services.notifier.domain.clock import Pause, PauseKind, ResponseClock, hours_of_clock
from services.notifier.domain.terms import Terms
from services.notifier.domain.working_hours import ALWAYS_OPEN

PAUSES_MAX: Final = 50
"""Pauses of one clock. They are stored with it."""
HELD_MAX: Final = timedelta(days=90)
"""How long a clock stands still while its lead is held back. A lead that is forgotten counts as late after that."""
_MICROSECOND: Final = timedelta(microseconds=1)


def promise_end(clock: ResponseClock, terms: Terms) -> datetime:
    """Return the end of the promise.

    If the hours do not come within 400 days, every minute counts instead: the promise never stays open for ever.
    """
    start, rest = clock.counted_from or clock.submit_at, clock.touch_within - clock.worked
    hours = hours_of_clock(clock, terms)
    if hours is None:
        return start + max(rest, timedelta())
    end = due_after(hours, start, rest) or due_after(_without_calendar(clock), start, rest)
    return end or start + rest


def counted_anew(clock: ResponseClock, terms: Terms) -> ResponseClock:
    """Return the clock with the end of its promise by the hours of now. A promise that has ended stays as it was."""
    if clock.counted_in != ALWAYS:
        clock = replace(clock, hours_revision=terms.leave.revision)
    return replace(clock, promise_at=promise_end(clock, terms)) if clock.state == "live" else clock


def counted_until(clock: ResponseClock, terms: Terms, at: datetime) -> timedelta:
    """Return the time that the clock has counted between the submit and `at`."""
    start, hours = clock.counted_from or clock.submit_at, hours_of_clock(clock, terms) or ALWAYS_OPEN
    if at >= start:
        return clock.worked + working_time(hours, start, at)
    return max(timedelta(), clock.worked - working_time(hours, at, start))


def fixed(clock: ResponseClock, terms: Terms, at: datetime) -> ResponseClock:
    """Return the clock with the time until `at` as counted, whatever hours count the rest."""
    if clock.touched_at is not None or at <= (clock.counted_from or clock.submit_at):
        return clock
    return replace(clock, worked=counted_until(clock, terms, at), counted_from=at)


def stopped(clock: ResponseClock, terms: Terms, at: datetime) -> ResponseClock:
    """Return the clock with the time of its first touch, and the time counted until then."""
    if clock.touched_at is not None and clock.touched_at <= at:
        return clock
    return replace(clock, touched_at=at, worked=counted_until(clock, terms, at), counted_from=at)


def unstopped(clock: ResponseClock) -> ResponseClock:
    """Return the clock as without its touch. It counts on from there, or from the submit if no owner changes its hours."""
    clock = replace(clock, touched_at=None)
    return clock if clock.counted_in == OWNER else replace(clock, worked=timedelta(), counted_from=clock.submit_at)


def passed_on(clock: ResponseClock, terms: Terms, rep: str | None, pool: str | None, at: datetime) -> ResponseClock:
    """Return the clock of a lead that has another owner, or no owner, since `at`.

    What was counted in the hours of the owner before stays. Pauses end: they were agreed with that owner.

    Args:
        rep: the owner from now on; None: the lead waits for one.
        pool: its pool; None: the pool stays the same.
    """
    if clock.pool == HELD_BACK and pool != HELD_BACK:
        clock = released(clock, at)
    known = clock if clock.pool is not None or clock.rep is not None else replace(clock, pool=pool)
    if (rep, pool or known.pool) != (known.rep, known.pool):
        known = resumed(known, at)
        if clock.counted_in == OWNER and (known.pool is not None or known.rep is not None):
            known = fixed(known, terms, at)
    return counted_anew(replace(known, rep=rep, pool=pool or known.pool), terms)


# --- bursts -----------------------------------------------------------------------------------------------------------


def held_back(clock: ResponseClock) -> ResponseClock:
    """Return the clock of a lead that is held back with a burst: it does not count from the submit on."""
    if clock.pauses and clock.pauses[-1].kind == "held_back":
        return clock
    start = max([micros(clock.submit_at), *(pause.end for pause in clock.pauses)])
    pause = Pause("held_back", start, start + HELD_MAX // _MICROSECOND)
    return replace(clock, pauses=(*clock.pauses, pause))


def released(clock: ResponseClock, at: datetime) -> ResponseClock:
    """Return the clock of a lead that is no longer held back since `at`. It counts from now on, by the caller."""
    return replace(resumed(clock, at), pool=None, waiting_at=at)


# --- pauses -----------------------------------------------------------------------------------------------------------


def paused(clock: ResponseClock, kind: PauseKind, until: datetime, terms: Terms, now: datetime) -> ResponseClock | None:
    """Return the clock, which does not count from now to `until`; None: the agreement allows no more pauses of this kind.

    A pause ends by itself. It replaces the pause that is in force, and is cut to the time that the agreement leaves.
    """
    clock = resumed(clock, now)
    start = micros(now)
    used = sum(pause.end - pause.start for pause in clock.pauses if pause.kind == kind)
    left = terms.pauses.get(kind, timedelta()) // _MICROSECOND - used
    end = min(micros(until), start + left)
    if end <= start or len(clock.pauses) >= PAUSES_MAX or not clock.running:
        return None
    return counted_anew(replace(clock, pauses=(*clock.pauses, Pause(kind, start, end))), terms)


def resumed(clock: ResponseClock, now: datetime) -> ResponseClock:
    """Return the clock with its pause ended now. The caller counts it anew."""
    at = micros(now)
    if not clock.pauses or clock.pauses[-1].end <= at:
        return clock
    *before, last = clock.pauses
    return replace(clock, pauses=(*before, last._replace(end=at)) if last.start < at else tuple(before))


def paused_until(clock: ResponseClock, now: datetime) -> datetime | None:
    """Return the end of the pause that is in force; None: the clock counts."""
    at = micros(now)
    last = clock.pauses[-1] if clock.pauses and clock.running else None
    return moment(last.end) if last is not None and last.start <= at < last.end else None


def _without_calendar(clock: ResponseClock) -> WorkingHours:
    return ReducedHours(ALWAYS_OPEN, [Span(pause.start, pause.end) for pause in clock.pauses])
