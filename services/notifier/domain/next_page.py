"""The next page of a clock: its number, its kind and its recipient."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from schemas.agreement.response import OWNER, Rung
from schemas.events.routes import HELD_BACK
from services.notifier.domain.clock import ResponseClock, follow_up_for, hours_of_clock, ladder_of
from services.notifier.domain.clock_events import BY_OWNER
from services.notifier.domain.ladder import planned
from services.notifier.domain.page import (
    MISSED,
    TO_OWNER,
    WAITING,
    Kind,
    Page,
    cancelled,
    index_of,
    page_id,
    page_number,
)
from services.notifier.domain.recipients import Absences, recipient, reminded
from services.notifier.domain.terms import Terms

_AT_ONCE = timedelta()
IN_BURST = "held back with the other leads of a burst, of which the teams were told"


class ReachedRung(NamedTuple):
    """A rung, a reminder or a page about a waiting lead that is due: its number and its kind."""

    rung: int
    kind: Kind


def last_number(clock: ResponseClock) -> int:
    """Return the number of the page of the rung that was reached last."""
    return page_number(clock.request, (WAITING if clock.rep is None else 0) + clock.next_rung - 1)


def next_page(clock: ResponseClock, terms: Terms) -> tuple[ReachedRung, Rung]:
    """Return what is due next: a rung of the ladder, then reminders; without an owner, the alert of the queue, then reminders."""
    ladder, index = ladder_of(clock, terms), clock.next_rung
    reminder = Rung(at=_AT_ONCE, page="manager", by=follow_up_for(clock, terms).by)
    if clock.rep is None:
        number = page_number(clock.request, WAITING + index)
        return ReachedRung(number, "reminder" if index else "queued"), reminder
    number = page_number(clock.request, index)
    if index >= len(ladder):
        return ReachedRung(number, "reminder"), reminder
    return ReachedRung(number, _kind(clock, ladder, index)), ladder[index]


def _first_to_owner(ladder: Sequence[Rung]) -> int:
    return next((n for n, rung in enumerate(ladder) if rung.page == OWNER), -1)


def _kind(clock: ResponseClock, ladder: Sequence[Rung], index: int) -> Kind:
    rung = ladder[index]
    if rung.page is None or rung.page == OWNER:
        if clock.request > 0 and index == _first_to_owner(ladder):
            return "again"
        return "reassigned" if clock.reassignments and index == 0 else "owner"
    return rung.page


def addressed(
    reached: ReachedRung,
    rung: Rung,
    clock: ResponseClock,
    terms: Terms,
    absences: Absences,
    due_at: datetime,
    now: datetime,
    real: datetime,
) -> Page:
    """Return the page of this rung with its recipient, or cancelled with the reason for which it has none."""
    find = reminded if reached.kind == "reminder" else recipient
    person, why = find(rung, clock, terms, absences, now)
    page = Page(
        id=page_id(clock.lead_id, clock.epoch, reached.rung, person),
        lead_id=clock.lead_id,
        epoch=clock.epoch,
        rung=reached.rung,
        kind=reached.kind,
        person=person,
        channels=rung.by,
        due_at=due_at,
        created_at=now,
        next_at=real,
    )
    if not person:
        return cancelled(page, why)
    if terms.bursts_told and clock.rep is None and clock.pool == HELD_BACK:
        return cancelled(page, IN_BURST)
    if clock.accepted and page.kind in TO_OWNER:
        return cancelled(page, BY_OWNER)
    return page


def missed_page(clock: ResponseClock, terms: Terms, absences: Absences, now: datetime, real: datetime) -> Page:
    """Return the notice of a promise that has just ended.

    A page to the manager that is being sent, or that the ladder brings by the end of the promise, contains it.
    """
    rung = Rung(at=_AT_ONCE, page="manager", by=follow_up_for(clock, terms).missed_by)
    number = page_number(clock.request, MISSED)
    page = addressed(ReachedRung(number, "missed"), rung, clock, terms, absences, clock.promise_at, now, real)
    ladder, index = ladder_of(clock, terms), clock.next_rung - 1
    to_manager = clock.rep is None or not 0 <= index < len(ladder) or ladder[index].page == "manager"
    if index < 0 or clock.rung_told_at is not None or not to_manager:
        index = _rung_at_the_end(clock, ladder, terms)
    return page if index < 0 or not page.person else cancelled(page, f"bundled into rung {index}")


def _rung_at_the_end(clock: ResponseClock, ladder: Sequence[Rung], terms: Terms) -> int:
    """Return the next rung that pages the manager by the end of the promise; -1: there is none."""
    started_at, hours = clock.assigned_at, hours_of_clock(clock, terms)
    if clock.rep is None or started_at is None:
        return -1
    rungs = (n for n, rung in enumerate(ladder) if n >= clock.next_rung and rung.page == "manager")
    ahead = (n for n in rungs if planned(ladder[n], clock.promise_at, started_at, hours) <= clock.promise_at)
    return next(ahead, -1)


def bundled(missed: Page, pages: Sequence[Page]) -> Page:
    """Return the notice, cancelled if one of these pages goes to the same person: one message says both."""
    same = next((page for page in pages if page.person == missed.person and page.state == "pending"), None)
    return cancelled(missed, f"bundled into rung {index_of(same.rung)}") if same and missed.person else missed
