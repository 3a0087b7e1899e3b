"""The result of a decision about a clock: its next state, events, new pages and cancellations."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Literal

from schemas.events.actions import ActionRequested
from schemas.events.pages import PromiseKept, PromiseMissed
from services.notifier.domain.clock import ResponseClock
from services.notifier.domain.counting import counted_until
from services.notifier.domain.page import TO_OWNER, Kind, Page
from services.notifier.domain.terms import Terms

RUNGS_MAX = 2**53
ClockEvent = PromiseKept | PromiseMissed | ActionRequested


Scope = Literal["owner", "assignment", "all"]
"""The pages that a cancellation concerns: those to the owner, those that end with the assignment, or all."""
BEYOND_ASSIGNMENT: Final[frozenset[Kind]] = frozenset({"missed", "lost"})
"""Pages that stay true when the owner changes."""


def in_scope(kind: Kind, scope: Scope) -> bool:
    """Return whether a cancellation of this scope concerns pages of this kind."""
    match scope:
        case "owner":
            return kind in TO_OWNER
        case "assignment":
            return kind not in BEYOND_ASSIGNMENT
        case "all":
            return kind not in ("lost", "handed_on")  # these reps are told in any case, or the claim cancels the page


@dataclass(frozen=True)
class Cancel:
    """Cancels the pending pages of a lead, up to and including one assignment."""

    lead_id: str
    epoch: int
    why: str
    scope: Scope = "all"
    person: str | None = None  # None: pages to any person
    below: int = RUNGS_MAX  # only pages of rungs before this one

    def hits(self, page: Page) -> bool:
        """Return whether the page is to be cancelled."""
        concerned = page.lead_id == self.lead_id and page.epoch <= self.epoch and page.rung < self.below
        concerned = concerned and self.person in (None, page.person)
        return concerned and page.state == "pending" and in_scope(page.kind, self.scope)


@dataclass(frozen=True)
class ClockStep:
    """The result of applying one record, or of one look at a clock."""

    clock: ResponseClock | None  # None: the lead has no clock
    events: tuple[ClockEvent, ...] = ()
    pages: tuple[Page, ...] = ()
    cancels: tuple[Cancel, ...] = ()


@dataclass
class Batch:
    """The results of all steps of one unit."""

    events: list[ClockEvent] = field(default_factory=list)
    pages: list[Page] = field(default_factory=list)
    cancels: list[Cancel] = field(default_factory=list)
    clocks: dict[str, ResponseClock] = field(default_factory=dict)
    notices: dict[str, tuple[str, str]] = field(default_factory=dict)  # by lead: a person, and why a click was refused

    def add(self, step: ClockStep) -> None:
        """Add the result of a step."""
        self.events.extend(step.events)
        self.pages.extend(step.pages)
        self.cancels.extend(step.cancels)
        if step.clock is not None:
            self.clocks[step.clock.lead_id] = step.clock


def promise_missed(clock: ResponseClock, terms: Terms, now: datetime) -> PromiseMissed:
    """Return the event for a promise that ended without a touch."""
    return PromiseMissed(
        lead_id=clock.lead_id,
        epoch=clock.epoch,
        at=now,
        submit_at=clock.submit_at,
        promise_at=clock.promise_at,
        rep=clock.rep,
        seconds=(clock.promise_at - clock.submit_at).total_seconds(),
        working_seconds=counted_until(clock, terms, clock.promise_at).total_seconds(),
    )
