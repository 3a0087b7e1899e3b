"""What a message in Slack says about its lead, and the buttons that it has left."""

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from services.notifier.context import NotifierContext
from services.notifier.domain.clock import ResponseClock
from services.notifier.domain.page import Page, page_id
from services.notifier.domain.standing import ALL_ACTIONS, TOUCHES, standing, stands_differently
from tests.unit.notifier.harness import CONFIG
from tests.unit.notifier.router_records import NINE

UNREAD = "A contact or an attempt is recorded"
TRIED = {"state": "met", "touched_at": NINE, "attempts": 1}
TALKED = {"state": "met", "touched_at": NINE, "talked_at": NINE}
terms_of = NotifierContext(("slack", "email")).terms_of


def clock(**changes: Any) -> ResponseClock:
    """Return the running clock of a lead of Ana, in its second assignment."""
    start = ResponseClock(
        lead_id="l1",
        version=3,
        urgency="hot",
        submit_at=NINE,
        promise_at=NINE + timedelta(hours=1),
        updated_at=NINE,
        epoch=2,
        rep="ana",
        assigned_at=NINE,
    )
    return msgspec.structs.replace(start, **changes)


def page(kind: str, epoch: int = 2, person: str = "ana") -> Page:
    """Return a page of this kind."""
    fields = {"id": page_id("l1", epoch, 0, person), "lead_id": "l1", "epoch": epoch, "rung": 0, "kind": kind}
    times = {"due_at": NINE, "created_at": NINE}
    return msgspec.convert({**fields, **times, "person": person, "channels": ["slack"]}, Page)


@pytest.mark.parametrize(
    ("kind", "epoch", "changes", "text", "actions", "ended"),
    [
        ("owner", 2, {}, None, ALL_ACTIONS, False),
        ("reassigned", 2, {}, None, ALL_ACTIONS, False),
        ("cover", 2, {}, None, ("accept", "reached", "no_answer"), False),
        ("manager", 2, {}, None, ALL_ACTIONS, False),
        ("reminder", 2, {}, None, ALL_ACTIONS, False),
        ("test", 2, {}, None, (), False),
        ("owner", 2, {"accepted": True}, "Accepted by Ana.", ("reached", "no_answer", "snooze", "hand_over"), False),
        ("owner", 2, {"state": "met", "touched_at": NINE}, f"{UNREAD}: the clock has stopped.", TOUCHES, False),
        ("owner", 2, TALKED, "Contacted: the clock has stopped.", (), False),
        ("owner", 2, TRIED, "Tried, without an answer: the clock has stopped.", TOUCHES, False),
        ("cover", 2, TRIED | {"rep": "bo"}, "Tried, without an answer: the clock has stopped.", (), False),
        ("owner", 2, {"state": "missed"}, None, tuple(a for a in ALL_ACTIONS if a != "snooze"), False),
        ("reminder", 2, {"rep": "bo"}, None, ("reached", "no_answer", "hand_over"), False),
        ("manager", 2, {"rep": "bo"}, None, ("reached", "no_answer", "hand_over"), False),
        ("refused", 2, {}, None, ("reached", "no_answer", "hand_over"), False),
        ("refused", 2, {"rep": "bo"}, None, TOUCHES, False),
        ("next_attempt", 2, TALKED, "No longer needed.", (), False),
        ("owner", 1, {}, "Reassigned to Ana.", (), True),
        ("owner", 1, {"state": "met", "touched_at": NINE}, "Reassigned to Ana.", (), True),
        ("owner", 2, {"rep": None}, "Waits for another owner.", (), True),
        ("queued", 2, {"rep": None}, None, ("reached", "no_answer", "hand_over"), False),
        ("missed", 2, {"rep": None}, None, ("reached", "no_answer", "hand_over"), False),
        ("queued", 1, {}, "Assigned to Ana.", (), True),
        ("owner", 2, {"rep": None, "state": "over"}, "Closed.", (), True),
        ("owner", 2, {"rep": None, "state": "over", "opted_out": True}, "Closed: the person opted out.", (), True),
        ("owner", 1, {"rep": "left"}, "Reassigned to left.", (), True),
    ],
)
def test_standing_of_a_page(
    kind: str, epoch: int, changes: dict[str, Any], text: str | None, actions: tuple[str, ...], ended: bool
) -> None:
    now = standing(page(kind, epoch), clock(**changes), terms_of(CONFIG))
    assert (now.text, now.actions, now.ended) == (text, actions, ended)


@pytest.mark.parametrize(
    ("changes", "differs"),
    [
        ({}, False),
        ({"next_rung": 3, "due_at": NINE, "version": 9, "told_at": NINE, "state": "missed"}, False),
        ({"accepted": True}, True),
        ({"rep": "bo", "epoch": 3}, True),
        ({"touched_at": NINE, "state": "met"}, True),
        ({"talked_at": NINE}, True),
        ({"rep": None, "state": "over"}, True),
    ],
)
def test_messages_are_shown_anew_only_if_their_lead_stands_differently(changes: dict[str, Any], differs: bool) -> None:
    assert stands_differently(clock(), clock(**changes)) is differs
