"""Reps who are away or deactivated: their capacity and their open leads."""

from datetime import timedelta

import pytest

from firsthour.runtime.http.problem import Problem
from schemas.agreement.lifecycle import TRANSITIONS
from schemas.events.routes import LeadAssigned, LeadReleased, RepAvailabilityChanged
from services.router import commands
from tests.unit.router.harness import MANAGER, RouterHarness, rep, sales, team

WORKING_STAYS = {
    "transitions": [
        transition.model_copy(update={"from_": ("assigned",)}) if transition.as_ == "reassign" else transition
        for transition in TRANSITIONS
    ]
}
"""A lifecycle in which a lead in status `working` stays with its owner."""


def test_absent_rep_keeps_open_leads_and_gets_no_new_ones(harness: RouterHarness) -> None:
    harness.configure(team(rep("ana"), pools={"all": {"ana": 1}}))
    harness.submit_form("l1")
    back = harness.clock.now + timedelta(hours=2)
    harness.run_command(commands.availability, "ana", "away", back, sales("ana"))
    harness.submit_form("l2")
    assert harness.owners("l1", "l2") == ["ana", None]
    harness.wait(hours=3)
    harness.watch_team()
    harness.serve_queue()
    assert harness.lead("l2").owner == "ana"
    assert [event.state for event in harness.events_of(RepAvailabilityChanged)] == ["away", "available"]


def test_absence_in_the_team_file_makes_a_rep_ineligible(harness: RouterHarness) -> None:
    away = [{"from": "2026-12-01", "to": "2026-12-01"}]
    harness.configure(team(rep("ana", away=away), rep("bo"), pools={"all": {"ana": 1, "bo": 1}}))
    harness.submit_form("l1", "l2")
    assert harness.owners("l1", "l2") == ["bo", "bo"]


def test_availability_of_another_rep_is_forbidden(harness: RouterHarness) -> None:
    with pytest.raises(Problem) as refused:
        harness.run_command(commands.availability, "ana", "away", None, sales("bo"))
    assert refused.value.status == 403
    with pytest.raises(Problem) as unknown:
        harness.run_command(commands.availability, "zoe", "away", None, MANAGER)
    assert unknown.value.status == 404


@pytest.mark.parametrize("leave", ["inactive", "removed", "command"])
def test_open_leads_of_a_deactivated_rep_are_routed_again(harness: RouterHarness, leave: str) -> None:
    people = (rep("ana"), rep("bo"))
    harness.configure(team(*people, pools={"all": {"ana": 1, "bo": 1}}))
    harness.submit_form("l1", "l2", "l3")
    harness.record_touch("l3")
    assert harness.owners("l1", "l2", "l3") == ["ana", "bo", "ana"]
    if leave == "inactive":
        harness.configure(team(rep("ana", active=False), rep("bo"), pools={"all": {"ana": 1, "bo": 1}}))
    elif leave == "removed":
        harness.configure(team(rep("bo"), pools={"all": {"bo": 1}}))
    else:
        harness.run_command(commands.availability, "ana", "deactivated", None, MANAGER)
        assert "router.team" in harness.woken
    harness.watch_team()
    harness.watch_team()
    assert harness.owners("l1", "l2", "l3") == ["bo", "bo", "bo"]
    assert [(event.kind, event.rep) for event in harness.events_of(LeadReleased)] == [("deactivated", "ana")] * 2
    assert [event.state for event in harness.events_of(RepAvailabilityChanged)] == ["deactivated"]
    touched = next(event for event in harness.events_of(LeadAssigned) if event.lead_id == "l3" and event.epoch == 2)
    assert touched.touched_at is not None


def test_leads_of_a_deactivated_rep_move_in_limited_units(harness: RouterHarness) -> None:
    harness.configure(team(rep("ana"), pools={"all": {"ana": 1}}))
    harness.submit_form(*(f"l{n}" for n in range(120)))
    harness.configure(team(rep("bo"), pools={"all": {"bo": 1}}))
    rounds = 1
    while harness.watch_team() is not None:
        rounds += 1
    assert (harness.open_leads("ana"), harness.open_leads("bo"), rounds) == (0, 120, 3)


def test_immovable_leads_of_a_deactivated_rep_do_not_block_the_others(
    harness: RouterHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lifecycle has no transition that reassigns a lead in status `working`. These leads come first in the round."""
    monkeypatch.setattr("services.router.ticks.REROUTED_MAX", 5)
    harness.configure(
        team(rep("ana"), rep("bo"), pools={"all": {"ana": 1}, "rest": {"bo": 1}}), lifecycle=WORKING_STAYS
    )
    stuck, free = [f"a{n:02}" for n in range(12)], [f"b{n:02}" for n in range(7)]
    harness.submit_form(*stuck, *free)
    for lead in stuck:
        harness.record_touch(lead, by="ana")
    harness.configure(team(rep("bo"), pools={"all": {"bo": 1}}), lifecycle=WORKING_STAYS)
    units = 1
    while harness.watch_team() is not None:
        units += 1
    assert set(harness.owners(*free)) == {"bo"}
    assert set(harness.owners(*stuck)) == {"ana"}
    assert units == 4
    harness.watch_team()  # another round changes nothing
    assert set(harness.owners(*stuck)) == {"ana"}


def test_reactivated_rep_is_published_as_available(harness: RouterHarness) -> None:
    harness.configure(team(rep("ana", active=False), rep("bo"), pools={"all": {"ana": 1, "bo": 1}}))
    harness.watch_team()
    harness.configure()
    harness.watch_team()
    assert [event.state for event in harness.events_of(RepAvailabilityChanged)] == ["deactivated", "available"]
