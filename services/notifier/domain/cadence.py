"""The promised cadence: after an attempt without an answer, reminders to the owner of the next one, until the person was
reached, the promised number of attempts was made, or the lead left Sales.

The attempts that are left share the time that is left of the promise. A reminder comes in the office hours of the prospect, as
far as these are known, and in the hours of the owner.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from msgspec.structs import replace

from firsthour.kernel.business_time import WorkingHours
from firsthour.kernel.time_units import micros, moment
from firsthour.kernel.time_zones import by_offset
from schemas.agreement.response import OWNER
from services.notifier.domain.clock import ResponseClock, ladder_of, timed
from services.notifier.domain.clock_step import Cancel, ClockStep
from services.notifier.domain.direct_page import direct_page
from services.notifier.domain.page import Page, page_number
from services.notifier.domain.terms import Terms
from services.notifier.domain.whereabouts import office_hours, place_of

FIRST_NUMBER: Final = 700_000
"""The number `rung` of the first reminder of an assignment."""
APART_MIN: Final = timedelta(minutes=15)
"""The shortest time between two reminders, whatever is promised."""
_AHEAD: Final = timedelta(days=14)
_LOOKS_MAX: Final = 200


def counted(clock: ResponseClock, at: datetime, *, answered: bool) -> ResponseClock:
    """Return the clock with this touch counted. It makes every reminder before it obsolete."""
    clock = replace(clock, reminders=clock.reminders + 1)
    if answered:
        return replace(clock, talked_at=min(clock.talked_at or at, at))
    return replace(clock, attempts=clock.attempts + 1, attempted_at=max(clock.attempted_at or at, at))


def scheduled(clock: ResponseClock, terms: Terms) -> ResponseClock:
    """Return the clock with the time of the next reminder after the last attempt."""
    return timed(replace(clock, remind_at=_next_at(clock, terms, clock.attempted_at)), terms)


def _next_at(clock: ResponseClock, terms: Terms, after: datetime | None) -> datetime | None:
    """Return when the next reminder after this time is due; None: no attempt is owed."""
    promise, last = terms.cadence, clock.attempted_at
    if promise is None or last is None or after is None or clock.rep is None:
        return None
    if clock.state != "met" or clock.talked_at is not None or clock.attempts >= promise.attempts:
        return None
    end = clock.submit_at + promise.within
    apart = max((end - last) / (promise.attempts - clock.attempts + 1), APART_MIN)
    target = last + apart * ((after - last) // apart + 1)
    return good_time(target, clock, terms) if target < end else None


def good_time(target: datetime, clock: ResponseClock, terms: Terms) -> datetime:
    """Return the first time from `target` on at which it is office hours for the prospect, and the owner is at work.

    If the two do not meet within 14 days, the hours of the prospect decide. If these are unknown, those of the owner do.
    """
    place, owner = place_of(clock.card), terms.hours(OWNER, clock.rep, clock.pool)
    prospect = (
        [office_hours(zone.key, place.country) for zone in by_offset(place.zones, target).values()] if place else []
    )
    both = [*prospect, owner] if owner is not None else prospect
    return _first_open(target, both) or _first_open(target, prospect) or target


def _first_open(target: datetime, hours: Sequence[WorkingHours]) -> datetime | None:
    """Return the first time from `target` on at which all of these hours are open; None: there is none within 14 days."""
    at, end = micros(target), micros(target + _AHEAD)
    for _ in range(_LOOKS_MAX):
        begins = []
        for each in hours:
            span = next(each.spans(at, end), None)
            if span is None:
                return None
            begins.append(max(at, span.start))
        if max(begins, default=at) == at:
            return moment(at)
        at = max(begins)
    return None


def remind(clock: ResponseClock, terms: Terms, now: datetime, real: datetime) -> ClockStep:
    """Page the owner about the next attempt if it is due. A reminder before it that is still waiting is replaced.

    Args:
        now: Business time.
        real: Real time, at which the delivery looks at the page.
    """
    if clock.remind_at is None or clock.rep is None or clock.remind_at > now:
        return ClockStep(timed(clock, terms))
    if terms.cadence is None:  # it is no longer promised
        return ClockStep(timed(replace(clock, remind_at=None), terms))
    number = page_number(clock.request, FIRST_NUMBER + clock.reminders)
    ladder, due_at = ladder_of(clock, terms), clock.remind_at
    page = direct_page(clock, "next_attempt", clock.rep, number, ladder=ladder, due_at=due_at, now=now, next_at=real)
    after = replace(clock, reminders=clock.reminders + 1, remind_at=_next_at(clock, terms, now), updated_at=now)
    cancel = Cancel(clock.lead_id, clock.epoch, "a later reminder replaces it", below=number)
    return ClockStep(timed(after, terms), pages=(page,), cancels=(cancel,))


def is_obsolete(page: Page, clock: ResponseClock) -> str | None:
    """Return why a reminder of the next attempt must not be sent; None: the attempt is still owed."""
    if clock.rep is None or clock.opted_out or page.epoch != clock.epoch:
        return "the assignment ended"
    if clock.state != "met" or clock.talked_at is not None:
        return "the person was reached, or asked again"
    if page.rung != page_number(clock.request, FIRST_NUMBER + clock.reminders - 1):
        return "a touch was recorded, or a later reminder replaces it"
    return None
