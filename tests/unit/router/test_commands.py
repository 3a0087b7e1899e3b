"""Assignment by hand over HTTP."""

import pytest

from firsthour.runtime.http.problem import Problem
from schemas.events.routes import LeadReleased
from services.router import commands
from tests.unit.router.harness import MANAGER, SMALL, RouterHarness, sales


def test_manager_assigns_a_waiting_lead_and_force_exceeds_capacity(harness: RouterHarness) -> None:
    harness.configure(SMALL)
    harness.submit_form("l1", "l2", "l3")
    with pytest.raises(Problem) as refused:
        harness.run_command(commands.assign, "l3", "ana", None, False, MANAGER)
    assert (refused.value.status, "at capacity" in refused.value.detail) == (409, True)
    assert harness.run_command(commands.assign, "l3", "ana", "she knows them", True, MANAGER)["owner"] == "ana"
    with pytest.raises(Problem) as unknown:
        harness.run_command(commands.assign, "l3", "zoe", None, True, MANAGER)
    assert unknown.value.status == 422


def test_owner_hands_over_only_their_own_lead(harness: RouterHarness) -> None:
    harness.submit_form("l1")
    with pytest.raises(Problem) as refused:
        harness.run_command(commands.assign, "l1", "bo", None, False, sales("bo"))
    assert refused.value.status == 403
    assert harness.run_command(commands.assign, "l1", "bo", "on holiday", False, sales("ana"))["owner"] == "bo"
    assert [event.kind for event in harness.events_of(LeadReleased)] == ["hand-over"]
    assert harness.run_command(commands.assign, "l1", "bo", None, False, MANAGER)["epoch"] == 2
