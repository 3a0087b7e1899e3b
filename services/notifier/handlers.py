"""The notifier's handlers: apply the router's records to clocks, and fire due rungs. Load, decide, store, emit."""

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import TypeVar

import structlog
from msgspec.structs import replace

from firsthour.runtime.storage.records import Record
from firsthour.runtime.storage.unit import Unit
from schemas.events.actions import ActionRequested
from schemas.events.pages import PromiseKept, PromiseMissed
from schemas.events.routes import ActionResolved, LeadEvent, RepAvailabilityChanged
from services.notifier.alerting import update_alerts
from services.notifier.announcing import announce
from services.notifier.burst_notices import tell_of_bursts
from services.notifier.claiming import claim_new
from services.notifier.context import CLOCKS, DELIVERY, HOURS, SLACK_UPDATES, NotifierContext
from services.notifier.domain.click import LEAVING, notice_of, undone
from services.notifier.domain.clock import ResponseClock, ladder_of, timed
from services.notifier.domain.clock_events import hear
from services.notifier.domain.clock_step import Batch, Cancel, ClockStep
from services.notifier.domain.counting import counted_anew
from services.notifier.domain.failing import PUT_OFF, Failing
from services.notifier.domain.firing import fire
from services.notifier.domain.loss import refused_page
from services.notifier.domain.page import Page, cancelled
from services.notifier.domain.recipients import NO_ABSENCES, reads_absences
from services.notifier.domain.standing import stands_differently
from services.notifier.domain.terms import Terms
from services.notifier.domain.working_hours import fingerprint_of
from services.notifier.store.clicks import find_clicks, refuse_clicks
from services.notifier.store.clocks import (
    UnreadableClock,
    due_clocks,
    lock_clocks,
    next_clock_due,
    put_off_clocks,
    save_clocks,
    stale_clocks,
)
from services.notifier.store.pages import add_pages, cancel_pages
from services.notifier.store.people import find_absences, revision_for, save_reps
from services.notifier.store.slack_messages import ask_updates

T = TypeVar("T")

FIRED_AT_ONCE = 500
"""Clocks that one unit fires: 10,000 that are due at once are fired within two seconds."""
CLOCKS_AT_ONCE = 200
"""Clocks that one unit counts anew."""

_log = structlog.get_logger(__name__)


def hear_routes(batch: Sequence[Record], unit: Unit, context: NotifierContext) -> None:
    """Apply these records to the clocks of their leads.

    Rungs that are due already fire in the same unit, so that the first page leaves within milliseconds of the assignment.
    """
    routed = [event for record in batch if isinstance(event := record.event, LeadEvent)]
    refusals = [event for record in batch if isinstance(event := record.event, ActionResolved) and _refused(event)]
    before = lock_clocks(unit, {event.lead_id for event in routed} | {event.lead_id for event in refusals})
    reps = _newest([event for record in batch if isinstance(event := record.event, RepAvailabilityChanged)])
    if save_reps(unit, reps):
        unit.wake(HOURS)
    terms, now, changes = context.terms(unit), unit.now, Batch()
    for event in routed:
        changes.add(hear(changes.clocks.get(event.lead_id) or before.get(event.lead_id), event, terms, now))
    if refusals:
        _undo_clicks(unit, refusals, changes, before, terms)
    _fire(unit, [c for c in changes.clocks.values() if c.due_at is not None and c.due_at <= now], terms, changes)
    store_changes(unit, changes, before, terms, context)
    announce(unit, batch, {**before, **changes.clocks}, context)
    tell_of_bursts(unit, routed)


def _refused(event: ActionResolved) -> bool:
    """Return whether the router refused an action of a person. That of a rung has no effect to undo."""
    return event.outcome == "refused" and event.action != "reassign"


def _undo_clicks(
    unit: Unit,
    refusals: Sequence[ActionResolved],
    changes: Batch,
    before: Mapping[str, ResponseClock],
    terms: Terms,
) -> None:
    """Undo the effects of the clicks that the router refused. An action that came over the API has no click."""
    clicks = find_clicks(unit, [event.action_id for event in refusals])
    for event in refusals:
        clock, click = changes.clocks.get(event.lead_id) or before.get(event.lead_id), clicks.get(event.action_id)
        if clock is not None and click is not None:
            if event.action not in LEAVING:
                changes.add(undone(clock, click, terms, unit.now))
            elif clock.rep is not None:
                # The clock is unchanged, but the person was told that the lead leaves them.
                page = refused_page(clock, event.action_id, click.person, unit.now)
                changes.add(ClockStep(clock, pages=(page,)))
            changes.notices[event.lead_id] = click.person, notice_of(event, click, terms.team)
    refuse_clicks(unit, {event.action_id: event.why or "" for event in refusals if event.action_id in clicks})


def fire_due(unit: Unit, context: NotifierContext) -> datetime | None:
    """Fire the due clocks, soonest first. Return when the next clock is due; None: no clock is waiting."""
    failing = context.failing_clocks
    _put_off(unit, failing.found())
    limit = failing.at_once(FIRED_AT_ONCE)
    found = due_clocks(unit, unit.clock.business(), limit)
    failing.looks_at(found.leads)
    due, now, changes = found.clocks, unit.now, Batch()
    _note_unreadable(found.unreadable, unit, failing)
    if due:
        terms = context.terms(unit)
        _fire(unit, due, terms, changes, failing)
        store_changes(unit, changes, {clock.lead_id: clock for clock in due}, terms, context)
    _put_off(unit, failing.left_out(unit.clock.real()).intersection(found.leads))
    if len(found.leads) >= limit:
        return now
    # The due times of changed clocks are not stored before the unit ends.
    due_times = [clock.due_at for clock in changes.clocks.values() if clock.due_at is not None]
    return min(filter(None, [*due_times, next_clock_due(unit, now)]), default=None)


def count_anew(unit: Unit, context: NotifierContext) -> datetime | None:
    """Compute the times of running clocks by the calendars and the leave of now. Return now if more of them wait.

    A clock in which every minute counts is never read here.
    """
    revision, failing = revision_for(unit, fingerprint_of(unit.config)), context.failing_clocks
    left_out = failing.left_out(unit.clock.real())
    found = stale_clocks(unit, revision, CLOCKS_AT_ONCE + len(left_out))
    _note_unreadable([one for one in found.unreadable if one.lead_id not in left_out], unit, failing)
    stale = [clock for clock in found.clocks if clock.lead_id not in left_out]
    if not stale:
        return None
    terms, now = context.terms(unit), unit.now
    changed = _each(stale, lambda clock: timed(counted_anew(clock, terms), terms), unit, failing)
    save_clocks(unit, changed)
    if any(clock.due_at is not None and clock.due_at <= now for clock in changed):
        unit.wake(CLOCKS)
    return now if len(stale) >= CLOCKS_AT_ONCE else None


def _fire(
    unit: Unit, due: Sequence[ResponseClock], terms: Terms, changes: Batch, failing: Failing | None = None
) -> None:
    """Fire these clocks. The availability of reps is read only if a rung chooses among people. `failing`: see `_each`."""
    chooses = any(reads_absences(clock, ladder_of(clock, terms), unit.now) for clock in due)
    absences = find_absences(unit) if chooses else NO_ABSENCES
    now, real = unit.now, unit.clock.real()
    for step in _each(due, lambda clock: fire(clock, terms, now, real, absences), unit, failing):
        changes.add(step)


def _each(
    clocks: Sequence[ResponseClock], decide: Callable[[ResponseClock], T], unit: Unit, failing: Failing | None
) -> list[T]:
    """Return the decisions about these clocks. `failing` takes the clocks that raise an error; None: the error is raised."""
    decisions, real = [], unit.clock.real()
    for clock in clocks:
        try:
            decisions.append(decide(clock))
        except Exception as error:
            if failing is None:
                raise
            if failing.record(clock.lead_id, error, real):
                _log.error("clock failed", lead=clock.lead_id, exc_info=error)
    if failing is not None:
        failing.succeeded({clock.lead_id for clock in clocks}, real)
    return decisions


def _note_unreadable(unreadable: Sequence[UnreadableClock], unit: Unit, failing: Failing) -> None:
    real = unit.clock.real()
    for lead_id, error in unreadable:
        if failing.record(lead_id, error, real):
            _log.error("clock cannot be read", lead=lead_id, exc_info=error)


def _put_off(unit: Unit, leads: Collection[str]) -> None:
    """Try these clocks again later. Nothing but the time of the next try changes."""
    if leads:
        speed = 1 / unit.clock.real_seconds(timedelta(seconds=1))
        put_off_clocks(unit, leads, unit.now + PUT_OFF * speed)


def store_changes(
    unit: Unit, changes: Batch, before: Mapping[str, ResponseClock], terms: Terms, context: NotifierContext
) -> None:
    """Store the results of decisions, emit their events, and claim the new pages. `before`: the clocks as they were."""
    real = unit.clock.real()
    new = [page if page.next_at or page.state != "pending" else replace(page, next_at=real) for page in changes.pages]
    pages, claims = claim_new(unit, new, changes.clocks, terms, context)
    pages = [_unless_cancelled(page, changes.cancels) for page in pages]
    save_clocks(unit, changes.clocks.values())
    add_pages(unit, pages)
    cancel_pages(unit, [cancel for cancel in changes.cancels if cancel.lead_id in before])  # a new lead has no pages
    update_alerts(unit, claims, before, changes.clocks)
    _ask_updates(unit, changes, before)
    for event in changes.events:
        unit.emit(event, key=event.lead_id, id=event.action_id if isinstance(event, ActionRequested) else None)
    if claims:
        unit.after.append(partial(context.hand, claims))
    if any(page.state == "pending" for page in pages):
        unit.wake(DELIVERY)
    unit.after.append(partial(_count, changes, before, context))


def _ask_updates(unit: Unit, changes: Batch, before: Mapping[str, ResponseClock]) -> None:
    """Ask for the messages to be shown anew whose lead stands differently, or for which a click was refused."""
    leads = {
        lead
        for lead, clock in changes.clocks.items()
        if (was := before.get(lead)) is not None and was.epoch and stands_differently(was, clock)
    }
    if leads or changes.notices:
        ask_updates(unit, leads, changes.notices)
        unit.wake(SLACK_UPDATES)


def _unless_cancelled(page: Page, cancels: Sequence[Cancel]) -> Page:
    """Return the page, cancelled if a cancellation of the same unit concerns it."""
    why = next((cancel.why for cancel in cancels if cancel.hits(page)), None)
    return page if why is None else cancelled(page, why)


def _count(changes: Batch, before: Mapping[str, ResponseClock], context: NotifierContext) -> None:
    """Count the clocks that ended."""
    for event in changes.events:
        if isinstance(event, PromiseMissed):
            context.count_clock("missed")
        elif isinstance(event, PromiseKept) and not event.late:
            context.count_clock("met")
    for lead, clock in changes.clocks.items():
        if clock.state == "over" and lead in before and before[lead].state == "live":
            context.count_clock("cancelled")


def _newest(records: Sequence[RepAvailabilityChanged]) -> list[RepAvailabilityChanged]:
    latest: dict[str, RepAvailabilityChanged] = {}
    for record in records:
        before = latest.get(record.rep)
        if before is None or (record.version, record.at) >= (before.version, before.at):
            latest[record.rep] = record
    return list(latest.values())
