"""The response clock: how records of the router and time change it, and which events it emits about the promise."""

from datetime import timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.events.actions import ActionRequested
from schemas.events.pages import PageSent, PromiseKept, PromiseMissed
from schemas.events.routes import LeadEvent
from services.notifier.channels.base import GiveUp, TryAgain
from services.notifier.domain.clock import ResponseClock
from services.notifier.domain.clock_events import hear
from services.notifier.domain.firing import fire, settled
from services.notifier.domain.page import MISSED
from services.notifier.domain.terms import Terms
from tests.hand_clock import HandClock
from tests.unit.notifier.harness import CONFIG, NotifierHarness, with_ladder
from tests.unit.notifier.router_records import NINE, RouterRecords


async def test_first_page_is_claimed_in_the_unit_that_reads_the_assignment(harness: NotifierHarness) -> None:
    harness.hear(harness.qualified(), harness.assigned())
    assert harness.page(0)["state"] == "sending"
    await harness.settle()
    assert harness.slack.recipients == ["Ana"]
    assert harness.page(0)["state"] == "sent"
    assert [(e.person, e.channel) for e in harness.events(PageSent)] == [("ana", "slack")]


async def test_ladder_fires_every_rung_once_without_a_touch(harness: NotifierHarness) -> None:
    harness.hear(harness.qualified(), harness.assigned())
    await harness.wait(minutes=9)
    assert harness.slack.recipients == ["Ana"]
    await harness.wait(minutes=1)
    assert harness.slack.recipients == ["Ana", "Ana"]
    await harness.wait(minutes=10)
    assert harness.slack.recipients == ["Ana", "Ana", "Max"]
    assert harness.events(ActionRequested) == []
    await harness.wait(minutes=10)
    assert [(a.action, a.epoch, a.action_id, a.by) for a in harness.events(ActionRequested)] == [
        ("reassign", 1, "l1:1:3", "system")
    ]
    await harness.wait(minutes=100)
    assert [message.kind for message in harness.slack.messages] == ["owner", "owner", "manager", "missed"]
    assert len(harness.events(ActionRequested)) == 1


async def test_rung_does_not_fire_before_it_is_due(harness: NotifierHarness) -> None:
    harness.hear(harness.qualified(), harness.assigned())
    await harness.settle()
    harness.clock.advance(minutes=10, microseconds=-1)
    await harness.settle()
    assert len(harness.slack.messages) == 1
    harness.clock.advance(microseconds=1)
    await harness.settle()
    assert len(harness.slack.messages) == 2


async def test_tick_returns_the_next_due_time(harness: NotifierHarness) -> None:
    assert harness.tick() is None
    harness.hear(harness.qualified())
    assert harness.tick() == NINE + timedelta(minutes=15), "the alert of a lead that waits"
    harness.hear(harness.assigned())
    assert harness.tick() == NINE + timedelta(hours=1), "the first page is being sent"
    await harness.settle()
    assert harness.tick() == NINE + timedelta(minutes=10)


async def test_tick_that_fires_a_rung_returns_the_time_of_the_next(harness: NotifierHarness) -> None:
    harness.hear(harness.qualified(), harness.assigned())
    await harness.settle()
    harness.clock.advance(minutes=10)
    harness.tick()
    await harness.settle()
    assert harness.tick() == NINE + timedelta(minutes=20)


async def test_next_owner_has_a_new_ladder_and_the_same_promise(harness: NotifierHarness) -> None:
    harness.hear(harness.qualified(), harness.assigned())
    await harness.wait(minutes=30)
    harness.hear(harness.released(), harness.assigned(rep="bo", epoch=2, reassignments=1))
    await harness.settle()
    assert {(message.kind, message.person_name) for message in harness.slack.messages[-2:]} == {
        ("reassigned", "Bo"),
        ("lost", "Ana"),
    }
    await harness.wait(minutes=30)
    assert [a.epoch for a in harness.events(ActionRequested)] == [1, 2]
    assert len(harness.events(PromiseMissed)) == 1


async def test_assignment_after_a_missed_promise_has_a_full_ladder(harness: NotifierHarness) -> None:
    harness.hear(harness.qualified(), harness.queued())
    await harness.wait(minutes=61)
    assert len(harness.events(PromiseMissed)) == 1
    assert [message.kind for message in harness.slack.messages] == ["queued", "missed"]
    harness.hear(harness.assigned())
    await harness.wait(minutes=9)
    assert len(harness.slack.messages) == 3
    await harness.wait(minutes=25)
    assert harness.slack.recipients[2:] == ["Ana", "Ana", "Max"]
    assert len(harness.events(PromiseMissed)) == 1


async def test_touch_stops_the_ladder_and_keeps_the_promise_once(harness: NotifierHarness) -> None:
    harness.hear(harness.qualified(), harness.assigned())
    await harness.wait(minutes=5)
    touch = harness.touched()
    harness.hear(touch)
    harness.hear(touch)
    harness.hear(harness.touched())
    await harness.wait(minutes=120)
    assert len(harness.slack.messages) == 1
    (promise,) = harness.events(PromiseKept)
    assert (promise.seconds, promise.late, promise.rep) == (300.0, False, "ana")
    assert harness.events(PromiseMissed) == []
    assert harness.events(ActionRequested) == []


async def test_late_touch_emits_one_missed_promise_and_then_a_late_kept_one(harness: NotifierHarness) -> None:
    harness.hear(harness.qualified(), harness.assigned())
    harness.clock.advance(minutes=70)
    harness.hear(harness.touched())  # before the next tick
    await harness.wait(minutes=5)
    assert [type(e) for e in harness.units.events if isinstance(e, PromiseKept | PromiseMissed)] == [
        PromiseMissed,
        PromiseKept,
    ]
    assert harness.events(PromiseKept)[0].late


async def test_touch_in_time_that_is_read_late_counts_as_in_time(harness: NotifierHarness) -> None:
    harness.hear(harness.qualified(), harness.assigned())
    await harness.wait(minutes=61)
    harness.hear(harness.touched(at=NINE + timedelta(minutes=50)))
    (promise,) = harness.events(PromiseKept)
    assert (promise.late, promise.seconds) == (False, 3000.0)


async def test_older_touch_stops_the_clock_and_an_older_release_changes_nothing(
    harness: NotifierHarness,
) -> None:
    harness.hear(harness.qualified())
    touch, stale = harness.touched(epoch=0), harness.released()
    harness.hear(harness.assigned())
    harness.hear(stale)
    assert harness.rows("SELECT rep, state FROM notifier_clocks") == [{"rep": "ana", "state": "live"}]
    harness.hear(touch)
    assert harness.rows("SELECT rep, state FROM notifier_clocks") == [{"rep": "ana", "state": "met"}]


async def test_touch_before_the_submit_does_not_stop_the_clock(harness: NotifierHarness) -> None:
    old = harness.touched(at=NINE - timedelta(days=1))
    harness.hear(harness.qualified(), harness.assigned())
    harness.hear(old)
    assert harness.rows("SELECT state FROM notifier_clocks") == [{"state": "live"}]


async def test_later_submit_starts_a_new_clock(harness: NotifierHarness) -> None:
    harness.hear(harness.qualified(), harness.assigned(), harness.touched())
    harness.hear(harness.recycled())
    await harness.wait(minutes=200)
    submit_at = harness.clock.now
    harness.hear(harness.qualified(submit_at=submit_at, epoch=1), harness.assigned(epoch=2, submit_at=submit_at))
    await harness.wait(minutes=10)
    harness.hear(harness.touched(epoch=2))
    assert [e.seconds for e in harness.events(PromiseKept)] == [0.0, 600.0]
    assert [message.kind for message in harness.slack.messages] == ["lost", "owner", "owner"]


async def test_assignment_of_a_touched_lead_has_no_ladder(harness: NotifierHarness) -> None:
    harness.hear(harness.qualified(), harness.assigned(), harness.touched())
    harness.hear(harness.released(), harness.assigned(rep="bo", epoch=2, touched_at=harness.clock.now))
    await harness.wait(minutes=90)
    assert [message.kind for message in harness.slack.messages] == ["lost", "handed_on"]
    assert len(harness.events(PromiseKept)) == 1
    assert harness.events(PromiseMissed) == []


async def test_acceptance_ends_only_the_reminders_to_the_owner(harness: NotifierHarness) -> None:
    harness.hear(harness.qualified(), harness.assigned())
    await harness.wait(minutes=1)
    harness.hear(harness.accepted())
    await harness.wait(minutes=100)
    assert [message.kind for message in harness.slack.messages] == ["owner", "manager", "missed"]
    assert harness.page(1)["error"] == "the owner accepted"
    assert len(harness.events(ActionRequested)) == 1
    assert len(harness.events(PromiseMissed)) == 1


@pytest.mark.parametrize("record", ["recycled", "opted_out"])
async def test_recycled_or_opted_out_lead_causes_no_more_pages(harness: NotifierHarness, record: str) -> None:
    harness.hear(harness.qualified(), harness.assigned())
    await harness.wait(minutes=5)
    harness.hear(getattr(harness, record)())
    await harness.wait(minutes=100)
    assert [message.kind for message in harness.slack.messages] == ["owner", "lost"]
    assert harness.events(PromiseMissed) == []
    assert harness.rows("SELECT state, due_at FROM notifier_clocks") == [{"state": "over", "due_at": None}]


async def test_unowned_lead_has_a_clock_and_no_ladder(harness: NotifierHarness) -> None:
    harness.hear(harness.qualified(), harness.queued())
    await harness.wait(minutes=59)
    assert harness.events(PromiseMissed) == []
    await harness.wait(minutes=1)
    assert len(harness.events(PromiseMissed)) == 1
    assert harness.slack.recipients == ["Max", "Max"], "the manager of the pool is told"


async def test_rungs_missed_during_an_outage_keep_their_spans(
    harness: NotifierHarness,
) -> None:
    records = [harness.qualified(), harness.assigned()]
    harness.clock.advance(minutes=40)  # the notifier is down
    harness.hear(*records)
    await harness.settle()
    assert harness.slack.recipients == ["Ana"]
    await harness.wait(minutes=9)
    assert harness.slack.recipients == ["Ana"]
    await harness.wait(minutes=1)
    assert harness.slack.recipients == ["Ana", "Ana"]
    await harness.wait(minutes=10)
    assert harness.slack.recipients == ["Ana", "Ana", "Max"]
    await harness.wait(minutes=9)
    assert harness.events(ActionRequested) == []
    await harness.wait(minutes=1)
    assert [action.told for action in harness.events(ActionRequested)] == [True]


async def test_ladder_continues_with_the_next_rung_after_an_outage(harness: NotifierHarness) -> None:
    harness.hear(harness.qualified(), harness.assigned())
    await harness.settle()
    harness.clock.advance(hours=3)
    harness.restart()
    await harness.settle()
    assert [message.kind for message in harness.slack.messages] == ["owner", "owner"]
    await harness.wait(minutes=10)
    assert [message.kind for message in harness.slack.messages] == ["owner", "owner", "manager"]
    assert harness.page(MISSED)["error"] == "bundled into rung 2"
    assert harness.events(ActionRequested) == []


async def test_owner_keeps_the_lead_while_all_channels_are_down(
    harness: NotifierHarness,
) -> None:
    harness.slack.always = harness.email.always = TryAgain(None, "no answer")
    harness.hear(harness.qualified(), harness.assigned())
    await harness.wait(minutes=72)
    assert harness.events(ActionRequested) == []
    attempts = len(harness.slack.messages) + len(harness.email.messages)
    assert attempts < 300

    harness.slack.always = harness.email.always = None
    harness.slack.messages.clear()
    await harness.wait(minutes=1)
    sent_at = harness.page(1)["sent_at"]
    assert harness.page(0)["error"] == "bundled into rung 1"
    assert sent_at is not None
    await harness.wait(minutes=28)
    assert harness.events(ActionRequested) == []
    await harness.wait(minutes=3)
    assert [action.told for action in harness.events(ActionRequested)] == [True]


async def test_owner_unknown_to_every_channel_loses_the_lead_as_not_told(
    harness: NotifierHarness,
) -> None:
    harness.slack.always, harness.email.always = GiveUp("no such user"), GiveUp("no such mailbox")
    harness.hear(harness.qualified(), harness.assigned())
    await harness.wait(minutes=30)
    assert [(action.epoch, action.told) for action in harness.events(ActionRequested)] == [(1, False)]


async def test_away_owner_loses_the_lead_as_not_told(harness: NotifierHarness) -> None:
    harness.hear(harness.rep("ana", "away", version=1))
    harness.hear(harness.qualified(), harness.assigned())
    await harness.settle()
    assert harness.slack.recipients == ["Max"], "both rungs of the owner are passed at once"
    await harness.wait(minutes=9)
    assert harness.events(ActionRequested) == []
    await harness.wait(minutes=1)
    assert [action.told for action in harness.events(ActionRequested)] == [False]


async def test_clock_keeps_the_ladder_of_its_start(harness: NotifierHarness) -> None:
    harness.hear(harness.qualified(), harness.assigned())
    await harness.wait(minutes=11)
    harness.units.config = with_ladder({"at": "0m", "page": "owner", "by": ["slack"]}, {"at": "12m", "page": "manager"})
    harness.restart()
    await harness.wait(minutes=3)
    assert harness.slack.recipients == ["Ana", "Ana"], "no rung of the new ladder fires"
    await harness.wait(minutes=20)
    assert harness.slack.recipients == ["Ana", "Ana", "Max"]
    assert len(harness.events(ActionRequested)) == 1

    harness.hear(harness.qualified("l2"), harness.assigned("l2"))
    await harness.wait(minutes=30)
    pages = [message for message in harness.slack.messages if message.lead_id == "l2"]
    assert [message.kind for message in pages] == ["owner", "manager"]


async def test_clock_of_an_older_release_uses_the_current_ladder(harness: NotifierHarness) -> None:
    harness.hear(harness.qualified(), harness.assigned())
    await harness.settle()
    columns = ("ladder", "fired_at", "rung_told_at", "told_at", "untold_at")
    harness.execute(f"UPDATE notifier_clocks SET {', '.join(f'{name} = NULL' for name in columns)}")
    await harness.wait(minutes=30)
    assert harness.slack.recipients == ["Ana", "Ana", "Max"]
    assert [action.told for action in harness.events(ActionRequested)] == [True]


async def test_manager_page_without_a_manager_has_a_reason(harness: NotifierHarness) -> None:
    harness.hear(harness.qualified(), harness.assigned(rep="max"))
    await harness.wait(minutes=25)
    assert harness.slack.recipients == ["Max", "Max"]
    assert "no `manager`" in harness.page(2)["error"]


async def test_number_of_statements_does_not_depend_on_the_number_of_leads(harness: NotifierHarness) -> None:
    counts = []
    for leads in (["a"], [f"b{n}" for n in range(60)]):
        batch = [event for lead in leads for event in (harness.qualified(lead), harness.assigned(lead))]
        with harness.units.counting() as statements:
            harness.hear(*batch)
        counts.append(len(statements))
    assert counts[0] == counts[1]


STEPS = st.lists(
    st.sampled_from(
        ["qualified", "queued", "assigned", "accepted", "released", "touched", "recycled", "opted_out", "tick"]
    ),
    max_size=14,
)


@given(STEPS)
def test_rung_fires_once_and_promise_ends_once_in_any_sequence(steps: list[str]) -> None:
    terms = Terms(CONFIG.agreement.response.ladder, CONFIG.agreement.response.urgencies, CONFIG.team, ("slack",))
    records = RouterRecords(HandClock(NINE))
    clock = records.clock
    state: ResponseClock | None = None
    rungs: list[tuple[int, int, str]] = []
    ends: list[tuple[int, str]] = []
    epoch = hand_overs = 0
    for name in steps:
        clock.advance(minutes=7)
        hand_overs += name == "qualified"  # each hand-over starts a new clock
        if name == "tick":
            if state is None:
                continue
            step = fire(state, terms, clock.now, clock.now)
        else:
            epoch += name == "assigned"
            event: LeadEvent = getattr(records, name)(epoch=epoch)
            step = hear(state, event, terms, clock.now)
        rungs += [(page.epoch, page.rung, page.person) for page in step.pages]
        ends += [(hand_overs, type(event).__name__) for event in step.events if not isinstance(event, ActionRequested)]
        state = step.clock
        for page in step.pages:
            if state is not None and page.state == "pending":
                state = settled(state, msgspec.structs.replace(page, state="sent", sent_at=clock.now), terms, clock.now)
        if state is not None and not state.running:
            assert state.due_at is None
    assert len(rungs) == len(set(rungs))
    assert len(ends) == len(set(ends))
