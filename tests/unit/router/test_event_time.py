"""The effect of a fact depends on its own time, in any order of arrival."""

from datetime import UTC, datetime, timedelta
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.events.routes import LeadAssigned, LeadOptedOut, LeadQualified, TouchApplied
from services.router import commands
from services.router.domain import event_time
from services.router.domain.lead import Lead, LeadState
from tests.unit.router.harness import BY_SCORE, HAND_RAISER, MANAGER, RouterHarness, sales

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)


def late(harness: RouterHarness, minutes: float) -> datetime:
    return harness.clock.now - minutes * MINUTE


# --- consent -------------------------------------------------------------------------------------------------------


def test_late_consent_does_not_undo_a_newer_opt_out(harness: RouterHarness) -> None:
    harness.submit_form("l1")
    harness.wait(minutes=10)
    harness.set_consent("l1", False)
    harness.wait(minutes=10)
    harness.set_consent("l1", True, at=late(harness, 11))
    assert harness.lead("l1").status == "opted-out"

    harness.hear(harness.score_event("l1", HAND_RAISER, BY_SCORE))
    assert (harness.lead("l1").status, harness.lead("l1").owner) == ("opted-out", None)


def test_late_opt_out_does_not_undo_a_newer_consent(harness: RouterHarness) -> None:
    harness.submit_form("l1")
    harness.set_consent("l1", True)
    harness.wait(minutes=10)
    harness.set_consent("l1", False, at=late(harness, 11))
    assert harness.lead("l1").status == "assigned"
    assert harness.events_of(LeadOptedOut) == []


def test_newest_of_consent_and_opt_out_is_in_force_in_any_order(tmp_path: Path) -> None:
    facts = [(0, False), (1, True), (2, False), (2, True)]
    for n, order in enumerate(permutations(facts)):
        harness = RouterHarness(tmp_path / f"{n}.db")
        harness.submit_form("l1")
        harness.wait(minutes=5)
        for minute, agreed in order:
            harness.set_consent("l1", agreed, at=harness.clock.now - (3 - minute) * MINUTE)
        assert harness.lead("l1").status == "opted-out", order
        harness.close()


def test_form_older_than_the_consent_is_not_handed_over(harness: RouterHarness) -> None:
    harness.hear(harness.score_event("l1"))
    harness.set_consent("l1", False)
    harness.wait(minutes=10)
    harness.set_consent("l1", True)
    harness.hear(harness.score_event("l1", HAND_RAISER, at=late(harness, 5)))
    assert (harness.lead("l1").status, harness.events_of(LeadQualified)) == ("nurturing", [])


# --- forms ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("action", ["reject", "recycle"])
def test_form_older_than_the_return_to_marketing_adds_facts_only(harness: RouterHarness, action: str) -> None:
    harness.submit_form("l1")
    harness.wait(minutes=10)
    if action == "reject":
        harness.run_command(commands.reject, "l1", "not-now", sales("ana"))
    else:
        harness.run_command(commands.accept, "l1", sales("ana"))
        harness.run_command(commands.recycle, "l1", "stalled", sales("ana"))
    harness.wait(minutes=10)
    version = harness.lead("l1").version
    harness.hear(harness.score_event("l1", HAND_RAISER, BY_SCORE, facts={"title": "CTO"}, at=late(harness, 11)))
    lead = harness.lead("l1")
    assert (lead.status, lead.owner, lead.version) == ("nurturing", None, version)
    assert lead.state.facts["title"] == "CTO"

    harness.submit_form("l1")
    assert harness.lead("l1").status == "assigned"


def test_form_older_than_the_hand_over_does_not_hand_over_again(harness: RouterHarness) -> None:
    harness.submit_form("l1")
    harness.hear(harness.score_event("l1", HAND_RAISER, at=late(harness, 30)))
    assert len(harness.events_of(LeadAssigned)) == 1


# --- deals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("newer", ["lost", "won"])
@pytest.mark.parametrize("older", ["open", "lost", "won", "proposal"])
def test_stage_older_than_the_stored_stage_changes_nothing(harness: RouterHarness, newer: str, older: str) -> None:
    harness.submit_form("l1")
    harness.record_touch("l1")
    harness.wait(minutes=30)
    harness.move_deal("l1", "open", at=late(harness, 20))
    harness.move_deal("l1", newer, at=late(harness, 5))
    lead = harness.lead("l1")
    harness.move_deal("l1", older, at=late(harness, 10))
    after = harness.lead("l1")
    assert (after.status, after.owner, after.version, after.state.stage) == (
        lead.status,
        lead.owner,
        lead.version,
        newer,
    )


def test_deal_from_before_a_rejection_changes_nothing(harness: RouterHarness) -> None:
    harness.submit_form("l1")
    harness.wait(minutes=10)
    harness.run_command(commands.reject, "l1", "not-now", sales("ana"))
    harness.wait(minutes=10)
    harness.move_deal("l1", "open", at=late(harness, 15))
    assert harness.lead("l1").status == "nurturing"
    harness.move_deal("l1", "open")
    assert harness.lead("l1").status == "opportunity"


def test_older_deal_does_not_change_a_lead_assigned_by_hand(harness: RouterHarness) -> None:
    harness.submit_form("l1")
    harness.wait(minutes=10)
    harness.run_command(commands.assign, "l1", "bo", None, False, MANAGER)
    harness.move_deal("l1", "open", at=late(harness, 5))
    assert (harness.lead("l1").status, harness.lead("l1").owner) == ("assigned", "bo")


# --- touches -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("seconds", "counts"), [(0, True), (40, True), (300, True), (301, False), (86_400, False)])
def test_touch_counts_within_the_tolerance_for_a_slow_clock(harness: RouterHarness, seconds: int, counts: bool) -> None:
    harness.submit_form("l1")
    submit = harness.clock.now
    harness.record_touch("l1", at=submit - seconds * SECOND)
    [event] = harness.events_of(TouchApplied)
    assert (event.ignored is None) is counts
    assert (harness.lead("l1").touched_at is not None) is counts
    assert harness.lead("l1").status == ("working" if counts else "assigned")
    assert (event.touched_at >= submit) is counts


def test_answer_to_a_touch_states_its_effect(harness: RouterHarness) -> None:
    harness.submit_form("l1")

    def touch(minutes: float) -> object:
        return harness.run_command(commands.touch, "l1", "phone", False, late(harness, minutes), sales("ana"))["effect"]

    assert touch(10) == "ignored: 600 s before the submit; the tolerance is 300 s"
    assert touch(0.5) == "the first touch since the submit: the response clock has ended"
    assert touch(0) == "counted; an earlier touch had ended the response clock"


@pytest.mark.parametrize("at", [datetime(1970, 1, 1, tzinfo=UTC), datetime(2099, 1, 1, tzinfo=UTC)])
def test_touch_at_an_impossible_time_counts_as_now(harness: RouterHarness, at: datetime) -> None:
    harness.submit_form("l1")
    answer = harness.run_command(commands.touch, "l1", "phone", False, at, sales("ana"))
    assert answer["effect"] == (
        "the first touch since the submit: the response clock has ended; `at` was impossible and counts as now"
    )
    assert harness.events_of(TouchApplied)[0].touched_at == harness.clock.now


def test_touch_before_the_last_return_to_marketing_does_not_count(harness: RouterHarness) -> None:
    harness.submit_form("l1")
    harness.wait(minutes=1)
    harness.run_command(commands.reject, "l1", "not-now", sales("ana"))
    harness.wait(minutes=1)
    harness.submit_form("l1")
    harness.record_touch("l1", at=late(harness, 1.5))
    assert harness.lead("l1").status == "assigned"
    harness.record_touch("l1", at=late(harness, 0.5))
    assert harness.lead("l1").status == "working"


# --- any order -----------------------------------------------------------------------------------------------------

stages = st.sampled_from(["open", "proposal", "lost", "won"])
dated = st.lists(st.tuples(st.integers(1, 5), st.one_of(st.booleans(), stages)), min_size=1, max_size=8)


@given(facts=dated, chance=st.randoms(use_true_random=False))
def test_consent_and_stage_follow_from_the_facts_in_any_order(facts: list[tuple[int, bool | str]], chance: Any) -> None:
    def state_after(order: list[tuple[int, bool | str]]) -> LeadState:
        lead = Lead("l1", "new")
        for when, fact in order:
            if isinstance(fact, str):
                event_time.note_stage(lead, fact, when)
            elif fact:
                event_time.note_consent(lead, when)
            else:
                event_time.note_opt_out(lead, when)
        return lead.state

    shuffled = [*facts, *chance.choices(facts, k=len(facts))]
    chance.shuffle(shuffled)
    one, other = state_after(facts), state_after(shuffled)
    compared = [(s.opted_out_at, s.consented_at, s.stage_at) for s in (one, other)]
    assert compared[0] == compared[1]
    ranked = {"open": "open", "lost": "lost", "won": "won", None: None}
    assert ranked.get(one.stage, "other") == ranked.get(other.stage, "other")
