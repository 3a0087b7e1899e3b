"""The notifier's handlers: what the router decided moves clocks; what is due fires. Load, decide, store, emit."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial

from firsthour.runtime.storage.records import Record
from firsthour.runtime.storage.unit import Unit
from schemas.events import ActionRequested, LeadEvent, PromiseKept, PromiseMissed, RepAvailabilityChanged
from services.notifier.domain.clock import ResponseClock
from services.notifier.domain.clock_events import hear
from services.notifier.domain.clock_step import Batch, Cancel
from services.notifier.domain.firing import fire
from services.notifier.domain.page import Page, cancelled
from services.notifier.domain.terms import Terms
from services.notifier.sending import DELIVERY, NotifierContext, claim_new
from services.notifier.store.clocks import due_clocks, lock_clocks, next_clock_due, save_clocks
from services.notifier.store.pages import add_pages, cancel_pages
from services.notifier.store.people import save_reps

CLOCKS_AT_ONCE = 200


def hear_routes(batch: Sequence[Record], unit: Unit, desk: NotifierContext) -> None:
    """Move the clocks of these leads. Rungs that are due at once fire in this very unit, so that the first page leaves
    within milliseconds of the assignment."""
    routed = [event for record in batch if isinstance(event := record.event, LeadEvent)]
    before = lock_clocks(unit, {event.lead_id for event in routed})
    save_reps(unit, _newest([event for record in batch if isinstance(event := record.event, RepAvailabilityChanged)]))
    terms, now, gathered = desk.terms(unit.config), unit.now, Batch()
    for event in routed:
        gathered.take(hear(gathered.changed.get(event.lead_id) or before.get(event.lead_id), event, terms, now))
    for clock in list(gathered.changed.values()):
        if clock.due_at is not None and clock.due_at <= now:
            gathered.take(fire(clock, terms, now, unit.clock.real()))
    _store(unit, gathered, before, terms, desk)


def fire_due(unit: Unit, desk: NotifierContext) -> datetime | None:
    """Fire what is due, soonest first; when the next clock is due."""
    due = due_clocks(unit, unit.clock.business(), CLOCKS_AT_ONCE)
    now, gathered = unit.now, Batch()
    if due:
        terms, real = desk.terms(unit.config), unit.clock.real()
        for clock in due:
            gathered.take(fire(clock, terms, now, real))
        _store(unit, gathered, {clock.lead_id: clock for clock in due}, terms, desk)
    if len(due) == CLOCKS_AT_ONCE:
        return now
    theirs = [clock.due_at for clock in gathered.changed.values() if clock.due_at is not None]  # not stored yet
    return min(filter(None, [*theirs, next_clock_due(unit, now)]), default=None)


def _store(
    unit: Unit, gathered: Batch, before: Mapping[str, ResponseClock], terms: Terms, desk: NotifierContext
) -> None:
    pages, claims = claim_new(unit, gathered.pages, gathered.changed, terms, desk)
    pages = [_unless_cancelled(page, gathered.cancels) for page in pages]
    save_clocks(unit, gathered.changed.values())
    add_pages(unit, pages)
    cancel_pages(unit, gathered.cancels)
    for event in gathered.events:
        unit.emit(event, key=event.lead_id, id=event.action_id if isinstance(event, ActionRequested) else None)
    if claims:
        unit.after.append(partial(desk.hand, claims))
    if any(page.state == "pending" for page in pages):
        unit.wake(DELIVERY)
    unit.after.append(partial(_count, gathered, before, desk))


def _unless_cancelled(page: Page, cancels: Sequence[Cancel]) -> Page:
    """What is not on its way may be cancelled in the unit that made it."""
    why = next((cancel.why for cancel in cancels if cancel.hits(page)), None)
    return page if why is None else cancelled(page, why)


def _count(gathered: Batch, before: Mapping[str, ResponseClock], desk: NotifierContext) -> None:
    """Tell the metrics which clocks ended."""
    for event in gathered.events:
        if isinstance(event, PromiseMissed):
            desk.ended("missed")
        elif isinstance(event, PromiseKept) and not event.late:
            desk.ended("met")
    for lead, clock in gathered.changed.items():
        if clock.state == "over" and lead in before and before[lead].state == "live":
            desk.ended("cancelled")


def _newest(changes: Sequence[RepAvailabilityChanged]) -> list[RepAvailabilityChanged]:
    latest: dict[str, RepAvailabilityChanged] = {}
    for change in changes:
        before = latest.get(change.rep)
        if before is None or (change.version, change.at) >= (before.version, before.at):
            latest[change.rep] = change
    return list(latest.values())
