"""The effect of a tried event, as `firsthour source try` shows it."""

from typing import Any

import pytest

from firsthour.cli.source import show_effect

EFFECT: dict[str, Any] = {
    "lead": None,
    "shared": None,
    "score": {"fit": 70, "engagement": 60, "total": 65, "grade": "A", "suppressed": None},
    "score_before": {"fit": 0, "engagement": 0, "total": 0, "grade": "D"},
    "parts": [{"kind": "fit", "because": "Decides on budget", "points": 30, "worth": 30}],
    "qualify": {"line": "hand-raiser", "urgency": "hot"},
    "why_not": None,
    "status": {"from": "new", "to": "assigned"},
    "owner": {
        "rep": "ana",
        "pool": "all",
        "rule": "everyone",
        "why": "next in turn in all: 3 of 3 could take the lead",
    },
    "promise_at": "2026-12-01T10:00:00Z",
    "pages": [{"at": "2026-12-01T09:00:00Z", "kind": "owner", "person": "ana", "by": ["slack", "email"], "why": None}],
}


def test_effect_names_score_line_status_owner_and_pages(capsys: pytest.CaptureFixture[str]) -> None:
    show_effect(EFFECT)
    text = capsys.readouterr().out
    for part in (
        "a new one",
        "Score: 65, grade A (now 0, D)",
        "Decides on budget",
        "Meets: hand-raiser (hot)",
        "Status: new -> assigned",
        "Owner: ana, by rule everyone: next in turn",
        "slack, email",
    ):
        assert part in text, text


def test_effect_without_a_hand_over_says_why(capsys: pytest.CaptureFixture[str]) -> None:
    show_effect({**EFFECT, "qualify": None, "why_not": "no line of `qualify` is met", "owner": None, "pages": []})
    text = capsys.readouterr().out
    assert "Not handed over: no line of `qualify` is met." in text
    assert "Owner" not in text


def test_lead_that_waits_shows_its_queue(capsys: pytest.CaptureFixture[str]) -> None:
    show_effect({**EFFECT, "owner": {"rep": None, "pool": "all", "rule": None, "why": "all 3 at capacity"}})
    assert "Waits for all, by rule -: all 3 at capacity" in capsys.readouterr().out
