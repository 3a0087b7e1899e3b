"""How each fact of a lead's life reads in one line: pure."""

from collections.abc import Callable
from typing import Any

from schemas import events
from schemas.events import Event


def lead_of(event: Event) -> str | None:
    """The lead a record is about, when it says so itself (outside events do not)."""
    found = getattr(event, "lead_id", None)
    return found if isinstance(found, str) else None


def cause_of(event: Event) -> str | None:
    """The outside event that a record took up: it ties the event to the lead."""
    if isinstance(event, events.LeadScored):
        return event.trigger.event_id
    found = getattr(event, "event_id", None)
    return found if isinstance(found, str) else None


def status_of(event: Event) -> tuple[str, int] | None:
    """(status, version) when the record says one."""
    return (event.status, event.version) if isinstance(event, events.LeadEvent) else None


def line(type: str, event: Event) -> str:
    """One line for people. Values came from outside: escape them where they are shown."""
    if isinstance(event, events.ExternalEvent):
        about = event.fields.get("form") or event.fields.get("path") or event.fields.get("content") or ""
        remarks = "".join(f"; {events.FLAGS[flag]}" for flag in event.flags if flag in events.FLAGS)
        return f"{type} {about}".strip() + f" (from {event.source}){remarks}"
    say = _LINES.get(event.__class__)
    return say(event) if say else type


def _touched(e: Any) -> str:
    return f"somebody was in touch by {e.channel}" if e.answered else f"an attempt by {e.channel}, unanswered"


def _scored(e: Any) -> str:
    score = e.score
    said = (
        f"suppressed: {e.suppressed}"
        if e.suppressed
        else f"scored {score.total:g} (fit {score.fit:g}, engagement {score.engagement:g}, grade {score.grade})"
    )
    return f"{said} (found by {e.shared}; this one was active last)" if e.shared else said


def _applied(e: Any) -> str:
    said = _touched(e) + (f" (counts for nothing: {e.ignored})" if e.ignored else "")
    return said + (f": {e.note}" if e.note else "")


def _back(e: Any) -> str:
    return f"back with Marketing ({e.kind}): {e.reason}" + (f", until {e.until:%Y-%m-%d %H:%MZ}" if e.until else "")


_LINES: dict[type[Event], Callable[[Any], str]] = {
    events.LeadScored: _scored,
    events.LeadTouched: _touched,
    events.TouchApplied: _applied,
    events.ConsentChanged: lambda e: f"consent {'given' if e.given else 'withdrawn'}: {e.reason}",
    events.OpportunityMoved: lambda e: f"opportunity {e.stage}",
    events.LeadQualified: lambda e: f"qualified by `{e.line}` ({e.urgency})",
    events.LeadQueued: lambda e: f"waits in {e.pool or 'no pool'}: {e.reason}",
    events.LeadAssigned: lambda e: f"assigned to {e.rep} (epoch {e.epoch})" + (f": {e.reason}" if e.reason else ""),
    events.LeadReleased: lambda e: f"taken from {e.rep}: {e.kind}, {e.reason}",
    events.LeadAccepted: lambda e: f"accepted by {e.rep}",
    events.LeadRecycled: _back,
    events.LeadOptedOut: lambda e: f"opted out: {e.reason}",
    events.LeadStatusChanged: lambda e: f"{e.was} -> {e.status}" + (f": {e.reason}" if e.reason else ""),
    events.ActionRequested: lambda e: f"{e.action} asked for by {e.by}",
    events.ActionResolved: lambda e: f"{e.action} {e.outcome}" + (f": {e.why}" if e.why else ""),
    events.PageSent: lambda e: f"{e.person} paged by {e.channel} (rung {e.rung})",
    events.PageFailed: lambda e: f"page to {e.person} failed: {e.why}",
    events.PromiseKept: lambda e: f"first touch {e.seconds / 60:.0f} min after the submit{', late' if e.late else ''}",
    events.PromiseMissed: lambda e: "the promise ran out with nobody in touch",
}
