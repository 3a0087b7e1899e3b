"""Counts the funnel from records by hand: a second program, which shares nothing with the first one but the records.

It reads the whole life of a lead at once: the list of its statuses is cut wherever the lead is lost or goes back to
Marketing, and touches and stages fall into the piece in which they happened.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from math import ceil
from typing import Any, Final

from schemas.events.base import Event
from schemas.events.leads import LeadScored, OpportunityMoved
from schemas.events.routes import LeadAssigned, LeadEvent, LeadRecycled, TouchApplied

SALES: Final = {"qualified", "assigned", "accepted", "working", "opportunity", "customer"}
LOST: Final = {"disqualified", "opted-out"}
STEPS: Final = (
    "new",
    "nurturing",
    "qualified",
    "assigned",
    "accepted",
    "touch:attempt",
    "touch:conversation",
    "working",
    "opportunity",
    "stage:offer",
    "stage:contract",
    "customer",
)


@dataclass
class Piece:
    """The part of a life from a status of Marketing up to the loss or the return."""

    lead: str
    source: str
    number: int
    begin: datetime
    first: dict[str, datetime] = field(default_factory=dict)
    end: str | None = None
    rep: str | None = None
    last: tuple[str, datetime] | None = None  # where the lead stands now; None: a later piece follows

    def reach(self, step: str, at: datetime) -> None:
        self.first[step] = min(at, self.first.get(step, at))


def pieces(records: Iterable[Event]) -> list[Piece]:
    """Return the pieces of all lives."""
    lives: dict[str, list[Any]] = defaultdict(list)
    for record in records:
        lives[record.lead_id].append(record)  # type: ignore[attr-defined]
    return [piece for lead, life in lives.items() for piece in _cut(lead, life)]


def _cut(lead: str, life: list[Any]) -> list[Piece]:
    (origin,) = [record for record in life if isinstance(record, LeadScored)]
    source = origin.trigger.source
    parts = [Piece(lead, source, 1, origin.at, {"new": origin.at}, last=("new", origin.at))]
    moves = [record for record in life if isinstance(record, LeadEvent)]
    for record in moves:
        part = parts[-1]
        if record.status in LOST:
            part.end = part.end or record.status
            part.last = (record.status, record.at) if part.last is None or part.last[0] != record.status else part.last
        elif record.status == "nurturing" and record.was != "nurturing":
            if part.end is None:
                part.end = "recycled"
                if isinstance(record, LeadRecycled):
                    part.end = (
                        "rejected" if record.kind == "reject" else {"lost": "lost"}.get(record.reason, "recycled")
                    )
            part.last = None
            at = record.at
            parts.append(Piece(lead, source, len(parts) + 1, at, {"nurturing": at}, last=("nurturing", at)))
        else:
            part.reach(record.status, record.at)
            if part.last is None or part.last[0] != record.status:
                part.last = (record.status, record.at)
            if isinstance(record, LeadAssigned):
                part.rep = record.rep
    for record in life:
        if isinstance(record, TouchApplied):
            _at(parts, record.touched_at).reach("touch:attempt", record.touched_at)
            if record.answered:
                _at(parts, record.touched_at).reach("touch:conversation", record.touched_at)
        if isinstance(record, OpportunityMoved) and record.stage != "open":
            _at(parts, record.at).reach(f"stage:{record.stage}", record.at)
    return parts


def _at(parts: Sequence[Piece], at: datetime) -> Piece:
    return [part for part in parts if part.begin <= at or part is parts[0]][-1]


def count(chosen: Sequence[Piece], start: datetime | None = None, end: datetime | None = None) -> list[dict[str, Any]]:
    """Return the figures of each step. With `start` and `end`, of the steps that were reached between them."""
    rows = []
    for n, step in enumerate(STEPS[:-1]):
        here = [one for one in chosen if step in one.first]
        if start is not None and end is not None:
            here = [one for one in here if start <= one.first[step] < end]
        following, later = STEPS[n + 1], set(STEPS[n + 2 :])
        went = [one for one in here if following in one.first]
        passed = [one for one in here if following not in one.first and later & one.first.keys()]
        stayed = [one for one in here if not {following, *later} & one.first.keys()]
        spans = sorted(max((one.first[following] - one.first[step]).total_seconds(), 0) for one in went)
        rows.append(
            {
                "step": step,
                "reached": len(here),
                "converted": len(went),
                "skipped": len(passed),
                "ended_by": dict(Counter(one.end for one in stayed if one.end)),
                "there": sum(one.end is None for one in stayed),
                "median_seconds": spans[ceil(len(spans) / 2) - 1] if spans else None,
                "p90_seconds": spans[ceil(len(spans) * 9 / 10) - 1] if spans else None,
            }
        )
    return rows


def standing(chosen: Iterable[Piece]) -> dict[str, int]:
    """Return how many leads stand in each status."""
    return dict(Counter(one.last[0] for one in chosen if one.last))
