"""Random histories of leads: records as scoring and the router emit them, in the order of their times."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from hypothesis import strategies as st

from schemas.events.base import Event
from schemas.events.leads import LeadScored, LeadsMerged, OpportunityMoved, Score, Trigger
from schemas.events.routes import (
    LeadAccepted,
    LeadAssigned,
    LeadOptedOut,
    LeadQualified,
    LeadRecycled,
    LeadReleased,
    LeadStatusChanged,
    TouchApplied,
)

START: Final = datetime(2026, 11, 16, 9, 0, tzinfo=UTC)  # a Monday
SOURCES: Final = ("website", "partner")
REPS: Final = ("ana", "bo")
STAGES: Final = ("offer", "contract")
WAYS: Final[Mapping[str, tuple[str, ...]]] = {
    "new": ("qualified", "disqualified", "opted-out"),
    "nurturing": ("qualified", "opportunity", "disqualified", "opted-out"),
    "qualified": ("assigned", "opted-out"),
    "assigned": ("accepted", "working", "nurturing", "qualified", "opportunity"),
    "accepted": ("working", "nurturing", "qualified", "opportunity"),
    "working": ("nurturing", "qualified", "opportunity", "opted-out"),
    "opportunity": ("customer", "nurturing"),
    "customer": ("opted-out",),
    "disqualified": ("nurturing", "opted-out"),
    "opted-out": ("nurturing",),
}


def scored(lead: str, at: datetime, source: str = "website", grade: str = "B") -> LeadScored:
    """Return the first score of a lead."""
    trigger = Trigger(f"e-{lead}", "form.submitted", at, source, {"form": "demo-request"})
    return LeadScored(
        lead_id=lead, version=1, at=at, trigger=trigger, score=Score(50, 50, 50, grade), facts={"utm.campaign": "brand"}
    )


def moved(lead: str, version: int, at: datetime, was: str, status: str, rep: str = "ana", lost: bool = False) -> Event:
    """Return the record of a change of status, as the router emits it."""
    record: dict[str, Any] = {
        "lead_id": lead,
        "version": version,
        "at": at,
        "was": was,
        "status": status,
        "epoch": 1,
        "by": "system",
    }
    if status == "qualified" and was in ("new", "nurturing"):
        trigger = Trigger(f"q-{lead}-{version}", "form.submitted", at, "website")
        return LeadQualified(
            **record, line="Asked", urgency="hot", submit_at=at, score=Score(60, 60, 60, "A"), trigger=trigger
        )
    if status == "qualified":
        return LeadReleased(**record, rep=rep, kind="reassign", reason="late")
    if status == "assigned":
        record |= {"rep": rep, "decision_id": "d", "pool": "growth"}
        return LeadAssigned(**record, urgency="hot", submit_at=at, assigned_at=at)
    if status == "accepted":
        return LeadAccepted(**record, rep=rep)
    if status == "working":
        return touched(lead, version, at, was, status, answered=lost)
    if status == "nurturing" and was == "assigned":
        return LeadRecycled(**record, kind="reject", reason="not-now")
    if status == "nurturing" and was not in ("disqualified", "opted-out"):
        return LeadRecycled(**record, kind="recycle", reason="lost" if lost else "stalled")
    if status == "opted-out":
        return LeadOptedOut(**record, reason="asked")
    return LeadStatusChanged(**record)


def touched(
    lead: str, version: int, at: datetime, was: str, status: str, *, answered: bool, late: timedelta = timedelta()
) -> TouchApplied:
    """Return the record of a touch. `late`: how long after the touch it was reported."""
    return TouchApplied(
        lead_id=lead,
        version=version,
        at=at,
        was=was,
        status=status,
        epoch=1,
        by="rep:ana",
        channel="phone",
        answered=answered,
        touched_at=at - late,
    )


@st.composite
def lives(draw: st.DrawFn, lead: str) -> list[Event]:
    """Return the records of one lead."""
    at, status, version = START + timedelta(minutes=draw(st.integers(0, 20_000))), "new", 1
    records: list[Event] = [scored(lead, at, draw(st.sampled_from(SOURCES)), draw(st.sampled_from("AB")))]
    for _ in range(draw(st.integers(0, 14))):
        at += timedelta(minutes=draw(st.integers(1, 3_000)))
        kind = draw(st.sampled_from(("move", "move", "move", "touch", "stage")))
        if kind == "touch" and status in ("assigned", "accepted", "working", "opportunity"):
            version += 1
            late = timedelta(minutes=draw(st.integers(0, 2_000)))
            records.append(touched(lead, version, at, status, status, answered=draw(st.booleans()), late=late))
        elif kind == "stage" and status in ("opportunity", "customer"):
            stage = draw(st.sampled_from((*STAGES, "open", "unnamed")))
            records.append(OpportunityMoved(lead_id=lead, at=at, stage=stage, event_id=f"o-{lead}-{version}"))
        elif kind == "move":
            version += 1
            to = draw(st.sampled_from(WAYS[status]))
            records.append(moved(lead, version, at, status, to, draw(st.sampled_from(REPS)), draw(st.booleans())))
            status = to
    return records


@st.composite
def histories(draw: st.DrawFn) -> list[Event]:
    """Return the records of a few leads, in the order of their times."""
    records = [record for n in range(draw(st.integers(1, 6))) for record in draw(lives(f"lead{n}"))]
    return in_order(records)


def in_order(records: Sequence[Event]) -> list[Event]:
    """Return records in the order of their times."""
    return sorted(records, key=lambda record: record.at)  # type: ignore[attr-defined]


def merge(lead: str, merged: str, at: datetime) -> LeadsMerged:
    """Return the record of a merge."""
    return LeadsMerged(lead_id=lead, merged_id=merged, at=at)
