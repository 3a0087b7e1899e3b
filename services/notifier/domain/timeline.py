"""The history of a lead in the words of a rep: one line per event. Records that only the services need give no line."""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple

from schemas.events.base import Event
from schemas.events.leads import ConsentChanged, OpportunityMoved
from schemas.events.outside import ExternalEvent
from schemas.events.pages import PageSent, PromiseMissed
from schemas.events.routes import (
    LeadAccepted,
    LeadAssigned,
    LeadOptedOut,
    LeadQualified,
    LeadQueued,
    LeadRecycled,
    LeadReleased,
    LeadStatusChanged,
    TouchApplied,
)
from schemas.team import Team
from services.notifier.domain.card_text import HOME
from services.notifier.domain.loss_text import spoken
from services.notifier.domain.outside_text import NAME_CHARS_MAX, clean, unlinked

LINES_MAX: Final = 60
NOTE_CHARS_MAX: Final = 400

HistoryEntry = tuple[datetime, str, Event]
"""One record of the history: its time, the type of its envelope, and the event."""


class TimelineLine(NamedTuple):
    """One line. `by_prospect`: the prospect did it, not a colleague. `text` and `note` are cleaned, but not escaped."""

    at: datetime
    text: str
    note: str = ""
    by_prospect: bool = False


def timeline(history: Iterable[HistoryEntry], team: Team) -> list[TimelineLine]:
    """Return the lines of a history, in its order."""
    lines = []
    for at, type, event in history:
        line = _prospect_line(at, type, event) if isinstance(event, ExternalEvent) else _own_line(at, event, team)
        if line is not None:
            lines.append(line)
    return lines[:LINES_MAX]


_DEEDS: Final[Mapping[str, str]] = {
    "form.submitted": "Sent the form",
    "page.viewed": "Looked at",
    "content.downloaded": "Downloaded",
    "email.opened": "Opened a mail",
    "email.clicked": "Clicked in a mail",
    "email.bounced": "A mail came back",
    "email.unsubscribed": "Unsubscribed",
    "webinar.attended": "Attended a webinar",
    "trial.started": "Started a trial",
    "meeting.booked": "Booked a meeting",
    "chat.started": "Started a chat",
    "lead.imported": "Imported from a list",
    "consent.given": "Gave consent",
    "consent.withdrawn": "Withdrew consent",
}
_ABOUT: Final = ("form", "path", "content", "webinar", "link", "campaign")
_ADDRESSES: Final = frozenset({"path", "link"})
"""The fields that are no names, and are shown as they are."""


def _prospect_line(at: datetime, type: str, event: ExternalEvent) -> TimelineLine | None:
    deed = _DEEDS.get(type)
    if deed is None:
        return None  # `custom.*`, and facts that have a record of their own
    name = next((name for name in _ABOUT if event.fields.get(name)), "")
    about = str(event.fields.get(name) or "")
    if name == "path" and about == "/":
        about = HOME
    elif name not in _ADDRESSES:
        about = about.replace("-", " ").replace("_", " ")
    note = clean(str(event.fields.get("message") or ""), NOTE_CHARS_MAX)
    return TimelineLine(at, f"{deed} {unlinked(about, 120)}".strip(), note, by_prospect=True)


def _own_line(at: datetime, event: Event, team: Team) -> TimelineLine | None:
    line_of = _LINES.get(event.__class__)
    if line_of is None:
        return None
    text, note = line_of(event, lambda rep: _name(rep, team))
    return TimelineLine(at, text, clean(note or "", NOTE_CHARS_MAX)) if text else None


def _name(rep: str | None, team: Team) -> str:
    known = team.rep_by_id.get(rep or "")
    return unlinked(known.name if known else rep or "a colleague", NAME_CHARS_MAX)


Naming = Callable[[str | None], str]
"""Returns the name of a rep."""

_CHANNELS: Final[Mapping[str, str]] = {
    "phone": "by phone",
    "email": "by mail",
    "meeting": "in a meeting",
    "chat": "by chat",
}
_WAYS: Final[Mapping[str, str]] = {"slack": "in Slack", "email": "by mail", "inbox": "in the inbox"}


def _touched(event: TouchApplied, name: Naming) -> tuple[str, str | None]:
    by = name(event.rep) if event.rep else "A colleague"
    how = _CHANNELS.get(event.channel, "")
    text = f"{by} reached them {how}" if event.answered else f"{by} tried to reach them {how}"
    return f"{text.strip()}{'' if event.answered else ', no answer'}", event.note


def _released(event: LeadReleased, name: Naming) -> tuple[str, str | None]:
    why = {
        "reject": "handed it back",
        "reassign": "did not get in touch in time",
        "deactivated": "has left the team",
        "merged": "had it twice: two entries of one person are now one",
        "hand-over": "handed it over",
    }
    reason = "" if event.kind == "deactivated" else event.reason  # the reason says the same, with the id of the rep
    return f"{name(event.rep)} {why.get(event.kind, 'no longer has it')}", _reason(reason, event.note)


def _reason(reason: str, note: str | None) -> str:
    return ": ".join(filter(None, (spoken(reason, NOTE_CHARS_MAX), note)))


def _paged(event: PageSent, name: Naming) -> tuple[str, str | None]:
    how = _WAYS.get(event.channel, "")
    return (f"{name(event.person)} was paged {how}".strip() if event.person else ""), None


_LINES: Final[Mapping[type[Event], Callable[[Any, Naming], tuple[str, str | None]]]] = {
    TouchApplied: _touched,
    ConsentChanged: lambda e, _: (f"Consent {'given' if e.given else 'withdrawn'}", None),
    OpportunityMoved: lambda e, _: (f"Deal: {spoken(e.stage)}", None),
    LeadQualified: lambda e, _: ("Handed over to Sales", None),
    LeadQueued: lambda e, _: ("Waits for a free colleague", None),
    LeadAssigned: lambda e, name: (f"{name(e.rep)} got the lead", e.reason),
    LeadReleased: _released,
    LeadAccepted: lambda e, name: (f"{name(e.rep)} accepted", None),
    LeadRecycled: lambda e, _: ("Went back to Marketing", spoken(e.reason, NOTE_CHARS_MAX)),
    LeadOptedOut: lambda e, _: ("Wants no more contact", e.reason),
    LeadStatusChanged: lambda e, _: (f"Now {spoken(e.status)}", e.reason),
    PageSent: _paged,
    PromiseMissed: lambda e, _: ("The promised time ended without a contact", None),
}
