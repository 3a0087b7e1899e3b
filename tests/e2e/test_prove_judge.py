"""The judge finds each lost record, each double effect, and each break of the order."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest

from services.notifier.domain.page import page_id
from tests.e2e.judged_story import JudgedStory, moment
from tests.e2e.prove.history import TopicRecord, parsed
from tests.e2e.prove.judge_pages import owed
from tests.e2e.prove.report import ProofReport


@pytest.fixture
def story() -> JudgedStory:
    return JudgedStory()


def test_correct_history_has_no_finding(story: JudgedStory) -> None:
    assert story.findings() == []
    assert owed(story.history) == 0
    assert "clean" in str(ProofReport(story.history, []))


def test_repeated_record_counts_once(story: JudgedStory) -> None:
    story.records += [replace(record, offset=record.offset + 1_000) for record in story.records]
    assert story.findings() == []


# --- lost ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("id", ["e1", "s1", "t1", "r1", "r2", "r3", "r5", "a1"])
def test_record_missing_from_any_topic_is_lost(story: JudgedStory, id: str) -> None:
    story.without(id)
    assert "lost" in story.kinds()


def test_acknowledged_event_on_no_topic_is_lost(story: JudgedStory) -> None:
    story.acknowledge("view-9", 3.0)
    assert story.findings() == ["lost: event view-9 was acknowledged and is not on `events`"]


def test_event_that_is_never_acknowledged_is_a_finding_but_not_lost(story: JudgedStory) -> None:
    story.acknowledge("view-9", 3.0, status=None, error="ReadError")
    assert story.findings() == ["other: event view-9 was never acknowledged"]


def test_opt_out_without_effect_is_lost(story: JudgedStory) -> None:
    story.add("leads", 90.0, "c1", "consent.changed", "L", at=moment(90.0), given=False, event_id="e9")
    assert "lost" in story.kinds()


def test_handed_over_lead_without_owner_or_queue_is_lost(story: JudgedStory) -> None:
    story.records = [r for r in story.records if r.topic != "routes" or r.data.get("version", 9) == 1]
    assert any("neither owned nor queued" in finding for finding in story.findings())


@pytest.mark.parametrize(
    ("action", "more"), [("touch", {"at": moment(200.0)}), ("reject", {}), ("accept", {"lead": "M"})]
)
def test_acknowledged_action_without_effect_is_lost(story: JudgedStory, action: str, more: dict[str, Any]) -> None:
    story.acknowledge("x", 90.0, kind="action", status=200, action=action, **{"lead": "L", **more})
    assert any("acknowledged without effect" in finding for finding in story.findings())


# --- twice --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("id", "kind"), [("e1", "applied twice"), ("s1", "applied twice"), ("t1", "applied twice")])
def test_event_with_two_effects_is_applied_twice(story: JudgedStory, id: str, kind: str) -> None:
    story.copy(id, "other")
    assert kind in story.kinds()


@pytest.mark.parametrize("id", ["r1", "r3", "r5", "a1"])
def test_second_hand_over_release_touch_or_answer_is_applied_twice(story: JudgedStory, id: str) -> None:
    story.copy(id, "other")
    assert "applied twice" in story.kinds()


def test_http_action_with_two_effects_is_applied_twice(story: JudgedStory) -> None:
    at = moment(86.0)
    story.acknowledge("touch-a", 86.0, kind="action", status=200, action="touch", lead="L", at=at)
    for _ in range(2):
        story.route("touch.applied", 86.1, "working", "working", 2, touched_at=at)
    assert "applied twice" in story.kinds()


def test_page_with_two_sent_records_is_applied_twice(story: JudgedStory) -> None:
    story.copy(f"p{page_id('L', 1, 0, 'rep1')}", "other")
    assert story.kinds() == {"applied twice"}


# --- owners and order ---------------------------------------------------------------------------------------------


def test_two_assignments_with_one_epoch_are_two_owners(story: JudgedStory) -> None:
    story.change("r4", epoch=1)
    assert "two owners" in story.kinds()


def test_assignment_without_release_of_the_previous_one_is_two_owners(story: JudgedStory) -> None:
    story.without("r3")
    assert "two owners" in story.kinds()


def test_records_of_a_lead_out_of_commit_order_are_found(story: JudgedStory) -> None:
    story.records = [_swapped(record, "r1", "r2") for record in story.records]
    assert "order" in story.kinds()


def _swapped(record: TopicRecord, one: str, other: str) -> TopicRecord:
    places = {one: 1, other: 0}
    return replace(record, offset=places[record.id]) if record.id in places else record


def test_record_with_another_previous_status_is_out_of_order(story: JudgedStory) -> None:
    story.change("r3", was="accepted")
    assert story.kinds() == {"order"}


def test_action_of_an_older_epoch_after_a_newer_one_is_out_of_order(story: JudgedStory) -> None:
    story.ask(170.0, "L:2:3", 2)
    story.ask(171.0, "L:1:9", 1)
    assert "order" in story.kinds()


def test_foreign_records_on_a_topic_are_not_parsed() -> None:
    assert list(_readable([b"{}", b"not json", b"[]", b'{"id": 1, "type": "x", "partitionkey": "k", "data": {}}'])) == [
        False,
        False,
        False,
        True,
    ]


def _readable(values: Sequence[bytes]) -> Iterator[bool]:
    return (parsed("leads", 0, 0, 0.0, value) is not None for value in values)
