"""Reps who are away or have left: their capacity and their open leads."""

from datetime import timedelta

import pytest

from firsthour.runtime.http.problem import Problem
from schemas.agreement.lifecycle import TRANSITIONS
from schemas.events import (
    LeadAssigned,
    LeadReleased,
    RepAvailabilityChanged,
)
from services.router import commands
from tests.unit.router.harness import MANAGER, RouterHarness, rep, sales, team

NO_WAY_BACK = {
    "transitions": [
        way.model_copy(update={"from_": ("assigned",)}) if way.as_ == "reassign" else way for way in TRANSITIONS
    ]
}
"""A lifecycle in which a lead that is worked on stays with its owner."""


def test_absent_rep_keeps_open_leads_and_gets_no_new_ones(room: RouterHarness) -> None:
    room.configure(team(rep("ana"), pools={"all": {"ana": 1}}))
    room.ask("l1")
    back = room.clock.now + timedelta(hours=2)
    room.command(commands.availability, "ana", "away", back, sales("ana"))
    room.ask("l2")
    assert room.owners("l1", "l2") == ["ana", None]
    room.wait(hours=3)
    room.watch()
    room.serve()
    assert room.lead("l2").owner == "ana"
    assert [event.state for event in room.of(RepAvailabilityChanged)] == ["away", "available"]


def test_absence_in_the_team_file_makes_a_rep_ineligible(room: RouterHarness) -> None:
    away = [{"from": "2026-12-01", "to": "2026-12-01"}]
    room.configure(team(rep("ana", away=away), rep("bo"), pools={"all": {"ana": 1, "bo": 1}}))
    room.ask("l1", "l2")
    assert room.owners("l1", "l2") == ["bo", "bo"]


def test_availability_of_another_rep_is_forbidden(room: RouterHarness) -> None:
    with pytest.raises(Problem) as refused:
        room.command(commands.availability, "ana", "away", None, sales("bo"))
    assert refused.value.status == 403
    with pytest.raises(Problem) as unknown:
        room.command(commands.availability, "zoe", "away", None, MANAGER)
    assert unknown.value.status == 404


@pytest.mark.parametrize("leave", ["inactive", "removed", "said"])
def test_open_leads_of_a_deactivated_rep_are_routed_again(room: RouterHarness, leave: str) -> None:
    people = (rep("ana"), rep("bo"))
    room.configure(team(*people, pools={"all": {"ana": 1, "bo": 1}}))
    room.ask("l1", "l2", "l3")
    room.touched("l3")
    assert room.owners("l1", "l2", "l3") == ["ana", "bo", "ana"]
    if leave == "inactive":
        room.configure(team(rep("ana", active=False), rep("bo"), pools={"all": {"ana": 1, "bo": 1}}))
    elif leave == "removed":
        room.configure(team(rep("bo"), pools={"all": {"bo": 1}}))
    else:
        room.command(commands.availability, "ana", "deactivated", None, MANAGER)
        assert "router.team" in room.woken
    room.watch()
    room.watch()
    assert room.owners("l1", "l2", "l3") == ["bo", "bo", "bo"]
    assert [(event.kind, event.rep) for event in room.of(LeadReleased)] == [("deactivated", "ana")] * 2
    assert [event.state for event in room.of(RepAvailabilityChanged)] == ["deactivated"]
    touched = next(event for event in room.of(LeadAssigned) if event.lead_id == "l3" and event.epoch == 2)
    assert touched.touched_at is not None


def test_leads_of_a_deactivated_rep_move_in_limited_units(room: RouterHarness) -> None:
    room.configure(team(rep("ana"), pools={"all": {"ana": 1}}))
    room.ask(*(f"l{n}" for n in range(120)))
    room.configure(team(rep("bo"), pools={"all": {"bo": 1}}))
    rounds = 1
    while room.watch() is not None:
        rounds += 1
    assert (room.open("ana"), room.open("bo"), rounds) == (0, 120, 3)


def test_immovable_leads_of_a_deactivated_rep_do_not_block_the_others(
    room: RouterHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The agreement has no way back for a lead that is being worked on; those come first in the order of the round."""
    monkeypatch.setattr("services.router.ticks.TAKEN_AWAY_MAX", 5)
    room.configure(team(rep("ana"), rep("bo"), pools={"all": {"ana": 1}, "rest": {"bo": 1}}), lifecycle=NO_WAY_BACK)
    stuck, free = [f"a{n:02}" for n in range(12)], [f"b{n:02}" for n in range(7)]
    room.ask(*stuck, *free)
    for lead in stuck:
        room.touched(lead, by="ana")
    room.configure(team(rep("bo"), pools={"all": {"bo": 1}}), lifecycle=NO_WAY_BACK)
    units = 1
    while room.watch() is not None:
        units += 1
    assert set(room.owners(*free)) == {"bo"}
    assert set(room.owners(*stuck)) == {"ana"}
    assert units == 4
    room.watch()  # another round does no harm
    assert set(room.owners(*stuck)) == {"ana"}


def test_reactivated_rep_is_published_as_available(room: RouterHarness) -> None:
    room.configure(team(rep("ana", active=False), rep("bo"), pools={"all": {"ana": 1, "bo": 1}}))
    room.watch()
    room.configure()
    room.watch()
    assert [event.state for event in room.of(RepAvailabilityChanged)] == ["deactivated", "available"]
