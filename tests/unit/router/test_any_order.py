"""Any sequence of events and actions: one owner per lead, no rep above capacity, only transitions of the table."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from firsthour.runtime.http.principal import Principal
from firsthour.runtime.http.problem import Problem
from schemas.events.base import Facts
from schemas.events.leads import MatchedLine
from schemas.events.routes import LeadAssigned
from services.router import commands
from tests.examples import examples
from tests.unit.router.harness import BY_SCORE, HAND_RAISER, MANAGER, RouterHarness, rep, sales, team

pytestmark = pytest.mark.slow

LEADS = st.sampled_from([f"l{n}" for n in range(7)])
REPS = st.sampled_from(["ana", "bo", "cy"])
CAPACITY = {"ana": 1, "bo": 2, "cy": 1}


def people(*gone: str) -> dict[str, object]:
    """Return a team of three reps. Two pools share one of them."""
    reps = (rep(id, capacity={"open": limit}, active=id not in gone) for id, limit in CAPACITY.items())
    return team(*reps, pools={"all": {"ana": 2, "bo": 1}, "swiss": {"bo": 1, "cy": 3}})


ROUTES = {
    "rules": [{"name": "swiss", "when": {"country": "CH"}, "pool": "swiss"}, {"name": "rest", "pool": "all"}],
    "never_back_to_same_rep_for": "1h",
}


class RouterMachine(RuleBasedStateMachine):
    """Random events, actions and commands on a few leads and a small team."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.TemporaryDirectory()
        self.harness = RouterHarness(Path(self.directory.name) / "x.db")
        self.harness.configure(people(), routing=ROUTES)

    def teardown(self) -> None:
        self.harness.close()
        self.directory.cleanup()

    @rule(
        leads=st.lists(LEADS, min_size=1, max_size=4), swiss=st.booleans(), met=st.sampled_from([HAND_RAISER, BY_SCORE])
    )
    def score(self, leads: list[str], swiss: bool, met: MatchedLine) -> None:
        facts: Facts = {"country": "CH"} if swiss else {}
        self.harness.hear(*(self.harness.score_event(lead, met, facts=facts) for lead in leads))

    @rule(lead=LEADS, answered=st.booleans())
    def touch(self, lead: str, answered: bool) -> None:
        self.harness.record_touch(lead, answered=answered)

    @rule(lead=LEADS, given=st.booleans())
    def consent(self, lead: str, given: bool) -> None:
        self.harness.set_consent(lead, given)

    @rule(lead=LEADS, stage=st.sampled_from(["open", "won", "lost"]))
    def deal(self, lead: str, stage: str) -> None:
        self.harness.move_deal(lead, stage)

    @rule(
        lead=LEADS,
        rep=REPS,
        action=st.sampled_from(["accept", "reject"]),
        reason=st.sampled_from(["no-time", "not-now"]),
    )
    def press(self, lead: str, rep: str, action: str, reason: str) -> None:
        self.harness.request_action(action, lead, self._epoch(lead), f"rep:{rep}", reason=reason)

    @rule(lead=LEADS, late=st.integers(0, 1))
    def miss_the_clock(self, lead: str, late: int) -> None:
        self.harness.request_action("reassign", lead, self._epoch(lead) - late, "system")

    def _epoch(self, lead: str) -> int:
        rows = self.harness.rows(f"SELECT epoch FROM router_leads WHERE lead_id = '{lead}'")
        return int(rows[0][0]) if rows else 0

    @rule(lead=LEADS, rep=REPS, principal=st.sampled_from([MANAGER, sales("ana"), sales("bo")]))
    def command(self, lead: str, rep: str, principal: Principal) -> None:
        for command, args in (
            (commands.recycle, (lead, "stalled", principal)),
            (commands.assign, (lead, rep, None, False, principal)),
        ):
            try:
                self.harness.run_command(command, *args)
            except Problem as refused:
                assert refused.status in {403, 404, 409}

    @rule(rep=REPS, state=st.sampled_from(["available", "away"]))
    def come_and_go(self, rep: str, state: str) -> None:
        try:
            self.harness.run_command(commands.availability, rep, state, None, MANAGER)
        except Problem as refused:
            assert refused.status == 409

    @rule(gone=st.sets(REPS, max_size=2))
    def change_the_team(self, gone: set[str]) -> None:
        self.harness.configure(people(*gone), routing=ROUTES)
        self.harness.watch_team()

    @rule(minutes=st.integers(1, 90))
    def time_passes(self, minutes: int) -> None:
        self.harness.wait(minutes=minutes)
        self.harness.watch_team()
        self.harness.serve_queue()

    @invariant()
    def invariants_hold(self) -> None:
        self.harness.check_invariants()
        for row in self.harness.rows("SELECT rep, open FROM router_reps"):
            assert row.open <= CAPACITY.get(row.rep, 99)
        for row in self.harness.rows("SELECT status, owner, queue_pool, queue_reason FROM router_leads"):
            assert (row.queue_pool is None) == (row.queue_reason is None)
            assert (row.status == "qualified") == (row.queue_pool is not None)
            assert (row.owner is None) or row.status not in {"qualified", "nurturing", "opted-out", "new"}
        published = {(event.lead_id, event.epoch) for event in self.harness.events_of(LeadAssigned)}
        stored = {
            (row.lead_id, row.epoch) for row in self.harness.rows("SELECT lead_id, epoch FROM router_assignments")
        }
        assert published == stored


RouterMachine.TestCase.settings = settings(max_examples=examples(25), stateful_step_count=30, deadline=None)
TestLife = RouterMachine.TestCase
