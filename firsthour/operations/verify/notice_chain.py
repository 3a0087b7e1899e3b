"""Checks of the notices of a lead: the pages that no rung sends, but that a record of the lead or its clock asks for."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, Final

from msgspec.structs import replace

from firsthour.kernel.time_units import micros, moment
from firsthour.operations.verify.lead_history import LeadRows
from firsthour.operations.verify.snapshot import Snapshot
from schemas.events.routes import LeadEvent
from services.notifier.domain.clock import ResponseClock
from services.notifier.domain.clock_events import hear
from services.notifier.domain.loss import previous_owner
from services.notifier.domain.page import TO_OWNER, page_number

RECORDED: Final = timedelta(minutes=1)
"""How long after a page was sent its clock may learn of it: the outcome is stored in a unit of its own."""


def notices_have_pages(snapshot: Snapshot, rows: LeadRows) -> Iterator[str]:
    """Check I5: a missed promise, a lost lead and an owed attempt each have their page.

    The page about a contacted lead is not checked: what its owner knew at the touch is not stored.
    """
    yield from _missed_have_pages(rows)
    moves = rows.records.moves
    if not moves or rows.partial or rows.id in snapshot.out_of_order:
        return
    if rows.lead is None or moves[-1][2].version != rows.lead.version:
        return
    yield from _moves_have_pages(snapshot, rows)


def _missed_have_pages(rows: LeadRows) -> Iterator[str]:
    """Yield the promises that ended without a notice. A touch that came late tells of its promise itself."""
    pages = {(row.epoch, row.created_at) for row in rows.pages if row.kind == "missed"}
    kept = rows.records.promises_kept
    for event in rows.records.promises_missed:
        if (event.epoch, micros(event.at)) not in pages and event.at not in kept:
            yield f"lead {rows.id}: the promise of assignment {event.epoch} was missed, but the notice has no page"


def _moves_have_pages(snapshot: Snapshot, rows: LeadRows) -> Iterator[str]:
    """Replay the records of the lead, and yield the notices that have no page."""
    pages = {row.id for row in rows.pages}
    clock: ResponseClock | None = None
    for _, _, event in rows.records.moves:
        before = None if clock is None else _with_told(clock, event, rows.pages, snapshot.speed)
        step = hear(before, event, snapshot.configurations.terms_at(micros(event.at)), event.at)
        for page in step.pages:
            if page.kind != "handed_on" and page.id not in pages:
                yield f"lead {rows.id}: {page.person} has no page of kind {page.kind} about assignment {page.epoch}"
        clock = step.clock
    owed = rows.clock.reminders - clock.reminders if rows.clock is not None and clock is not None else 0
    made = sum(row.kind == "next_attempt" for row in rows.pages)
    if made < owed:
        yield f"lead {rows.id}: {owed} reminders of the next attempt were due, but {made} have a page"


def _with_told(clock: ResponseClock, event: LeadEvent, pages: list[Any], speed: float) -> ResponseClock:
    """Return the clock with the time at which its owner was told, as far as the pages show it.

    An owner who loses the lead counts as told if a page was sent well before, and otherwise as told if any was.
    """
    ends = previous_owner(clock, event) is not None
    told = [
        moment(row.sent_at)
        for row in pages
        if row.state == "sent"
        and (row.epoch, row.person) == (clock.epoch, clock.rep)
        and row.rung >= page_number(clock.request, 0)
        and (row.kind in TO_OWNER or row.kind == "handed_on")
        and (not ends or moment(row.sent_at) + RECORDED * speed < _heard_until(row, clock, event))
    ]
    return replace(clock, told_at=min(told, default=None))


def _heard_until(row: Any, clock: ResponseClock, event: LeadEvent) -> datetime:
    """Return until when the clock learned that this page was sent: of a page of the ladder, until the touch."""
    if row.kind == "handed_on" or clock.touched_at is None:
        return event.at
    return min(event.at, clock.touched_at)
