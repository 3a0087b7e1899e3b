"""Actions that change the owner of a lead: outcomes by the rules, the team and its load."""

import pytest

from services.router.domain import ownership
from services.router.domain.lifecycle import SYSTEM
from services.router.domain.outcome import OwnerRequest
from services.router.domain.team_state import Presence
from tests.unit.router.harness import rep, team
from tests.unit.router.test_actions import NOW, RULES, applied, lead, refused, rules, team_state


def test_owner_without_a_page_is_passed_over_once() -> None:
    outcome = applied(ownership.reassign(lead(), SYSTEM, RULES, NOW, team_state(), "late", told=False))
    state = outcome.lead.state
    assert (state.declined, state.not_again, state.reassignments) == ({}, "ana", 1)


def test_reassignment_goes_to_the_manager_when_no_rep_is_eligible() -> None:
    away = Presence(state="away")
    outcome = applied(ownership.reassign(lead(), SYSTEM, RULES, NOW, team_state(bo=away, cy=away), "late"))
    assert outcome.next_owner == OwnerRequest("max", ownership.TO_MANAGER)


def test_owner_keeps_the_lead_without_another_rep_or_manager() -> None:
    alone = rules(team(rep("ana", manager=None), pools={"all": {"ana": 1}}))
    refusal = refused(ownership.reassign(lead(), SYSTEM, alone, NOW, team_state(), "late"))
    assert refusal.why == ownership.NO_OTHER_REP


@pytest.mark.parametrize(
    ("presence", "force", "why"),
    [
        (Presence(), False, None),
        (Presence(open=1), False, "at capacity: 1 of 1 open"),
        (Presence(open=1), True, None),
        (Presence(state="away"), False, "away"),
        (Presence(state="away"), True, None),
        (Presence(state="deactivated"), True, "deactivated"),
    ],
)
def test_force_overrules_absence_and_capacity_only(presence: Presence, force: bool, why: str | None) -> None:
    small = rules(team(rep("bo", capacity={"open": 1}), pools={"all": {"bo": 1}}))
    refusal = ownership.cannot_take(small, {"bo": presence}, "bo", NOW, force=force)
    assert (refusal.why if refusal else None) == (f"bo cannot take the lead: {why}" if why else None)
