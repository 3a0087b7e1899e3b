"""The invariants I1 to I10, checked on one snapshot of the database. The rows that break one are named by their ids.

Some checks read whole tables. The others follow the chain of each lead: event, profile, lead, status history,
assignment, decision, clock, page, attempt. Leads with an unread record or a dead letter are not judged. On a live system,
leads that changed after the command began (`since`) are not judged either.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Final

import msgspec
from sqlalchemy.engine import Connection

from firsthour.operations.verify import (
    assignment_chain,
    clock_chain,
    event_checks,
    lead_chain,
    notice_chain,
    request_checks,
    row_checks,
    rung_chain,
)
from firsthour.operations.verify.lead_history import LEADS_AT_ONCE, LeadRows, load_leads
from firsthour.operations.verify.record_checks import CapacityCheck, allowed_changes
from firsthour.operations.verify.snapshot import Snapshot
from firsthour.runtime.clock import Clock

ROWS_NAMED_MAX: Final = 10

HOLDS: Final = {
    "I1": "every accepted event is stored; its lead is owned, queued with a reason, with Marketing, or at an end",
    "I2": "an event takes effect once",
    "I3": "a lead has at most one open assignment; epochs are 1..n, do not overlap, and match the history",
    "I4": "a handed-over, untouched lead has one running clock, which follows from its records and the agreement",
    "I5": "a rung that was reached has its page; it fires at most once, never early, and only for its assignment",
    "I6": "a page is delivered or cancelled, or every channel of its rung was tried; its attempts are stored",
    "I7": "no page is claimed after the touch or the opt-out is stored",
    "I8": "open load is the number of owned leads, and no rule gave a rep more than their capacity",
    "I9": "a status changes only by a transition of the agreement, for a role it names; the history has no gap",
    "I10": "each assignment has its decision, and its replay chooses the same rep",
}

TABLE_CHECKS: Final[tuple[tuple[str, Callable[[Snapshot], Iterable[str]]], ...]] = (
    ("I1", event_checks.events_are_stored),
    ("I1", event_checks.events_have_effects),
    ("I1", event_checks.rows_without_lead_match_bodies),
    ("I2", row_checks.effects_are_single),
    ("I3", row_checks.owners_are_single),
    ("I3", event_checks.rep_availability_matches_history),
    ("I4", row_checks.untouched_leads_have_clocks),
    ("I5", row_checks.rungs_fire_once),
    ("I6", row_checks.pages_are_delivered),
    ("I7", row_checks.no_page_after_touch),
    ("I8", row_checks.open_loads_match),
)
LeadCheck = Callable[[Snapshot, LeadRows], Iterable[str]]

LEAD_CHECKS: Final[tuple[tuple[str, LeadCheck], ...]] = (
    ("I1", lead_chain.services_know_lead),
    ("I1", lead_chain.lead_is_accounted_for),
    ("I2", request_checks.requests_match_history),
    ("I3", assignment_chain.lead_matches_history),
    ("I3", assignment_chain.assignments_match_history),
    ("I4", clock_chain.clock_matches_history),
    ("I5", rung_chain.rungs_have_pages),
    ("I5", rung_chain.pages_fit_ladder),
    ("I5", notice_chain.notices_have_pages),
    ("I6", clock_chain.pages_match_history),
    ("I10", assignment_chain.decisions_replay),
)


@dataclass(frozen=True)
class InvariantResult:
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
    """The result of all checks."""

    findings: list[InvariantResult] = field(default_factory=list)
    judged: int = 0  # leads
    left_out: int = 0  # leads that were not judged
    unread: dict[tuple[str, str], int] = field(default_factory=dict)  # number of records by consumer and topic

    @property
    def ok(self) -> bool:
        return all(finding.ok for finding in self.findings)


class _Faults:
    """Faults of one invariant: all are counted, the first `named_max` (None: all) are named."""

    def __init__(self, named_max: int | None) -> None:
        self._named_max = named_max
        self.count = 0
        self.named: list[str] = []

    def add(self, faults: Iterable[str]) -> None:
        for fault in faults:
            self.count += 1
            if self._named_max is None or len(self.named) < self._named_max:
                self.named.append(fault)


def _with_unreadable_rows(check: LeadCheck, snapshot: Snapshot, rows: LeadRows) -> Iterable[str]:
    """Yield the faults that a check finds, and one more if a stored value cannot be read."""
    try:
        yield from check(snapshot, rows)
    except (msgspec.MsgspecError, ValueError) as error:
        yield f"lead {rows.id}: one of its rows cannot be read ({type(error).__name__})"


def run(
    connection: Connection,
    clock: Clock,
    *,
    since: datetime | None = None,
    alive_since: datetime | None = None,
    all_read: bool = True,
    named_max: int | None = ROWS_NAMED_MAX,
    at_once: int = LEADS_AT_ONCE,
) -> VerifyReport:
    """Return one finding per invariant, in order.

    Args:
        since: Business time; leads changed from then on are not judged.
        alive_since: Real time; a process has delivered pages since then, so overdue pages are faults.
        all_read: Every consumer has read the records from before `since`. False, in a distributed installation: leads of
            which one service knows more than another are not judged.
        named_max: How many rows of each invariant are named; None: all.
        at_once: How many leads are in memory.
    """
    snapshot = Snapshot(connection, clock, since, alive_since, all_read)
    faults = {invariant: _Faults(named_max) for invariant in HOLDS}
    report = VerifyReport(unread=snapshot.progress.unread())
    faults["I10"].add(f"configuration {version}: cannot be read" for version in snapshot.configurations.unreadable)
    for invariant, check in TABLE_CHECKS:
        faults[invariant].add(check(snapshot))
    capacity = CapacityCheck(snapshot)
    history_check: LeadCheck = partial(lead_chain.status_history_is_complete, allowed=allowed_changes(snapshot))
    for rows in load_leads(snapshot, at_once):
        capacity.add(rows)
        if rows.id in snapshot.unsettled:
            report.left_out += 1
            continue
        report.judged += 1
        for invariant, lead_check in (*LEAD_CHECKS, ("I9", history_check)):
            faults[invariant].add(_with_unreadable_rows(lead_check, snapshot, rows))
    faults["I8"].add(capacity.faults())
    report.findings = [
        InvariantResult(invariant, HOLDS[invariant], broken.count, tuple(broken.named))
        for invariant, broken in faults.items()
    ]
    return report
