"""The lead, the cause, the status and the one-line text of a record. Pure."""

from collections.abc import Callable
from typing import Any

from schemas.events.actions import ActionRequested
from schemas.events.base import Event
from schemas.events.leads import ConsentChanged, LeadScored, LeadTouched, OpportunityMoved
from schemas.events.outside import FLAGS, ExternalEvent
from schemas.events.pages import PageFailed, PageSent, PromiseKept, PromiseMissed
from schemas.events.routes import (
    ActionResolved,
    LeadAccepted,
    LeadAskedAgain,
    LeadAssigned,
    LeadEvent,
    LeadOptedOut,
    LeadQualified,
    LeadQueued,
    LeadRecycled,
    LeadReleased,
    LeadSnoozed,
    LeadStatusChanged,
    TouchApplied,
)


def lead_of(event: Event) -> str | None:
    """Return the lead of a record. None: the record names no lead, as outside events and absences."""
    lead = getattr(event, "lead_id", None)
    return lead if isinstance(lead, str) and lead else None


def cause_of(event: Event) -> str | None:
    """Return the id of the outside event that caused a record. None: no event. The id links the event to the lead."""
    if isinstance(event, LeadScored):
        return event.trigger.event_id
    cause = getattr(event, "event_id", None)
    return cause if isinstance(cause, str) else None


def status_of(event: Event) -> tuple[str, int] | None:
    """Return status and version of the lead. None: the record has no status."""
    return (event.status, event.version) if isinstance(event, LeadEvent) else None


def line(type: str, event: Event) -> str:
    """Return the record as one line for people. Values may come from outside: escape them for display."""
    if isinstance(event, ExternalEvent):
        about = event.fields.get("form") or event.fields.get("path") or event.fields.get("content") or ""
        remarks = "".join(f"; {FLAGS[flag]}" for flag in event.flags if flag in FLAGS)
        return f"{type} {about}".strip() + f" (from {event.source}){remarks}"
    line_of = _LINES.get(event.__class__)
    return line_of(event) if line_of else type


def _touched(e: Any) -> str:
    return f"touch by {e.channel}, {'answered' if e.answered else 'unanswered'}"


def _scored(e: Any) -> str:
    score = e.score
    text = (
        f"suppressed: {e.suppressed}"
        if e.suppressed
        else f"scored {score.total:g} (fit {score.fit:g}, engagement {score.engagement:g}, grade {score.grade})"
    )
    return f"{text} (identified by {e.shared}; this person was active last)" if e.shared else text


def _applied(e: Any) -> str:
    text = _touched(e) + (f" (ignored: {e.ignored})" if e.ignored else "")
    return text + (f": {e.note}" if e.note else "")


def _back(e: Any) -> str:
    return f"back with Marketing ({e.kind}): {e.reason}" + (f", until {e.until:%Y-%m-%d %H:%MZ}" if e.until else "")


_LINES: dict[type[Event], Callable[[Any], str]] = {
    LeadScored: _scored,
    LeadTouched: _touched,
    TouchApplied: _applied,
    ConsentChanged: lambda e: f"consent {'given' if e.given else 'withdrawn'}: {e.reason}",
    OpportunityMoved: lambda e: f"opportunity {e.stage}",
    LeadQualified: lambda e: f"qualified by `{e.line}` ({e.urgency})",
    LeadQueued: lambda e: f"waiting in {e.pool or 'no pool'}: {e.reason}",
    LeadAssigned: lambda e: f"assigned to {e.rep}" + (f": {e.reason}" if e.reason else ""),
    LeadAskedAgain: lambda e: f"asked again while owned by {e.rep}: `{e.line}` ({e.urgency})",
    LeadReleased: lambda e: f"taken from {e.rep}: {e.kind}, {e.reason}",
    LeadSnoozed: lambda e: f"snoozed by {e.by} until {e.until:%Y-%m-%d %H:%MZ}",
    LeadAccepted: lambda e: f"accepted by {e.rep}",
    LeadRecycled: _back,
    LeadOptedOut: lambda e: f"opted out: {e.reason}",
    LeadStatusChanged: lambda e: f"{e.was} → {e.status}" + (f": {e.reason}" if e.reason else ""),
    ActionRequested: lambda e: f"{e.action} requested by {e.by}",
    ActionResolved: lambda e: f"{e.action} {e.outcome}" + (f": {e.why}" if e.why else ""),
    PageSent: lambda e: f"{e.person} paged by {e.channel} ({e.kind.replace('_', ' ') or f'rung {e.rung}'})",
    PageFailed: lambda e: f"page to {e.person} failed: {e.why}",
    PromiseKept: lambda e: f"first touch {e.seconds / 60:.0f} min after the submit{', late' if e.late else ''}",
    PromiseMissed: lambda e: "promise missed: no touch before its end",
}
