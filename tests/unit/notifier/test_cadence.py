"""The promised cadence: reminders of the next attempt after one without an answer."""

from dataclasses import replace as with_fields
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from msgspec.structs import replace

from schemas.agreement.promises import AttemptsPromise
from schemas.events.routes import LeadAssigned, LeadCard, LeadEvent, LeadReleased, TouchApplied
from services.notifier.context import NotifierContext
from services.notifier.domain.cadence import FIRST_NUMBER, good_time, is_obsolete, remind
from services.notifier.domain.clock import ResponseClock, due_at
from services.notifier.domain.clock_events import hear
from services.notifier.domain.clock_step import ClockStep
from services.notifier.domain.page import Page
from services.notifier.domain.terms import Terms
from tests.unit.notifier.harness import CONFIG

TUESDAY = datetime(2026, 12, 1, 9, 0, tzinfo=UTC)
DAY = timedelta(days=1)
PROMISE = AttemptsPromise(attempts=6, within=10 * DAY, share=0.9)
TERMS = with_fields(NotifierContext(()).terms_of(CONFIG), cadence=PROMISE)
CLOCK = ResponseClock(
    lead_id="l1",
    version=1,
    urgency="hot",
    submit_at=TUESDAY,
    promise_at=TUESDAY + timedelta(hours=1),
    updated_at=TUESDAY,
    epoch=1,
    rep="ana",
    assigned_at=TUESDAY,
    ladder=tuple(TERMS.ladder),
    next_rung=1,
    told_at=TUESDAY,
    rung_told_at=TUESDAY,
)


def touch(at: datetime, version: int, *, answered: bool = False, stops: bool = True, **more: Any) -> TouchApplied:
    record = {"lead_id": "l1", "at": at, "status": "working", "was": "assigned", "epoch": 1, "by": "rep:ana"}
    return TouchApplied(
        **{**record, **more}, version=version, channel="phone", answered=answered, touched_at=at, rep="ana", stops=stops
    )


def after(*touches: TouchApplied, clock: ResponseClock = CLOCK, terms: Terms = TERMS) -> ClockStep:
    step = ClockStep(clock)
    for event in touches:
        step = hear(step.clock, event, terms, event.at)
    return step


def clock_after(*touches: TouchApplied, clock: ResponseClock = CLOCK, terms: Terms = TERMS) -> ResponseClock:
    result = after(*touches, clock=clock, terms=terms).clock
    assert result is not None
    return result


def clock_of(event: LeadEvent, clock: ResponseClock) -> ResponseClock:
    result = hear(clock, event, TERMS, event.at).clock
    assert result is not None
    return result


def reminders_of(clock: ResponseClock, terms: Terms = TERMS) -> list[Page]:
    """Return the reminders that come if nothing else happens."""
    pages: list[Page] = []
    while (at := due_at(clock, terms)) is not None:
        step = remind(clock, terms, at, at)
        pages += step.pages
        assert step.clock is not None
        clock = step.clock
    return pages


def test_attempts_that_are_left_share_the_time_that_is_left() -> None:
    clock = clock_after(touch(TUESDAY, 2))
    times = [page.due_at for page in reminders_of(clock)]
    assert len(times) == 5
    assert {later - earlier for earlier, later in pairwise([TUESDAY, *times])} == {10 * DAY / 6}
    assert {page.person for page in reminders_of(clock)} == {"ana"}


def test_each_attempt_postpones_the_next_reminder_until_the_promised_number_is_made() -> None:
    touches = [touch(TUESDAY + n * DAY, n + 2) for n in range(6)]
    counts = [len(reminders_of(clock_after(*touches[: n + 1]))) for n in range(6)]
    assert counts == [5, 4, 3, 2, 1, 0]


@pytest.mark.parametrize(
    ("change", "terms"),
    [
        pytest.param({"talked_at": TUESDAY}, TERMS, id="reached"),
        pytest.param({"rep": None}, TERMS, id="left Sales"),
        pytest.param({"state": "over"}, TERMS, id="over"),
        pytest.param({}, with_fields(TERMS, cadence=None), id="nothing is promised"),
        pytest.param({"submit_at": TUESDAY - 11 * DAY}, TERMS, id="the time is over"),
    ],
)
def test_no_reminder_is_scheduled(change: dict[str, Any], terms: Terms) -> None:
    clock = clock_after(touch(TUESDAY, 2), clock=replace(CLOCK, **change), terms=terms)
    assert due_at(clock, terms) is None or clock.running


def test_reminders_keep_a_distance_whatever_is_promised() -> None:
    terms = with_fields(TERMS, cadence=AttemptsPromise(attempts=100_000, within=timedelta(hours=2), share=1))
    times = [page.due_at for page in reminders_of(clock_after(touch(TUESDAY, 2), terms=terms), terms)]
    assert len(times) == 7
    assert {later - earlier for earlier, later in pairwise(times)} == {timedelta(minutes=15)}


def test_reminder_that_is_no_longer_promised_is_not_sent() -> None:
    clock, now = clock_after(touch(TUESDAY, 2)), TUESDAY + 9 * DAY
    step = remind(clock, with_fields(TERMS, cadence=None), now, now)
    assert (step.pages, step.clock and step.clock.due_at) == ((), None)


def test_next_owner_is_reminded() -> None:
    clock = clock_after(touch(TUESDAY, 2))
    record: dict[str, Any] = {
        "lead_id": "l1",
        "status": "assigned",
        "was": "qualified",
        "by": "rep:max",
        "at": TUESDAY + DAY,
    }
    released = LeadReleased(**record, version=3, epoch=1, rep="ana", kind="hand-over", reason="asked")
    assert due_at(clock_of(released, clock), TERMS) is None
    assigned = LeadAssigned(
        **record,
        version=4,
        epoch=2,
        rep="bo",
        decision_id="d",
        urgency="hot",
        submit_at=TUESDAY,
        assigned_at=TUESDAY + DAY,
        touched_at=TUESDAY,
    )
    pages = reminders_of(clock_of(assigned, clock_of(released, clock)))
    assert {(page.person, page.epoch) for page in pages} == {("bo", 2)}
    assert len(pages) == 5


def test_conversation_ends_the_cadence_in_any_order_of_the_reports() -> None:
    attempt, talk = touch(TUESDAY, 2), touch(TUESDAY + DAY, 3, answered=True)
    for order in ((attempt, talk), (talk, attempt)):
        clock = clock_after(*order)
        assert (clock.attempts, clock.remind_at, clock.talked_at) == (1, None, TUESDAY + DAY)


def test_reminder_is_obsolete_after_a_later_touch_or_reminder() -> None:
    clock = clock_after(touch(TUESDAY, 2))
    assert clock.remind_at is not None
    step = remind(clock, TERMS, clock.remind_at, clock.remind_at)
    [page] = step.pages
    assert step.clock is not None
    assert (page.rung >= FIRST_NUMBER, page.kind, is_obsolete(page, step.clock)) == (True, "next_attempt", None)
    assert is_obsolete(page, clock_after(touch(TUESDAY + DAY, 3), clock=step.clock)) is not None
    later = remind(step.clock, TERMS, step.clock.remind_at or TUESDAY, TUESDAY)
    assert later.clock is not None
    assert is_obsolete(page, later.clock) is not None
    assert [cancel.hits(page) for cancel in later.cancels] == [True]


def test_touch_cancels_reminders_that_wait() -> None:
    clock = clock_after(touch(TUESDAY, 2))
    step = after(touch(TUESDAY + DAY, 3, answered=True), clock=clock)
    assert [(cancel.lead_id, cancel.epoch) for cancel in step.cancels] == [("l1", 1)]


@pytest.mark.parametrize(
    ("country", "target", "expected"),
    [
        pytest.param("", TUESDAY, TUESDAY, id="nothing known"),
        pytest.param("DE", TUESDAY, TUESDAY, id="open"),
        pytest.param("JP", TUESDAY, datetime(2026, 12, 2, 0, 0, tzinfo=UTC), id="evening in Tokyo"),
        pytest.param(
            "DE", datetime(2026, 12, 5, 12, 0, tzinfo=UTC), datetime(2026, 12, 7, 8, 0, tzinfo=UTC), id="Saturday"
        ),
        pytest.param(
            "DE", datetime(2026, 12, 25, 12, 0, tzinfo=UTC), datetime(2026, 12, 28, 8, 0, tzinfo=UTC), id="Christmas"
        ),
    ],
)
def test_reminder_comes_in_the_office_hours_of_the_prospect(country: str, target: datetime, expected: datetime) -> None:
    assert good_time(target, replace(CLOCK, card=LeadCard(country=country)), TERMS) == expected


def test_attempt_postpones_the_next_rung_where_only_a_conversation_ends_the_clock() -> None:
    at = TUESDAY + timedelta(minutes=7)
    before = replace(CLOCK, due_at=TUESDAY + timedelta(minutes=10))
    step = after(touch(at, 2, stops=False, status="assigned"), clock=before)
    clock = step.clock
    assert clock is not None
    assert (clock.state, clock.touched_at, clock.attempts) == ("live", None, 1)
    assert clock.due_at == at + timedelta(minutes=10)
    assert step.events == ()
    assert [cancel.why for cancel in step.cancels] == ["a touch was recorded"]
    ended = clock_after(touch(at + timedelta(minutes=1), 3, answered=True), clock=clock)
    assert (ended.state, ended.due_at) == ("met", None)


def test_attempt_of_long_ago_postpones_nothing() -> None:
    late = touch(TUESDAY + timedelta(minutes=30), 2, stops=False, status="assigned")
    before = replace(CLOCK, next_rung=2, rung_told_at=TUESDAY + timedelta(minutes=10), fired_at=TUESDAY)
    clock = clock_after(replace(late, touched_at=TUESDAY + timedelta(minutes=2)), clock=before)
    assert clock.rung_told_at == before.rung_told_at
