"""Claim pages and record their outcomes: the two units around the sending of a page. No network here.

A claim locks the clock before the page and checks both again, so that no page is claimed after a touch or an opt-out is
stored. A claim is a lease: a page whose sender crashed is claimed again when the lease ends.
"""

from collections.abc import Callable, Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from firsthour.kernel.config import Config
from firsthour.runtime.storage.unit import Unit
from schemas.events import PageFailed, PageSent
from services.notifier.channels.base import GiveUp, Outcome, Sent, TryAgain, Unusable
from services.notifier.domain import page as paging
from services.notifier.domain.clock import ResponseClock
from services.notifier.domain.firing import settled
from services.notifier.domain.health import ChannelHealth
from services.notifier.domain.message import Message, message_of
from services.notifier.domain.objection import Availability, objection
from services.notifier.domain.page import Pace, Page
from services.notifier.domain.terms import Terms
from services.notifier.store.clocks import lock_clocks, save_clocks
from services.notifier.store.pages import (
    Attempt,
    add_attempts,
    change_pages,
    hurry_pages,
    lock_pages,
    lookup_new,
    peek_pages,
)

DELIVERY = "notifier.delivery"
"""The name of the runner. A unit that adds a page wakes it."""
CLOCKS = "notifier.clocks"
"""The name of the tick. A unit that records the outcome of a page wakes it."""
ATTEMPTS_KEPT_MAX = 50
"""Attempts stored per page. Later attempts replace the last one."""


@dataclass(frozen=True)
class Claim:
    """A page that the holder of this claim sends now, over the page's current channel."""

    page: Page
    message: Message


@dataclass(frozen=True)
class Delivered:
    """The outcome of a claimed page. `at` in business time, `real` in real time."""

    claim: Claim
    outcome: Outcome
    at: datetime
    real: datetime


@dataclass(frozen=True)
class Claimed:
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


def _no_room() -> int:
    return 0


def _drop_claims(claims: Sequence[Claim]) -> None:
    """Do nothing: without a delivery, the leases end and the pages are claimed again."""


def _uncounted(outcome: str) -> None:
    """Do nothing: there are no metrics."""


@dataclass
class NotifierContext:
    """The parts of the process that units of the notifier use. The delivery sets `room`, `hand` and `ended`."""

    channels: tuple[str, ...]
    public_url: str | None = None
    health: ChannelHealth = field(default_factory=ChannelHealth)
    pace: Pace = field(default_factory=Pace)
    room: Callable[[], int] = _no_room  # how many pages may be claimed for sending at once
    hand: Callable[[Sequence[Claim]], None] = _drop_claims  # called on the loop, after the commit
    ended: Callable[[str], None] = _uncounted  # a clock ended: met, missed, cancelled

    def terms(self, config: Config) -> Terms:
        """Return the terms of this configuration."""
        response = config.agreement.response
        return Terms(response.ladder, response.urgencies, config.team, self.channels)


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
    known, standing = lookup_new(unit, pages)
    pages = [page for page in pages if page.id not in known]
    ready = [page for page in pages if page.state == "pending"]
    room = max(0, min(context.room(), len(ready)))
    if not room:
        return pages, []
    real, now = unit.clock.real(), unit.now
    stored, claims = {page.id: page for page in pages}, []
    for page in ready[:room]:
        clock = clocks[page.lead_id]
        taken = _claim(page, clock, terms, standing.get(page.person), context, now, real)
        stored[page.id] = taken
        if taken.state == "sending":
            claims.append(Claim(taken, message_of(taken, clock, terms, now, context.public_url)))
        elif taken.state == "cancelled":
            clocks[page.lead_id] = settled(clock, taken, terms, now)
            unit.wake(CLOCKS)
    return list(stored.values()), claims


def claim(unit: Unit, context: NotifierContext, limit: int) -> Claimed:
    """Claim up to `limit` due pages. The number of statements does not depend on the number of pages."""
    real = unit.clock.real()
    waiting = peek_pages(unit, limit)
    due = [page for page in waiting if page.next_at <= real]
    if not due:
        return Claimed(next_at=waiting[0].next_at if waiting else None)
    clocks = lock_clocks(unit, {page.lead_id for page in due})
    locked = lock_pages(unit, [page.id for page in due])
    terms, now = context.terms(unit.config), unit.now
    changed, lost, claims, ended = [], [], [], []
    for page, standing in sorted(locked, key=lambda pair: (pair[0].due_at, pair[0].id)):
        if page.next_at is None or page.next_at > real:
            continue  # claimed by another process since the peek
        if page.state == "sending":
            lost.append(_tried(page, real, "unknown", "the sender crashed before recording the outcome"))
        clock = clocks.get(page.lead_id)
        taken = _claim(page, clock, terms, standing, context, now, real)
        changed.append(taken)
        if taken.state == "sending" and clock is not None:
            claims.append(Claim(taken, message_of(taken, clock, terms, now, context.public_url)))
        elif taken.state == "cancelled":
            ended.append(taken)
    _settle(unit, clocks, ended, terms)
    change_pages(unit, changed)
    add_attempts(unit, lost)
    stalled = all(page.next_at is not None and page.next_at >= real + paging.WAIT for page in changed)
    return Claimed(tuple(claims), more=True, stalled=stalled and not claims)


def _settle(unit: Unit, clocks: Mapping[str, ResponseClock], pages: Iterable[Page], terms: Terms) -> None:
    """Apply the outcomes of these pages to their locked clocks."""
    changed: dict[str, ResponseClock] = {}
    for page in pages:
        clock = changed.get(page.lead_id) or clocks.get(page.lead_id)
        if clock is not None and (after := settled(clock, page, terms, unit.now)) is not clock:
            changed[page.lead_id] = after
    if changed:
        save_clocks(unit, changed.values())
    if any(clock.due_at is not None and clock.due_at <= unit.now for clock in changed.values()):
        unit.wake(CLOCKS)


def _claim(
    page: Page,
    clock: ResponseClock | None,
    terms: Terms,
    standing: Availability | None,
    context: NotifierContext,
    now: datetime,
    real: datetime,
) -> Page:
    why = objection(page, clock, terms, standing, now)
    if why is not None:
        return paging.cancelled(page, why)
    page = paging.in_time(page, real)
    usable = set(terms.reaching(page.person, page.channels)) & set(terms.channels)
    ways = [
        by for by in range(len(page.channels)) if _way(page, by) in usable and context.health.may(_way(page, by), real)
    ]
    if not ways:
        return paging.waiting(page, _waiting_reason(page, usable, terms), real)
    page = paging.moved(page, ways[0])
    slot = context.pace.slot(page, real, alone=len(ways) == 1)
    if slot is None:
        page = paging.moved(page, ways[1] - ways[0])
        slot = context.pace.slot(page, real, alone=True) or real
    if slot > real:
        return paging.postponed(page, slot, real)
    context.health.trying(page.channel, real)
    return paging.claimed(page, real)


def _way(page: Page, by: int) -> str:
    return page.channels[(page.channel_index + by) % len(page.channels)]


def _waiting_reason(page: Page, usable: Iterable[str], terms: Terms) -> str:
    """Return why no channel can be used now."""
    down = [name for name in page.channels if name in usable]
    if down:
        return page.error or f"{', '.join(down)} cannot be used now"
    missing = [name for name in terms.reaching(page.person, page.channels) if name not in terms.channels]
    return f"{', '.join(missing)} is not set up here; see `firsthour doctor`"


def record(
    unit: Unit, done: Sequence[Delivered], jitter: Callable[[], float], context: NotifierContext
) -> datetime | None:
    """Store the outcomes of claimed pages, and apply them to the clocks.

    A page whose claim has been lost meanwhile (the lease ended and another process sends it) is left unchanged.

    Args:
        jitter: Returns 0 to 1, to spread retries.

    Returns:
        When the first of these pages is to be tried again (real time); None: none is.
    """
    clocks = lock_clocks(unit, {one.claim.page.lead_id for one in done})
    held = {page.id: page for page, _ in lock_pages(unit, [one.claim.page.id for one in done])}
    terms, real = context.terms(unit.config), unit.clock.real()
    changed, ended = [], []
    for one in done:
        page = held.get(one.claim.page.id)
        if page is None or page.state != "sending" or page.deliveries != one.claim.page.deliveries:
            continue
        usable = set(terms.reaching(page.person, page.channels)) & set(terms.channels)
        usable_count = max(len(usable), 1)
        after = _after(page, one, jitter(), real, {name for name in usable if context.health.up(name)}, usable_count)
        changed.append(after)
        if after.state == "sent":
            ended.append(after)
            unit.emit(_sent(after, one), key=page.lead_id)
        elif page.refusals < after.refusals == usable_count:
            ended.append(after)
            unit.emit(_failed(after, unit.now), key=page.lead_id)
    _settle(unit, clocks, ended, terms)
    change_pages(unit, changed)
    add_attempts(unit, [_attempt(one) for one in done])
    return min((page.next_at for page in changed if page.next_at is not None), default=None)


def _after(page: Page, one: Delivered, jitter: float, real: datetime, up: set[str], of: int) -> Page:
    match one.outcome:
        case Sent(provider_id):
            return paging.accepted(page, provider_id, one.at)
        case TryAgain(after_seconds, why) if page.channel in up:
            return paging.refused_for_now(page, why, after_seconds, jitter, real, of)
        case TryAgain(_, why) | Unusable(why):
            return paging.refused_by_channel(page, why, jitter, real, of, other_up=bool(up - {page.channel}))
        case GiveUp(why):
            return paging.refused_for_good(page, why, jitter, real, of)


def hurry(unit: Unit, limit: int) -> int:
    """Make waiting pages due now, since a channel has recovered. Return their number."""
    return hurry_pages(unit, unit.clock.real(), limit)


def outcome_name(outcome: Outcome) -> str:
    """Return the name of the outcome in metrics and attempts."""
    match outcome:
        case Sent():
            return "sent"
        case TryAgain():
            return "try_again"
        case GiveUp():
            return "gave_up"
        case Unusable():
            return "unusable"


def _attempt(one: Delivered) -> Attempt:
    outcome = one.outcome
    detail = outcome.provider_id if isinstance(outcome, Sent) else outcome.why
    return _tried(one.claim.page, one.real, outcome_name(outcome), paging.storable(detail))


def _tried(page: Page, real: datetime, outcome: str, detail: str) -> Attempt:
    return Attempt(page.id, min(page.deliveries, ATTEMPTS_KEPT_MAX), page.channel, real, outcome, detail)


def _sent(page: Page, one: Delivered) -> PageSent:
    return PageSent(
        page_id=page.id,
        lead_id=page.lead_id,
        epoch=page.epoch,
        rung=page.rung,
        person=page.person,
        channel=page.channel,
        at=one.at,
        tries=page.deliveries,
    )


def _failed(page: Page, now: datetime) -> PageFailed:
    return PageFailed(
        page_id=page.id,
        lead_id=page.lead_id,
        epoch=page.epoch,
        rung=page.rung,
        person=page.person,
        at=now,
        why=page.error or "",
        tried=page.channels,
    )
