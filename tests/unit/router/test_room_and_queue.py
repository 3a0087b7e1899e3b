"""Nobody gets more than they can take; who waits comes first; everybody passed over has a reason."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from firsthour.runtime.http.problem import Problem
from schemas.agreement.lifecycle import TRANSITIONS
from schemas.events import (
    ActionResolved,
    ConsentChanged,
    Facts,
    LeadAssigned,
    LeadQueued,
    LeadReleased,
    RepAvailabilityChanged,
)
from services.router import commands, queue
from services.router.domain.decision import Inputs, replay
from tests.unit.router.harness import HAND_RAISER, MANAGER, RouterHarness, rep, sales, team


def answers(room: RouterHarness) -> list[ActionResolved]:
    """What actions were answered, in order."""
    return room.of(ActionResolved)


NO_WAY_BACK = {
    "transitions": [
        way.model_copy(update={"from_": ("assigned",)}) if way.as_ == "reassign" else way for way in TRANSITIONS
    ]
}
"""A lifecycle in which a lead that is worked on stays with its owner."""
SMALL = team(rep("ana", capacity={"open": 1}), rep("bo", capacity={"open": 1}), pools={"all": {"ana": 1, "bo": 1}})


def test_who_cannot_be_taken_waits_with_a_reason(room: RouterHarness) -> None:
    room.configure(SMALL)
    room.ask("l1", "l2", "l3")
    assert room.owners("l1", "l2", "l3") == ["ana", "bo", None]
    queued = room.of(LeadQueued)[0]
    assert (queued.pool, queued.reason, queued.urgency) == ("all", "all 2 at capacity", "hot")


def test_room_that_appears_goes_to_who_waits_hottest_then_oldest(room: RouterHarness) -> None:
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


def test_a_new_lead_takes_no_room_that_a_waiting_one_could_use(room: RouterHarness) -> None:
    room.configure(SMALL)
    room.ask("l1", "l2", "waiting")
    room.command(commands.reject, "l1", "not-now", sales("ana"))
    room.ask("new")  # before the queue's tick has come
    assert room.owners("waiting", "new") == ["ana", None]


def test_room_made_within_a_batch_goes_to_who_waits_too(room: RouterHarness) -> None:
    room.configure(SMALL)
    room.ask("l1", "l2", "waiting")
    room.wait(minutes=1)
    leaves = ConsentChanged(lead_id="l1", at=room.clock.now, given=False, reason="asked", event_id="e1")
    room.hear(leaves, room.scored("new", HAND_RAISER))
    assert room.lead("new").queue_reason == "others wait before it"
    room.serve()
    assert room.owners("waiting", "new") == ["ana", None]


def test_a_lead_of_another_pool_takes_no_room_of_a_shared_rep(room: RouterHarness) -> None:
    room.configure(
        team(rep("ana", capacity={"open": 1}), pools={"small": {"ana": 1}, "all": {"ana": 1}}),
        routing={"rules": [{"name": "s", "when": {"country": "CH"}, "pool": "small"}, {"name": "e", "pool": "all"}]},
    )
    room.ask("l1")
    room.ask("swiss", facts={"country": "CH"})
    room.consents("l1", False)
    room.ask("new")
    assert room.owners("swiss", "new") == ["ana", None]


def test_who_only_a_few_can_take_does_not_hold_up_the_others(
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


def test_room_that_appears_in_the_middle_of_a_round_goes_to_the_first_in_the_queue(
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


def test_the_tick_of_an_empty_or_stuck_queue_says_nothing(room: RouterHarness) -> None:
    room.serve()
    room.configure(SMALL)
    room.ask("l1", "l2", "l3")
    said = len(room.said)
    assert room.serve() is None
    assert len(room.said) == said


def test_a_lead_no_rule_wants_waits_until_the_agreement_has_one(room: RouterHarness) -> None:
    room.configure(routing={"rules": [{"name": "swiss", "when": {"country": "CH"}, "pool": "all"}]})
    room.ask("l1")
    assert (room.lead("l1").queue_pool, room.lead("l1").queue_reason) == ("", "no routing rule matches")
    room.configure()
    room.serve()
    assert room.lead("l1").owner == "ana"


def test_the_accounts_owner_gets_it_and_the_pool_when_they_cannot(room: RouterHarness) -> None:
    room.configure(
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
    room.ask("l1", "l2", facts={"company.domain": "big.example"})
    assert room.owners("l1", "l2") == ["bo", "ana"]
    considered = room.decisions("l2")[0]["considered"]
    assert [(one["rep"], one["ruled_out_by"]) for one in considered] == [
        ("bo", "at capacity: 1 of 1 open"),
        ("ana", None),
    ]


def test_who_comes_back_soon_gets_the_rep_they_know(room: RouterHarness) -> None:
    rules = [
        {"name": "back", "when": {"previous_owner": {"exists": True}}, "to": "previous_owner", "within": "90d"},
        {"name": "everyone", "pool": "all"},
    ]
    room.configure(routing={"rules": rules})
    room.ask("l0", "l1")
    room.command(commands.accept, "l1", sales("bo"))
    room.command(commands.recycle, "l1", "stalled", sales("bo"))
    room.wait(days=10)
    room.ask("l1")
    assert room.lead("l1").owner == "bo"
    room.command(commands.accept, "l1", sales("bo"))
    room.command(commands.recycle, "l1", "stalled", sales("bo"))
    room.wait(days=91)
    room.ask("l1")
    assert room.decisions("l1")[-1]["considered"][0]["ruled_out_by"].startswith("had it too long ago")
    assert room.decisions("l1")[-1]["rule"] == "everyone"


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
def test_a_member_who_comes_back_gets_no_arrears(room: RouterHarness, absence: str) -> None:
    room.configure(team(rep("ana"), rep("bo"), rep("cy"), pools={"all": ALL}))
    room.ask(*(f"a{n}" for n in range(7)))
    pool = WITHOUT[absence]["pools"][0]["id"]
    room.configure(WITHOUT[absence], routing={"rules": [{"name": "everyone", "pool": pool}]})
    room.ask(*(f"b{n}" for n in range(40)))
    room.configure(team(rep("ana"), rep("bo"), rep("cy"), pools={"all": ALL}))
    back = [f"c{n}" for n in range(12)]
    room.ask(*back)
    assert 3 <= room.owners(*back).count("cy") <= 5
    assert room.owners(*back[:4]).count("cy") <= 2


def test_a_member_who_takes_some_leads_alone_gets_their_share_of_those_within_one_lead(room: RouterHarness) -> None:
    """cy speaks no French; of English leads a third is theirs. Before, leads that cy could not take cost cy turns."""
    room.configure(
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
        room.ask(lead, facts={"language": "en" if n % 3 == 0 else "fr"})
        english += [lead] if n % 3 == 0 else []
        owners = room.owners(*english)
        assert abs(owners.count("cy") - len(english) / 3) < 1


# --- rules that hold and find no rep ------------------------------------------------------------------------------


TWO_POOLS = {"rules": [{"name": "near", "when": {"country": "CH"}, "pool": "swiss"}, {"name": "all", "pool": "all"}]}
SWISS: Facts = {"country": "CH"}


def two_pools(room: RouterHarness) -> None:
    """ana alone takes Swiss leads first, one at a time; bo takes one of any."""
    small = {"capacity": {"open": 1}}
    room.configure(
        team(rep("ana", **small), rep("bo", **small), pools={"swiss": {"ana": 1}, "all": {"bo": 1}}), routing=TWO_POOLS
    )


def test_a_rule_that_holds_and_finds_no_rep_leaves_the_lead_to_the_next(room: RouterHarness) -> None:
    two_pools(room)
    room.ask("l1", facts=SWISS)
    room.ask("l2", facts=SWISS)
    assert room.owners("l1", "l2") == ["ana", "bo"]
    (decision,) = room.decisions("l2")
    assert (decision["rule"], decision["pool"]) == ("all", "all")
    assert [(one["rule"], one["pool"], one["rep"], one["why"]) for one in decision["rules"]] == [
        ("near", "swiss", None, "the only one at capacity"),
        ("all", "all", "bo", "next in turn in all: 1 of 1 could take it"),
    ]
    assert [(one["rep"], one["eligible"]) for one in decision["considered"]] == [("ana", False), ("bo", True)]


def test_a_lead_for_which_no_rule_finds_a_rep_waits_in_the_first_pool_and_is_served_by_either(
    room: RouterHarness,
) -> None:
    two_pools(room)
    for lead in ("l1", "l2", "l3", "l4"):
        room.ask(lead, facts=SWISS)
    waiting = room.lead("l3")
    assert (waiting.queue_pool, waiting.queue_reason) == (
        "swiss",
        "swiss: the only one at capacity; all: the only one at capacity",
    )
    room.consents("l2", False)
    room.ask("new")  # bo has room, and l3 waits in another queue
    assert room.owners("l3", "new") == ["bo", None]
    room.consents("l1", False)
    room.serve()
    assert room.owners("l4", "new") == ["ana", None]


def test_a_rule_that_names_a_rep_who_is_away_is_followed_by_the_next(room: RouterHarness) -> None:
    owner = {"name": "owner", "to": "account.owner", "when": {"account.owner": {"exists": True}}}
    accounts = [{"domain": "p.example", "owner": "ana"}]
    people = team(rep("ana"), rep("bo"), pools={"all": {"bo": 1}}, accounts=accounts)
    room.configure(people, routing={"rules": [owner, {"name": "all", "pool": "all"}]})
    room.command(commands.availability, "ana", "away", None, sales("ana"))
    room.ask("l1", facts={"email.domain": "p.example"})
    assert room.lead("l1").owner == "bo"
    room.configure(people, routing={"rules": [owner]})
    room.ask("l2", facts={"email.domain": "p.example"})
    waits = room.lead("l2")
    assert (waits.queue_pool, waits.queue_reason) == ("", "no rule with a pool holds; owner: the only one away")


# --- the order of a backlog -----------------------------------------------------------------------------------------


def test_a_backlog_that_arrived_in_one_batch_is_served_by_the_oldest_submit_within_an_urgency(
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


# --- away and gone ------------------------------------------------------------------------------------------------


def test_who_is_away_keeps_what_they_have_and_gets_nothing_new_until_they_are_back(room: RouterHarness) -> None:
    room.configure(team(rep("ana"), pools={"all": {"ana": 1}}))
    room.ask("l1")
    back = room.clock.now + timedelta(hours=2)
    room.command(commands.availability, "ana", "away", back, sales("ana"))
    room.ask("l2")
    assert room.owners("l1", "l2") == ["ana", None]
    room.wait(hours=3)
    room.watch()
    room.serve()
    assert room.lead("l2").owner == "ana"
    assert [event.state for event in room.of(RepAvailabilityChanged)] == ["away", "available"]


def test_an_absence_of_the_team_file_counts(room: RouterHarness) -> None:
    away = [{"from": "2026-12-01", "to": "2026-12-01"}]
    room.configure(team(rep("ana", away=away), rep("bo"), pools={"all": {"ana": 1, "bo": 1}}))
    room.ask("l1", "l2")
    assert room.owners("l1", "l2") == ["bo", "bo"]


def test_somebody_elses_availability_is_theirs(room: RouterHarness) -> None:
    with pytest.raises(Problem) as refused:
        room.command(commands.availability, "ana", "away", None, sales("bo"))
    assert refused.value.status == 403
    with pytest.raises(Problem) as unknown:
        room.command(commands.availability, "zoe", "away", None, MANAGER)
    assert unknown.value.status == 404


@pytest.mark.parametrize("leave", ["inactive", "removed", "said"])
def test_the_leads_of_somebody_who_is_gone_get_somebody_else(room: RouterHarness, leave: str) -> None:
    people = (rep("ana"), rep("bo"))
    room.configure(team(*people, pools={"all": {"ana": 1, "bo": 1}}))
    room.ask("l1", "l2", "l3")
    room.touched("l3")
    assert room.owners("l1", "l2", "l3") == ["ana", "bo", "ana"]
    if leave == "inactive":
        room.configure(team(rep("ana", active=False), rep("bo"), pools={"all": {"ana": 1, "bo": 1}}))
    elif leave == "removed":
        room.configure(team(rep("bo"), pools={"all": {"bo": 1}}))
    else:
        room.command(commands.availability, "ana", "deactivated", None, MANAGER)
        assert "router.team" in room.woken
    room.watch()
    room.watch()
    assert room.owners("l1", "l2", "l3") == ["bo", "bo", "bo"]
    assert [(event.kind, event.rep) for event in room.of(LeadReleased)] == [("deactivated", "ana")] * 2
    assert [event.state for event in room.of(RepAvailabilityChanged)] == ["deactivated"]
    touched = next(event for event in room.of(LeadAssigned) if event.lead_id == "l3" and event.epoch == 2)
    assert touched.touched_at is not None


def test_many_leads_of_somebody_gone_move_a_few_at_a_time(room: RouterHarness) -> None:
    room.configure(team(rep("ana"), pools={"all": {"ana": 1}}))
    room.ask(*(f"l{n}" for n in range(120)))
    room.configure(team(rep("bo"), pools={"all": {"bo": 1}}))
    rounds = 1
    while room.watch() is not None:
        rounds += 1
    assert (room.open("ana"), room.open("bo"), rounds) == (0, 120, 3)


def test_leads_of_a_rep_who_left_all_move_however_many_others_cannot(
    room: RouterHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The agreement has no way back for a lead that is being worked on; those come first in the order of the round."""
    monkeypatch.setattr("services.router.ticks.TAKEN_AWAY_MAX", 5)
    room.configure(team(rep("ana"), rep("bo"), pools={"all": {"ana": 1}, "rest": {"bo": 1}}), lifecycle=NO_WAY_BACK)
    stuck, free = [f"a{n:02}" for n in range(12)], [f"b{n:02}" for n in range(7)]
    room.ask(*stuck, *free)
    for lead in stuck:
        room.touched(lead, by="ana")
    room.configure(team(rep("bo"), pools={"all": {"bo": 1}}), lifecycle=NO_WAY_BACK)
    units = 1
    while room.watch() is not None:
        units += 1
    assert set(room.owners(*free)) == {"bo"}
    assert set(room.owners(*stuck)) == {"ana"}
    assert units == 4
    room.watch()  # another round does no harm
    assert set(room.owners(*stuck)) == {"ana"}


def test_a_rep_who_is_active_again_is_said_to_be_back(room: RouterHarness) -> None:
    room.configure(team(rep("ana", active=False), rep("bo"), pools={"all": {"ana": 1, "bo": 1}}))
    room.watch()
    room.configure()
    room.watch()
    assert [event.state for event in room.of(RepAvailabilityChanged)] == ["deactivated", "available"]


# --- missed clocks ------------------------------------------------------------------------------------------------


def test_a_missed_clock_changes_the_owner_and_then_the_manager_owns_it(room: RouterHarness) -> None:
    room.ask("l1")
    room.act("reassign", "l1", 1, "system", reason="nobody was in touch")
    assert (room.lead("l1").owner, room.of(LeadReleased)[0].kind) == ("bo", "reassign")
    room.act("reassign", "l1", 2, "system", reason="nobody was in touch")
    assert room.lead("l1").owner == "max"
    decision = room.decisions("l1")[-1]
    assert (decision["why"], decision["pool"]) == ("the manager owns it", None)
    assert [event.reassignments for event in room.of(LeadAssigned)] == [0, 1, 2]
    room.act("reassign", "l1", 3, "system", reason="nobody was in touch")
    assert room.lead("l1").owner == "max"
    assert [answer.outcome for answer in answers(room)] == ["applied", "applied", "refused"]
    assert "no other rep can take it" in (answers(room)[-1].why or "")


def test_when_no_other_rep_can_take_it_the_manager_does(room: RouterHarness) -> None:
    room.configure(team(rep("ana"), pools={"all": {"ana": 1}}))
    room.ask("l1")
    room.act("reassign", "l1", 1, "system")
    assert room.lead("l1").owner == "max"


def test_without_a_manager_the_owner_keeps_it(room: RouterHarness) -> None:
    room.configure(team(rep("ana", manager=None), pools={"all": {"ana": 1}}))
    room.ask("l1")
    room.act("reassign", "l1", 1, "system")
    assert (room.lead("l1").owner, room.lead("l1").state.reassignments) == ("ana", 0)
    assert answers(room)[-1].outcome == "refused"


def test_a_touched_lead_and_an_ended_assignment_are_not_reassigned(room: RouterHarness) -> None:
    room.ask("l1", "l2")
    room.touched("l1")
    room.command(commands.reject, "l2", "no-time", sales("bo"))
    room.act("reassign", "l1", 1, "system")
    room.act("reassign", "l2", 1, "system")
    assert [answer.outcome for answer in answers(room)] == ["refused", "refused"]
    assert room.owners("l1", "l2") == ["ana", "cy"]


# --- buttons ------------------------------------------------------------------------------------------------------


def test_buttons_are_answered(room: RouterHarness) -> None:
    room.ask("l1", "l2")
    room.act("accept", "l1", 1, "rep:ana")
    room.act("accept", "l1", 1, "rep:ana")
    room.act("accept", "l2", 1, "rep:ana")
    room.act("accept", "l2", 1, "rep:max")
    room.act("reject", "l2", 1, "rep:bo", reason="no-time")
    room.act("touch", "l1", 7, "rep:ana", channel="phone", answered=True)
    room.act("snooze", "l1", 1, "rep:ana")
    room.act("accept", "nobody", 1, "rep:ana")
    assert [answer.outcome for answer in answers(room)] == [
        "applied",
        "applied",
        "refused",
        "applied",
        "refused",
        "applied",
        "applied",
        "refused",
    ]
    assert room.lead("l1").status == "working"


def test_a_rejection_by_button_moves_the_lead_on_and_counts_once(room: RouterHarness) -> None:
    room.ask("l1")
    room.act("reject", "l1", 1, "rep:ana", reason="no-time")
    room.act("reject", "l1", 1, "rep:ana", reason="no-time")
    assert [answer.outcome for answer in answers(room)] == ["applied", "applied"]
    assert (room.lead("l1").owner, room.lead("l1").epoch) == ("bo", 2)


def test_a_button_can_say_that_a_rep_is_away(room: RouterHarness) -> None:
    room.ask("l1")
    room.act("away", "l1", 1, "rep:ana", until=room.clock.now + timedelta(hours=1))
    room.ask("l2", "l3", "l4")
    assert room.owners("l1", "l2", "l3", "l4") == ["ana", "bo", "cy", "bo"]


# --- by hand ------------------------------------------------------------------------------------------------------


def test_a_manager_hands_out_a_waiting_lead_and_force_goes_beyond_capacity(room: RouterHarness) -> None:
    room.configure(SMALL)
    room.ask("l1", "l2", "l3")
    with pytest.raises(Problem) as refused:
        room.command(commands.assign, "l3", "ana", None, False, MANAGER)
    assert (refused.value.status, "at capacity" in refused.value.detail) == (409, True)
    assert room.command(commands.assign, "l3", "ana", "she knows them", True, MANAGER)["owner"] == "ana"
    with pytest.raises(Problem) as unknown:
        room.command(commands.assign, "l3", "zoe", None, True, MANAGER)
    assert unknown.value.status == 422


def test_an_owner_hands_over_their_own_lead_and_nobody_elses(room: RouterHarness) -> None:
    room.ask("l1")
    with pytest.raises(Problem) as refused:
        room.command(commands.assign, "l1", "bo", None, False, sales("bo"))
    assert refused.value.status == 403
    assert room.command(commands.assign, "l1", "bo", "on holiday", False, sales("ana"))["owner"] == "bo"
    assert [event.kind for event in room.of(LeadReleased)] == ["hand-over"]
    assert room.command(commands.assign, "l1", "bo", None, False, MANAGER)["epoch"] == 2


# --- decisions ----------------------------------------------------------------------------------------------------


def test_every_decision_replayed_gives_the_same_rep_and_knows_no_person(room: RouterHarness) -> None:
    room.configure(
        team(rep("ana", capacity={"open": 2}, languages=["de"]), rep("bo"), pools={"all": {"ana": 3, "bo": 1}}),
        routing={
            "rules": [
                {"name": "named", "when": {"name": "Name nobody"}, "pool": "all"},
                {"name": "de", "when": {"language": "de"}, "pool": "all", "require": {"languages": "de"}},
                {"name": "everyone", "when": {"email": {"exists": True}}, "pool": "all"},
            ]
        },
    )
    room.ask("l1", "l2", "l3", facts={"language": "de"})
    room.ask("l4", "l5")
    room.command(commands.reject, "l1", "no-time", sales("ana"))
    room.act("reassign", "l4", 1, "system")
    made = [decision for n in range(1, 6) for decision in room.decisions(f"l{n}")]
    assert len(made) >= 7
    for decision in made:
        inputs = msgspec.convert(decision["inputs"], Inputs)
        assert replay(inputs) == decision["chosen"]
        assert all(one["eligible"] or one["ruled_out_by"] for one in decision["considered"])
    stored = str(room.rows("SELECT body FROM router_decisions"))
    assert "Name l" not in stored
    assert "@" not in stored
    chosen = {(decision["epoch"], decision["chosen"]) for decision in room.decisions("l1") if decision["chosen"]}
    assert chosen == {
        (row.epoch, row.rep) for row in room.rows("SELECT * FROM router_assignments WHERE lead_id = 'l1'")
    }
