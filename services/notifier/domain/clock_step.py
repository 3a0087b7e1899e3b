"""The result of a decision about a clock: its next state, events, new pages and cancellations."""

from dataclasses import dataclass, field
from datetime import datetime

from schemas.events import ActionRequested, PromiseKept, PromiseMissed
from services.notifier.domain.clock import ResponseClock
from services.notifier.domain.page import TO_OWNER, Page

RUNGS_MAX = 1_000_000
ClockEvent = PromiseKept | PromiseMissed | ActionRequested


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
    events: tuple[ClockEvent, ...] = ()
    pages: tuple[Page, ...] = ()
    cancels: tuple[Cancel, ...] = ()


@dataclass
class Batch:
    """What a unit gathers of many steps."""

    events: list[ClockEvent] = field(default_factory=list)
    pages: list[Page] = field(default_factory=list)
    cancels: list[Cancel] = field(default_factory=list)
    changed: dict[str, ResponseClock] = field(default_factory=dict)

    def take(self, step: ClockStep) -> None:
        self.events.extend(step.events)
        self.pages.extend(step.pages)
        self.cancels.extend(step.cancels)
        if step.clock is not None:
            self.changed[step.clock.lead_id] = step.clock


def promise_missed(clock: ResponseClock, now: datetime) -> PromiseMissed:
    return PromiseMissed(
        lead_id=clock.lead_id,
        epoch=clock.epoch,
        at=now,
        submit_at=clock.submit_at,
        promise_at=clock.promise_at,
        rep=clock.rep,
    )
