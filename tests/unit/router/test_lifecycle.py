"""What is not in the agreement's table of transitions cannot happen."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.agreement.lifecycle import STATUSES, Lifecycle, Transition, Verb
from services.router.domain.lifecycle import SYSTEM, Actor, Refused, move, statuses_before

AGREED = Lifecycle()
OWNER = Actor("rep:ana", frozenset({"owner", "sales"}), frozenset({"sales"}), "ana")
OTHER = Actor("rep:bo", frozenset({"sales"}), frozenset({"sales"}), "bo")
MARKETER = Actor("key:dana", frozenset({"marketing"}), frozenset({"marketing"}))

actors = st.builds(
    lambda roles, teams: Actor("somebody", frozenset(roles), frozenset(teams)),
    st.sets(st.sampled_from(["system", "owner", "manager", "marketing", "sales"])),
    st.sets(st.sampled_from(["marketing", "sales"]), min_size=1),
)


@given(
    st.sampled_from([*STATUSES]),
    actors,
    st.none() | st.sampled_from([*STATUSES]),
    st.none() | st.sampled_from(["reject", "recycle", "reassign"]),
    st.none() | st.sampled_from(["not-now", "no-time", "stalled", "spam", "made up"]),
    st.none() | st.sampled_from(["touched", "consent.given"]),
)
def test_every_allowed_transition_is_in_the_table(
    status: str, actor: Actor, to: str | None, verb: Verb | None, reason: str | None, when: str | None
) -> None:
    transition = move(AGREED, status, actor, to=to, verb=verb, reason=reason, when=when)
    if isinstance(transition, Refused):
        assert transition.why
        assert transition.remedy
        return
    assert transition in AGREED.transitions
    assert transition.leaves(status)
    assert to in (None, transition.to)
    assert transition.as_ == verb
    assert transition.when == when
    assert "anyone" in transition.by or actor.roles & set(transition.by)
    assert not transition.reason or reason in transition.reason
    assert AGREED.statuses[transition.to] == "nobody" or AGREED.statuses[status] in actor.teams


@pytest.mark.parametrize(("reason", "to"), [("not-now", "nurturing"), ("no-time", "qualified")])
def test_reason_of_a_rejection_selects_the_transition(reason: str, to: str) -> None:
    transition = move(AGREED, "assigned", OWNER, verb="reject", reason=reason)
    assert isinstance(transition, Transition)
    assert transition.to == to


def test_unknown_reason_is_refused_naming_the_known_ones() -> None:
    refused = move(AGREED, "assigned", OWNER, verb="reject", reason="bored")
    assert isinstance(refused, Refused)
    assert refused.kind == "reason"
    assert "not-now" in refused.remedy
    assert "no-time" in refused.remedy


def test_a_lead_is_accepted_by_its_owner_alone() -> None:
    refused = move(AGREED, "assigned", OTHER, to="accepted")
    assert isinstance(refused, Refused)
    assert refused.kind == "actor"
    assert isinstance(move(AGREED, "assigned", OWNER, to="accepted"), Transition)


def test_marketing_may_opt_out_but_not_move_leads_of_sales() -> None:
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


def test_the_system_hands_over_from_marketing_alone() -> None:
    assert statuses_before(AGREED, "qualified") == {"new", "nurturing"}


def test_a_refusal_says_what_is_possible() -> None:
    refused = move(AGREED, "new", SYSTEM, to="customer")
    assert isinstance(refused, Refused)
    assert refused.kind == "status"
    assert "qualified (by system)" in refused.remedy
