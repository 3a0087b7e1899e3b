"""Claiming pages and recording what became of them: the two units around a sending. No network here.

Who claims locks the clock before the page and looks again, so no page is claimed after a touch or an opt-out is
stored. A claim holds for a lease; a page whose sender died is claimed again when it ends.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from schemas.agreement import Rung
from schemas.events import PageFailed, PageSent
from services.notifier import store
from services.notifier.channels.base import GiveUp, Message, Outcome, Sent, TryAgain
from services.notifier.domain import page as paging
from services.notifier.domain.clock import Clock, Terms, objection
from services.notifier.domain.page import TO_OWNER, Pace, Page, page_id
from services.notifier.store import Attempt, Standing
from services.runtime.config import Config
from services.runtime.unit import Unit

DELIVERY = "notifier.delivery"
"""The runner's name: who adds a page wakes it."""


@dataclass(frozen=True)
class Claim:
    """A page to be sent now, by whoever holds this, over the page's current channel."""

    page: Page
    message: Message


@dataclass(frozen=True)
class Done:
    """How a claimed page went. `at` in business, `real` in real time."""

    claim: Claim
    outcome: Outcome
    at: datetime
    real: datetime


@dataclass(frozen=True)
class Claimed:
    """What a look at the pages gave. `more`: look again at once. `next_at`: when the next one waits for, real time."""

    claims: tuple[Claim, ...] = ()
    more: bool = False
    next_at: datetime | None = None


def _no_room() -> int:
    return 0


def _hand_back(claims: Sequence[Claim]) -> None:
    """Nobody delivers here; the lease ends, and whoever does then claims them again."""


def _unheard(outcome: str) -> None:
    """Nobody counts here."""


@dataclass
class Desk:
    """What a unit of the notifier needs to know of the process around it. The delivery takes its place behind it."""

    channels: tuple[str, ...]
    public_url: str | None = None
    pace: Pace = field(default_factory=Pace)
    room: Callable[[], int] = _no_room  # how many pages may be claimed for sending at once
    hand: Callable[[Sequence[Claim]], None] = _hand_back  # called on the loop, after the commit
    ended: Callable[[str], None] = _unheard  # a clock ended: met, missed, cancelled

    def terms(self, config: Config) -> Terms:
        """The agreement's, as this unit reads them."""
        response = config.agreement.response
        return Terms(response.ladder, response.urgencies, config.team, self.channels)


def claim_new(
    unit: Unit, pages: Sequence[Page], clocks: Mapping[str, Clock], terms: Terms, desk: Desk
) -> tuple[list[Page], list[Claim]]:
    """New pages as they are to be stored: claimed in the unit that made them, as far as there is room, which saves the
    first page of an assignment a unit. Their clocks are locked by this unit already. A page that exists is left out:
    its rung has fired before, and nobody is told of it twice."""
    known, standing = store.before_new(unit, pages)
    pages = [page for page in pages if page.id not in known]
    ready = [page for page in pages if page.state == "pending"]
    room = max(0, min(desk.room(), len(ready)))
    if not room:
        return pages, []
    real, now = unit.clock.real(), unit.now
    stored, claims = {page.id: page for page in pages}, []
    for page in ready[:room]:
        clock = clocks[page.lead_id]
        taken = _claim(page, clock, terms, standing.get(page.person), desk, now, real)
        stored[page.id] = taken
        if taken.state == "sending":
            claims.append(Claim(taken, message(taken, clock, terms, now, desk.public_url)))
    return list(stored.values()), claims


def claim(unit: Unit, desk: Desk, limit: int) -> Claimed:
    """Up to `limit` due pages, claimed. Four statements, however many there are."""
    real = unit.clock.real()
    waiting = store.peek(unit, limit)
    due = [page for page in waiting if page.next_at <= real]
    if not due:
        return Claimed(next_at=waiting[0].next_at if waiting else None)
    clocks = store.lock_clocks(unit, {page.lead_id for page in due})
    found = store.lock_pages(unit, [page.id for page in due])
    terms, now = desk.terms(unit.config), unit.now
    changed, lost, claims = [], [], []
    for page, standing in sorted(found, key=lambda pair: (pair[0].due_at, pair[0].id)):
        if page.next_at is None or page.next_at > real:
            continue  # somebody else took it since the peek
        if page.state == "sending":
            lost.append(Attempt(page.id, page.deliveries, page.channel, real, "unknown", "nobody lived to record it"))
        clock = clocks.get(page.lead_id)
        taken = _claim(page, clock, terms, standing, desk, now, real)
        changed.append(taken)
        if taken.state == "sending" and clock is not None:
            claims.append(Claim(taken, message(taken, clock, terms, now, desk.public_url)))
    store.change_pages(unit, changed)
    store.add_attempts(unit, lost)
    return Claimed(tuple(claims), more=True)


def _claim(
    page: Page, clock: Clock | None, terms: Terms, standing: Standing | None, desk: Desk, now: datetime, real: datetime
) -> Page:
    why = objection(page, clock, terms, standing.away(now) if standing else None, now)
    if why is not None:
        return paging.cancelled(page, why)
    page = paging.in_time(page, real)
    slot = desk.pace.slot(page, real)
    if slot is None:
        page = paging.moved_on(page, real)
        slot = desk.pace.slot(page, real) or real
    return paging.claimed(page, real) if slot <= real else paging.postponed(page, slot, real)


def record(unit: Unit, done: Sequence[Done], jitter: Callable[[], float]) -> datetime | None:
    """Store what became of claimed pages; when the soonest of them is to be tried again (real time).

    Whoever lost the claim meanwhile (the lease ended, somebody sends it again) leaves the page alone.
    """
    held = {page.id: page for page, _ in store.lock_pages(unit, [one.claim.page.id for one in done])}
    real, changed = unit.clock.real(), []
    for one in done:
        page = held.get(one.claim.page.id)
        if page is None or page.state != "sending" or page.deliveries != one.claim.page.deliveries:
            continue
        after = _after(page, one, jitter(), real)
        changed.append(after)
        if after.state == "sent":
            unit.emit(_sent(after, one), key=page.lead_id)
        elif after.state == "failed":
            unit.emit(_failed(after, unit.now), key=page.lead_id)
    store.change_pages(unit, changed)
    store.add_attempts(unit, [_attempt(one) for one in done])
    return min((page.next_at for page in changed if page.next_at is not None), default=None)


def _after(page: Page, one: Done, jitter: float, real: datetime) -> Page:
    match one.outcome:
        case Sent(provider_id):
            return paging.accepted(page, provider_id, one.at)
        case TryAgain(after_seconds, why):
            return paging.refused_for_now(page, why, after_seconds, jitter, real)
        case GiveUp(why):
            return paging.refused_for_good(page, why, real)


def outcome_name(outcome: Outcome) -> str:
    """As metrics and attempts call it."""
    match outcome:
        case Sent():
            return "sent"
        case TryAgain():
            return "try_again"
        case GiveUp():
            return "gave_up"


def _attempt(one: Done) -> Attempt:
    page, outcome = one.claim.page, one.outcome
    detail = outcome.provider_id if isinstance(outcome, Sent) else outcome.why
    name = outcome_name(outcome)
    return Attempt(page.id, page.deliveries, page.channel, one.real, name, paging.storable(detail))


def _sent(page: Page, one: Done) -> PageSent:
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


def message(page: Page, clock: Clock, terms: Terms, written_at: datetime, public_url: str | None) -> Message:
    """What the page says, as of `written_at` (business time)."""
    reps = terms.team.rep_by_id
    person = reps.get(page.person)
    owner = page.person if page.epoch != clock.epoch or clock.rep is None else clock.rep
    return Message(
        page_id=page.id,
        rung=page.rung,
        kind=page.kind,
        person_name=person.name if person else page.person,
        person_email=person.email if person else "",
        person_slack=person.slack if person else None,
        lead_id=page.lead_id,
        card=clock.card,
        urgency=clock.urgency,
        submit_at=clock.submit_at,
        promise_at=clock.promise_at,
        written_at=written_at,
        owner_name=reps[owner].name if owner in reps else owner,
        lead_url=f"{public_url.rstrip('/')}/v1/leads/{page.lead_id}" if public_url else None,
        epoch=page.epoch,
        thread_id=_thread(page, terms.ladder),
    )


def _thread(page: Page, ladder: Iterable[Rung]) -> str | None:
    """The first page of this assignment to the same person in the same part; None when this is it."""
    part = "owner" if page.kind in TO_OWNER else "manager"
    first = next((index for index, rung in enumerate(ladder) if rung.page == part), page.rung)
    return None if first >= page.rung else page_id(page.lead_id, page.epoch, first, page.person)
