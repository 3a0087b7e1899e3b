"""The due rungs of a clock: pages, changes of owner, and the end of the promise."""

from datetime import datetime

from msgspec.structs import replace

from schemas.agreement.response import OWNER, Rung
from schemas.events.actions import ActionRequested
from services.notifier.domain.cadence import remind
from services.notifier.domain.clock import ResponseClock, ladder_of, next_rung_at, timed
from services.notifier.domain.clock_events import BY_OWNER
from services.notifier.domain.clock_step import Cancel, ClockEvent, ClockStep, promise_missed
from services.notifier.domain.counting import counted_anew
from services.notifier.domain.page import TO_OWNER, Kind, Page, cancelled, page_id
from services.notifier.domain.recipients import NO_ABSENCES, Absences, Recipient, recipient
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
    if clock.state == "live" and now >= clock.promise_at:
        clock = replace(clock, state="missed", missed_at=now)
        events.append(promise_missed(clock, terms, now))
    pages: list[Page] = []
    cancels: list[Cancel] = []
    while (due_at := next_rung_at(clock, terms)) is not None and due_at <= now:
        index, rung = clock.next_rung, ladder_of(clock, terms)[clock.next_rung]
        clock = replace(clock, next_rung=index + 1, fired_at=now, rung_told_at=None, rung_empty=False, updated_at=now)
        if rung.reassign:
            events.append(_reassign(clock, index, now))
            clock = replace(clock, rung_told_at=now)
            continue
        to = recipient(rung, clock, terms, absences, now)
        page = _page(clock, rung, index, to, due_at, now, real)
        pages.append(page)
        if page.state == "cancelled":
            clock = settled(clock, page, terms, now, empty=not to.person)
        elif index > 0:
            why = f"bundled into rung {index}"
            cancels.append(Cancel(clock.lead_id, clock.epoch, why, person=page.person, below=index))
    return ClockStep(timed(clock, terms), tuple(events), tuple(pages), tuple(cancels))


def settled(clock: ResponseClock, page: Page, terms: Terms, now: datetime, *, empty: bool = False) -> ResponseClock:
    """Return the clock after a page was accepted by a channel (`sent`) or ended without being sent.

    Args:
        empty: The page had no recipient: its rung is passed at once.
    """
    if page.epoch != clock.epoch or clock.rep is None or not clock.running:
        return clock
    at = page.sent_at or now
    if page.kind in TO_OWNER and page.person == clock.rep:
        if page.state == "sent":
            clock = replace(clock, told_at=clock.told_at or at)
        else:
            clock = replace(clock, untold_at=clock.untold_at or at)
    if page.rung == clock.next_rung - 1 and clock.rung_told_at is None:
        clock = replace(clock, rung_told_at=at, rung_empty=empty)
    return timed(replace(clock, updated_at=now), terms)


def _reassign(clock: ResponseClock, index: int, now: datetime) -> ActionRequested:
    return ActionRequested(
        action_id=f"{clock.lead_id}:{clock.epoch}:{index}",
        action="reassign",
        lead_id=clock.lead_id,
        epoch=clock.epoch,
        at=now,
        by="system",
        reason="no touch was recorded",
        told=clock.told_at is not None or clock.ladder is None,
    )


def _page(
    clock: ResponseClock, rung: Rung, index: int, to: Recipient, due_at: datetime, now: datetime, real: datetime
) -> Page:
    page = Page(
        id=page_id(clock.lead_id, clock.epoch, index, to.person),
        lead_id=clock.lead_id,
        epoch=clock.epoch,
        rung=index,
        kind=_kind(clock, rung, index),
        person=to.person,
        channels=rung.by,
        due_at=due_at,
        created_at=now,
        next_at=real,
    )
    if not to.person:
        return cancelled(page, to.why)
    if clock.accepted and page.kind in TO_OWNER:
        return cancelled(page, BY_OWNER)
    return page


def _kind(clock: ResponseClock, rung: Rung, index: int) -> Kind:
    if rung.page is None or rung.page == OWNER:
        return "reassigned" if clock.reassignments and index == 0 else "owner"
    return rung.page
