"""Requests of rungs and buttons: each is applied or refused, and answered."""

from datetime import timedelta

from schemas.events.routes import ActionResolved, LeadAssigned, LeadReleased
from services.router import commands
from tests.unit.router.harness import RouterHarness, rep, sales, team


def answers(harness: RouterHarness) -> list[ActionResolved]:
    """What actions were answered, in order."""
    return harness.of(ActionResolved)


# --- missed clocks ------------------------------------------------------------------------------------------------


def test_missed_clock_reassigns_to_a_rep_then_to_the_manager(harness: RouterHarness) -> None:
    harness.ask("l1")
    harness.act("reassign", "l1", 1, "system", reason="nobody was in touch")
    assert (harness.lead("l1").owner, harness.of(LeadReleased)[0].kind) == ("bo", "reassign")
    harness.act("reassign", "l1", 2, "system", reason="nobody was in touch")
    assert harness.lead("l1").owner == "max"
    decision = harness.decisions("l1")[-1]
    assert (decision["why"], decision["pool"]) == ("the manager owns it", None)
    assert [event.reassignments for event in harness.of(LeadAssigned)] == [0, 1, 2]
    harness.act("reassign", "l1", 3, "system", reason="nobody was in touch")
    assert harness.lead("l1").owner == "max"
    assert [answer.outcome for answer in answers(harness)] == ["applied", "applied", "refused"]
    assert "no other rep can take the lead" in (answers(harness)[-1].why or "")


def test_reassignment_without_another_rep_goes_to_the_manager(harness: RouterHarness) -> None:
    harness.configure(team(rep("ana"), pools={"all": {"ana": 1}}))
    harness.ask("l1")
    harness.act("reassign", "l1", 1, "system")
    assert harness.lead("l1").owner == "max"


def test_reassignment_without_rep_or_manager_leaves_the_owner(harness: RouterHarness) -> None:
    harness.configure(team(rep("ana", manager=None), pools={"all": {"ana": 1}}))
    harness.ask("l1")
    harness.act("reassign", "l1", 1, "system")
    assert (harness.lead("l1").owner, harness.lead("l1").state.reassignments) == ("ana", 0)
    assert answers(harness)[-1].outcome == "refused"


def test_touched_lead_and_ended_assignment_are_not_reassigned(harness: RouterHarness) -> None:
    harness.ask("l1", "l2")
    harness.touched("l1")
    harness.command(commands.reject, "l2", "no-time", sales("bo"))
    harness.act("reassign", "l1", 1, "system")
    harness.act("reassign", "l2", 1, "system")
    assert [answer.outcome for answer in answers(harness)] == ["refused", "refused"]
    assert harness.owners("l1", "l2") == ["ana", "cy"]


# --- buttons ------------------------------------------------------------------------------------------------------


def test_every_button_request_is_answered(harness: RouterHarness) -> None:
    harness.ask("l1", "l2")
    harness.act("accept", "l1", 1, "rep:ana")
    harness.act("accept", "l1", 1, "rep:ana")
    harness.act("accept", "l2", 1, "rep:ana")
    harness.act("accept", "l2", 1, "rep:max")
    harness.act("reject", "l2", 1, "rep:bo", reason="no-time")
    harness.act("touch", "l1", 7, "rep:ana", channel="phone", answered=True)
    harness.act("snooze", "l1", 1, "rep:ana")
    harness.act("accept", "nobody", 1, "rep:ana")
    assert [answer.outcome for answer in answers(harness)] == [
        "applied",
        "applied",
        "refused",
        "applied",
        "refused",
        "applied",
        "applied",
        "refused",
    ]
    assert harness.lead("l1").status == "working"


def test_repeated_rejection_by_button_counts_once(harness: RouterHarness) -> None:
    harness.ask("l1")
    harness.act("reject", "l1", 1, "rep:ana", reason="no-time")
    harness.act("reject", "l1", 1, "rep:ana", reason="no-time")
    assert [answer.outcome for answer in answers(harness)] == ["applied", "applied"]
    assert (harness.lead("l1").owner, harness.lead("l1").epoch) == ("bo", 2)


def test_button_sets_a_rep_away(harness: RouterHarness) -> None:
    harness.ask("l1")
    harness.act("away", "l1", 1, "rep:ana", until=harness.clock.now + timedelta(hours=1))
    harness.ask("l2", "l3", "l4")
    assert harness.owners("l1", "l2", "l3", "l4") == ["ana", "bo", "cy", "bo"]
