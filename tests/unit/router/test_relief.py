"""The changes that would free waiting leads."""

from datetime import timedelta
from typing import Any

from firsthour.kernel.config import Config
from firsthour.kernel.time_units import micros
from schemas.agreement.agreement import Agreement
from schemas.sources import Sources
from schemas.team import Team
from services.router.domain.relief import Relief, reliefs
from services.router.domain.rules import RoutingRules, rules_of
from services.router.domain.team_state import Presence
from tests.hand_clock import HandClock
from tests.unit.router.harness import AGREEMENT, rep, team

NOW = HandClock().business()
AT_TWO = micros(NOW + timedelta(hours=5))


def rules(file: dict[str, Any]) -> RoutingRules:
    agreement, people = Agreement.model_validate(AGREEMENT), Team.model_validate(file)
    return rules_of(Config(agreement, people, Sources(), str(file)))


def small(*capacities: int | None) -> RoutingRules:
    """Return the rules of a pool of ana, bo and cy with these capacities. None: no limit."""
    names = ("ana", "bo", "cy")[: len(capacities)]
    reps = [rep(name, **({"capacity": {"open": n}} if n else {})) for name, n in zip(names, capacities, strict=True)]
    return rules(team(*reps, pools={"all": dict.fromkeys(names, 1)}))


def away(until: int | None = None, open: int = 0) -> Presence:
    return Presence(open=open, state="away", until=until)


def changes(of: RoutingRules, waiting: int = 12, **presences: Presence) -> list[Relief]:
    return reliefs(of, presences, "all", waiting, micros(NOW))


def test_reps_who_come_back_together_are_one_change() -> None:
    found = changes(small(3, 5, 10), ana=away(AT_TWO, open=1), bo=away(AT_TWO), cy=away())
    assert found == [Relief("return", ("ana", "bo"), AT_TWO, 7), Relief("return", ("cy",), None, 10)]


def test_full_reps_take_one_more_lead_each() -> None:
    assert changes(small(2, 2), ana=Presence(open=2), bo=Presence(open=2)) == [
        Relief("capacity", ("ana", "bo"), None, 2)
    ]


def test_rep_far_beyond_capacity_frees_nothing_with_one_more_lead() -> None:
    assert changes(small(2, 2), ana=Presence(open=4), bo=Presence(open=2)) == [
        Relief("capacity", ("ana", "bo"), None, 1)
    ]


def test_no_change_frees_more_leads_than_wait() -> None:
    assert changes(small(None, None), 4, ana=away(AT_TWO), bo=away()) == [
        Relief("return", ("ana",), AT_TWO, 4),
        Relief("return", ("bo",), None, 4),
    ]


def test_absent_rep_at_capacity_is_no_relief() -> None:
    assert changes(small(1, 5), ana=away(AT_TWO, open=1), bo=away()) == [Relief("return", ("bo",), None, 5)]


def test_rep_with_room_is_excluded_by_the_rules() -> None:
    assert changes(small(3)) == [Relief("rules", ("ana",))]


def test_pool_without_an_active_rep_says_so() -> None:
    assert changes(small(3), ana=Presence(state="deactivated")) == [Relief("members")]
