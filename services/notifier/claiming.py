"""Claim pages: the unit before the sending of a page. No network here.

A claim locks the clock before the page and checks both again, so that no page is claimed after a touch or an opt-out is
stored. A claim is a lease: a page whose sender crashed is claimed again when the lease ends.
"""

from collections.abc import Iterable, MutableMapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from operator import attrgetter

from msgspec.structs import replace

from firsthour.runtime.storage.unit import Unit
from services.notifier.alerting import update_alerts
from services.notifier.context import CLOCKS, Claim, NotifierContext
from services.notifier.domain import page as paging
from services.notifier.domain.clock import ResponseClock
from services.notifier.domain.clock_events import BY_OWNER
from services.notifier.domain.firing import settled
from services.notifier.domain.message import message_of
from services.notifier.domain.objection import Availability, objection
from services.notifier.domain.page import Page
from services.notifier.domain.quiet_hours import quiet_until
from services.notifier.domain.rank import rank_of
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
    new = [
        replace(page, rank=rank_of(page, clocks[page.lead_id], terms)) for page in pages if page.id not in stored_ids
    ]
    look = _Look(unit, terms, context)
    stored, claims = {page.id: page for page in new}, []
    pending = [page for page in new if page.state == "pending"] if not look.slots.closed else []
    for page in sorted(pending, key=attrgetter("rank")):
        clock = clocks[page.lead_id]
        page_after = stored[page.id] = look.try_claim(page, clock, availability.get(page.person))
        if page_after.state == "sending":
            claims.append(Claim(page_after, message_of(page_after, clock, terms, look.now, context.public_url)))
        elif page_after.state == "cancelled":
            clocks[page.lead_id] = settled(clock, page_after, terms, look.now, empty=page_after.error != BY_OWNER)
            unit.wake(CLOCKS)
    look.count_delays()
    return list(stored.values()), claims


def claim(unit: Unit, context: NotifierContext, limit: int) -> ClaimResult:
    """Claim up to `limit` due pages. The number of statements does not depend on the number of pages."""
    real, slots = unit.clock.real(), context.bulkhead.slots()
    if slots.closed:
        return ClaimResult()
    waiting_pages = peek_pages(unit, limit, slots.full(), real - paging.FAILOVER)
    due = sorted((page for page in waiting_pages if page.next_at <= real), key=attrgetter("rank", "next_at"))[:limit]
    if not due:
        return ClaimResult(next_at=min((page.next_at for page in waiting_pages), default=None))
    clocks = lock_clocks(unit, {page.lead_id for page in due})
    locked = lock_pages(unit, [page.id for page in due])
    look = _Look(unit, context.terms(unit), context)
    changed, lost_attempts, claims, cancelled = [], [], [], []
    for page, availability in sorted(locked, key=lambda pair: (pair[0].rank, pair[0].due_at, pair[0].id)):
        if page.next_at is None or page.next_at > real:
            continue  # claimed by another process since the peek
        if page.state == "sending":
            lost_attempts.append(attempt_of(page, real, "unknown", "the sender crashed before recording the outcome"))
        clock = clocks.get(page.lead_id)
        page_after = look.try_claim(page, clock, availability)
        changed.append(page_after)
        if page_after.state == "sending" and clock is not None:
            claims.append(Claim(page_after, message_of(page_after, clock, look.terms, look.now, context.public_url)))
        elif page_after.state == "cancelled":
            cancelled.append(page_after)
    settle_clocks(unit, clocks, cancelled, look.terms)
    change_pages(unit, changed)
    add_attempts(unit, lost_attempts)
    update_alerts(unit, claims, {}, {})
    look.count_delays()
    stalled = all(page.next_at is not None and page.next_at >= real + paging.WAIT for page in changed)
    return ClaimResult(tuple(claims), more=True, stalled=stalled and not claims)


class _Look:
    """One look of a unit at due pages. It holds what the decisions about them share."""

    def __init__(self, unit: Unit, terms: Terms, context: NotifierContext) -> None:
        """Begin. The clocks of the pages are locked already, so that `now` is not before the times in them."""
        self._unit = unit
        self.terms = terms
        self._context = context
        self.slots = context.bulkhead.slots()
        self.now, self.real = unit.now, unit.clock.real()
        self._delayed: list[tuple[str, str]] = []  # channel and reason

    def try_claim(self, page: Page, clock: ResponseClock | None, availability: Availability | None) -> Page:
        """Return the page as claimed (`sending`), cancelled, or pending until a channel can be used."""
        why = objection(page, clock, self.terms, availability, self.now)
        if why is not None:
            return paging.cancelled(page, why)
        quiet = quiet_until(page, clock, self.terms, self.now)
        if quiet is None:
            after = self._over_a_channel(paging.in_time(page, self.real))
        else:
            after = self._held(page, "quiet_hours", quiet, f"outside the hours of {page.person}")
        if after.delay and after.delay != page.delay:
            self._delayed.append((after.channel, after.delay))
        return after

    def _held(self, page: Page, delay: paging.Delay, until: datetime, why: str) -> Page:
        """Return the page, held until this business time."""
        seconds = self._unit.clock.real_seconds(until - self.now)
        return paging.held(
            page, delay, self.real + timedelta(seconds=seconds), f"{why}; waits until {until:%d %b %H:%M} UTC"
        )

    def _over_a_channel(self, page: Page) -> Page:
        """Return the page, claimed over the first channel that can be used, or pending until one can."""
        context, real = self._context, self.real
        usable = set(self.terms.reaching(page.person, page.channels)) & set(self.terms.channels)
        offsets = [
            offset
            for offset in range(len(page.channels))
            if _channel_at(page, offset) in usable and context.health.may(_channel_at(page, offset), real)
        ]
        if not offsets:
            return paging.waiting(page, _waiting_reason(page, usable, self.terms), real)
        page = paging.moved(page, offsets[0])
        if not self.slots.has(page.channel):
            return paging.queued(page, real)
        slot = context.pace.slot(page, real, alone=len(offsets) == 1)
        if slot is None:
            page = paging.moved(page, offsets[1] - offsets[0])
            slot = context.pace.slot(page, real, alone=True) or real
        if slot > real:
            return paging.postponed(page, slot, real, f"{page.channel} accepts one page per second to a person")
        if not self.slots.has(page.channel):
            return paging.queued(page, real)
        self.slots.take(page.channel)
        context.health.trying(page.channel, real)
        return paging.claimed(page, real)

    def count_delays(self) -> None:
        """Count, after the commit, the pages that begin to wait."""
        if self._delayed:
            self._unit.after.append(partial(_count_delays, tuple(self._delayed), self._context))


def _count_delays(delayed: Sequence[tuple[str, str]], context: NotifierContext) -> None:
    for channel, reason in delayed:
        context.count_delay(channel, reason)


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
