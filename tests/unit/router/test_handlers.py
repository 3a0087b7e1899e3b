"""Requests of rungs and buttons: the router applies or refuses each, and emits its result."""

from datetime import timedelta

from schemas.events.routes import ActionResolved, LeadAssigned, LeadRecycled, LeadReleased, TouchApplied
from services.router import commands
from tests.unit.router.harness import RouterHarness, rep, sales, team


def results(harness: RouterHarness) -> list[ActionResolved]:
    """Return the results of the requests, in order."""
    return harness.events_of(ActionResolved)


# --- change of owner ----------------------------------------------------------------------------------------------


def test_reassignment_goes_to_a_rep_and_the_next_to_the_manager(harness: RouterHarness) -> None:
    harness.submit_form("l1")
    harness.request_action("reassign", "l1", 1, "system", reason="no touch")
    assert (harness.lead("l1").owner, harness.events_of(LeadReleased)[0].kind) == ("bo", "reassign")
    harness.request_action("reassign", "l1", 2, "system", reason="no touch")
    assert harness.lead("l1").owner == "max"
    decision = harness.decisions("l1")[-1]
    assert (decision["why"], decision["pool"]) == ("the manager owns it", None)
    assert [event.reassignments for event in harness.events_of(LeadAssigned)] == [0, 1, 2]
    harness.request_action("reassign", "l1", 3, "system", reason="no touch")
    assert harness.lead("l1").owner == "max"
    assert [result.outcome for result in results(harness)] == ["applied", "applied", "refused"]
    assert "no other rep can take the lead" in (results(harness)[-1].why or "")


def test_reassignment_without_another_rep_goes_to_the_manager(harness: RouterHarness) -> None:
    harness.configure(team(rep("ana"), pools={"all": {"ana": 1}}))
    harness.submit_form("l1")
    harness.request_action("reassign", "l1", 1, "system")
    assert harness.lead("l1").owner == "max"


def test_reassignment_without_rep_or_manager_leaves_the_owner(harness: RouterHarness) -> None:
    harness.configure(team(rep("ana", manager=None), pools={"all": {"ana": 1}}))
    harness.submit_form("l1")
    harness.request_action("reassign", "l1", 1, "system")
    assert (harness.lead("l1").owner, harness.lead("l1").state.reassignments) == ("ana", 0)
    assert results(harness)[-1].outcome == "refused"


def test_touched_lead_and_ended_assignment_are_not_reassigned(harness: RouterHarness) -> None:
    harness.submit_form("l1", "l2")
    harness.record_touch("l1")
    harness.run_command(commands.reject, "l2", "no-time", sales("bo"))
    harness.request_action("reassign", "l1", 1, "system")
    harness.request_action("reassign", "l2", 1, "system")
    assert [result.outcome for result in results(harness)] == ["refused", "refused"]
    assert harness.owners("l1", "l2") == ["ana", "cy"]


# --- buttons ------------------------------------------------------------------------------------------------------


def test_every_button_request_has_a_result(harness: RouterHarness) -> None:
    harness.submit_form("l1", "l2")
    harness.request_action("accept", "l1", 1, "rep:ana")
    harness.request_action("accept", "l1", 1, "rep:ana")
    harness.request_action("accept", "l2", 1, "rep:ana")
    harness.request_action("accept", "l2", 1, "rep:max")
    harness.request_action("reject", "l2", 1, "rep:bo", reason="no-time")
    harness.request_action("touch", "l1", 7, "rep:ana", channel="phone", answered=True)
    harness.request_action("snooze", "l1", 1, "rep:ana")
    harness.request_action("accept", "unknown", 1, "rep:ana")
    assert [result.outcome for result in results(harness)] == [
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
    harness.submit_form("l1")
    harness.request_action("reject", "l1", 1, "rep:ana", reason="no-time")
    harness.request_action("reject", "l1", 1, "rep:ana", reason="no-time")
    assert [result.outcome for result in results(harness)] == ["applied", "applied"]
    assert (harness.lead("l1").owner, harness.lead("l1").epoch) == ("bo", 2)


def test_button_sets_a_rep_away(harness: RouterHarness) -> None:
    harness.submit_form("l1")
    harness.request_action("away", "l1", 1, "rep:ana", until=harness.clock.now + timedelta(hours=1))
    harness.submit_form("l2", "l3", "l4")
    assert harness.owners("l1", "l2", "l3", "l4") == ["ana", "bo", "cy", "bo"]


def test_owner_hands_a_lead_over_to_a_rep_who_can_take_it(harness: RouterHarness) -> None:
    harness.submit_form("l1")
    harness.request_action("away", "l1", 1, "rep:cy")
    harness.request_action("hand_over", "l1", 1, "rep:ana", rep="cy")
    harness.request_action("hand_over", "l1", 1, "rep:bo", rep="bo")
    harness.request_action("hand_over", "l1", 1, "rep:ana", rep="nobody")
    harness.request_action("hand_over", "l1", 1, "rep:ana", rep="bo", note="speaks French")
    harness.request_action("hand_over", "l1", 1, "rep:ana", rep="bo")
    harness.request_action("hand_over", "l1", 1, "rep:ana", rep="ana")
    assert [result.outcome for result in results(harness)[1:]] == ["refused"] * 3 + ["applied"] * 2 + ["refused"]
    assert "cy cannot take the lead: away" in (results(harness)[1].why or "")
    assert (harness.lead("l1").owner, harness.lead("l1").epoch) == ("bo", 2)
    assert [(event.rep, event.reason) for event in harness.events_of(LeadAssigned)][1:] == [("bo", "speaks French")]


def test_cover_takes_a_lead_over_without_being_its_manager(harness: RouterHarness) -> None:
    harness.submit_form("l1")
    harness.request_action("hand_over", "l1", 1, "rep:cy", rep="cy", cover=True)
    assert harness.lead("l1").owner == "cy"


def test_cover_who_is_away_or_at_capacity_gets_the_lead_that_they_accept(harness: RouterHarness) -> None:
    harness.submit_form("l1")
    harness.request_action("away", "l1", 1, "rep:cy")
    harness.request_action("hand_over", "l1", 1, "rep:cy", rep="cy", cover=True)
    assert harness.lead("l1").owner == "cy"


def test_note_of_a_rejection_and_of_a_touch_is_kept(harness: RouterHarness) -> None:
    harness.submit_form("l1", "l2", "l3")
    harness.request_action("reject", "l1", 1, "rep:ana", reason="no-time", note="on a train")
    harness.request_action("reject", "l2", 1, "rep:bo", reason="not-now", note="asks for autumn")
    harness.request_action("touch", "l3", 1, "rep:cy", note="voicemail")
    assert [event.note for event in harness.events_of(LeadReleased)] == ["on a train"]
    assert [event.note for event in harness.events_of(LeadRecycled)] == ["asks for autumn"]
    assert [event.note for event in harness.events_of(TouchApplied)] == ["voicemail"]
