"""The response clock of a lead: from the prospect's submit to the first touch, and what it does meanwhile.

A clock is `live` until its promise ends, `missed` after that with still nobody in touch (the ladder goes on), `met`
once somebody was, and `over` when the lead left the statuses in which somebody must be.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal, NamedTuple, TypeGuard

import msgspec
from msgspec.structs import replace

from schemas.agreement.response import OWNER, Rung, Urgency
from schemas.events import (
    ActionRequested,
    LeadAccepted,
    LeadAssigned,
    LeadCard,
    LeadEvent,
    LeadOptedOut,
    LeadQualified,
    LeadQueued,
    LeadReleased,
    PromiseKept,
    PromiseMissed,
    TouchApplied,
)
from schemas.mail import deliverable
from schemas.team import Team
from services.notifier.domain.ladder import Progress, next_due
from services.notifier.domain.page import TO_OWNER, Kind, Page, cancelled, page_id

COUNTED = frozenset({"qualified", "assigned", "accepted"})
"""The statuses in which somebody must be in touch."""
RUNNING = frozenset({"live", "missed"})

RUNGS_MAX = 1_000_000

Said = PromiseKept | PromiseMissed | ActionRequested
State = Literal["live", "met", "missed", "over"]


class Availability(NamedTuple):
    """The availability of a person as the router last told it; `until` when it holds."""

    state: str
    until: datetime | None
    version: int = 0

    def away(self, now: datetime) -> str | None:
        """`away` or `deactivated`; None when here, or back by now."""
        over = self.until is not None and self.until <= now
        return None if self.state == "available" or over else self.state


class ResponseClock(msgspec.Struct, frozen=True, kw_only=True):
    """One lead's clock. A later submit starts it afresh."""

    lead_id: str
    version: int  # of the router's record it follows
    urgency: str
    submit_at: datetime
    promise_at: datetime
    updated_at: datetime
    epoch: int = 0
    rep: str | None = None  # None: nobody owns the lead, and no rung comes
    assigned_at: datetime | None = None
    next_rung: int = 0
    due_at: datetime | None = None  # of the next rung or the promise's end; None when there is nothing to wait for
    state: State = "live"
    touched_at: datetime | None = None
    opted_out: bool = False
    accepted: bool = False  # the owner said yes: no more reminders to them
    missed_at: datetime | None = None
    card: LeadCard = LeadCard()
    reassignments: int = 0
    ladder: tuple[Rung, ...] | None = None  # in force when the clock started; None: the clock is of an older release
    fired_at: datetime | None = None  # when the rung before `next_rung` was reached
    rung_told_at: datetime | None = None  # when its page was accepted, or ended otherwise; None while it is on its way
    told_at: datetime | None = None  # when the owner was first told of this assignment
    untold_at: datetime | None = None  # when a page to the owner first ended without telling them
    rep_version: int = 0  # of the owner's availability, as the router judged it

    @property
    def running(self) -> bool:
        return self.state in RUNNING

    @property
    def progress(self) -> Progress:
        return Progress(self.next_rung, self.fired_at, self.rung_told_at, self.told_at or self.untold_at)


@dataclass(frozen=True)
class Terms:
    """What the agreement, the team and this installation say about telling people."""

    ladder: Sequence[Rung]
    urgencies: Mapping[str, Urgency]
    team: Team
    channels: tuple[str, ...]  # set up in this installation

    def promise_at(self, urgency: str, submit_at: datetime) -> datetime:
        """The end of the promise; an urgency that the agreement no longer names counts as its most urgent one."""
        known = self.urgencies.get(urgency) or next(iter(self.urgencies.values()), None)
        return submit_at + (known.touch_within if known else timedelta(hours=1))

    def reaching(self, person: str, channels: Sequence[str]) -> tuple[str, ...]:
        """Return those of `channels` on which the team file gives this person an address."""
        rep = self.team.rep_by_id.get(person)
        if rep is None:
            return ()
        lacks = {"slack": rep.slack is None, "email": deliverable(rep.email) is None}
        return tuple(name for name in channels if not lacks.get(name, False))


@dataclass(frozen=True)
class Cancel:
    """Pages of this lead that wait, up to this assignment, are not to be sent any more."""

    lead_id: str
    epoch: int
    why: str
    owners_only: bool = False
    person: str | None = None  # None: pages to anyone
    below: int = RUNGS_MAX  # only pages of rungs before this one

    def hits(self, page: Page) -> bool:
        """Whether it is one of those pages."""
        concerned = page.lead_id == self.lead_id and page.epoch <= self.epoch and page.rung < self.below
        concerned = concerned and self.person in (None, page.person)
        return concerned and page.state == "pending" and (page.kind in TO_OWNER or not self.owners_only)


@dataclass(frozen=True)
class ClockStep:
    """What follows from one record or one moment."""

    clock: ResponseClock | None
    said: tuple[Said, ...] = ()
    pages: tuple[Page, ...] = ()
    cancels: tuple[Cancel, ...] = ()


def hear(clock: ResponseClock | None, event: LeadEvent, terms: Terms, now: datetime) -> ClockStep:
    """What a record of the router makes of the lead's clock. An older one brings facts, never a newer state."""
    if clock is not None and event.version <= clock.version:
        return _late_fact(clock, event, now)
    if isinstance(event, LeadQualified | LeadQueued):
        return _waiting(clock, event, terms, now)
    if isinstance(event, LeadAssigned):
        return _assigned(clock, event, terms, now)
    if clock is None:
        return ClockStep(None)  # never handed over: nothing was promised
    clock = replace(clock, version=event.version, updated_at=now)
    if _counts(event, clock):
        return _touched(clock, event.touched_at, event.rep, now)
    if isinstance(event, LeadOptedOut):
        return _over(replace(clock, opted_out=True), "the person opted out")
    if event.status not in COUNTED:
        return _over(clock, f"the lead is {event.status}")
    if isinstance(event, LeadAccepted):
        why = Cancel(clock.lead_id, clock.epoch, "the owner accepted", owners_only=True)
        return ClockStep(_accepted(clock, terms, now), cancels=(why,))
    if isinstance(event, LeadReleased):
        return ClockStep(
            _unowned(clock, clock.epoch), cancels=(Cancel(clock.lead_id, clock.epoch, "the assignment ended"),)
        )
    return ClockStep(clock)


def fire(clock: ResponseClock, terms: Terms, now: datetime, real: datetime) -> ClockStep:
    """Everything due by now: the rungs in their order, and the end of the promise.

    A rung after a page that is on its way waits for it, so a notifier that was down tells each rung its span after the
    one before. A page takes in those to the same person that still wait.
    """
    if not clock.running:
        return ClockStep(replace(clock, due_at=None))
    said: list[Said] = []
    if clock.state == "live" and now >= clock.promise_at:
        clock = replace(clock, state="missed", missed_at=now)
        said.append(_missed(clock, now))
    pages: list[Page] = []
    cancels: list[Cancel] = []
    while (due_at := _next_due(clock, terms)) is not None and due_at <= now:
        index, rung = clock.next_rung, _ladder(clock, terms)[clock.next_rung]
        clock = replace(clock, next_rung=index + 1, fired_at=now, rung_told_at=None, updated_at=now)
        if rung.reassign:
            said.append(_reassign(clock, index, now))
            clock = replace(clock, rung_told_at=now)
            continue
        page = _page(clock, rung, index, due_at, terms, now, real)
        pages.append(page)
        if page.state == "cancelled":
            clock = settled(clock, page, terms, now)
        elif index > 0:
            why = f"bundled into rung {index}"
            cancels.append(Cancel(clock.lead_id, clock.epoch, why, person=page.person, below=index))
    return ClockStep(_timed(clock, terms), tuple(said), tuple(pages), tuple(cancels))


def settled(clock: ResponseClock, page: Page, terms: Terms, now: datetime) -> ResponseClock:
    """Return the clock after a page was accepted by a channel (`sent`), or can tell its person no more."""
    if page.epoch != clock.epoch or clock.rep is None or not clock.running:
        return clock
    at = page.sent_at or now
    if page.kind in TO_OWNER and page.person == clock.rep:
        if page.state == "sent":
            clock = replace(clock, told_at=clock.told_at or at)
        else:
            clock = replace(clock, untold_at=clock.untold_at or at)
    if page.rung == clock.next_rung - 1 and clock.rung_told_at is None:
        clock = replace(clock, rung_told_at=at)
    return _timed(replace(clock, updated_at=now), terms)


def _waiting(clock: ResponseClock | None, event: LeadQualified | LeadQueued, terms: Terms, now: datetime) -> ClockStep:
    old = clock.epoch if clock else 0
    base = _for_submit(clock, event, event.urgency, event.submit_at, terms, now)
    cancels = (Cancel(base.lead_id, old, "the assignment ended"),) if clock and clock.rep else ()
    return ClockStep(_unowned(base, max(event.epoch, old)), cancels=cancels)


def _assigned(clock: ResponseClock | None, event: LeadAssigned, terms: Terms, now: datetime) -> ClockStep:
    base = _for_submit(clock, event, event.urgency, event.submit_at, terms, now)
    touched = base.touched_at is None and event.touched_at is not None
    base = replace(base, rep=event.rep, card=event.card, reassignments=event.reassignments)
    cancels = (Cancel(base.lead_id, event.epoch - 1, "the lead has another owner"),)
    if event.epoch > base.epoch:
        base = replace(_from_the_start(base), epoch=event.epoch, assigned_at=event.assigned_at)
    base = replace(base, rep_version=event.rep_version)
    if touched and event.touched_at is not None:
        step = _touched(base, event.touched_at, None, now)
        return ClockStep(step.clock, step.said, cancels=(*cancels, *step.cancels))
    return ClockStep(_timed(base, terms), cancels=cancels)


def _for_submit(
    clock: ResponseClock | None, event: LeadEvent, urgency: str, submit_at: datetime, terms: Terms, now: datetime
) -> ResponseClock:
    """The clock of this submit: the one that runs, or a fresh one that keeps only the number of the assignment. A lead
    handed over anew has a fresh one, also when it asked at the very same moment (a form sent again under another id)."""
    if clock is None or clock.submit_at != submit_at or isinstance(event, LeadQualified):
        return ResponseClock(
            lead_id=event.lead_id,
            version=event.version,
            urgency=urgency,
            submit_at=submit_at,
            promise_at=terms.promise_at(urgency, submit_at),
            updated_at=now,
            epoch=clock.epoch if clock else 0,
            card=clock.card if clock else LeadCard(),
            ladder=tuple(terms.ladder),
        )
    state: State = "met" if clock.touched_at else "missed" if clock.missed_at else "live"
    return replace(clock, version=event.version, updated_at=now, state=state, opted_out=False)


def _unowned(clock: ResponseClock, epoch: int) -> ResponseClock:
    return _timed(replace(_from_the_start(clock), epoch=epoch, rep=None, assigned_at=None), None)


def _from_the_start(clock: ResponseClock) -> ResponseClock:
    """The clock before the first rung of an assignment."""
    return replace(
        clock,
        next_rung=0,
        accepted=False,
        fired_at=None,
        rung_told_at=None,
        told_at=None,
        untold_at=None,
        rep_version=0,
    )


def _accepted(clock: ResponseClock, terms: Terms, now: datetime) -> ResponseClock:
    """The owner knows of the lead, however they heard: a page to them that is on its way holds nothing back."""
    clock = replace(clock, accepted=True, told_at=clock.told_at or now)
    before = _ladder(clock, terms)[: clock.next_rung][-1:]
    if before and before[0].page == OWNER and clock.rung_told_at is None:
        clock = replace(clock, rung_told_at=now)
    return _timed(clock, terms)


def _touched(clock: ResponseClock, at: datetime, rep: str | None, now: datetime) -> ClockStep:
    """Somebody was in touch: the first time ends the ladder and the clock, early or late."""
    touched = replace(clock, touched_at=clock.touched_at or at, updated_at=now)
    if not clock.running:
        return ClockStep(touched)
    late = at > clock.promise_at
    said: list[Said] = []
    if late and clock.state == "live":
        touched = replace(touched, missed_at=now)
        said.append(_missed(clock, now))
    said.append(_kept(clock, at, rep, late, now))
    done = replace(touched, state="met", due_at=None)
    return ClockStep(done, tuple(said), cancels=(Cancel(clock.lead_id, clock.epoch, "somebody was in touch"),))


def _over(clock: ResponseClock, why: str) -> ClockStep:
    ended = replace(clock, state="over" if clock.running else clock.state, due_at=None, rep=None)
    return ClockStep(ended, cancels=(Cancel(clock.lead_id, clock.epoch, why),))


def _late_fact(clock: ResponseClock, event: LeadEvent, now: datetime) -> ClockStep:
    """A touch and an opt-out since the submit hold, however late they are heard."""
    if _counts(event, clock):
        return _touched(clock, event.touched_at, event.rep, now)
    if isinstance(event, LeadOptedOut) and event.at >= clock.submit_at:
        return _over(replace(clock, opted_out=True, updated_at=now), "the person opted out")
    return ClockStep(clock)


def _counts(event: LeadEvent, clock: ResponseClock) -> TypeGuard[TouchApplied]:
    """Whether the event is a touch of this submit. Only the router judges the tolerance for senders' clocks."""
    return isinstance(event, TouchApplied) and event.ignored is None and event.touched_at >= clock.submit_at


def _ladder(clock: ResponseClock, terms: Terms) -> Sequence[Rung]:
    return terms.ladder if clock.ladder is None else clock.ladder


def _next_due(clock: ResponseClock, terms: Terms) -> datetime | None:
    if clock.rep is None or clock.assigned_at is None:
        return None
    progress = clock.progress
    if clock.ladder is None:  # an older release did not note who was told when
        fired_at = clock.fired_at or clock.assigned_at
        progress = Progress(clock.next_rung, fired_at, clock.rung_told_at or fired_at, clock.assigned_at)
    return next_due(_ladder(clock, terms), clock.promise_at, clock.assigned_at, progress)


def _timed(clock: ResponseClock, terms: Terms | None) -> ResponseClock:
    """The clock, due when the next thing happens. `terms` None: no rung comes."""
    return replace(clock, due_at=due_at(clock, terms))


def due_at(clock: ResponseClock, terms: Terms | None) -> datetime | None:
    """Return when the next rung or the end of the promise comes; None when neither does."""
    if not clock.running:
        return None
    ahead = [clock.promise_at] if clock.state == "live" else []
    rung_at = _next_due(clock, terms) if terms is not None else None
    if rung_at is not None:
        ahead.append(rung_at)
    return min(ahead, default=None)


def _missed(clock: ResponseClock, now: datetime) -> PromiseMissed:
    return PromiseMissed(
        lead_id=clock.lead_id,
        epoch=clock.epoch,
        at=now,
        submit_at=clock.submit_at,
        promise_at=clock.promise_at,
        rep=clock.rep,
    )


def _kept(clock: ResponseClock, at: datetime, rep: str | None, late: bool, now: datetime) -> PromiseKept:
    return PromiseKept(
        lead_id=clock.lead_id,
        at=now,
        submit_at=clock.submit_at,
        seconds=max(0.0, (at - clock.submit_at).total_seconds()),
        late=late,
        rep=rep or clock.rep,
    )


def _reassign(clock: ResponseClock, index: int, now: datetime) -> ActionRequested:
    return ActionRequested(
        action_id=f"{clock.lead_id}:{clock.epoch}:{index}",
        action="reassign",
        lead_id=clock.lead_id,
        epoch=clock.epoch,
        at=now,
        by="system",
        reason="nobody was in touch",
        told=clock.told_at is not None or clock.ladder is None,
    )


def _page(
    clock: ResponseClock, rung: Rung, index: int, due_at: datetime, terms: Terms, now: datetime, real: datetime
) -> Page:
    owner = terms.team.rep_by_id.get(clock.rep or "")
    kind: Kind = "manager" if rung.page == "manager" else "owner"
    if kind == "owner" and clock.reassignments and index == 0:
        kind = "reassigned"
    person = clock.rep if kind in TO_OWNER else owner.manager if owner else None
    page = Page(
        id=page_id(clock.lead_id, clock.epoch, index, person or ""),
        lead_id=clock.lead_id,
        epoch=clock.epoch,
        rung=index,
        kind=kind,
        person=person or "",
        channels=rung.by,
        due_at=due_at,
        created_at=now,
        next_at=real,
    )
    if not person:
        return cancelled(page, f"nobody to tell: {clock.rep} has no `manager` in team.yaml")
    if clock.accepted and kind in TO_OWNER:
        return cancelled(page, "the owner accepted")
    return page


def objection(
    page: Page, clock: ResponseClock | None, terms: Terms, standing: Availability | None, now: datetime
) -> str | None:
    """Return why this page must not be sent now; None when it may. Judged with the clock locked, so that no page is
    claimed after a touch or an opt-out is stored."""
    if clock is None or not clock.running:
        return "somebody was in touch" if clock and clock.touched_at else "the clock has ended"
    if page.epoch != clock.epoch or clock.rep is None:
        return "the assignment ended"
    if clock.accepted and page.kind in TO_OWNER:
        return "the owner accepted"
    rep = terms.team.rep_by_id.get(page.person)
    if rep is None:
        return f"{page.person} is not in team.yaml"
    away = None if standing is None or _outdated(standing, page, clock) else standing.away(now)
    if away == "deactivated" or not rep.active:
        return f"{page.person} is deactivated"
    if away == "away" or rep.away_until(now) is not None:
        return f"{page.person} is away"
    if not terms.reaching(page.person, page.channels):
        return f"{page.person} has no address in team.yaml for {', '.join(page.channels)}"
    return None


def _outdated(standing: Availability, page: Page, clock: ResponseClock) -> bool:
    """Whether the router knew better when it chose the owner: its `rep.availability_changed` is still to be read."""
    return page.person == clock.rep and standing.version < clock.rep_version


@dataclass
class Batch:
    """What a unit gathers of many steps."""

    said: list[Said] = field(default_factory=list)
    pages: list[Page] = field(default_factory=list)
    cancels: list[Cancel] = field(default_factory=list)
    changed: dict[str, ResponseClock] = field(default_factory=dict)

    def take(self, step: ClockStep) -> None:
        self.said.extend(step.said)
        self.pages.extend(step.pages)
        self.cancels.extend(step.cancels)
        if step.clock is not None:
            self.changed[step.clock.lead_id] = step.clock
