"""The invariants I1 to I10 as questions to one snapshot of the database, each answered with the rows that break it.

Some questions are put to whole tables, the others to the chain of each lead: event, profile, lead, status history,
assignment, decision, clock, page, attempt. What is still on its way is not judged: leads of which a record waits to be
read, and leads whose record is a dead letter. On a live system those are left out too that changed since the asking
began (`since`). Rows are named by their ids alone.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Final

import msgspec
from sqlalchemy.engine import Connection

from firsthour.operations.verify import clock_chain as clocks
from firsthour.operations.verify import event_checks as events
from firsthour.operations.verify import lead_chain as chain
from firsthour.operations.verify import row_checks as whole
from firsthour.operations.verify.lead_history import LEADS_AT_ONCE, LeadRows, leads
from firsthour.operations.verify.record_checks import CapacityCheck, allowed
from firsthour.operations.verify.snapshot import Snapshot
from firsthour.runtime.clock import Clock

ROWS_NAMED_MAX: Final = 10

HOLDS: Final = {
    "I1": "every accepted event is kept, and its lead owned, queued with a reason, with Marketing, or at an end",
    "I2": "an event takes effect once",
    "I3": "at most one open assignment per lead; epochs are 1..n, do not overlap, and are those of the history",
    "I4": "a handed-over, untouched lead has one live clock, which follows from its records and the agreement",
    "I5": "a rung that was reached has its page; it fires at most once, never early, never for another assignment",
    "I6": "a page is delivered, or is no longer true; every channel of its rung is tried, and attempts are kept",
    "I7": "no page is claimed after the touch or the opt-out is stored",
    "I8": "open load is what is owned, and no rep was given more than their capacity",
    "I9": "a status changes only along a transition of the agreement, by a role it names; the history has no gap",
    "I10": "each assignment has its decision, which replayed from its inputs gives the same rep",
}

WHOLE: Final[tuple[tuple[str, Callable[[Snapshot], Iterable[str]]], ...]] = (
    ("I1", events.events_are_kept),
    ("I1", events.events_have_effects),
    ("I2", whole.effects_are_single),
    ("I3", whole.owners_are_single),
    ("I3", events.reps_are_told),
    ("I4", whole.clocks_live),
    ("I5", whole.rungs_fire_once),
    ("I6", whole.pages_arrive),
    ("I7", whole.nobody_told_after_a_touch),
    ("I8", whole.loads_add_up),
)
OfLead = Callable[[Snapshot, LeadRows], Iterable[str]]

OF_LEAD: Final[tuple[tuple[str, OfLead], ...]] = (
    ("I1", chain.is_known),
    ("I1", chain.is_somewhere),
    ("I3", chain.stands_as_told),
    ("I3", chain.assignments_are_told),
    ("I4", clocks.clock_follows),
    ("I5", clocks.rungs_have_pages),
    ("I5", clocks.pages_are_ours),
    ("I6", clocks.pages_are_told),
    ("I10", chain.decisions_hold),
)


@dataclass(frozen=True)
class BrokenInvariant:
    """One invariant, and how many rows break it; `rows` names the first ten, or all."""

    invariant: str
    holds: str
    broken: int = 0
    rows: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        return self.broken == 0


@dataclass
class VerifyReport:
    """What was found. `judged` and `left_out`: leads whose chain was, or was not, looked at. `unread`: records that wait
    to be read, by consumer and topic."""

    findings: list[BrokenInvariant] = field(default_factory=list)
    judged: int = 0
    left_out: int = 0
    unread: dict[tuple[str, str], int] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        return all(one.ok for one in self.findings)


class _Rows:
    """Rows that break one invariant: all are counted, the first `named_max` (None: all) are kept."""

    def __init__(self, named_max: int | None) -> None:
        self._max = named_max
        self.broken = 0
        self.named: list[str] = []

    def take(self, rows: Iterable[str]) -> None:
        for row in rows:
            self.broken += 1
            if self._max is None or len(self.named) < self._max:
                self.named.append(row)


def _readable(check: OfLead, case: Snapshot, rows: LeadRows) -> Iterable[str]:
    """Yield the rows that a check finds, and one row more where a stored value cannot be read."""
    try:
        yield from check(case, rows)
    except (msgspec.MsgspecError, ValueError) as unreadable:
        yield f"lead {rows.id}: a row of it cannot be read ({type(unreadable).__name__})"


def run(
    connection: Connection,
    clock: Clock,
    *,
    since: datetime | None = None,
    alive_since: datetime | None = None,
    heard: bool = True,
    named_max: int | None = ROWS_NAMED_MAX,
    at_once: int = LEADS_AT_ONCE,
) -> VerifyReport:
    """One finding per invariant, in order.

    Args:
        since: Business time; leads changed from then on are left out.
        alive_since: Real time; a process has been delivering pages since then, so overdue ones count.
        heard: What was said before `since` has been read by all. Otherwise, past one machine, leads are left out of
            which one service knows more than another.
        named_max: How many rows of each invariant are named; None: all.
        at_once: How many leads are in memory.
    """
    case = Snapshot(connection, clock, since, alive_since, heard)
    found = {invariant: _Rows(named_max) for invariant in HOLDS}
    report = VerifyReport(unread=case.unread())
    found["I10"].take(f"configuration {version}: cannot be read" for version in case.unreadable)
    for invariant, check in WHOLE:
        found[invariant].take(check(case))
    moves_join: OfLead = partial(chain.moves_join, allowed=allowed(case))
    room, of_lead = CapacityCheck(case), (*OF_LEAD, ("I9", moves_join))
    for rows in leads(case, at_once):
        room.take(rows)
        if rows.id in case.unsettled:
            report.left_out += 1
            continue
        report.judged += 1
        for invariant, check_lead in of_lead:
            found[invariant].take(_readable(check_lead, case, rows))
    found["I8"].take(room.faults())
    report.findings = [
        BrokenInvariant(invariant, HOLDS[invariant], rows.broken, tuple(rows.named))
        for invariant, rows in found.items()
    ]
    return report
