"""The middle of a lead's chain: owner, assignments and decisions follow from the status history."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from firsthour.kernel.time_units import micros
from firsthour.operations.verify.lead_history import LeadRows
from firsthour.operations.verify.snapshot import Snapshot
from schemas.events.routes import (
    LeadAskedAgain,
    LeadAssigned,
    LeadEvent,
    LeadOptedOut,
    LeadQualified,
    LeadQueued,
    LeadRecycled,
    LeadReleased,
    TouchApplied,
)
from services.router.domain.decision import decide
from services.router.domain.lead import BEHIND
from services.router.domain.rotation import RotationError
from services.router.store.decisions import decode_body

ENDS_OWNERSHIP: Final = (LeadQualified, LeadQueued, LeadReleased, LeadRecycled, LeadOptedOut)


# --- I3: the columns of the lead, and its assignments ----------------------------------------------------------------


@dataclass
class ReplayedLead:
    """The columns of a lead after the records so far. Times are microseconds."""

    epoch: int = 0
    owner: str | None = None
    pool: str | None = None
    urgency: str = ""
    submit_at: int | None = None
    touched_at: int | None = None
    queue_pool: str | None = None
    queue_since: int | None = None
    source: str | None = None

    def apply(self, event: LeadEvent) -> None:
        """Apply the next record."""
        self.epoch = event.epoch
        moves = event.status != event.was or isinstance(event, (*ENDS_OWNERSHIP, LeadAssigned))
        if moves and not isinstance(event, LeadQueued):
            self.queue_pool = self.queue_since = None
        if isinstance(event, LeadQualified | LeadQueued | LeadAssigned | LeadAskedAgain):
            self.urgency, self.submit_at = event.urgency, micros(event.submit_at)
        if isinstance(event, ENDS_OWNERSHIP):
            self.owner = self.pool = None
        match event:
            case LeadQualified() | LeadAskedAgain():
                self.touched_at = None
            case LeadQueued():
                self.queue_pool, self.queue_since = event.pool, self.queue_since or micros(event.at)
            case LeadAssigned():
                self.owner, self.pool, self.source = event.rep, event.pool, event.card.source or None
            case TouchApplied() if event.ignored is None and event.stops:
                self._touch(micros(event.touched_at))

    def _touch(self, at: int) -> None:
        if self.submit_at is None or at >= self.submit_at:
            self.touched_at = at if self.touched_at is None else min(self.touched_at, at)


_COLUMNS: Final = tuple(ReplayedLead.__dataclass_fields__)


def lead_matches_history(snapshot: Snapshot, rows: LeadRows) -> Iterator[str]:
    """Check I3: owner, epoch, queue, urgency and times of the lead follow from the records."""
    lead, moves = rows.lead, rows.records.moves
    if lead is None or not moves or moves[-1][2].version != lead.version or rows.partial:
        return
    replayed = ReplayedLead()
    for _, _, event in moves:
        replayed.apply(event)
    for name in _COLUMNS:
        stored, expected = getattr(lead, name), getattr(replayed, name)
        if stored != expected:
            yield f"lead {rows.id}: {name} is {_or_none(stored)}, but its records give {_or_none(expected)}"
    if lead.urgency and lead.urgency_rank % BEHIND not in snapshot.configurations.ranks(lead.urgency):
        yield f"lead {rows.id}: no agreement gives urgency {lead.urgency} the rank {lead.urgency_rank}"


def _or_none(value: object) -> str:
    return "none" if value is None else str(value)


def assignments_match_history(snapshot: Snapshot, rows: LeadRows) -> Iterator[str]:
    """Check I3: each assignment has a record, and begins and ends at the times of its records."""
    begins: dict[int, LeadAssigned] = {}
    ends: dict[int, tuple[int, str]] = {}
    for _, _, event in rows.records.moves:
        if isinstance(event, LeadAssigned):
            begins[event.epoch] = event
        elif isinstance(event, ENDS_OWNERSHIP):
            ends.setdefault(event.epoch, (micros(event.at), event.by))
    for row in rows.assignments:
        record = begins.pop(row.epoch, None)
        if record is None:
            if snapshot.history_complete and not rows.partial:
                yield f"lead {rows.id}: assignment {row.epoch} is not in the history"
            continue
        if (row.rep, row.pool, row.rule, row.decision_id, row.opened_at) != (
            record.rep,
            record.pool,
            record.rule,
            record.decision_id,
            micros(record.assigned_at),
        ):
            yield f"lead {rows.id}: assignment {row.epoch} differs from the history"
        if (
            row.closed_at is not None
            and snapshot.history_complete
            and (row.closed_at, row.closed_by) != ends.get(row.epoch)
        ):
            yield f"lead {rows.id}: assignment {row.epoch} ended at a time that no record gives"
    for epoch in begins:
        yield f"lead {rows.id}: assignment {epoch} is in the history, but its row is missing"


# --- I10: decisions --------------------------------------------------------------------------------------------------


def decisions_replay(snapshot: Snapshot, rows: LeadRows) -> Iterator[str]:
    """Check I10: each assignment has its decision, and each decision replays to the rep that it chose."""
    decision_ids = {row.id for row in rows.decisions}
    assignments = {row.decision_id: row for row in rows.assignments}
    for id, assignment in assignments.items():
        if id not in decision_ids:
            yield f"lead {rows.id}: assignment {assignment.epoch} has no decision {id}"
    for row in rows.decisions:
        yield from _check_decision(snapshot, row, assignments.get(row.id))


def _check_decision(snapshot: Snapshot, row: Any, assignment: Any) -> Iterator[str]:
    stored = decode_body(row.body).inputs
    try:
        decision = decide(snapshot.rotations.inputs(stored))
    except RotationError as error:
        yield f"decision {row.id}: {error}"
        return
    replayed = decision.chosen
    assigned = assignment.rep if assignment is not None else None
    if replayed != row.chosen:
        yield f"decision {row.id}: chose {row.chosen or 'no rep'}, its replay chooses {replayed or 'no rep'}"
    elif assigned != row.chosen:
        yield f"decision {row.id}: chose {row.chosen or 'no rep'}, the assignment is of {assigned or 'no rep'}"
    elif assignment is not None and (row.epoch, row.at, decision.rule, decision.pool) != (
        assignment.epoch,
        assignment.opened_at,
        assignment.rule,
        assignment.pool,
    ):
        yield f"decision {row.id}: its epoch, time, rule or pool differs from its assignment"
    if micros(stored.now) != row.at:
        yield f"decision {row.id}: its time differs from the time in its inputs"
    if row.agreement not in snapshot.configurations.versions:
        yield f"decision {row.id}: its configuration {row.agreement} is not stored"
