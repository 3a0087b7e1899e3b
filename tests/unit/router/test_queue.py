"""Leads that wait for capacity: their order, their reasons, and their assignment."""

from datetime import timedelta

import msgspec
import pytest

from schemas.events.leads import ConsentChanged
from schemas.events.routes import LeadQueued
from services.router import commands, queue
from tests.unit.router.harness import HAND_RAISER, SMALL, RouterHarness, rep, sales, team


def test_lead_without_an_eligible_rep_waits_with_a_reason(harness: RouterHarness) -> None:
    harness.configure(SMALL)
    harness.submit_form("l1", "l2", "l3")
    assert harness.owners("l1", "l2", "l3") == ["ana", "bo", None]
    queued = harness.events_of(LeadQueued)[0]
    assert (queued.pool, queued.reason, queued.urgency) == ("all", "all 2 at capacity", "hot")


def test_free_capacity_goes_to_the_hottest_then_oldest_waiting_lead(harness: RouterHarness) -> None:
    harness.configure(SMALL)
    harness.submit_form("l1", "l2")
    harness.hear(harness.score_event("warm", msgspec.structs.replace(HAND_RAISER, urgency="warm")))
    harness.wait(minutes=1)
    harness.submit_form("hot1")
    harness.wait(minutes=1)
    harness.submit_form("hot2")
    harness.run_command(commands.reject, "l1", "not-now", sales("ana"))
    assert "router.queue" in harness.woken
    harness.serve_queue()
    assert harness.owners("hot1", "hot2", "warm") == ["ana", None, None]
    harness.set_consent("l2", False)
    harness.set_consent("hot1", False)
    harness.serve_queue()
    assert None not in harness.owners("hot2", "warm")


def test_new_lead_leaves_free_capacity_to_a_waiting_lead(harness: RouterHarness) -> None:
    harness.configure(SMALL)
    harness.submit_form("l1", "l2", "waiting")
    harness.run_command(commands.reject, "l1", "not-now", sales("ana"))
    harness.submit_form("new")  # before the tick of the queue
    assert harness.owners("waiting", "new") == ["ana", None]


def test_capacity_freed_within_a_batch_goes_to_a_waiting_lead(harness: RouterHarness) -> None:
    harness.configure(SMALL)
    harness.submit_form("l1", "l2", "waiting")
    harness.wait(minutes=1)
    opt_out = ConsentChanged(lead_id="l1", at=harness.clock.now, given=False, reason="asked", event_id="e1")
    harness.hear(opt_out, harness.score_event("new", HAND_RAISER))
    assert harness.lead("new").queue_reason == "other leads are before it in the queue"
    harness.serve_queue()
    assert harness.owners("waiting", "new") == ["ana", None]


def test_shared_rep_serves_the_waiting_lead_of_either_pool_first(harness: RouterHarness) -> None:
    harness.configure(
        team(rep("ana", capacity={"open": 1}), pools={"small": {"ana": 1}, "all": {"ana": 1}}),
        routing={"rules": [{"name": "s", "when": {"country": "CH"}, "pool": "small"}, {"name": "e", "pool": "all"}]},
    )
    harness.submit_form("l1")
    harness.submit_form("swiss", facts={"country": "CH"})
    harness.set_consent("l1", False)
    harness.submit_form("new")
    assert harness.owners("swiss", "new") == ["ana", None]


def test_leads_for_an_unspoken_language_do_not_block_the_queue(
    harness: RouterHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More leads wait for a language that no rep speaks than a unit reads. Leads after them are still served."""
    monkeypatch.setattr("services.router.ticks.SERVED_MAX", 5)
    monkeypatch.setattr(queue, "SERVED_MAX", 5)
    harness.configure(
        team(rep("ana", languages=["en"]), pools={"all": {"ana": 1}}),
        routing={
            "rules": [
                {"name": "fr", "when": {"language": "fr"}, "pool": "all", "require": {"languages": "fr"}},
                {"name": "e", "when": {"not": {"language": "fr"}}, "pool": "all"},
            ]
        },
    )
    for n in range(12):
        harness.submit_form(f"fr{n:02}", facts={"language": "fr"})
    harness.wait(minutes=1)
    harness.submit_form("english")
    assert harness.lead("english").queue_reason == "other leads are before it in the queue"
    while harness.serve_queue() is not None:
        pass
    assert harness.owners("english", "fr00") == ["ana", None]
    assert harness.lead("fr00").queue_reason == "the only rep: does not speak fr"


def test_capacity_freed_during_a_round_goes_to_the_head_of_the_queue(
    harness: RouterHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten leads wait for bo, who speaks French and is at capacity. The capacity of ana keeps the round going."""
    monkeypatch.setattr("services.router.ticks.SERVED_MAX", 4)
    monkeypatch.setattr(queue, "SERVED_MAX", 4)
    harness.configure(
        team(
            rep("ana", languages=["en"]),
            rep("bo", languages=["fr"], capacity={"open": 1}),
            pools={"all": {"ana": 1, "bo": 1}},
        ),
        routing={"rules": [{"name": "fr", "pool": "all", "require": {"languages": "fr"}}]},
    )
    harness.submit_form("owned")
    waiting = [f"fr{n:02}" for n in range(10)]
    for lead in waiting:
        harness.wait(seconds=1)
        harness.submit_form(lead)
    assert harness.serve_queue() is not None
    harness.set_consent("owned", False)
    while harness.serve_queue() is not None:
        pass
    assert harness.owners(*waiting) == ["bo", *[None] * 9]


def test_queue_tick_without_an_assignment_emits_nothing(harness: RouterHarness) -> None:
    harness.serve_queue()
    harness.configure(SMALL)
    harness.submit_form("l1", "l2", "l3")
    count = len(harness.events)
    assert harness.serve_queue() is None
    assert len(harness.events) == count


def test_lead_without_a_matching_rule_waits_for_a_new_agreement(harness: RouterHarness) -> None:
    harness.configure(routing={"rules": [{"name": "swiss", "when": {"country": "CH"}, "pool": "all"}]})
    harness.submit_form("l1")
    assert (harness.lead("l1").queue_pool, harness.lead("l1").queue_reason) == ("", "no routing rule matches")
    harness.configure()
    harness.serve_queue()
    assert harness.lead("l1").owner == "ana"


def test_backlog_of_one_batch_is_served_by_urgency_then_submit(
    harness: RouterHarness,
) -> None:
    harness.configure(SMALL)
    harness.submit_form("x1", "x2")
    warm = msgspec.structs.replace(HAND_RAISER, urgency="warm")
    ages = {"b": 3, "a": 1, "d": 5, "c": 2, "warm": 9}
    harness.hear(
        *(
            harness.score_event(
                lead, warm if lead == "warm" else HAND_RAISER, at=harness.clock.now - timedelta(minutes=age)
            )
            for lead, age in ages.items()
        )
    )
    served = []
    for gone in ("x1", "x2", "d", "b", "c"):
        before = set(ages) - {lead for lead in ages if harness.lead(lead).owner}
        harness.set_consent(gone, False)
        harness.serve_queue()
        served += [lead for lead in before if harness.lead(lead).owner]
    assert served == ["d", "b", "c", "a", "warm"]
