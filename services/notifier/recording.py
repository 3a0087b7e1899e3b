"""Record the outcomes of claimed pages: the unit after the sending of a page. No network here."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from msgspec.structs import replace

from firsthour.runtime.storage.unit import Unit
from schemas.events.pages import PageFailed, PageSent
from services.notifier.alerting import resolve_late
from services.notifier.channels.base import GiveUp, Outcome, Sent, TryAgain, Unusable, outcome_name
from services.notifier.context import CLOCKS, DELIVERY, SLACK_UPDATES, Claim, NotifierContext
from services.notifier.domain import page as paging
from services.notifier.domain.clock import ResponseClock
from services.notifier.domain.clock_events import BY_OWNER
from services.notifier.domain.firing import settled
from services.notifier.domain.loss import told_too_late
from services.notifier.domain.message import Message
from services.notifier.domain.notice import SALES
from services.notifier.domain.page import Page
from services.notifier.domain.standing import standing
from services.notifier.domain.terms import Terms
from services.notifier.store.clocks import lock_clocks, save_clocks
from services.notifier.store.pages import Attempt, add_attempts, add_pages, change_pages, lock_pages
from services.notifier.store.slack_messages import SlackMessage, add_messages
from services.notifier.telling import tell

SLACK = "slack"
ATTEMPTS_KEPT_MAX = 50
"""Attempts stored per page. Later attempts replace the last one."""


@dataclass(frozen=True)
class SendResult:
    """The outcome of a claimed page. `at` in business time, `real` in real time."""

    claim: Claim
    outcome: Outcome
    at: datetime
    real: datetime


def record(
    unit: Unit, results: Sequence[SendResult], jitter: Callable[[], float], context: NotifierContext
) -> datetime | None:
    """Store the outcomes of claimed pages, and apply them to the clocks.

    A page whose claim is lost stays unchanged: its lease ended, and another process has claimed it.

    Args:
        jitter: Returns a number from 0 to 1, which spreads retries.

    Returns:
        When the first of these pages is to be tried again (real time); None: every page has ended.
    """
    claimed = [(page, result) for result in results for page in result.claim.pages]
    clocks = lock_clocks(unit, {page.lead_id for page, _ in claimed})
    locked_pages = {page.id: page for page, _ in lock_pages(unit, [page.id for page, _ in claimed])}
    terms, real = context.terms(unit), unit.clock.real()
    changed, ended, shown = [], [], []
    for claimed_page, result in claimed:
        page = locked_pages.get(claimed_page.id)
        if page is None or page.state != "sending" or page.deliveries != claimed_page.deliveries:
            continue
        after, usable_count = _recorded(page, result, jitter(), real, terms, context)
        changed.append(after)
        if after.state == "sent":
            ended.append(after)
            if after.channel == SLACK and isinstance(result.outcome, Sent) and page.id == result.claim.page.id:
                shown.append((after, result.claim.message, result.outcome.provider_id))
            unit.emit(_page_sent(after, result), key=page.lead_id)
        elif page.refusals < after.refusals == usable_count:
            ended.append(after)
            unit.emit(_page_failed(after, unit.now), key=page.lead_id)
            _tell_sales(unit, after)
    settle_clocks(unit, clocks, ended, terms)
    _tell_losers(unit, ended, clocks)
    resolve_late(unit, [(page.channel, page.lead_id) for page in ended if page.state == "sent"], clocks)
    _note_messages(unit, shown, clocks, terms)
    change_pages(unit, changed)
    add_attempts(unit, [_attempt(page, result) for page, result in claimed])
    return min((page.next_at for page in changed if page.next_at is not None), default=None)


def record_page(
    unit: Unit, result: SendResult, jitter: Callable[[], float], context: NotifierContext
) -> datetime | None:
    """Store the outcome of a claim whose lead cannot be handled. Its clock does not learn of it, but no page is sent twice.

    The arguments and the result are as in `record`.
    """
    claimed = {page.id: page for page in result.claim.pages}
    terms, real = context.terms(unit), unit.clock.real()
    open_pages = [
        page
        for page, _ in lock_pages(unit, list(claimed))
        if page.state == "sending" and page.deliveries == claimed[page.id].deliveries
    ]
    changed = [_recorded(page, result, jitter(), real, terms, context)[0] for page in open_pages]
    change_pages(unit, changed)
    add_attempts(unit, [_attempt(page, result) for page in claimed.values()])
    return min((page.next_at for page in changed if page.next_at is not None), default=None)


def _recorded(
    page: Page, result: SendResult, jitter: float, real: datetime, terms: Terms, context: NotifierContext
) -> tuple[Page, int]:
    """Return the page after this outcome, and the number of channels that are usable for its recipient."""
    usable = set(terms.reaching(page.person, page.channels)) & set(terms.channels)
    up, usable_count = {name for name in usable if context.health.up(name)}, max(len(usable), 1)
    return _page_after(page, result, jitter, real, up, usable_count), usable_count


def _tell_losers(unit: Unit, ended: Iterable[Page], clocks: Mapping[str, ResponseClock]) -> None:
    """Tell reps whose page has arrived after they had lost the lead."""
    sent = [(page, clocks.get(page.lead_id)) for page in ended if page.state == "sent"]
    notices = [told_too_late(page, clock, unit.now) for page, clock in sent if clock is not None]
    late = [replace(notice, next_at=unit.clock.real()) for notice in notices if notice is not None]
    if late:
        add_pages(unit, late)
        unit.wake(DELIVERY)


def _note_messages(
    unit: Unit, shown: Sequence[tuple[Page, Message, str]], clocks: Mapping[str, ResponseClock], terms: Terms
) -> None:
    """Store where these messages are in Slack. One whose lead has changed since its claim is shown anew at once."""
    messages, stale = [], set()
    for page, content, place in shown:
        channel, _, ts = place.partition(":")
        identity, clock = content.identity, clocks.get(page.lead_id)
        if clock is not None and standing(page, clock, terms).identity != content.standing.identity:
            stale.add(page.id)
        recipient = content.person_slack or ""
        messages.append(
            SlackMessage(page.id, page.lead_id, page.person, recipient, channel, ts, 0, 0, identity, None, content.also)
        )
    if messages:
        add_messages(unit, messages, stale)
    if stale:
        unit.wake(SLACK_UPDATES)


def _page_after(
    page: Page, result: SendResult, jitter: float, real: datetime, up_channels: set[str], usable_count: int
) -> Page:
    match result.outcome:
        case Sent(provider_id):
            return paging.accepted(page, provider_id, result.at)
        case TryAgain(after_seconds, why) if page.channel in up_channels:
            return paging.refused_for_now(page, why, after_seconds, jitter, real, usable_count)
        case TryAgain(_, why) | Unusable(why):
            return paging.refused_by_channel(
                page, why, jitter, real, usable_count, other_up=bool(up_channels - {page.channel})
            )
        case GiveUp(why):
            return paging.refused_for_good(page, why, jitter, real, usable_count)


def settle_clocks(
    unit: Unit,
    clocks: Mapping[str, ResponseClock],
    pages: Iterable[Page],
    terms: Terms,
    *,
    covered: Collection[str] = (),
) -> None:
    """Apply the outcomes of these pages to their locked clocks. `covered`: pages of which another recipient is told."""
    changed: dict[str, ResponseClock] = {}
    for page in pages:
        clock = changed.get(page.lead_id) or clocks.get(page.lead_id)
        if clock is None:
            continue
        empty = page.state == "cancelled" and page.error != BY_OWNER and page.id not in covered
        if (after := settled(clock, page, terms, unit.now, empty=empty)) is not clock:
            changed[page.lead_id] = after
    if changed:
        save_clocks(unit, changed.values())
    if any(clock.due_at is not None and clock.due_at <= unit.now for clock in changed.values()):
        unit.wake(CLOCKS)


def _attempt(page: Page, result: SendResult) -> Attempt:
    outcome = result.outcome
    detail = outcome.provider_id if isinstance(outcome, Sent) else outcome.why
    return attempt_of(page, result.real, outcome_name(outcome), paging.storable(detail))


def attempt_of(page: Page, real: datetime, outcome: str, detail: str) -> Attempt:
    """Return the row of the current attempt to send this page."""
    return Attempt(page.id, min(page.deliveries, ATTEMPTS_KEPT_MAX), page.channel, real, outcome, detail)


def _page_sent(page: Page, result: SendResult) -> PageSent:
    return PageSent(
        page_id=page.id,
        lead_id=page.lead_id,
        epoch=page.epoch,
        rung=page.rung,
        person=page.person,
        channel=page.channel,
        at=result.at,
        tries=page.deliveries,
        kind=page.kind,
    )


def _tell_sales(unit: Unit, page: Page) -> None:
    """Tell Sales of a person whom no channel reaches."""
    rep = unit.config.team.rep_by_id.get(page.person)
    name = rep.name if rep is not None else page.person
    remedy = "Correct the address in team.yaml. The page is tried again meanwhile."
    tell(
        unit,
        SALES,
        key=f"page {page.id}",
        subject=f"No page reaches {name}",
        lines=(page.error or "", remedy),
        lead_id=page.lead_id,
    )


def _page_failed(page: Page, now: datetime) -> PageFailed:
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
