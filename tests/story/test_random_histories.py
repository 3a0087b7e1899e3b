"""Random histories: statuses follow the agreement, open leads are counted, and every invariant holds."""

import asyncio
import tempfile
from pathlib import Path
from typing import Any, ClassVar, Final

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from tests.backends import Backends
from tests.examples import examples
from tests.story.sample_config import reps
from tests.story.world import World

pytestmark = pytest.mark.slow

PEOPLE: Final = tuple(f"person{n}@prospect.example" for n in range(4))
REPS: Final = ("ana", "bo", "cy")
HANDED: Final = frozenset({"qualified", "assigned"})
"""Sales has the lead. Other tests cover whether a rep had room."""
OWNED: Final = frozenset({"assigned", "accepted", "working"})

people = st.sampled_from(PEOPLE)


class RandomHistory(RuleBasedStateMachine):
    """A world, and the statuses in which the agreement allows each person to be."""

    backends: ClassVar[Backends | None] = None

    def __init__(self) -> None:
        super().__init__()
        self.expected: dict[str, frozenset[str]] = {}
        self.last: dict[str, Any] | None = None
        self.directory = tempfile.TemporaryDirectory()
        self.runner = asyncio.Runner()
        self.world = World(Path(self.directory.name), backends=self.backends)
        team = reps(*({"id": rep, "capacity": {"open": 2}} for rep in REPS))
        self.run(self.world.open(team=team))

    def run(self, work: Any) -> Any:
        self.world.clock.advance(seconds=1)  # so that no two actions have the same time
        return self.runner.run(work)

    def teardown(self) -> None:
        try:
            self.world.slack.recover()
            self.run(self.world.wait(hours=6))
            self.run(self.world.verify())
        finally:
            self.run(self.world.close())
            self.runner.close()
            self.directory.cleanup()

    # --- prospects ------------------------------------------------------------------------------------------------------

    def expect(self, email: str, before: frozenset[str], after: frozenset[str]) -> None:
        """Replace the expected statuses by `after` if the person can only be in `before`."""
        if self.expected[email] <= before:
            self.expected[email] = after

    def add_person(self, email: str) -> None:
        self.expected.setdefault(email, frozenset({"new"}))

    @rule(email=people)
    def asks(self, email: str) -> None:
        self.last = self.world.event_body("form.submitted", email=email, form="demo-request")
        self.run(self.post(self.last))
        self.add_person(email)
        self.expect(email, frozenset({"new", "nurturing"}), HANDED)

    @rule(email=people)
    def looks_around(self, email: str) -> None:
        self.run(self.world.event("page.viewed", email=email, path="/pricing"))
        self.add_person(email)

    @precondition(lambda self: self.last is not None)
    @rule()
    def the_same_event_comes_again(self) -> None:
        self.run(self.post(self.last))

    async def post(self, event: Any) -> None:
        assert (await self.world.post_events(event)).status_code == 202
        await self.world.settle()

    @rule(email=people)
    def opts_out(self, email: str) -> None:
        self.run(self.world.event("consent.withdrawn", email=email))
        self.expected[email] = frozenset({"opted-out"})

    @rule(email=people)
    def consents_again(self, email: str) -> None:
        self.run(self.world.event("consent.given", email=email))
        self.add_person(email)
        self.expect(email, frozenset({"opted-out"}), frozenset({"nurturing"}))

    # --- owners ---------------------------------------------------------------------------------------------------------

    def owner(self, email: str) -> str | None:
        owner: str | None = self.run(self.world.owner_of(email)) if email in self.expected else None
        return owner

    @rule(email=people, answered=st.booleans())
    def is_touched(self, email: str, answered: bool) -> None:
        owner = self.owner(email)
        if owner:
            self.run(self.world.touch(email, by=owner, answered=answered))
            self.expected[email] = frozenset({"working"})

    @rule(email=people)
    def is_accepted(self, email: str) -> None:
        owner = self.owner(email)
        if owner:
            self.run(self.world.accept(email, by=owner))
            self.expect(email, HANDED, frozenset({"accepted"}))

    @rule(email=people, reason=st.sampled_from(["no-time", "not-now"]))
    def is_rejected(self, email: str, reason: str) -> None:
        owner = self.owner(email)
        if owner and self.expected[email] <= HANDED:
            self.run(self.world.reject(email, by=owner, reason=reason))
            self.expected[email] = HANDED if reason == "no-time" else frozenset({"nurturing"})
            assert self.owner(email) != owner

    @rule(email=people)
    def is_recycled(self, email: str) -> None:
        owner = self.owner(email)
        if owner and self.expected[email] <= {"accepted", "working"}:
            self.run(self.world.recycle(email, by=owner))
            self.expected[email] = frozenset({"nurturing"})

    @rule(rep=st.sampled_from(REPS))
    def goes_away(self, rep: str) -> None:
        self.run(self.world.is_away(rep, minutes=45))

    @rule(rep=st.sampled_from(REPS))
    def comes_back(self, rep: str) -> None:
        self.run(self.world.is_back(rep))

    # --- time and faults ---------------------------------------------------------------------------------------------

    @rule(minutes=st.sampled_from([1, 10, 31, 90]))
    def time_passes(self, minutes: int) -> None:
        self.run(self.world.wait(minutes=minutes))
        for email, expected in self.expected.items():
            if "accepted" in expected:
                self.expected[email] = HANDED | {"accepted"}  # a rung may have changed the owner

    @rule()
    def slack_goes_down(self) -> None:
        self.world.slack.drop(times=3)

    @rule()
    def the_process_is_restarted(self) -> None:
        self.run(self.world.restart())

    # --- invariants -----------------------------------------------------------------------------------------------------

    @invariant()
    def statuses_and_owners_are_as_expected(self) -> None:
        leads = {lead["email"]: lead for lead in self.run(self.world.leads())}
        assert leads.keys() == self.expected.keys()
        for email, lead in leads.items():
            assert lead["status"] in self.expected[email], email
            self.expected[email] = frozenset({lead["status"]}) if lead["status"] == "accepted" else self.expected[email]
            assert (lead["owner"] is not None) == (lead["status"] in OWNED)
            assert (lead["queue"] is not None) == (lead["status"] == "qualified")
        counted = {rep["id"]: rep["open"] for rep in self.run(self.world.get("/v1/reps"))["items"]}
        assert sum(counted.values()) == sum(lead["status"] in OWNED for lead in leads.values())
        assert all(counted[rep] <= 2 for rep in REPS)


@pytest.mark.both_profiles
def test_any_history_keeps_statuses_owners_and_invariants(profile: Backends | None) -> None:
    class HistoryOfProfile(RandomHistory):
        backends = profile

    histories, steps = (examples(20), 20) if profile is None else (max(2, examples(20) // 5), 15)
    history_settings = settings(
        max_examples=histories,
        stateful_step_count=steps,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(HistoryOfProfile, settings=history_settings)
