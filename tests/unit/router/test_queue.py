"""Leads that wait for capacity: their order, their reasons, and how they are served."""

from datetime import timedelta

import msgspec
import pytest

from schemas.events import (
    ConsentChanged,
    LeadQueued,
)
from services.router import commands, queue
from tests.unit.router.harness import HAND_RAISER, SMALL, RouterHarness, rep, sales, team


def test_lead_without_an_eligible_rep_waits_with_a_reason(room: RouterHarness) -> None:
    room.configure(SMALL)
    room.ask("l1", "l2", "l3")
    assert room.owners("l1", "l2", "l3") == ["ana", "bo", None]
    queued = room.of(LeadQueued)[0]
    assert (queued.pool, queued.reason, queued.urgency) == ("all", "all 2 at capacity", "hot")


def test_free_capacity_goes_to_the_hottest_then_oldest_waiting_lead(room: RouterHarness) -> None:
    room.configure(SMALL)
    room.ask("l1", "l2")
    room.hear(room.scored("warm", msgspec.structs.replace(HAND_RAISER, urgency="warm")))
    room.wait(minutes=1)
    room.ask("hot1")
    room.wait(minutes=1)
    room.ask("hot2")
    room.command(commands.reject, "l1", "not-now", sales("ana"))
    assert "router.queue" in room.woken
    room.serve()
    assert room.owners("hot1", "hot2", "warm") == ["ana", None, None]
    room.consents("l2", False)
    room.consents("hot1", False)
    room.serve()
    assert None not in room.owners("hot2", "warm")


def test_new_lead_leaves_free_capacity_to_a_waiting_lead(room: RouterHarness) -> None:
    room.configure(SMALL)
    room.ask("l1", "l2", "waiting")
    room.command(commands.reject, "l1", "not-now", sales("ana"))
    room.ask("new")  # before the queue's tick has come
    assert room.owners("waiting", "new") == ["ana", None]


def test_capacity_freed_within_a_batch_goes_to_a_waiting_lead(room: RouterHarness) -> None:
    room.configure(SMALL)
    room.ask("l1", "l2", "waiting")
    room.wait(minutes=1)
    leaves = ConsentChanged(lead_id="l1", at=room.clock.now, given=False, reason="asked", event_id="e1")
    room.hear(leaves, room.scored("new", HAND_RAISER))
    assert room.lead("new").queue_reason == "others wait before it"
    room.serve()
    assert room.owners("waiting", "new") == ["ana", None]


def test_shared_rep_serves_the_waiting_lead_of_either_pool_first(room: RouterHarness) -> None:
    room.configure(
        team(rep("ana", capacity={"open": 1}), pools={"small": {"ana": 1}, "all": {"ana": 1}}),
        routing={"rules": [{"name": "s", "when": {"country": "CH"}, "pool": "small"}, {"name": "e", "pool": "all"}]},
    )
    room.ask("l1")
    room.ask("swiss", facts={"country": "CH"})
    room.consents("l1", False)
    room.ask("new")
    assert room.owners("swiss", "new") == ["ana", None]


def test_leads_for_an_unspoken_language_do_not_block_the_queue(
    room: RouterHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More leads wait for a language nobody speaks than one unit looks at; the others are served behind them."""
    monkeypatch.setattr("services.router.ticks.SERVED_MAX", 5)
    monkeypatch.setattr(queue, "SERVED_MAX", 5)
    room.configure(
        team(rep("ana", languages=["en"]), pools={"all": {"ana": 1}}),
        routing={
            "rules": [
                {"name": "fr", "when": {"language": "fr"}, "pool": "all", "require": {"languages": "fr"}},
                {"name": "e", "when": {"not": {"language": "fr"}}, "pool": "all"},
            ]
        },
    )
    for n in range(12):
        room.ask(f"fr{n:02}", facts={"language": "fr"})
    room.wait(minutes=1)
    room.ask("english")
    assert room.lead("english").queue_reason == "others wait before it"
    while room.serve() is not None:
        pass
    assert room.owners("english", "fr00") == ["ana", None]
    assert room.lead("fr00").queue_reason == "the only one does not speak fr"


def test_capacity_freed_during_a_round_goes_to_the_head_of_the_queue(
    room: RouterHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten leads wait for bo, who speaks French and is full; ana has room and keeps the round going."""
    monkeypatch.setattr("services.router.ticks.SERVED_MAX", 4)
    monkeypatch.setattr(queue, "SERVED_MAX", 4)
    room.configure(
        team(
            rep("ana", languages=["en"]),
            rep("bo", languages=["fr"], capacity={"open": 1}),
            pools={"all": {"ana": 1, "bo": 1}},
        ),
        routing={"rules": [{"name": "fr", "pool": "all", "require": {"languages": "fr"}}]},
    )
    room.ask("owned")
    waiting = [f"fr{n:02}" for n in range(10)]
    for lead in waiting:
        room.wait(seconds=1)
        room.ask(lead)
    assert room.serve() is not None
    room.consents("owned", False)
    while room.serve() is not None:
        pass
    assert room.owners(*waiting) == ["bo", *[None] * 9]


def test_queue_tick_without_an_assignment_emits_nothing(room: RouterHarness) -> None:
    room.serve()
    room.configure(SMALL)
    room.ask("l1", "l2", "l3")
    said = len(room.said)
    assert room.serve() is None
    assert len(room.said) == said


def test_lead_without_a_matching_rule_waits_for_a_new_agreement(room: RouterHarness) -> None:
    room.configure(routing={"rules": [{"name": "swiss", "when": {"country": "CH"}, "pool": "all"}]})
    room.ask("l1")
    assert (room.lead("l1").queue_pool, room.lead("l1").queue_reason) == ("", "no routing rule matches")
    room.configure()
    room.serve()
    assert room.lead("l1").owner == "ana"


def test_backlog_of_one_batch_is_served_by_urgency_then_submit(
    room: RouterHarness,
) -> None:
    room.configure(SMALL)
    room.ask("x1", "x2")
    warm = msgspec.structs.replace(HAND_RAISER, urgency="warm")
    ages = {"b": 3, "a": 1, "d": 5, "c": 2, "warm": 9}
    room.hear(
        *(
            room.scored(lead, warm if lead == "warm" else HAND_RAISER, at=room.clock.now - timedelta(minutes=age))
            for lead, age in ages.items()
        )
    )
    served = []
    for gone in ("x1", "x2", "d", "b", "c"):
        before = set(ages) - {lead for lead in ages if room.lead(lead).owner}
        room.consents(gone, False)
        room.serve()
        served += [lead for lead in before if room.lead(lead).owner]
    assert served == ["d", "b", "c", "a", "warm"]
