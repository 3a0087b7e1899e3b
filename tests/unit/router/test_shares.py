"""The share of a pool's places that the leads of one source may take."""

from collections import Counter
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.router import commands
from services.router.domain.decision import Inputs, replay
from services.router.domain.lead import BEHIND
from tests.unit.router.harness import MANAGER, RouterHarness, rep, sales, team

POOL = team(rep("ana", capacity={"open": 3}), rep("bo", capacity={"open": 3}), pools={"all": {"ana": 1, "bo": 1}})
WHY = "share of website: its leads have 3 of the 6 places of all, by `share_of_pool`"


def website(share: float) -> list[dict[str, Any]]:
    return [{"id": "website", "kind": "form", "forms": ["demo-request"], "quota": {"share_of_pool": share}}]


def flood(harness: RouterHarness, number: int, first: int = 0) -> list[str]:
    """Handle a request of each lead in a unit of its own."""
    leads = [f"f{n}" for n in range(first, first + number)]
    for lead in leads:
        harness.submit_form(lead)
    return leads


def owned(harness: RouterHarness, leads: list[str]) -> int:
    return sum(owner is not None for owner in harness.owners(*leads))


def test_source_takes_its_share_and_further_leads_wait_and_say_why(harness: RouterHarness) -> None:
    harness.configure(POOL, website(0.5))
    leads = flood(harness, 6)
    assert owned(harness, leads) == 3
    waiting = harness.lead("f5")
    assert (waiting.queue_pool, waiting.queue_reason, waiting.urgency_rank) == ("all", WHY, BEHIND)
    [decision] = harness.decisions("f5")
    assert (decision["chosen"], decision["why"], decision["considered"]) == (None, WHY, [])
    assert decision["rules"][0]["why"] == WHY
    assert replay(msgspec.convert(decision["inputs"], Inputs, strict=False)) is None


def test_one_batch_takes_the_same_share_as_single_units(harness: RouterHarness) -> None:
    harness.configure(POOL, website(0.5))
    harness.submit_form(*(f"f{n}" for n in range(6)))
    assert owned(harness, [f"f{n}" for n in range(6)]) == 3


def test_leads_of_other_sources_pass_those_beyond_the_share(harness: RouterHarness) -> None:
    harness.configure(POOL, website(0.5))
    leads = flood(harness, 300)
    for n in range(4):
        harness.submit_form(f"real{n}", source="fair")
    assert harness.owners(*(f"real{n}" for n in range(3))) != [None] * 3
    assert harness.lead("real3").queue_reason == "all 2 at capacity"

    first = harness.lead("f0")
    harness.run_command(commands.accept, "f0", sales(first.owner))
    harness.run_command(commands.recycle, "f0", "stalled", sales(first.owner))
    while harness.serve_queue() is not None:
        pass
    assert harness.lead("real3").owner is not None  # though it came after all others
    assert owned(harness, leads) == 2


def test_freed_place_of_the_share_goes_to_the_next_lead_of_the_source(harness: RouterHarness) -> None:
    harness.configure(POOL, website(0.5))
    leads = flood(harness, 6)
    owner = harness.lead("f0").owner
    harness.run_command(commands.accept, "f0", sales(owner))
    harness.run_command(commands.recycle, "f0", "stalled", sales(owner))
    harness.serve_queue()
    assert owned(harness, leads[1:]) == 3
    assert harness.lead("f3").urgency_rank == 0


def test_missed_clock_moves_a_lead_on_within_the_share(harness: RouterHarness) -> None:
    harness.configure(POOL, website(0.5))
    flood(harness, 4)
    before = harness.lead("f0")
    harness.request_action("reassign", "f0", before.epoch, "system", reason="no touch was recorded", told=True)
    assert harness.lead("f0").owner not in (None, "max", before.owner)


@pytest.mark.parametrize(("share", "places"), [(0.01, 1), (0.5, 3), (1.0, 6)], ids=["least", "half", "all"])
def test_share_rounds_down_and_is_one_lead_at_least(harness: RouterHarness, share: float, places: int) -> None:
    harness.configure(POOL, website(share))
    leads = flood(harness, 8)
    assert owned(harness, leads) == places


def test_share_of_one_waits_for_capacity_as_any_lead(harness: RouterHarness) -> None:
    harness.configure(POOL, website(1.0))
    flood(harness, 7)
    assert (harness.lead("f6").queue_reason, harness.lead("f6").urgency_rank) == ("all 2 at capacity", 0)


def test_pool_without_limits_is_not_limited_and_an_empty_one_says_so(harness: RouterHarness) -> None:
    open_team = team(rep("ana"), rep("bo", capacity={"open": 1}), pools={"all": {"ana": 1, "bo": 1}})
    harness.configure(open_team, website(0.1))
    assert owned(harness, flood(harness, 9)) == 9
    gone = [rep(id, capacity={"open": 3}, active=False) for id in ("ana", "bo")]
    harness.configure(team(*gone, pools={"all": {"ana": 1, "bo": 1}}), website(0.1))
    harness.submit_form("late")
    assert harness.lead("late").queue_reason == "all 2 deactivated"


def test_places_are_those_of_the_available_members(harness: RouterHarness) -> None:
    harness.configure(POOL, website(0.5))
    harness.run_command(commands.availability, "bo", "away", None, sales("bo"))
    assert owned(harness, flood(harness, 4)) == 1


def test_lead_beyond_the_share_goes_to_a_later_pool(harness: RouterHarness) -> None:
    rules = {"rules": [{"name": "first", "pool": "all"}, {"name": "second", "pool": "spare"}]}
    people = (rep("ana", capacity={"open": 2}), rep("bo", capacity={"open": 2}))
    harness.configure(team(*people, pools={"all": {"ana": 1}, "spare": {"bo": 1}}), website(0.5), routing=rules)
    assert harness.owners(*flood(harness, 3)) == ["ana", "bo", None]
    assert harness.lead("f2").queue_pool == "all"


def test_changed_share_takes_effect_on_leads_that_wait_and_on_open_ones(harness: RouterHarness) -> None:
    harness.configure(POOL, website(0.5))
    leads = flood(harness, 8)
    harness.configure(POOL, website(0.7))
    harness.serve_queue()
    assert owned(harness, leads) == 4
    harness.configure(POOL, website(0.2))
    harness.serve_queue()
    assert owned(harness, leads) == 4
    assert harness.lead("f7").queue_reason.startswith("share of website: its leads have 1 of the 6")
    harness.configure(POOL)
    harness.serve_queue()
    assert owned(harness, leads) == 6
    assert (harness.lead("f7").queue_reason, harness.lead("f7").urgency_rank) == ("all 2 at capacity", 0)


def test_lead_beyond_the_share_is_assigned_by_hand_and_counts(harness: RouterHarness) -> None:
    harness.configure(POOL, website(0.5))
    leads = flood(harness, 5)
    harness.run_command(commands.assign, "f4", "ana", "known", False, MANAGER)
    assert owned(harness, leads) == 4
    harness.submit_form("f9")
    assert harness.lead("f9").owner is None


def test_lead_that_opts_out_while_behind_has_its_own_rank_again(harness: RouterHarness) -> None:
    harness.configure(POOL, website(0.5))
    flood(harness, 4)
    harness.run_command(commands.opt_out, "f3", "asked", MANAGER)
    assert (harness.lead("f3").queue_pool, harness.lead("f3").urgency_rank) == (None, 0)


@given(
    capacities=st.lists(st.integers(1, 5), min_size=1, max_size=5),
    share=st.floats(0.01, 0.99),
    order=st.lists(st.booleans(), max_size=30),
)
def test_source_never_has_more_than_its_share_and_never_less_than_it_can(
    tmp_path_factory: pytest.TempPathFactory, capacities: list[int], share: float, order: list[bool]
) -> None:
    people = [rep(f"r{n}", capacity={"open": capacity}) for n, capacity in enumerate(capacities)]
    crew = team(*people, pools={"all": {f"r{n}": 1 for n in range(len(capacities))}})
    harness = RouterHarness(tmp_path_factory.mktemp("shares") / "r.db")
    harness.configure(crew, website(share))
    for n, is_flood in enumerate(order):
        harness.submit_form(f"l{n}", source="website" if is_flood else "fair")
        harness.serve_queue()
    taken = Counter(row.source for row in harness.rows("SELECT source FROM router_leads WHERE owner IS NOT NULL"))
    limit = max(1, int(share * sum(capacities)))
    wanted = sum(order)
    assert taken["website"] <= min(wanted, limit)
    free = sum(capacities) - sum(taken.values())
    assert not free or taken["website"] == min(wanted, limit)
    assert not free or taken["fair"] == len(order) - wanted
    harness.close()
