"""The status set by hand: the agreement's transitions decide the action, the actor and the reason."""

from typing import Any

import pytest

from schemas.agreement.lifecycle import TRANSITIONS
from schemas.events.routes import LeadAccepted, LeadEvent, LeadOptedOut, LeadRecycled, LeadReleased, LeadStatusChanged
from services.router.domain.lead import LeadState
from services.router.domain.lifecycle import Actor
from services.router.domain.outcome import BY_RULES
from services.router.domain.permitted_actions import permitted_actions
from services.router.domain.status_change import change_status
from tests.unit.router.test_actions import HOUR, MANAGER, MARKETER, NOW, OTHER, OWNER, applied, lead, refused, rules

_LIFECYCLE: dict[str, Any] = {
    "transitions": [
        *(transition.model_dump(by_alias=True, exclude_defaults=True) for transition in TRANSITIONS),
        {"from": ["accepted", "working"], "to": "disqualified", "by": "owner", "reason": "duplicate"},
        {"from": "nurturing", "to": "qualified", "by": "marketing"},
    ]
}
RULES = rules(lifecycle=_LIFECYCLE)


@pytest.mark.parametrize(
    ("status", "actor", "to", "reason", "kind", "owner"),
    [
        ("assigned", OWNER, "accepted", None, LeadAccepted, "ana"),
        ("working", OWNER, "opportunity", None, LeadStatusChanged, "ana"),
        ("working", OWNER, "opportunity", "asked for an offer", LeadStatusChanged, "ana"),
        ("working", OWNER, "nurturing", "stalled", LeadRecycled, None),
        ("assigned", OWNER, "nurturing", "not-now", LeadRecycled, None),
        ("assigned", OWNER, "qualified", "no-time", LeadReleased, None),
        ("working", MANAGER, "qualified", "moves to another team", LeadReleased, None),
        ("working", OWNER, "disqualified", "duplicate", LeadStatusChanged, None),
        ("nurturing", MARKETER, "disqualified", "spam", LeadStatusChanged, None),
        ("disqualified", MARKETER, "nurturing", None, LeadStatusChanged, None),
        ("working", OTHER, "opted-out", None, LeadOptedOut, None),
    ],
)
def test_transition_of_the_agreement_decides_the_action(
    status: str, actor: Actor, to: str, reason: str | None, kind: type[LeadEvent], owner: str | None
) -> None:
    outcome = applied(change_status(lead(status), actor, RULES, NOW, to, reason))
    (event,) = outcome.events
    assert isinstance(event, kind)
    assert (outcome.lead.status, outcome.lead.owner, event.was, event.by) == (to, owner, status, actor.name)
    assert (outcome.ended is None) == (owner is not None or lead(status).owner is None)


def test_lead_that_waits_again_goes_to_another_rep() -> None:
    outcome = applied(change_status(lead("working"), OWNER, RULES, NOW, "qualified"))
    assert outcome.next_owner == BY_RULES
    assert outcome.lead.state.not_again == "ana"


@pytest.mark.parametrize(
    ("status", "actor", "to", "reason", "kind", "text"),
    [
        ("assigned", OWNER, "sold", None, "to", "opportunity, customer"),
        ("assigned", OTHER, "accepted", None, "actor", "only its owner"),
        ("working", OTHER, "opportunity", None, "actor", "only its owner"),
        ("nurturing", OWNER, "disqualified", "spam", "actor", "only Marketing"),
        ("nurturing", MARKETER, "disqualified", "bored", "reason", "spam, duplicate, competitor"),
        ("nurturing", MARKETER, "disqualified", None, "reason", "spam, duplicate, competitor"),
        ("working", OWNER, "nurturing", "bored", "reason", "no-answer, stalled, lost"),
        ("new", MARKETER, "customer", None, "status", "possible from new"),
        ("working", OWNER, "accepted", None, "status", "accepted already"),
        ("qualified", MANAGER, "assigned", None, "status", "assign it to a rep"),
        ("nurturing", MARKETER, "qualified", None, "status", "`qualify`"),
        ("opted-out", MANAGER, "nurturing", None, "status", "possible from opted-out"),
    ],
)
def test_change_without_a_transition_is_refused_with_the_remedy(
    status: str, actor: Actor, to: str, reason: str | None, kind: str, text: str
) -> None:
    refusal = refused(change_status(lead(status), actor, RULES, NOW, to, reason))
    assert refusal.kind == kind
    assert text in f"{refusal.why}; {refusal.remedy}"


def test_same_status_changes_nothing() -> None:
    assert applied(change_status(lead("working"), OTHER, RULES, NOW, "working")).events == ()


def test_until_rests_a_lead_that_goes_back_to_marketing() -> None:
    outcome = applied(change_status(lead("working"), OWNER, RULES, NOW, "nurturing", "stalled", NOW + HOUR))
    assert outcome.lead.state.rests_until == NOW + HOUR


@pytest.mark.parametrize("to", ["accepted", "opportunity", "opted-out", "disqualified"])
def test_until_is_refused_where_it_has_no_effect(to: str) -> None:
    status = "assigned" if to == "accepted" else "working"
    refusal = refused(change_status(lead(status), OWNER, RULES, NOW, to, "duplicate", NOW + HOUR))
    assert refusal.kind == "until"


def test_opt_out_before_a_newer_consent_is_noted_and_changes_no_status() -> None:
    outcome = applied(
        change_status(lead("nurturing", state=LeadState(consented_at=NOW + 1)), MARKETER, RULES, NOW, "opted-out")
    )
    assert (outcome.lead.status, outcome.lead.state.opted_out_at, outcome.events) == ("nurturing", NOW, ())


@pytest.mark.parametrize(
    ("status", "actor", "choices"),
    [
        ("working", OWNER, [("opportunity", ()), ("disqualified", ("duplicate",))]),
        ("working", OTHER, []),
        ("nurturing", MARKETER, [("disqualified", ("spam", "duplicate", "competitor"))]),
        ("disqualified", MARKETER, [("nurturing", ())]),
        ("assigned", OWNER, [("opportunity", ())]),
    ],
)
def test_choices_are_the_statuses_that_no_other_action_reaches(
    status: str, actor: Actor, choices: list[tuple[str, tuple[str, ...]]]
) -> None:
    permitted = {item.action: item for item in permitted_actions(lead(status), actor, RULES, NOW, {})}
    offered = permitted["status"].statuses if "status" in permitted else ()
    assert [(choice.status, choice.reasons) for choice in offered] == choices
