"""Requests of rungs and buttons: each is applied or refused, and answered."""

from datetime import timedelta

from schemas.events import (
    ActionResolved,
    LeadAssigned,
    LeadReleased,
)
from services.router import commands
from tests.unit.router.harness import RouterHarness, rep, sales, team


def answers(room: RouterHarness) -> list[ActionResolved]:
    """What actions were answered, in order."""
    return room.of(ActionResolved)


# --- missed clocks ------------------------------------------------------------------------------------------------


def test_missed_clock_reassigns_to_a_rep_then_to_the_manager(room: RouterHarness) -> None:
    room.ask("l1")
    room.act("reassign", "l1", 1, "system", reason="nobody was in touch")
    assert (room.lead("l1").owner, room.of(LeadReleased)[0].kind) == ("bo", "reassign")
    room.act("reassign", "l1", 2, "system", reason="nobody was in touch")
    assert room.lead("l1").owner == "max"
    decision = room.decisions("l1")[-1]
    assert (decision["why"], decision["pool"]) == ("the manager owns it", None)
    assert [event.reassignments for event in room.of(LeadAssigned)] == [0, 1, 2]
    room.act("reassign", "l1", 3, "system", reason="nobody was in touch")
    assert room.lead("l1").owner == "max"
    assert [answer.outcome for answer in answers(room)] == ["applied", "applied", "refused"]
    assert "no other rep can take it" in (answers(room)[-1].why or "")


def test_reassignment_without_another_rep_goes_to_the_manager(room: RouterHarness) -> None:
    room.configure(team(rep("ana"), pools={"all": {"ana": 1}}))
    room.ask("l1")
    room.act("reassign", "l1", 1, "system")
    assert room.lead("l1").owner == "max"


def test_reassignment_without_rep_or_manager_leaves_the_owner(room: RouterHarness) -> None:
    room.configure(team(rep("ana", manager=None), pools={"all": {"ana": 1}}))
    room.ask("l1")
    room.act("reassign", "l1", 1, "system")
    assert (room.lead("l1").owner, room.lead("l1").state.reassignments) == ("ana", 0)
    assert answers(room)[-1].outcome == "refused"


def test_touched_lead_and_ended_assignment_are_not_reassigned(room: RouterHarness) -> None:
    room.ask("l1", "l2")
    room.touched("l1")
    room.command(commands.reject, "l2", "no-time", sales("bo"))
    room.act("reassign", "l1", 1, "system")
    room.act("reassign", "l2", 1, "system")
    assert [answer.outcome for answer in answers(room)] == ["refused", "refused"]
    assert room.owners("l1", "l2") == ["ana", "cy"]


# --- buttons ------------------------------------------------------------------------------------------------------


def test_every_button_request_is_answered(room: RouterHarness) -> None:
    room.ask("l1", "l2")
    room.act("accept", "l1", 1, "rep:ana")
    room.act("accept", "l1", 1, "rep:ana")
    room.act("accept", "l2", 1, "rep:ana")
    room.act("accept", "l2", 1, "rep:max")
    room.act("reject", "l2", 1, "rep:bo", reason="no-time")
    room.act("touch", "l1", 7, "rep:ana", channel="phone", answered=True)
    room.act("snooze", "l1", 1, "rep:ana")
    room.act("accept", "nobody", 1, "rep:ana")
    assert [answer.outcome for answer in answers(room)] == [
        "applied",
        "applied",
        "refused",
        "applied",
        "refused",
        "applied",
        "applied",
        "refused",
    ]
    assert room.lead("l1").status == "working"


def test_repeated_rejection_by_button_counts_once(room: RouterHarness) -> None:
    room.ask("l1")
    room.act("reject", "l1", 1, "rep:ana", reason="no-time")
    room.act("reject", "l1", 1, "rep:ana", reason="no-time")
    assert [answer.outcome for answer in answers(room)] == ["applied", "applied"]
    assert (room.lead("l1").owner, room.lead("l1").epoch) == ("bo", 2)


def test_button_sets_a_rep_away(room: RouterHarness) -> None:
    room.ask("l1")
    room.act("away", "l1", 1, "rep:ana", until=room.clock.now + timedelta(hours=1))
    room.ask("l2", "l3", "l4")
    assert room.owners("l1", "l2", "l3", "l4") == ["ana", "bo", "cy", "bo"]
