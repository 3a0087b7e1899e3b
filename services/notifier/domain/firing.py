"""The due rungs of a clock: pages, changes of owner, and the end of the promise."""

from datetime import datetime

from msgspec.structs import replace

from schemas.events.actions import ActionRequested
from services.notifier.domain.cadence import remind
from services.notifier.domain.clock import ResponseClock, next_rung_at, timed
from services.notifier.domain.clock_step import Cancel, ClockEvent, ClockStep, promise_missed
from services.notifier.domain.counting import counted_anew
from services.notifier.domain.next_page import addressed, bundled, last_number, missed_page, next_page
from services.notifier.domain.page import TO_OWNER, Page, index_of, page_number
from services.notifier.domain.recipients import NO_ABSENCES, Absences
from services.notifier.domain.terms import Terms


def fire(
    clock: ResponseClock, terms: Terms, now: datetime, real: datetime, absences: Absences = NO_ABSENCES
) -> ClockStep:
    """Fire everything due by now: the rungs in their order, and the end of the promise.

    A rung waits for the page of the rung before it. After an interruption, each page is therefore sent its span after the
    one before. A new page replaces pending pages to the same person.

    Args:
        now: Business time.
        real: Real time, at which the delivery looks at the pages.
        absences: Read only if `reads_absences`.
    """
    if not clock.running:
        return remind(clock, terms, now, real)
    clock = counted_anew(clock, terms)
    events: list[ClockEvent] = []
    pages: list[Page] = []
    cancels: list[Cancel] = []
    is_missed = clock.state == "live" and now >= clock.promise_at
    if is_missed:
        clock = replace(clock, state="missed", missed_at=now)
        events.append(promise_missed(clock, terms, now))
    missed = missed_page(clock, terms, absences, now, real) if is_missed else None
    while (due_at := next_rung_at(clock, terms)) is not None and due_at <= now:
        reached, rung = next_page(clock, terms)
        clock = replace(
            clock, next_rung=clock.next_rung + 1, fired_at=now, rung_told_at=None, rung_empty=False, updated_at=now
        )
        if rung.reassign:
            events.append(_reassign(clock, reached.rung, now))
            clock = replace(clock, rung_told_at=now)
            continue
        page = addressed(reached, rung, clock, terms, absences, due_at, now, real)
        pages.append(page)
        if page.state == "cancelled":
            clock = settled(clock, page, terms, now, empty=not page.person)
        elif index_of(page.rung) > 0:
            why = f"bundled into rung {index_of(page.rung)}"
            cancels.append(Cancel(clock.lead_id, clock.epoch, why, person=page.person, below=page.rung))
    if missed is not None:
        pages.append(bundled(missed, pages))
    return ClockStep(timed(clock, terms), tuple(events), tuple(pages), tuple(cancels))


def settled(clock: ResponseClock, page: Page, terms: Terms, now: datetime, *, empty: bool = False) -> ResponseClock:
    """Return the clock after a page was accepted by a channel (`sent`) or ended without being sent.

    A page about an earlier request of the person says nothing of the present one.

    Args:
        empty: The page had no recipient: its rung is passed at once.
    """
    if page.epoch != clock.epoch or page.rung < page_number(clock.request, 0):
        return clock
    at = page.sent_at or now
    if page.kind == "handed_on" and page.state == "sent":
        clock = replace(clock, told_at=clock.told_at or at, updated_at=now)
    if not clock.running:
        return clock
    if page.kind in TO_OWNER and page.person == clock.rep:
        if page.state == "sent":
            clock = replace(clock, told_at=clock.told_at or at)
        else:
            clock = replace(clock, untold_at=clock.untold_at or at)
    if page.rung == last_number(clock) and clock.rung_told_at is None:
        clock = replace(clock, rung_told_at=at, rung_empty=empty)
    return timed(replace(clock, updated_at=now), terms)


def _reassign(clock: ResponseClock, number: int, now: datetime) -> ActionRequested:
    return ActionRequested(
        action_id=f"{clock.lead_id}:{clock.epoch}:{number}",
        action="reassign",
        lead_id=clock.lead_id,
        epoch=clock.epoch,
        at=now,
        by="system",
        reason="no touch was recorded",
        told=clock.told_at is not None or clock.ladder is None,
    )
