"""Claim pages: the unit before the sending of a page. No network here.

A claim locks the clock before the page and checks both again, so that no page is claimed after a touch or an opt-out is
stored. A claim is a lease: a page whose sender crashed is claimed again when the lease ends.
"""

from collections.abc import Iterable, MutableMapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from firsthour.runtime.storage.unit import Unit
from services.notifier.context import CLOCKS, Claim, NotifierContext
from services.notifier.domain import page as paging
from services.notifier.domain.clock import ResponseClock
from services.notifier.domain.firing import settled
from services.notifier.domain.message import message_of
from services.notifier.domain.objection import Availability, objection
from services.notifier.domain.page import Page
from services.notifier.domain.terms import Terms
from services.notifier.recording import attempt_of, settle_clocks
from services.notifier.store.clocks import lock_clocks
from services.notifier.store.pages import (
    add_attempts,
    change_pages,
    hurry_pages,
    lock_pages,
    lookup_new,
    peek_pages,
)


@dataclass(frozen=True)
class ClaimResult:
    """The result of one claiming unit.

    Attributes:
        more: More pages may be due: claim again at once, unless `stalled`.
        stalled: Every page of this unit waits for a channel.
        next_at: When the next page is due (real time); None: unknown or no page is waiting.
    """

    claims: tuple[Claim, ...] = ()
    more: bool = False
    stalled: bool = False
    next_at: datetime | None = None


def claim_new(
    unit: Unit,
    pages: Sequence[Page],
    clocks: MutableMapping[str, ResponseClock],
    terms: Terms,
    context: NotifierContext,
) -> tuple[list[Page], list[Claim]]:
    """Claim new pages in the unit that made them, which saves a unit before the first page of an assignment.

    Args:
        pages: New pages. A page that is stored already is left out: its rung has fired before.
        clocks: Their clocks, locked by this unit. The clock of a page that is not sent is replaced here.

    Returns:
        The pages to be stored, and the claims, as many as there is room for.
    """
    stored_ids, availability = lookup_new(unit, pages)
    pages = [page for page in pages if page.id not in stored_ids]
    pending = [page for page in pages if page.state == "pending"]
    room = max(0, min(context.room(), len(pending)))
    if not room:
        return pages, []
    real, now = unit.clock.real(), unit.now
    stored, claims = {page.id: page for page in pages}, []
    for page in pending[:room]:
        clock = clocks[page.lead_id]
        page_after = _try_claim(page, clock, terms, availability.get(page.person), context, now, real)
        stored[page.id] = page_after
        if page_after.state == "sending":
            claims.append(Claim(page_after, message_of(page_after, clock, terms, now, context.public_url)))
        elif page_after.state == "cancelled":
            clocks[page.lead_id] = settled(clock, page_after, terms, now)
            unit.wake(CLOCKS)
    return list(stored.values()), claims


def claim(unit: Unit, context: NotifierContext, limit: int) -> ClaimResult:
    """Claim up to `limit` due pages. The number of statements does not depend on the number of pages."""
    real = unit.clock.real()
    waiting_pages = peek_pages(unit, limit)
    due = [page for page in waiting_pages if page.next_at <= real]
    if not due:
        return ClaimResult(next_at=waiting_pages[0].next_at if waiting_pages else None)
    clocks = lock_clocks(unit, {page.lead_id for page in due})
    locked = lock_pages(unit, [page.id for page in due])
    terms, now = context.terms(unit), unit.now
    changed, lost_attempts, claims, cancelled = [], [], [], []
    for page, availability in sorted(locked, key=lambda pair: (pair[0].due_at, pair[0].id)):
        if page.next_at is None or page.next_at > real:
            continue  # claimed by another process since the peek
        if page.state == "sending":
            lost_attempts.append(attempt_of(page, real, "unknown", "the sender crashed before recording the outcome"))
        clock = clocks.get(page.lead_id)
        page_after = _try_claim(page, clock, terms, availability, context, now, real)
        changed.append(page_after)
        if page_after.state == "sending" and clock is not None:
            claims.append(Claim(page_after, message_of(page_after, clock, terms, now, context.public_url)))
        elif page_after.state == "cancelled":
            cancelled.append(page_after)
    settle_clocks(unit, clocks, cancelled, terms)
    change_pages(unit, changed)
    add_attempts(unit, lost_attempts)
    stalled = all(page.next_at is not None and page.next_at >= real + paging.WAIT for page in changed)
    return ClaimResult(tuple(claims), more=True, stalled=stalled and not claims)


def _try_claim(
    page: Page,
    clock: ResponseClock | None,
    terms: Terms,
    availability: Availability | None,
    context: NotifierContext,
    now: datetime,
    real: datetime,
) -> Page:
    """Return the page as claimed (`sending`), cancelled, or pending until a channel can be used."""
    why = objection(page, clock, terms, availability, now)
    if why is not None:
        return paging.cancelled(page, why)
    page = paging.in_time(page, real)
    usable = set(terms.reaching(page.person, page.channels)) & set(terms.channels)
    offsets = [
        offset
        for offset in range(len(page.channels))
        if _channel_at(page, offset) in usable and context.health.may(_channel_at(page, offset), real)
    ]
    if not offsets:
        return paging.waiting(page, _waiting_reason(page, usable, terms), real)
    page = paging.moved(page, offsets[0])
    slot = context.pace.slot(page, real, alone=len(offsets) == 1)
    if slot is None:
        page = paging.moved(page, offsets[1] - offsets[0])
        slot = context.pace.slot(page, real, alone=True) or real
    if slot > real:
        return paging.postponed(page, slot, real)
    context.health.trying(page.channel, real)
    return paging.claimed(page, real)


def _channel_at(page: Page, offset: int) -> str:
    return page.channels[(page.channel_index + offset) % len(page.channels)]


def _waiting_reason(page: Page, usable: Iterable[str], terms: Terms) -> str:
    """Return why no channel can be used now."""
    down_channels = [name for name in page.channels if name in usable]
    if down_channels:
        return page.error or f"channel down: {', '.join(down_channels)}"
    missing = [name for name in terms.reaching(page.person, page.channels) if name not in terms.channels]
    return f"channel not set up here: {', '.join(missing)}; see `firsthour doctor`"


def hurry(unit: Unit, limit: int) -> int:
    """Make waiting pages due now, since a channel has recovered. Return their number."""
    return hurry_pages(unit, unit.clock.real(), limit)
