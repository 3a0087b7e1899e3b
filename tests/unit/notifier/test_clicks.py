"""Clicks of people on pages: their effect on the clock at once, their refusal, and their undoing by the router."""

import dataclasses
from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest

from firsthour.kernel.time_units import micros
from schemas.agreement.agreement import Agreement
from schemas.agreement.lifecycle import Lifecycle
from schemas.events.pages import PromiseKept, PromiseMissed
from schemas.events.routes import ActionResolved
from services.notifier.channels.base import TryAgain
from services.notifier.domain.click import (
    NOTE_CHARS_MAX,
    NOTHING,
    Click,
    ClickAnswer,
    StoredClick,
    notice_of,
    reject_reasons,
)
from services.notifier.domain.clock import ResponseClock
from services.notifier.store.clicks import CLICK_DAYS, forget_clicks
from tests.unit.notifier.clicking import assigned, click, requests, resolve
from tests.unit.notifier.harness import CONFIG, NotifierHarness
from tests.unit.notifier.router_records import NINE


def clock_row(harness: NotifierHarness) -> dict[str, Any]:
    (row,) = harness.rows("SELECT * FROM notifier_clocks WHERE lead_id = 'l1'")
    return row


# --- effects ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("action", "answered"), [("reached", True), ("no_answer", False)])
async def test_touch_by_a_button_stops_the_clock_at_once(harness: NotifierHarness, action: str, answered: bool) -> None:
    await assigned(harness)
    harness.clock.advance(minutes=5)
    assert click(harness, action, note=" left a message ").applied
    assert clock_row(harness)["state"] == "met"
    assert [(kept.seconds, kept.late) for kept in harness.events(PromiseKept)] == [(300.0, False)]
    (request,) = requests(harness)
    assert (request.action, request.answered, request.by, request.epoch) == ("touch", answered, "rep:ana", 1)
    assert request.note == "left a message"
    await harness.wait(minutes=90)
    assert len(harness.slack.messages) == 1


async def test_touch_by_a_button_and_its_record_keep_one_promise_and_the_earliest_time(
    harness: NotifierHarness,
) -> None:
    await assigned(harness)
    harness.clock.advance(minutes=5)
    click(harness, "reached")
    harness.hear(harness.touched(at=NINE + timedelta(minutes=3)), harness.touched())
    assert len(harness.events(PromiseKept)) == 1
    assert clock_row(harness)["touched_at"] == int((NINE + timedelta(minutes=3)).timestamp()) * 1_000_000


async def test_accept_ends_reminders_to_the_owner(harness: NotifierHarness) -> None:
    await assigned(harness)
    assert "10:00 UTC" in click(harness, "accept").text
    await harness.wait(minutes=25)
    assert harness.slack.recipients == ["Ana", "Max"]
    assert [request.action for request in requests(harness)] == ["accept"]


async def test_snooze_postpones_the_reminder_to_the_owner(harness: NotifierHarness) -> None:
    await assigned(harness)
    assert click(harness, "snooze", until=NINE + timedelta(minutes=15)).applied
    await harness.wait(minutes=14)
    assert harness.slack.recipients == ["Ana"]
    await harness.wait(minutes=1)
    assert harness.slack.recipients == ["Ana", "Ana"]


async def test_snooze_lasts_at_most_to_the_end_of_the_promise(harness: NotifierHarness) -> None:
    await assigned(harness)
    assert "10:00 UTC" in click(harness, "snooze", until=NINE + timedelta(days=3)).text
    await harness.wait(minutes=61)
    assert harness.slack.recipients == ["Ana", "Ana"]
    assert not click(harness, "snooze", until=NINE + timedelta(days=3)).applied, "the promise has ended"


async def test_reject_and_hand_over_change_no_clock_and_ask_the_router(harness: NotifierHarness) -> None:
    await assigned(harness)
    before = clock_row(harness)
    assert click(harness, "reject", reason="not-now", note="asks for autumn").applied
    assert click(harness, "hand_over", rep="bo").text == "Handed over to Bo."
    assert clock_row(harness) | {"updated_at": 0} == before | {"updated_at": 0}
    assert [(r.action, r.reason, r.rep, r.note) for r in requests(harness)] == [
        ("reject", "not-now", None, "asks for autumn"),
        ("hand_over", None, "bo", None),
    ]


async def test_click_that_makes_a_page_obsolete_cancels_it(harness: NotifierHarness) -> None:
    harness.slack.always = harness.email.always = TryAgain(None, "down")
    harness.hear(harness.qualified(), harness.assigned())
    await harness.delivery.step()
    click(harness, "reached")
    assert harness.page(0)["state"] == "cancelled"


# --- refusals ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("action", "person", "more", "why"),
    [
        ("accept", "bo", {}, "neither its owner nor their manager"),
        ("reached", "bo", {}, "neither its owner nor their manager"),
        ("reached", "gone", {}, "neither its owner nor their manager"),
        ("reached", "stranger", {}, "neither its owner nor their manager"),
        ("accept", "ana", {"epoch": 7}, "That assignment has ended: the lead is with Ana"),
        ("reject", "ana", {}, "needs one of these reasons: not now, wrong person"),
        ("reject", "ana", {"reason": "made up"}, "needs one of these reasons"),
        ("snooze", "ana", {}, "needs a time in the future"),
        ("snooze", "ana", {"until": NINE}, "needs a time in the future"),
        ("hand_over", "ana", {}, "can be handed over to: Bo."),
        ("hand_over", "ana", {"rep": "ana"}, "can be handed over to: Bo."),
        ("hand_over", "ana", {"rep": "max"}, "can be handed over to: Bo."),
        ("accept", "ana", {"lead_id": "l9"}, "not known here"),
    ],
)
async def test_refused_click_says_why_and_changes_nothing(
    harness: NotifierHarness, action: str, person: str, more: dict[str, Any], why: str
) -> None:
    await assigned(harness)
    before, events = clock_row(harness), len(harness.units.events)
    answer = click(harness, action, person, **more)
    assert not answer.applied
    assert why in answer.text
    assert answer.text.endswith(NOTHING)
    assert (clock_row(harness), len(harness.units.events)) == (before, events)
    assert harness.rows("SELECT * FROM notifier_clicks") == []


async def test_replayed_click_changes_nothing(harness: NotifierHarness) -> None:
    await assigned(harness)
    assert click(harness, "snooze", key="k", until=NINE + timedelta(minutes=15)).applied
    again = click(harness, "snooze", key="k", until=NINE + timedelta(minutes=30))
    assert again == ClickAnswer(False, f"This click was received before. {NOTHING}")
    assert len(requests(harness)) == 1


async def test_click_of_an_ended_assignment_is_refused_but_a_touch_counts(harness: NotifierHarness) -> None:
    await assigned(harness)
    harness.hear(harness.released(), harness.assigned(rep="bo", epoch=2))
    assert "the lead is with Bo" in click(harness, "snooze", until=NINE + timedelta(minutes=5)).text
    assert click(harness, "reached").applied, "Ana was paged before"
    assert clock_row(harness)["state"] == "met"


async def test_accept_after_a_touch_or_the_end_is_refused(harness: NotifierHarness) -> None:
    await assigned(harness)
    harness.hear(harness.touched())
    assert "contacted already" in click(harness, "accept").text
    assert "contacted already" in click(harness, "snooze", until=NINE + timedelta(hours=1)).text
    harness.hear(harness.recycled())
    assert "the lead is closed" in click(harness, "accept").text


# --- roles ------------------------------------------------------------------------------------------------------


async def test_manager_acts_for_the_owner(harness: NotifierHarness) -> None:
    await assigned(harness)
    assert click(harness, "accept", "max").applied
    assert requests(harness)[0].by == "rep:max"


async def test_cover_takes_the_lead_over_by_accepting(harness: NotifierHarness) -> None:
    await assigned(harness)
    harness.execute("UPDATE notifier_pages SET kind = 'cover', person = 'bo'")
    assert "Accept takes the lead over" in click(harness, "reject", "bo", reason="not-now").text
    assert click(harness, "accept", "bo").applied
    assert [(r.action, r.rep, r.cover) for r in requests(harness)] == [("hand_over", "bo", True)]


async def test_reader_of_a_channel_takes_the_lead_over_by_accepting(harness: NotifierHarness) -> None:
    await assigned(harness)
    assert "neither its owner nor their manager" in click(harness, "accept", "bo").text
    harness.execute("UPDATE notifier_pages SET kind = 'channel', person = '#sales'")
    assert "not known here" not in click(harness, "reject", "bo", reason="not-now").text
    assert not click(harness, "accept", "stranger").applied
    assert click(harness, "accept", "bo").text == "The lead is yours now."
    assert click(harness, "accept", "max").text == "The lead is yours now."
    assert [(r.action, r.rep, r.cover) for r in requests(harness)] == [
        ("hand_over", "bo", True),
        ("hand_over", "max", True),
    ]
    assert click(harness, "no_answer", "bo").applied


async def test_refused_accept_of_a_cover_says_so_and_leaves_that_of_the_owner(harness: NotifierHarness) -> None:
    await assigned(harness)
    harness.execute("UPDATE notifier_pages SET kind = 'cover', person = 'bo'")
    click(harness, "accept")
    click(harness, "accept", "bo")
    resolve(harness, "refused")
    assert clock_row(harness)["accepted"] == 1
    assert harness.rows("SELECT refused FROM notifier_clicks WHERE person = 'ana'") == [{"refused": None}]


async def test_person_whose_hand_over_was_refused_is_told_each_time(harness: NotifierHarness) -> None:
    await assigned(harness)
    click(harness, "accept")
    for _ in range(2):
        harness.clock.advance(seconds=1)
        assert click(harness, "hand_over", rep="bo").text == "Handed over to Bo."
        resolve(harness, "refused")
        resolve(harness, "refused")
        await harness.settle()
    assert [(message.kind, message.person_name) for message in harness.slack.messages] == [
        ("owner", "Ana"),
        ("refused", "Ana"),
        ("refused", "Ana"),
    ]
    assert clock_row(harness)["accepted"] == 1


# --- the router's result ----------------------------------------------------------------------------------------


async def test_refused_accept_is_undone_and_overdue_rungs_fire_at_once(harness: NotifierHarness) -> None:
    await assigned(harness)
    click(harness, "accept")
    await harness.wait(minutes=15)
    assert harness.slack.recipients == ["Ana"]
    resolve(harness, "refused")
    assert clock_row(harness)["accepted"] == 0
    await harness.wait(minutes=5)
    assert harness.slack.recipients == ["Ana", "Max"]
    (row,) = harness.rows("SELECT refused FROM notifier_clicks")
    assert row["refused"] == "the lead is with someone else"


async def test_refused_snooze_lets_the_overdue_reminder_go_at_once(harness: NotifierHarness) -> None:
    await assigned(harness)
    click(harness, "snooze", until=NINE + timedelta(minutes=40))
    await harness.wait(minutes=12)
    assert harness.slack.recipients == ["Ana"]
    resolve(harness, "refused")
    await harness.settle()
    assert harness.slack.recipients == ["Ana", "Ana"]


def let_snoozes_pause(harness: NotifierHarness) -> None:
    agreement = CONFIG.agreement.model_dump(by_alias=True)
    agreement["response"]["pauses"] = {"snooze": {"at_most": "1h"}}
    harness.units.config = dataclasses.replace(CONFIG, agreement=Agreement.model_validate(agreement))


async def test_snooze_pauses_the_clock_and_the_whole_ladder_if_the_agreement_says_so(harness: NotifierHarness) -> None:
    let_snoozes_pause(harness)
    await assigned(harness)
    answer = click(harness, "snooze", until=NINE + timedelta(days=3))
    assert answer.text == "Snoozed until 10:00 UTC. The clock pauses until then."
    assert micros(NINE + timedelta(hours=2)) == clock_row(harness)["promise_at"]
    await harness.wait(minutes=59)
    assert harness.slack.recipients == ["Ana"]
    await harness.wait(minutes=61)
    assert "Max" in harness.slack.recipients
    assert [event.working_seconds for event in harness.events(PromiseMissed)] == [3600]
    assert [event.seconds for event in harness.events(PromiseMissed)] == [7200]
    assert "no more snoozing" in click(harness, "snooze", until=NINE + timedelta(hours=9)).text


async def test_refused_snooze_takes_its_pause_back(harness: NotifierHarness) -> None:
    let_snoozes_pause(harness)
    await assigned(harness)
    click(harness, "snooze", until=NINE + timedelta(minutes=40))
    await harness.wait(minutes=12)
    resolve(harness, "refused")
    await harness.settle()
    assert harness.slack.recipients == ["Ana", "Ana"]
    assert (clock_row(harness)["pauses"], clock_row(harness)["promise_at"]) == ("[]", micros(NINE + timedelta(hours=1)))


async def test_refused_touch_lets_the_clock_run_again(harness: NotifierHarness) -> None:
    await assigned(harness)
    click(harness, "no_answer")
    await harness.wait(minutes=12)
    resolve(harness, "refused")
    await harness.settle()
    assert clock_row(harness)["state"] == "live"
    assert harness.slack.recipients == ["Ana", "Ana"]


async def test_result_of_an_earlier_assignment_undoes_nothing(harness: NotifierHarness) -> None:
    await assigned(harness)
    click(harness, "accept")
    harness.hear(harness.released(), harness.assigned(epoch=2))
    click(harness, "accept", epoch=2)
    resolve(harness, "refused", 0)
    resolve(harness, "applied", 1)
    assert clock_row(harness)["accepted"] == 1


# --- bounds -----------------------------------------------------------------------------------------------------


async def test_note_is_cut_and_can_be_stored(harness: NotifierHarness) -> None:
    await assigned(harness)
    click(harness, "reached", note="\0\ud800" + "x" * 100_000)
    assert requests(harness)[0].note == " ?" + "x" * (NOTE_CHARS_MAX - 2)


async def test_clicks_are_forgotten_after_three_weeks(harness: NotifierHarness) -> None:
    await assigned(harness)
    click(harness, "reached")
    assert harness.units.now(lambda unit: forget_clicks(unit, 10)) == 0
    harness.clock.advance(days=CLICK_DAYS + 1)
    assert harness.units.now(lambda unit: forget_clicks(unit, 10)) == 1


async def test_click_takes_a_constant_number_of_statements(harness: NotifierHarness) -> None:
    await assigned(harness)
    with harness.units.counting() as executed:
        click(harness, "reached")
    assert len(executed) <= 10, executed


def test_reasons_of_a_rejection_are_those_of_the_agreement() -> None:
    expected = ("not-now", "wrong-person", "no-budget", "competitor", "wrong-territory", "no-time", "conflict")
    clock = ResponseClock(
        lead_id="l1", version=1, urgency="hot", submit_at=NINE, promise_at=NINE, updated_at=NINE, epoch=1, rep="ana"
    )
    assert reject_reasons(Lifecycle(), clock) == expected
    changes: dict[str, Any]
    for changes in (
        {"accepted": True},
        {"touched_at": NINE + timedelta(minutes=1)},
        {"attempted_at": NINE + timedelta(minutes=1)},
        {"rep": None},
    ):
        assert reject_reasons(Lifecycle(), msgspec.structs.replace(clock, **changes)) == ()
    assert reject_reasons(Lifecycle(), None) == ()


@pytest.mark.parametrize(
    ("why", "said"),
    [
        (
            "bo cannot take the lead: at capacity: 3 of 3 open; choose another",
            "Bo cannot take the lead: at capacity: 3 of 3 open",
        ),
        (
            "only its owner can do this with a lead that is working; ask there",
            "only its owner can do this with a lead that is working",
        ),
        ("assignment 3 has ended; the lead is at 4 now", "that assignment has ended"),
        ("zoe may not do it", "zoe may not do it"),
    ],
)
def test_refusal_of_the_router_has_names_and_no_ids(why: str, said: str) -> None:
    result = ActionResolved(
        lead_id="l1", action_id="a", action="hand_over", epoch=1, at=NINE, outcome="refused", why=why
    )
    stored = StoredClick("l1", 1, "ana", "hand_over", NINE, None)
    assert notice_of(result, stored, CONFIG.team) == f"Hand over was refused: {said}."


def test_click_of_another_source_has_another_id() -> None:
    at = datetime.fromisoformat("2026-12-01T09:00:00Z")
    one = Click(person="ana", lead_id="l1", epoch=1, action="accept", at=at, source="slack", key="k")
    assert one.id != msgspec.structs.replace(one, source="email").id
