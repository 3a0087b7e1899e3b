"""The history of a lead in the words of a rep."""

from datetime import UTC, datetime
from typing import Any

import pytest

from schemas.events.base import Event
from schemas.events.outside import ExternalEvent
from schemas.events.pages import PageSent, PromiseMissed
from schemas.events.routes import ActionResolved, LeadAssigned, LeadReleased, TouchApplied
from schemas.team import Team
from services.notifier.domain.timeline import LINES_MAX, timeline

NINE = datetime(2026, 12, 1, 9, 0, tzinfo=UTC)
TEAM = Team.model_validate(
    {
        "reps": [{"id": "ana", "name": "Ana Gomez", "email": "ana@acme.example"}],
        "pools": [{"id": "all", "members": [{"rep": "ana"}]}],
    }
)
ROUTED: dict[str, Any] = {
    "lead_id": "l1",
    "version": 1,
    "at": NINE,
    "status": "assigned",
    "was": "qualified",
    "epoch": 1,
    "by": "system",
}


def outside(**fields: Any) -> ExternalEvent:
    return ExternalEvent(source="website", source_id="1", received_at=NINE, fields=fields)


@pytest.mark.parametrize(
    ("type", "event", "text", "note"),
    [
        ("form.submitted", outside(form="demo-request", message="Call me"), "Sent the form demo request", "Call me"),
        ("page.viewed", outside(path="/pricing"), "Looked at /pricing", ""),
        ("page.viewed", outside(path="/our-prices"), "Looked at /our-prices", ""),
        ("page.viewed", outside(path="/"), "Looked at the home page", ""),
        ("content.downloaded", outside(content="buyers-guide"), "Downloaded buyers guide", ""),
        ("page.viewed", outside(path="https://evil.com/x"), "Looked at https: //evil .com/x", ""),
        (
            "touch.applied",
            TouchApplied(**ROUTED, channel="phone", answered=False, touched_at=NINE, rep="ana", note="Voicemail"),
            "Ana Gomez tried to reach them by phone, no answer",
            "Voicemail",
        ),
        (
            "lead.assigned",
            LeadAssigned(**ROUTED, rep="ana", decision_id="d", urgency="hot", submit_at=NINE, assigned_at=NINE),
            "Ana Gomez got the lead",
            "",
        ),
        (
            "lead.released",
            LeadReleased(**ROUTED, rep="bo", kind="reassign", reason="no touch in time"),
            "bo did not get in touch in time",
            "no touch in time",
        ),
        (
            "lead.released",
            LeadReleased(**ROUTED, rep="ana", kind="deactivated", reason="ana has left"),
            "Ana Gomez has left the team",
            "",
        ),
        (
            "page.sent",
            PageSent(page_id="p", lead_id="l1", epoch=1, rung=0, person="ana", channel="email", at=NINE),
            "Ana Gomez was paged by mail",
            "",
        ),
        (
            "promise.missed",
            PromiseMissed(lead_id="l1", epoch=1, at=NINE, submit_at=NINE, promise_at=NINE),
            "The promised time ended without a contact",
            "",
        ),
    ],
)
def test_line_is_in_the_words_of_a_rep(type: str, event: Event, text: str, note: str) -> None:
    [line] = timeline([(NINE, type, event)], TEAM)
    assert (line.text, line.note) == (text, note)


def test_records_for_services_alone_give_no_line() -> None:
    resolved = ActionResolved(lead_id="l1", action_id="a", action="touch", epoch=1, at=NINE, outcome="applied")
    assert timeline([(NINE, "action.resolved", resolved), (NINE, "custom.x", outside(a=1))], TEAM) == []


def test_history_is_bounded() -> None:
    entries: list[tuple[datetime, str, Event]] = [(NINE, "page.viewed", outside(path="x" * 100_000))] * 1_000
    lines = timeline(entries, TEAM)
    assert len(lines) == LINES_MAX
    assert max(len(line.text) for line in lines) < 200
