"""Quiet hours: a page to a person outside their hours waits until the hours begin, except for certain urgencies."""

from datetime import datetime

from firsthour.kernel.business_time import HORIZON, WorkingHours
from firsthour.kernel.time_units import micros, moment
from schemas.agreement.response import OWNER
from services.notifier.domain.clock import ResponseClock
from services.notifier.domain.page import Page
from services.notifier.domain.terms import Terms
from services.notifier.domain.working_hours import hours_of_calendar


def quiet_until(page: Page, clock: ResponseClock | None, terms: Terms, now: datetime) -> datetime | None:
    """Return when the hours of the recipient begin (business time); None: the page may be sent now.

    Leave does not count here: a page to a person on leave is cancelled. A page to a person whose hours never begin is sent.
    """
    quiet = terms.quiet_hours
    person = terms.team.rep_by_id.get(page.person)
    if quiet is None or person is None or (clock is not None and clock.urgency in quiet.but):
        return None
    name = person.calendar if quiet.outside == OWNER else quiet.outside
    begin = _begin(hours_of_calendar(name, terms.calendars), now)
    return begin if begin is not None and begin > now else None


def _begin(hours: WorkingHours, now: datetime) -> datetime | None:
    """Return when the first working time from `now` on begins; None: not within `HORIZON`."""
    span = next(hours.spans(micros(now), micros(now + HORIZON)), None)
    return None if span is None else moment(max(span.start, micros(now)))
