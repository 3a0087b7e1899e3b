"""The lead, the cause, the status and the one-line text of a record. Pure."""

from collections.abc import Callable
from typing import Any

from schemas import events
from schemas.events import Event


def lead_of(event: Event) -> str | None:
    """Return the lead of a record; None: the record names none (outside events)."""
    lead = getattr(event, "lead_id", None)
    return lead if isinstance(lead, str) else None


def cause_of(event: Event) -> str | None:
    """Return the id of the outside event that caused a record; None: there is none. It ties that event to the lead."""
    if isinstance(event, events.LeadScored):
        return event.trigger.event_id
    cause = getattr(event, "event_id", None)
    return cause if isinstance(cause, str) else None


def status_of(event: Event) -> tuple[str, int] | None:
    """Return (status, version); None: the record has no status."""
    return (event.status, event.version) if isinstance(event, events.LeadEvent) else None


def line(type: str, event: Event) -> str:
    """Return the record as one line for people. Values may come from outside: escape them where they are shown."""
    if isinstance(event, events.ExternalEvent):
        about = event.fields.get("form") or event.fields.get("path") or event.fields.get("content") or ""
        remarks = "".join(f"; {events.FLAGS[flag]}" for flag in event.flags if flag in events.FLAGS)
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
    events.LeadScored: _scored,
    events.LeadTouched: _touched,
    events.TouchApplied: _applied,
    events.ConsentChanged: lambda e: f"consent {'given' if e.given else 'withdrawn'}: {e.reason}",
    events.OpportunityMoved: lambda e: f"opportunity {e.stage}",
    events.LeadQualified: lambda e: f"qualified by `{e.line}` ({e.urgency})",
    events.LeadQueued: lambda e: f"waiting in {e.pool or 'no pool'}: {e.reason}",
    events.LeadAssigned: lambda e: f"assigned to {e.rep} (epoch {e.epoch})" + (f": {e.reason}" if e.reason else ""),
    events.LeadReleased: lambda e: f"taken from {e.rep}: {e.kind}, {e.reason}",
    events.LeadAccepted: lambda e: f"accepted by {e.rep}",
    events.LeadRecycled: _back,
    events.LeadOptedOut: lambda e: f"opted out: {e.reason}",
    events.LeadStatusChanged: lambda e: f"{e.was} -> {e.status}" + (f": {e.reason}" if e.reason else ""),
    events.ActionRequested: lambda e: f"{e.action} requested by {e.by}",
    events.ActionResolved: lambda e: f"{e.action} {e.outcome}" + (f": {e.why}" if e.why else ""),
    events.PageSent: lambda e: f"{e.person} paged by {e.channel} (rung {e.rung})",
    events.PageFailed: lambda e: f"page to {e.person} failed: {e.why}",
    events.PromiseKept: lambda e: f"first touch {e.seconds / 60:.0f} min after the submit{', late' if e.late else ''}",
    events.PromiseMissed: lambda e: "promise missed: no touch before its end",
}
