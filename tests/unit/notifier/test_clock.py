"""Stories of the response clock: what the router says, what time brings, what is said about the promise."""

from datetime import timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.events import ActionRequested, LeadEvent, PageSent, PromiseKept, PromiseMissed
from services.notifier.channels.base import GiveUp, TryAgain
from services.notifier.domain.clock import ResponseClock
from services.notifier.domain.clock_events import hear
from services.notifier.domain.firing import fire, settled
from services.notifier.domain.terms import Terms
from tests.hand_clock import HandClock
from tests.unit.notifier.harness import CONFIG, NINE, NotifierHarness, Says, with_ladder


async def test_the_owner_is_told_in_the_unit_that_hears_of_the_assignment(room: NotifierHarness) -> None:
    room.hear(room.qualified(), room.assigned())
    assert room.page(0)["state"] == "sending"  # claimed before anything else ran
    await room.settle()
    assert room.slack.people == ["Ana"]
    assert room.page(0)["state"] == "sent"
    assert [(e.person, e.channel) for e in room.said(PageSent)] == [("ana", "slack")]


async def test_nobody_answers_and_the_ladder_is_walked_to_its_end(room: NotifierHarness) -> None:
    room.hear(room.qualified(), room.assigned())
    await room.wait(minutes=9)
    assert room.slack.people == ["Ana"]
    await room.wait(minutes=1)
    assert room.slack.people == ["Ana", "Ana"]
    await room.wait(minutes=10)
    assert room.slack.people == ["Ana", "Ana", "Max"]
    assert room.said(ActionRequested) == []
    await room.wait(minutes=10)
    assert [(a.action, a.epoch, a.action_id, a.by) for a in room.said(ActionRequested)] == [
        ("reassign", 1, "l1:1:3", "system")
    ]
    await room.wait(minutes=100)
    assert len(room.slack.told) == 3
    assert len(room.said(ActionRequested)) == 1


async def test_no_rung_fires_before_it_is_due(room: NotifierHarness) -> None:
    room.hear(room.qualified(), room.assigned())
    await room.settle()
    room.clock.advance(minutes=10, microseconds=-1)
    await room.settle()
    assert len(room.slack.told) == 1
    room.clock.advance(microseconds=1)
    await room.settle()
    assert len(room.slack.told) == 2


async def test_the_tick_says_when_to_look_again(room: NotifierHarness) -> None:
    assert room.tick() is None
    room.hear(room.qualified())
    assert room.tick() == NINE + timedelta(hours=1)
    room.hear(room.assigned())
    assert room.tick() == NINE + timedelta(hours=1), "the first page is on its way"
    await room.settle()
    assert room.tick() == NINE + timedelta(minutes=10)


async def test_a_tick_that_fires_a_rung_says_when_the_next_one_is_due(room: NotifierHarness) -> None:
    room.hear(room.qualified(), room.assigned())
    await room.settle()
    room.clock.advance(minutes=10)
    room.tick()
    await room.settle()
    assert room.tick() == NINE + timedelta(minutes=20)


async def test_the_next_owner_has_a_ladder_of_their_own_that_ends_with_the_promise(room: NotifierHarness) -> None:
    room.hear(room.qualified(), room.assigned())
    await room.wait(minutes=30)
    room.hear(room.released(), room.assigned(rep="bo", epoch=2, reassignments=1))
    await room.settle()
    assert room.slack.told[-1].kind == "reassigned"
    assert room.slack.people[-1] == "Bo"
    await room.wait(minutes=30)
    assert [a.epoch for a in room.said(ActionRequested)] == [1, 2]
    assert len(room.said(PromiseMissed)) == 1


async def test_an_assignment_after_the_promise_still_has_its_ladder(room: NotifierHarness) -> None:
    room.hear(room.qualified(), room.queued())
    await room.wait(minutes=61)
    assert len(room.said(PromiseMissed)) == 1
    room.hear(room.assigned())
    await room.wait(minutes=9)
    assert len(room.slack.told) == 1
    await room.wait(minutes=25)
    assert room.slack.people == ["Ana", "Ana", "Max"]
    assert len(room.said(PromiseMissed)) == 1


async def test_a_touch_stops_the_ladder_and_keeps_the_promise_once(room: NotifierHarness) -> None:
    room.hear(room.qualified(), room.assigned())
    await room.wait(minutes=5)
    touch = room.touched()
    room.hear(touch)
    room.hear(touch)
    room.hear(room.touched())
    await room.wait(minutes=120)
    assert len(room.slack.told) == 1
    (kept,) = room.said(PromiseKept)
    assert (kept.seconds, kept.late, kept.rep) == (300.0, False, "ana")
    assert room.said(PromiseMissed) == []
    assert room.said(ActionRequested) == []


async def test_a_late_touch_is_kept_late_after_the_promise_was_missed_once(room: NotifierHarness) -> None:
    room.hear(room.qualified(), room.assigned())
    room.clock.advance(minutes=70)
    room.hear(room.touched())  # before any tick looked
    await room.wait(minutes=5)
    assert [type(e) for e in room.units.said if isinstance(e, PromiseKept | PromiseMissed)] == [
        PromiseMissed,
        PromiseKept,
    ]
    assert room.said(PromiseKept)[0].late


async def test_a_touch_in_time_that_is_heard_late_is_in_time(room: NotifierHarness) -> None:
    room.hear(room.qualified(), room.assigned())
    await room.wait(minutes=61)
    room.hear(room.touched(at=NINE + timedelta(minutes=50)))
    (kept,) = room.said(PromiseKept)
    assert (kept.late, kept.seconds) == (False, 3000.0)


async def test_an_older_touch_still_stops_the_clock_and_an_older_state_changes_nothing(room: NotifierHarness) -> None:
    room.hear(room.qualified())
    touch, stale = room.touched(epoch=0), room.released()
    room.hear(room.assigned())
    room.hear(stale)
    assert room.rows("SELECT rep, state FROM notifier_clocks") == [{"rep": "ana", "state": "live"}]
    room.hear(touch)
    assert room.rows("SELECT rep, state FROM notifier_clocks") == [{"rep": "ana", "state": "met"}]


async def test_a_touch_before_this_submit_does_not_stop_its_clock(room: NotifierHarness) -> None:
    old = room.touched(at=NINE - timedelta(days=1))
    room.hear(room.qualified(), room.assigned())
    room.hear(old)
    assert room.rows("SELECT state FROM notifier_clocks") == [{"state": "live"}]


async def test_a_later_submit_starts_a_fresh_clock(room: NotifierHarness) -> None:
    room.hear(room.qualified(), room.assigned(), room.touched())
    room.hear(room.recycled())
    await room.wait(minutes=200)
    again = room.clock.now
    room.hear(room.qualified(submit_at=again, epoch=1), room.assigned(epoch=2, submit_at=again))
    await room.wait(minutes=10)
    room.hear(room.touched(epoch=2))
    assert [e.seconds for e in room.said(PromiseKept)] == [0.0, 600.0]
    assert room.slack.people == ["Ana", "Ana"]


async def test_an_assignment_of_a_lead_that_was_touched_has_no_ladder(room: NotifierHarness) -> None:
    room.hear(room.qualified(), room.assigned(), room.touched())
    room.hear(room.released(), room.assigned(rep="bo", epoch=2, touched_at=room.clock.now))
    await room.wait(minutes=90)
    assert room.slack.told == []
    assert len(room.said(PromiseKept)) == 1
    assert room.said(PromiseMissed) == []


async def test_accepting_ends_reminders_to_the_owner_and_nothing_else(room: NotifierHarness) -> None:
    room.hear(room.qualified(), room.assigned())
    await room.wait(minutes=1)
    room.hear(room.accepted())
    await room.wait(minutes=100)
    assert room.slack.people == ["Ana", "Max"]
    assert room.page(1)["error"] == "the owner accepted"
    assert len(room.said(ActionRequested)) == 1
    assert len(room.said(PromiseMissed)) == 1


@pytest.mark.parametrize("leave", ["recycled", "opted_out"])
async def test_a_lead_that_leaves_is_paged_about_no_more(room: NotifierHarness, leave: str) -> None:
    room.hear(room.qualified(), room.assigned())
    await room.wait(minutes=5)
    room.hear(getattr(room, leave)())
    await room.wait(minutes=100)
    assert room.slack.people == ["Ana"]
    assert room.said(PromiseMissed) == []
    assert room.rows("SELECT state, due_at FROM notifier_clocks") == [{"state": "over", "due_at": None}]


async def test_an_unowned_lead_has_a_clock_and_no_ladder(room: NotifierHarness) -> None:
    room.hear(room.qualified(), room.queued())
    await room.wait(minutes=59)
    assert room.said(PromiseMissed) == []
    await room.wait(minutes=1)
    assert len(room.said(PromiseMissed)) == 1
    assert room.slack.told == []


async def test_rungs_missed_while_the_notifier_was_down_come_their_span_after_one_another(
    room: NotifierHarness,
) -> None:
    late = [room.qualified(), room.assigned()]
    room.clock.advance(minutes=40)  # down
    room.hear(*late)
    await room.settle()
    assert room.slack.people == ["Ana"]
    await room.wait(minutes=9)
    assert room.slack.people == ["Ana"]
    await room.wait(minutes=1)
    assert room.slack.people == ["Ana", "Ana"]
    await room.wait(minutes=10)
    assert room.slack.people == ["Ana", "Ana", "Max"]
    await room.wait(minutes=9)
    assert room.said(ActionRequested) == []
    await room.wait(minutes=1)
    assert [action.told for action in room.said(ActionRequested)] == [True]


async def test_a_notifier_that_was_down_between_two_rungs_goes_on_with_the_next_one(room: NotifierHarness) -> None:
    room.hear(room.qualified(), room.assigned())
    await room.settle()
    room.clock.advance(hours=3)
    room.restart()
    await room.settle()
    assert room.slack.people == ["Ana", "Ana"]
    await room.wait(minutes=10)
    assert room.slack.people == ["Ana", "Ana", "Max"]
    assert room.said(ActionRequested) == []


async def test_without_a_channel_the_owner_is_not_changed_and_is_told_at_once_when_one_recovers(
    room: NotifierHarness,
) -> None:
    room.slack.always = room.email.always = TryAgain(None, "no answer")
    room.hear(room.qualified(), room.assigned())
    await room.wait(minutes=72)
    assert room.said(ActionRequested) == []
    tried = len(room.slack.told) + len(room.email.told)
    assert tried < 300

    room.slack.always = room.email.always = None
    room.slack.told.clear()
    await room.wait(minutes=1)
    recovered = room.page(1)["sent_at"]
    assert room.page(0)["error"] == "bundled into rung 1"
    assert recovered is not None
    await room.wait(minutes=28)
    assert room.said(ActionRequested) == []
    await room.wait(minutes=3)
    assert [action.told for action in room.said(ActionRequested)] == [True]


async def test_an_owner_whom_every_channel_refuses_loses_the_lead_and_is_said_not_to_have_been_told(
    room: NotifierHarness,
) -> None:
    room.slack.always, room.email.always = GiveUp("no such user"), GiveUp("no such mailbox")
    room.hear(room.qualified(), room.assigned())
    await room.wait(minutes=30)
    assert [(action.epoch, action.told) for action in room.said(ActionRequested)] == [(1, False)]


async def test_an_away_owner_holds_nothing_back_and_is_said_not_to_have_been_told(room: NotifierHarness) -> None:
    room.hear(room.rep("ana", "away", version=1))
    room.hear(room.qualified(), room.assigned())
    await room.wait(minutes=30)
    assert room.slack.people == ["Max"]
    assert [action.told for action in room.said(ActionRequested)] == [False]


async def test_a_clock_keeps_the_ladder_it_started_under(room: NotifierHarness) -> None:
    room.hear(room.qualified(), room.assigned())
    await room.wait(minutes=11)
    room.units.config = with_ladder({"at": "0m", "page": "owner", "by": ["slack"]}, {"at": "12m", "page": "manager"})
    room.restart()
    await room.wait(minutes=3)
    assert room.slack.people == ["Ana", "Ana"], "no rung of the new ladder"
    await room.wait(minutes=20)
    assert room.slack.people == ["Ana", "Ana", "Max"]
    assert len(room.said(ActionRequested)) == 1

    room.hear(room.qualified("l2"), room.assigned("l2"))
    await room.wait(minutes=30)
    assert room.slack.people[3:] == ["Ana", "Max"]


async def test_a_clock_of_an_older_release_goes_on_with_the_ladder_in_force(room: NotifierHarness) -> None:
    room.hear(room.qualified(), room.assigned())
    await room.settle()
    added = ("ladder", "fired_at", "rung_told_at", "told_at", "untold_at")
    room.execute(f"UPDATE notifier_clocks SET {', '.join(f'{name} = NULL' for name in added)}")
    await room.wait(minutes=30)
    assert room.slack.people == ["Ana", "Ana", "Max"]
    assert [action.told for action in room.said(ActionRequested)] == [True]


async def test_an_owner_without_a_manager_leaves_a_reason_behind(room: NotifierHarness) -> None:
    room.hear(room.qualified(), room.assigned(rep="max"))
    await room.wait(minutes=25)
    assert room.slack.people == ["Max", "Max"]
    assert "no `manager`" in room.page(2)["error"]


async def test_many_leads_cost_no_more_statements_than_one(room: NotifierHarness) -> None:
    counts = []
    for leads in (["a"], [f"b{n}" for n in range(60)]):
        batch = [event for lead in leads for event in (room.qualified(lead), room.assigned(lead))]
        with room.units.counting() as statements:
            room.hear(*batch)
        counts.append(len(statements))
    assert counts[0] == counts[1]


STEPS = st.lists(
    st.sampled_from(
        ["qualified", "queued", "assigned", "accepted", "released", "touched", "recycled", "opted_out", "tick"]
    ),
    max_size=14,
)


@given(STEPS)
def test_whatever_comes_a_rung_fires_once_and_a_promise_ends_once(steps: list[str]) -> None:
    terms = Terms(CONFIG.agreement.response.ladder, CONFIG.agreement.response.urgencies, CONFIG.team, ("slack",))
    says = Says(HandClock(NINE))
    clock = says.clock
    state: ResponseClock | None = None
    fired: list[tuple[int, int, str]] = []
    ended: list[tuple[int, str]] = []
    epoch = handed_over = 0
    for name in steps:
        clock.advance(minutes=7)
        handed_over += name == "qualified"  # each hand-over has a clock of its own
        if name == "tick":
            if state is None:
                continue
            step = fire(state, terms, clock.now, clock.now)
        else:
            epoch += name == "assigned"
            event: LeadEvent = getattr(says, name)(epoch=epoch)
            step = hear(state, event, terms, clock.now)
        fired += [(page.epoch, page.rung, page.person) for page in step.pages]
        ended += [
            (handed_over, type(event).__name__) for event in step.events if not isinstance(event, ActionRequested)
        ]
        state = step.clock
        for page in step.pages:
            if state is not None and page.state == "pending":
                state = settled(state, msgspec.structs.replace(page, state="sent", sent_at=clock.now), terms, clock.now)
        if state is not None and not state.running:
            assert state.due_at is None
    assert len(fired) == len(set(fired))
    assert len(ended) == len(set(ended))
