"""Claim pages: the unit before the sending of a page. No network here.

A claim locks the clock before the page and checks both again, so that no page is claimed after a touch or an opt-out is
stored. A claim is a lease: a page whose sender crashed is claimed again when the lease ends.
"""

import dataclasses
from collections import Counter
from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from operator import attrgetter

from msgspec.structs import replace

from firsthour.runtime.storage.unit import Unit
from services.notifier.alerting import update_alerts
from services.notifier.channels.base import RETRY_AFTER_SECONDS_MAX
from services.notifier.context import CLOCKS, Claim, NotifierContext
from services.notifier.domain import page as paging
from services.notifier.domain.budget import Spending, budget_of, counts, fellows, is_counted, last_slots
from services.notifier.domain.clock import ResponseClock
from services.notifier.domain.clock_events import BY_OWNER
from services.notifier.domain.failing import PUT_OFF
from services.notifier.domain.firing import settled
from services.notifier.domain.further_lines import further_line
from services.notifier.domain.message import message_of
from services.notifier.domain.objection import Availability, objection, unreachable, untrue
from services.notifier.domain.page import Page
from services.notifier.domain.quiet_hours import quiet_until
from services.notifier.domain.rank import rank_of
from services.notifier.domain.terms import Terms
from services.notifier.recording import attempt_of, settle_clocks
from services.notifier.store.clocks import lock_clocks
from services.notifier.store.pages import (
    SentMessage,
    WaitingPage,
    add_attempts,
    add_pages,
    change_pages,
    find_messages,
    hurry_pages,
    hurry_pages_ahead,
    lock_pages,
    lookup_new,
    peek_pages,
    put_off_pages,
    waiting_for,
)
from services.notifier.unattended import Unattended

LINE_MAX = 30
"""Messages that a line over the channel with the strictest rate limit sends within the time of another channel."""
CANNOT_BE_SENT = "the message cannot be made; the log has the place in the code"
RETRY_MAX = timedelta(seconds=RETRY_AFTER_SECONDS_MAX + paging.REFUSED_SECONDS)
"""The longest wait before a retry."""
WAITING_MAX = 500
"""Pages that wait for a person, looked at by one unit: one message takes up to `BUNDLED_MAX` of them."""


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
    messages = _messages(unit, _counted_people([page for page in new if page.state == "pending"], terms), terms)
    look = _Look(unit, terms, context, messages)
    stored, claims = {page.id: look.unattended.born_without_recipient(page, clocks[page.lead_id]) for page in new}, []
    pending = [page for page in new if page.state == "pending"] if not look.slots.closed else []
    for page in sorted(pending, key=attrgetter("rank")):
        if look.left(page) == 1:
            continue  # the last message of the budget tells of everything that waits: `claim` looks for it
        clock = clocks[page.lead_id]
        page_after = stored[page.id] = look.try_claim(page, clock, availability.get(page.person))
        if page_after.state == "sending":
            claims.append(Claim(page_after, message_of(page_after, clock, terms, look.now, context.public_url)))
        elif page_after.state == "cancelled":
            empty = page_after.error != BY_OWNER and page.id not in look.unattended.covered
            clocks[page.lead_id] = settled(clock, page_after, terms, look.now, empty=empty)
            unit.wake(CLOCKS)
    look.count_delays()
    look.unattended.tell_teams()
    return [*stored.values(), *look.unattended.passed_on], claims


def claim(unit: Unit, context: NotifierContext, limit: int) -> ClaimResult:
    """Claim up to `limit` due pages. The number of statements does not depend on the number of pages."""
    real, slots, failing = unit.clock.real(), context.bulkhead.slots(), context.failing_pages
    if slots.closed:
        return ClaimResult()
    put_off_pages(unit, failing.found(), real + PUT_OFF, CANNOT_BE_SENT)
    limit = failing.at_once(limit)
    waiting_pages = peek_pages(unit, limit, slots.full(), real - paging.FAILOVER)
    due = sorted((page for page in waiting_pages if page.next_at <= real), key=attrgetter("rank", "next_at"))[:limit]
    if not due:
        return ClaimResult(next_at=min((page.next_at for page in waiting_pages), default=None))
    context.failing_pages.looks_at([page.id for page in due])
    terms = context.terms(unit)
    due_ids = {page.id for page in due}
    messages = [one for one in _messages(unit, _counted_people(due, terms), terms) if one.page_id not in due_ids]
    waiting = [*due, *_before_last_message(unit, due, messages, terms)]
    clocks = lock_clocks(unit, {page.lead_id for page in waiting})
    locked = lock_pages(unit, {page.id for page in waiting})
    look = _Look(unit, terms, context, messages)
    changed: dict[str, Page] = {}
    lost_attempts, claims, last = [], [], []
    for page, availability in sorted(locked, key=lambda pair: (pair[0].rank, pair[0].due_at, pair[0].id)):
        if page.id not in due_ids or page.next_at is None or page.next_at > real:
            continue  # not due, or claimed by another process since the peek
        if page.state == "sending":
            lost_attempts.append(attempt_of(page, real, "unknown", "the sender crashed before recording the outcome"))
        clock = clocks.get(page.lead_id)
        page_after = look.try_claim(page, clock, availability)
        changed[page.id] = page_after
        if page_after.state == "sending" and clock is not None:
            claims.append(Claim(page_after, message_of(page_after, clock, terms, look.now, context.public_url)))
            last += [len(claims) - 1] if look.left(page_after) == 0 and page_after.channel not in terms.single else []
    for index in last:
        claims[index] = look.with_fellows(claims[index], locked, clocks, changed)
    ended = [page for page in changed.values() if page.state == "cancelled"]
    settle_clocks(unit, clocks, ended, terms, covered=look.unattended.covered)
    change_pages(unit, changed.values())
    add_pages(unit, look.unattended.passed_on)
    look.unattended.tell_teams()
    add_attempts(unit, lost_attempts)
    update_alerts(unit, claims, {}, {})
    unit.after.append(partial(failing.succeeded, due_ids, real))
    look.count_delays()
    stalled = all(page.next_at is not None and page.next_at >= real + paging.WAIT for page in changed.values())
    return ClaimResult(tuple(claims), more=True, stalled=stalled and not claims)


def _messages(unit: Unit, people: Sequence[str], terms: Terms) -> list[SentMessage]:
    """Return the messages to these persons that count against their budgets."""
    if not people:
        return []
    since = unit.clock.business() - budget_of(terms).per
    found = find_messages(unit, set(people), since)
    return [one for one in found if one.channel not in terms.single and counts(one.rung, terms)]


def _counted_people(pages: Sequence[Page | WaitingPage], terms: Terms) -> list[str]:
    """Return the recipients of these pages for whom a budget counts, each as often as it does. Mostly none: none is read."""
    return [page.person for page in pages if counts(page.rung, terms)]


def _before_last_message(
    unit: Unit, due: Sequence[WaitingPage], messages: Sequence[SentMessage], terms: Terms
) -> list[WaitingPage]:
    """Return the pages that wait for the persons whose last message may be sent now."""
    due_of = Counter(_counted_people(due, terms))
    if not due_of:
        return []
    spending = Spending.of(budget_of(terms), unit.clock.business(), [(one.person, one.at) for one in messages])
    people = last_slots(spending, due_of)
    return waiting_for(unit, people, WAITING_MAX) if people else []


class _Look:
    """One look of a unit at due pages. It holds what the decisions about them share."""

    def __init__(self, unit: Unit, terms: Terms, context: NotifierContext, messages: Sequence[SentMessage]) -> None:
        """Begin. The clocks of the pages are locked already, so that `now` is not before the times in them."""
        self._unit = unit
        self.terms = terms
        self._context = context
        self.slots = context.bulkhead.slots()
        self.now, self.real = unit.now, unit.clock.real()
        self._spending = Spending.of(budget_of(terms), self.now, [(one.person, one.at) for one in messages])
        self.unattended = Unattended(unit, terms, self.now)
        self._delayed: list[tuple[str, str]] = []  # channel and reason

    def try_claim(self, page: Page, clock: ResponseClock | None, availability: Availability | None) -> Page:
        """Return the page as claimed (`sending`), cancelled, or pending until a channel can be used."""
        over = untrue(page, clock)
        if over is not None or clock is None:
            return paging.cancelled(page, over or "")
        why = unreachable(page, clock, self.terms, availability, self.now)
        if why is not None:
            page = self.unattended.page_after(page, clock, why)
            if page.state == "cancelled":
                return page
        elif (page.error or "").startswith(paging.ALTHOUGH):
            page = replace(page, error=None)  # the person is back
        if page.kind != "channel":
            page = replace(page, channels=self.terms.lasting(page.channels))
        after = self._unless_held(page, clock)
        if after.state == "sending" and after.channel not in self.terms.single and counts(page.rung, self.terms):
            self._spending.spend(page.person)
        if after.delay and after.delay != page.delay:
            self._delayed.append((after.channel, after.delay))
        return after

    def left(self, page: Page) -> int | None:
        """Return how many more messages the recipient may get now; None: any number."""
        return self._spending.left(page.person) if is_counted(page, self.terms) else None

    def _unless_held(self, page: Page, clock: ResponseClock | None) -> Page:
        quiet = quiet_until(page, clock, self.terms, self.now)
        if quiet is not None:
            return self._held(page, "quiet_hours", quiet, f"outside the hours of {page.person}")
        if self.left(page) == 0:
            told = (
                "was just told of leads that wait"
                if self.terms.budget is None
                else "has had the messages of the budget"
            )
            why = f"{page.person} {told}"
            return self._held(page, "budget", self._spending.free_at(page.person), why)
        return self._over_a_channel(paging.in_time(page, self.real))

    def with_fellows(
        self,
        claim: Claim,
        locked: Sequence[tuple[Page, Availability | None]],
        clocks: Mapping[str, ResponseClock],
        changed: MutableMapping[str, Page],
    ) -> Claim:
        """Return the claim of the last message of a budget, with the other waiting pages to the same person."""
        availability = {page.id: standing for page, standing in locked}
        carried, also = [], []
        for page in fellows(claim.page, [changed.get(page.id, page) for page, _ in locked], self.terms):
            clock = clocks.get(page.lead_id)
            if clock is None or not self._may_join(page, clock, availability[page.id]):
                continue
            changed[page.id] = after = paging.carried(page, claim.page, self.real, self.now)
            carried.append(after)
            also.append(further_line(message_of(after, clock, self.terms, self.now, None), after.channel))
        self._context.pace.joined(claim.page, self.real)
        message = dataclasses.replace(claim.message, also=tuple(also))
        return Claim(claim.page, message, tuple(carried))

    def _may_join(self, page: Page, clock: ResponseClock, availability: Availability | None) -> bool:
        why = objection(page, clock, self.terms, availability, self.now)
        return why is None and quiet_until(page, clock, self.terms, self.now) is None

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
        left = self.left(page)
        # The last message of a small budget soon takes the whole line: a page does not leave it for another channel.
        stays = len(offsets) == 1 or (left is not None and left < LINE_MAX)
        slot = context.pace.slot(page, real, alone=stays)
        if slot is None:
            page = paging.moved(page, offsets[1] - offsets[0])
            slot = context.pace.slot(page, real, alone=True) or real
        if slot > real:
            return paging.postponed(page, slot, real, f"{page.channel} accepts one page per second to a person")
        if not self.slots.has(page.channel):
            return paging.queued(page, real)
        self.slots.take(page.channel)
        context.health.trying(page.channel, real)
        return paging.claimed(page, real, self.now)

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


def hurry_ahead(unit: Unit, limit: int) -> int:
    """Make pages due now that would wait for a time that lies too far ahead. Return their number."""
    return hurry_pages_ahead(unit, unit.clock.real(), RETRY_MAX, limit)
