"""The snooze of a lead by its owner: a pause of the clock, or a delay of the reminders, as the agreement says."""

from datetime import datetime
from typing import Final

from msgspec.structs import replace

from firsthour.kernel.time_units import micros
from services.notifier.domain.clock import ResponseClock
from services.notifier.domain.counting import counted_anew, paused, paused_until
from services.notifier.domain.terms import Terms

SNOOZE: Final = "snooze"
SNOOZED: Final = "the owner snoozed"
"""Why pages to the owner are cancelled."""


def snoozed(clock: ResponseClock, until: datetime, terms: Terms, now: datetime) -> ResponseClock | str:
    """Return the clock after a snooze, or why there is none.

    With `pauses: {snooze: ...}` in the agreement the clock does not count until then. Otherwise it does, and only the rungs
    that page the owner wait, at most to the end of the promise.
    """
    if not clock.running:
        return "The lead has been contacted already."
    if until <= now:
        return "A snooze needs a time in the future."
    if SNOOZE in terms.pauses:
        return paused(clock, SNOOZE, until, terms, now) or "The agreement allows no more snoozing of this lead."
    if now >= clock.promise_at:
        return "The promised time is over: contact the lead, or hand it over."
    return replace(clock, snoozed_until=min(until, clock.promise_at))


def snoozed_until(clock: ResponseClock, now: datetime) -> datetime | None:
    """Return the end of the snooze in force; None: there is none."""
    return paused_until(clock, now) or clock.snoozed_until


def unsnoozed(clock: ResponseClock, until: datetime | None, terms: Terms) -> ResponseClock:
    """Return the clock as without the snooze that ends at `until`."""
    if until is None:
        return clock
    if clock.snoozed_until == until:
        return replace(clock, snoozed_until=None)
    if clock.pauses and clock.pauses[-1].kind == SNOOZE and clock.pauses[-1].end == micros(until):
        return counted_anew(replace(clock, pauses=clock.pauses[:-1]), terms)
    return clock
