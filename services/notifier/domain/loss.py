"""The end of an assignment for its owner: the notice to the rep, and what the next owner is told of it.

A click that was to end it, and was refused later, has a notice too: the person was told that the lead is passed on.
"""

from datetime import datetime
from uuid import UUID

import msgspec

from schemas.events.routes import LeadAssigned, LeadEvent, LeadOptedOut, LeadQualified, LeadRecycled, LeadReleased
from services.notifier.domain.clock import PreviousOwner, ResponseClock
from services.notifier.domain.direct_page import direct_page
from services.notifier.domain.page import HANDED_ON, LOST, REFUSED, REQUEST_PAGES, Page, page_number


def previous_owner(clock: ResponseClock, event: LeadEvent) -> PreviousOwner | None:
    """Return the owner whose assignment this record ends; None: it ends none."""
    if clock.rep is None:
        return None
    kind: str
    reason: str
    match event:
        case LeadReleased() | LeadRecycled():
            kind, reason = event.kind, event.reason
        case LeadOptedOut():
            kind, reason = "opted-out", event.reason
        case LeadQualified():
            kind, reason = "qualified", event.line
        case LeadAssigned() if event.epoch > clock.epoch:
            kind, reason = "hand-over", event.reason or ""
        case _:
            return None
    return PreviousOwner(
        rep=clock.rep,
        epoch=clock.epoch,
        since=clock.assigned_at or event.at,
        until=event.at,
        kind=kind,
        reason=reason,
        by=event.by,
        told=_was_told(clock),
        accepted=clock.accepted,
        attempts=clock.attempts,
        talked=clock.talked_at is not None,
    )


def _was_told(clock: ResponseClock) -> bool:
    """Return whether the owner knows of the lead: by a page, or by a touch, which ends a page that was still on its way.

    A person who asks again does so after the page of the first request, as a rule. The clock no longer has its time, and a
    notice too many is better than two reps who call one person.
    """
    return clock.told_at is not None or clock.attempts > 0 or clock.talked_at is not None or clock.request > 0


def lost_page(clock: ResponseClock, previous: PreviousOwner, now: datetime, request: int) -> Page:
    """Return the notice to the rep who lost the lead. `request`: of the person, while that rep had it."""
    number, ladder, due_at = page_number(request, LOST), clock.ladder, previous.until
    return direct_page(clock, "lost", previous.rep, number, ladder=ladder, due_at=due_at, now=now, epoch=previous.epoch)


def handed_on(clock: ResponseClock, now: datetime) -> tuple[Page, ...]:
    """Return the page to the owner of a lead whose person was contacted before: no rung tells the owner of it."""
    if clock.running or clock.rep is None:
        return ()
    due_at = clock.assigned_at or now
    return (direct_page(clock, "handed_on", clock.rep, HANDED_ON, ladder=clock.ladder, due_at=due_at, now=now),)


def refused_page(clock: ResponseClock, click_id: str, person: str, now: datetime) -> Page:
    """Return the notice to a person whose click was answered with success and then refused: the lead is not passed on."""
    number = page_number(clock.request, REFUSED + UUID(click_id).int % (REQUEST_PAGES - REFUSED))
    return direct_page(clock, "refused", person, number, ladder=clock.ladder, due_at=now, now=now)


def notice(clock: ResponseClock, previous: PreviousOwner | None, now: datetime) -> tuple[Page, ...]:
    """Return the notice to a rep who knows of the lead, and did not give it away."""
    if previous is None or not (previous.told or previous.accepted) or previous.by == f"rep:{previous.rep}":
        return ()
    return (lost_page(clock, previous, now, clock.request),)


def told_too_late(page: Page, clock: ResponseClock, now: datetime) -> Page | None:
    """Return the notice to a rep whose page arrived after the assignment had ended; None: it had not."""
    previous = clock.previous
    ended = previous is not None and (previous.rep, previous.epoch) == (page.person, page.epoch)
    if previous is None or not ended or page.kind == "lost" or clock.rep == page.person:
        return None
    told = msgspec.structs.replace(previous, told=True)
    return lost_page(clock, told, now, page.rung // REQUEST_PAGES)
