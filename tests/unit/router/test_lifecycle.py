"""A transition outside the agreement's table cannot happen."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.agreement.lifecycle import STATUSES, Lifecycle, Transition, Verb
from services.router.domain.lifecycle import SYSTEM, Actor, Refused, move, statuses_before

LIFECYCLE = Lifecycle()
OWNER = Actor("rep:ana", frozenset({"owner", "sales"}), frozenset({"sales"}), "ana")
OTHER = Actor("rep:bo", frozenset({"sales"}), frozenset({"sales"}), "bo")
MARKETER = Actor("key:dana", frozenset({"marketing"}), frozenset({"marketing"}))

actors = st.builds(
    lambda roles, teams: Actor("key:any", frozenset(roles), frozenset(teams)),
    st.sets(st.sampled_from(["system", "owner", "manager", "marketing", "sales"])),
    st.sets(st.sampled_from(["marketing", "sales"]), min_size=1),
)


@given(
    st.sampled_from([*STATUSES]),
    actors,
    st.none() | st.sampled_from([*STATUSES]),
    st.none() | st.sampled_from(["reject", "recycle", "reassign"]),
    st.none() | st.sampled_from(["not-now", "no-time", "stalled", "spam", "unknown"]),
    st.none() | st.sampled_from(["touched", "consent.given"]),
)
def test_every_allowed_transition_is_in_the_table(
    status: str, actor: Actor, to: str | None, verb: Verb | None, reason: str | None, when: str | None
) -> None:
    transition = move(LIFECYCLE, status, actor, to=to, verb=verb, reason=reason, when=when)
    if isinstance(transition, Refused):
        assert transition.why
        assert transition.remedy
        return
    assert transition in LIFECYCLE.transitions
    assert transition.leaves(status)
    assert to in (None, transition.to)
    assert transition.as_ == verb
    assert transition.when == when
    assert "anyone" in transition.by or actor.roles & set(transition.by)
    assert not transition.reason or reason in transition.reason
    assert LIFECYCLE.statuses[transition.to] == "nobody" or LIFECYCLE.statuses[status] in actor.teams


@pytest.mark.parametrize(("reason", "to"), [("not-now", "nurturing"), ("no-time", "qualified")])
def test_reason_of_a_rejection_selects_the_transition(reason: str, to: str) -> None:
    transition = move(LIFECYCLE, "assigned", OWNER, verb="reject", reason=reason)
    assert isinstance(transition, Transition)
    assert transition.to == to


def test_unknown_reason_is_refused_with_the_reasons_of_the_agreement() -> None:
    refused = move(LIFECYCLE, "assigned", OWNER, verb="reject", reason="bored")
    assert isinstance(refused, Refused)
    assert refused.kind == "reason"
    assert "not-now" in refused.remedy
    assert "no-time" in refused.remedy


def test_lead_is_accepted_by_its_owner_only() -> None:
    refused = move(LIFECYCLE, "assigned", OTHER, to="accepted")
    assert isinstance(refused, Refused)
    assert refused.kind == "actor"
    assert isinstance(move(LIFECYCLE, "assigned", OWNER, to="accepted"), Transition)


def test_marketing_may_opt_out_leads_of_sales_but_not_move_them() -> None:
    open_to_all = Lifecycle.model_validate(
        {
            "transitions": [
                {"from": "assigned", "to": "nurturing", "by": "anyone"},
                {"from": "any", "to": "opted-out", "by": "anyone"},
            ]
        }
    )
    assert isinstance(move(open_to_all, "assigned", MARKETER, to="nurturing"), Refused)
    assert isinstance(move(open_to_all, "assigned", OTHER, to="nurturing"), Transition)
    assert isinstance(move(open_to_all, "assigned", MARKETER, to="opted-out"), Transition)


def test_system_hands_over_leads_of_marketing_only() -> None:
    assert statuses_before(LIFECYCLE, "qualified") == {"new", "nurturing"}


def test_refusal_lists_the_possible_transitions() -> None:
    refused = move(LIFECYCLE, "new", SYSTEM, to="customer")
    assert isinstance(refused, Refused)
    assert refused.kind == "status"
    assert "qualified (by system)" in refused.remedy
