"""The choice of a rep by rules, pools and turns, and the stored decision."""

from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from schemas.events.base import Facts
from services.router import commands
from services.router.domain.decision import Inputs, replay
from services.router.domain.turns import SCALE
from tests.unit.router.harness import RouterHarness, rep, sales, team


def test_account_owner_gets_the_lead_and_the_pool_while_at_capacity(harness: RouterHarness) -> None:
    harness.configure(
        team(
            rep("ana"),
            rep("bo", capacity={"open": 1}),
            pools={"all": {"ana": 1}},
            accounts=[{"domain": "big.example", "owner": "bo"}],
        ),
        routing={
            "rules": [
                {"name": "account", "when": {"account.owner": {"exists": True}}, "to": "account.owner"},
                {"name": "everyone", "pool": "all"},
            ]
        },
    )
    harness.submit_form("l1", "l2", facts={"company.domain": "big.example"})
    assert harness.owners("l1", "l2") == ["bo", "ana"]
    considered = harness.decisions("l2")[0]["considered"]
    assert [(one["rep"], one["ruled_out_by"]) for one in considered] == [
        ("bo", "at capacity: 1 of 1 open"),
        ("ana", None),
    ]


def test_returning_lead_goes_to_its_previous_owner_within_the_limit(harness: RouterHarness) -> None:
    rules = [
        {"name": "back", "when": {"previous_owner": {"exists": True}}, "to": "previous_owner", "within": "90d"},
        {"name": "everyone", "pool": "all"},
    ]
    harness.configure(routing={"rules": rules})
    harness.submit_form("l0", "l1")
    harness.run_command(commands.accept, "l1", sales("bo"))
    harness.run_command(commands.recycle, "l1", "stalled", sales("bo"))
    harness.wait(days=10)
    harness.submit_form("l1")
    assert harness.lead("l1").owner == "bo"
    harness.run_command(commands.accept, "l1", sales("bo"))
    harness.run_command(commands.recycle, "l1", "stalled", sales("bo"))
    harness.wait(days=91)
    harness.submit_form("l1")
    assert harness.decisions("l1")[-1]["considered"][0]["ruled_out_by"].startswith("had the lead too long ago")
    assert harness.decisions("l1")[-1]["rule"] == "everyone"


# --- absence and partial eligibility ----------------------------------------------------------------------------------


ALL = {"ana": 1, "bo": 1, "cy": 1}
WITHOUT: dict[str, Mapping[str, Any]] = {
    "taken out of the pool": team(rep("ana"), rep("bo"), rep("cy"), pools={"all": {"ana": 1, "bo": 1}}),
    "taken out of the file": team(rep("ana"), rep("bo"), pools={"all": {"ana": 1, "bo": 1}}),
    "inactive": team(rep("ana"), rep("bo"), rep("cy", active=False), pools={"all": ALL}),
    "planned absence": team(
        rep("ana"), rep("bo"), rep("cy", away=[{"from": "2026-11-01", "to": "2026-12-31"}]), pools={"all": ALL}
    ),
    "at capacity": team(rep("ana"), rep("bo"), rep("cy", capacity={"open": 2}), pools={"all": ALL}),
    "another weight": team(rep("ana"), rep("bo"), rep("cy"), pools={"all": {"ana": 20, "bo": 20, "cy": 1}}),
    "another name of the pool": team(rep("ana"), rep("bo"), rep("cy"), pools={"every": {"ana": 1, "bo": 1}}),
}


@pytest.mark.parametrize("absence", WITHOUT)
def test_member_who_comes_back_gets_no_arrears(harness: RouterHarness, absence: str) -> None:
    harness.configure(team(rep("ana"), rep("bo"), rep("cy"), pools={"all": ALL}))
    harness.submit_form(*(f"a{n}" for n in range(7)))
    pool = WITHOUT[absence]["pools"][0]["id"]
    harness.configure(WITHOUT[absence], routing={"rules": [{"name": "everyone", "pool": pool}]})
    harness.submit_form(*(f"b{n}" for n in range(40)))
    harness.configure(team(rep("ana"), rep("bo"), rep("cy"), pools={"all": ALL}))
    back = [f"c{n}" for n in range(12)]
    harness.submit_form(*back)
    assert 3 <= harness.owners(*back).count("cy") <= 5
    assert harness.owners(*back[:4]).count("cy") <= 2


def test_partly_eligible_member_stays_within_one_lead_of_their_share(harness: RouterHarness) -> None:
    """cy speaks no French and gets a third of the English leads. Leads that cy cannot take must not count as turns of cy."""
    harness.configure(
        team(
            rep("ana", languages=["fr", "en"]),
            rep("bo", languages=["fr", "en"]),
            rep("cy", languages=["en"]),
            pools={"all": ALL},
        ),
        routing={
            "rules": [
                {"name": "fr", "when": {"language": "fr"}, "pool": "all", "require": {"languages": "fr"}},
                {"name": "rest", "when": {"not": {"language": "fr"}}, "pool": "all"},
            ]
        },
    )
    english = []
    for n in range(60):
        lead = f"l{n:02}"
        harness.submit_form(lead, facts={"language": "en" if n % 3 == 0 else "fr"})
        english += [lead] if n % 3 == 0 else []
        owners = harness.owners(*english)
        assert abs(owners.count("cy") - len(english) / 3) < 1


# --- rules that match and find no rep ------------------------------------------------------------------------------


TWO_POOLS = {"rules": [{"name": "near", "when": {"country": "CH"}, "pool": "swiss"}, {"name": "all", "pool": "all"}]}
SWISS: Facts = {"country": "CH"}


def two_pools(harness: RouterHarness) -> None:
    """Configure two pools: ana takes one Swiss lead, bo takes one lead of any country."""
    small = {"capacity": {"open": 1}}
    harness.configure(
        team(rep("ana", **small), rep("bo", **small), pools={"swiss": {"ana": 1}, "all": {"bo": 1}}), routing=TWO_POOLS
    )


def test_rule_without_an_eligible_rep_passes_the_lead_to_the_next_rule(harness: RouterHarness) -> None:
    two_pools(harness)
    harness.submit_form("l1", facts=SWISS)
    harness.submit_form("l2", facts=SWISS)
    assert harness.owners("l1", "l2") == ["ana", "bo"]
    (decision,) = harness.decisions("l2")
    assert (decision["rule"], decision["pool"]) == ("all", "all")
    assert [(one["rule"], one["pool"], one["rep"], one["why"]) for one in decision["rules"]] == [
        ("near", "swiss", None, "the only rep: at capacity"),
        ("all", "all", "bo", "next in turn in all: 1 of 1 could take the lead"),
    ]
    assert [(one["rep"], one["eligible"]) for one in decision["considered"]] == [("ana", False), ("bo", True)]


def test_lead_waits_in_the_first_pool_and_is_served_by_any_matching_pool(
    harness: RouterHarness,
) -> None:
    two_pools(harness)
    for lead in ("l1", "l2", "l3", "l4"):
        harness.submit_form(lead, facts=SWISS)
    waiting = harness.lead("l3")
    assert (waiting.queue_pool, waiting.queue_reason) == (
        "swiss",
        "swiss: the only rep: at capacity; all: the only rep: at capacity",
    )
    harness.set_consent("l2", False)
    harness.submit_form("new")  # bo has capacity, and l3 waits in another pool
    assert harness.owners("l3", "new") == ["bo", None]
    harness.set_consent("l1", False)
    harness.serve_queue()
    assert harness.owners("l4", "new") == ["ana", None]


def test_rule_that_names_an_absent_rep_is_followed_by_the_next(harness: RouterHarness) -> None:
    owner = {"name": "owner", "to": "account.owner", "when": {"account.owner": {"exists": True}}}
    accounts = [{"domain": "p.example", "owner": "ana"}]
    people = team(rep("ana"), rep("bo"), pools={"all": {"bo": 1}}, accounts=accounts)
    harness.configure(people, routing={"rules": [owner, {"name": "all", "pool": "all"}]})
    harness.run_command(commands.availability, "ana", "away", None, sales("ana"))
    harness.submit_form("l1", facts={"email.domain": "p.example"})
    assert harness.lead("l1").owner == "bo"
    harness.configure(people, routing={"rules": [owner]})
    harness.submit_form("l2", facts={"email.domain": "p.example"})
    lead = harness.lead("l2")
    assert (lead.queue_pool, lead.queue_reason) == ("", "no rule with a pool matches; owner: the only rep: away")


# --- decisions ----------------------------------------------------------------------------------------------------


def test_replayed_decision_gives_the_same_rep_without_personal_data(harness: RouterHarness) -> None:
    harness.configure(
        team(rep("ana", capacity={"open": 2}, languages=["de"]), rep("bo"), pools={"all": {"ana": 3, "bo": 1}}),
        routing={
            "rules": [
                {"name": "named", "when": {"name": "Name unknown"}, "pool": "all"},
                {"name": "de", "when": {"language": "de"}, "pool": "all", "require": {"languages": "de"}},
                {"name": "everyone", "when": {"email": {"exists": True}}, "pool": "all"},
            ]
        },
    )
    harness.submit_form("l1", "l2", "l3", facts={"language": "de"})
    harness.submit_form("l4", "l5")
    harness.run_command(commands.reject, "l1", "no-time", sales("ana"))
    harness.request_action("reassign", "l4", 1, "system")
    decisions = [decision for n in range(1, 6) for decision in harness.decisions(f"l{n}")]
    assert len(decisions) >= 7
    for decision in decisions:
        inputs = msgspec.convert(decision["inputs"], Inputs)
        assert replay(inputs) == decision["chosen"]
        assert all(one["eligible"] or one["ruled_out_by"] for one in decision["considered"])
    stored = str(harness.rows("SELECT body FROM router_decisions"))
    assert "Name l" not in stored
    assert "@" not in stored
    chosen = {(decision["epoch"], decision["chosen"]) for decision in harness.decisions("l1") if decision["chosen"]}
    assert chosen == {
        (row.epoch, row.rep) for row in harness.rows("SELECT * FROM router_assignments WHERE lead_id = 'l1'")
    }


def test_pool_of_an_older_release_keeps_its_turns(harness: RouterHarness) -> None:
    harness.configure(team(rep("ana"), rep("bo"), pools={"all": {"ana": 1, "bo": 1}}))
    harness.submit_form("l1")
    assert harness.owners("l1") == ["ana"]
    lags = f'{{"ana": {SCALE // 2}, "bo": {-SCALE // 2}}}'
    assert harness.rows(f"UPDATE router_pools SET lags = '{lags}' WHERE pool = 'all' RETURNING pool")
    harness.submit_form("l2")
    assert harness.owners("l2") == ["ana"]
    assert [seat["lag"] for seat in harness.decisions("l2")[0]["inputs"]["steps"][0]["seats"]] == [
        SCALE // 2,
        -SCALE // 2,
    ]
