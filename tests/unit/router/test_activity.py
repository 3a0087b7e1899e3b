"""Outcomes of touches, consent and deals."""

from dataclasses import replace
from itertools import permutations

import msgspec
import pytest

from schemas.events.routes import LeadStatusChanged, TouchApplied
from services.router.domain import activity
from services.router.domain.lead import Lead, LeadState
from services.router.domain.outcome import Outcome
from services.router.domain.rules import RoutingRules
from tests.unit.router.test_actions import HOUR, NOW, RULES, applied, lead

SKEW = 300_000_000
UNTIL_CONVERSATION = replace(RULES, stopped_by="conversation")


def touched(before: Lead, when: int = NOW, *, answered: bool = False, rules: RoutingRules = RULES) -> Outcome:
    return activity.touch(before, activity.Touch("rep:ana", "phone", answered, when, "ana"), rules, NOW, SKEW)


@pytest.mark.parametrize(
    ("status", "after"),
    [("assigned", "working"), ("accepted", "working"), ("working", "working"), ("nurturing", "nurturing")],
)
def test_touch_moves_a_lead_as_the_agreement_says(status: str, after: str) -> None:
    before = lead(status)
    stored = msgspec.json.encode(before)
    outcome = touched(before)
    [event] = outcome.events
    assert isinstance(event, TouchApplied)
    assert (outcome.lead.status, event.status, event.was) == (after, after, status)
    assert event.by == ("rep:ana" if status == after else "system")
    assert (outcome.lead.owner, outcome.next_owner, outcome.ended) == (before.owner, None, None)
    assert msgspec.json.encode(before) == stored


def test_touch_in_the_future_counts_as_now() -> None:
    assert touched(lead(), NOW + HOUR).lead.touched_at == NOW


def test_touch_before_the_submit_is_ignored_and_still_published() -> None:
    outcome = touched(lead(), NOW - 2 * HOUR)
    [event] = outcome.events
    assert isinstance(event, TouchApplied)
    assert event.ignored
    assert outcome.effect == f"ignored: {event.ignored}"
    assert (outcome.lead.status, outcome.lead.touched_at) == ("assigned", None)


@pytest.mark.parametrize(("answered", "unanswered"), [(True, 0), (False, 3)])
def test_unanswered_touches_are_counted_in_a_row(answered: bool, unanswered: int) -> None:
    before = lead("working", touched_at=NOW - 1, state=LeadState(attempts=2, unanswered=2))
    state = touched(before, answered=answered).lead.state
    assert (state.attempts, state.unanswered) == (3, unanswered)


@pytest.mark.parametrize("order", list(permutations([(1, False), (2, True), (3, False), (4, False)])))
def test_order_of_reports_does_not_change_the_counts(order: tuple[tuple[int, bool], ...]) -> None:
    one = lead("working", touched_at=NOW - 9)
    for at, answered in order:
        one = touched(one, NOW - 9 + at, answered=answered).lead
    assert (one.state.attempts, one.state.conversations, one.state.unanswered) == (4, 1, 2)


@pytest.mark.parametrize(
    ("answered", "status", "touched_at", "effect"),
    [(False, "assigned", None, "the next page comes later"), (True, "working", NOW, "the response clock has ended")],
)
def test_only_a_conversation_ends_a_clock_that_runs_until_one(
    answered: bool, status: str, touched_at: int | None, effect: str
) -> None:
    outcome = touched(lead(), NOW, answered=answered, rules=UNTIL_CONVERSATION)
    assert (outcome.lead.status, outcome.lead.touched_at) == (status, touched_at)
    assert effect in outcome.effect
    [event] = outcome.events
    assert isinstance(event, TouchApplied)
    assert (event.stops, outcome.lead.state.attempts) == (answered, 1)


@pytest.mark.parametrize(("opted_out_at", "status"), [(NOW - 1, "nurturing"), (NOW, "opted-out"), (None, "nurturing")])
def test_consent_ends_an_older_opt_out(opted_out_at: int | None, status: str) -> None:
    before = lead("opted-out", state=LeadState(opted_out_at=opted_out_at))
    outcome = activity.consent_given(before, RULES, NOW, "asked", NOW)
    assert outcome.lead.status == status
    assert outcome.lead.state.consented_at == NOW
    assert [type(event) for event in outcome.events] == ([LeadStatusChanged] if status == "nurturing" else [])


def test_withdrawn_consent_opts_the_person_out() -> None:
    outcome = applied(activity.consent_withdrawn(lead(), RULES, NOW, "asked", NOW + HOUR))
    assert (outcome.lead.status, outcome.lead.state.opted_out_at) == ("opted-out", NOW)


@pytest.mark.parametrize(
    ("status", "stage", "statuses"),
    [
        ("assigned", "open", ["opportunity"]),
        ("assigned", "won", ["opportunity", "customer"]),
        ("opportunity", "won", ["customer"]),
        ("qualified", "open", []),
        ("assigned", "lost", []),
        ("opportunity", "lost", ["nurturing"]),
    ],
)
def test_deal_moves_a_lead_as_far_as_the_agreement_goes(status: str, stage: str, statuses: list[str]) -> None:
    outcome = activity.deal(lead(status), RULES, NOW, stage, NOW)
    assert [event.status for event in outcome.events] == statuses
    assert [event.version for event in outcome.events] == [6, 7][: len(statuses)]
    assert (outcome.lead.status, outcome.lead.state.stage) == ([status, *statuses][-1], stage)


def test_deal_older_than_the_status_is_only_noted() -> None:
    before = lead(state=LeadState(since=NOW))
    outcome = activity.deal(before, RULES, NOW, "open", NOW - 1)
    assert (outcome.lead.status, outcome.lead.state.stage, outcome.events) == ("assigned", "open", ())
