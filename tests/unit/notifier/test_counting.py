"""The time that a clock has counted, the end of its promise, and its pauses."""

import dataclasses
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from firsthour.kernel.business_time import Span, due_after
from schemas.agreement.calendars import Calendar
from schemas.agreement.response import Urgency
from schemas.team import Team
from services.notifier.domain.absences import ABSENCES_MAX, with_change
from services.notifier.domain.clock import ResponseClock
from services.notifier.domain.counting import (
    PAUSES_MAX,
    counted_until,
    fixed,
    passed_on,
    paused,
    paused_until,
    promise_end,
    resumed,
    stopped,
)
from services.notifier.domain.terms import Terms
from services.notifier.domain.working_hours import WITHOUT_END
from tests.hand_clock import HandClock
from tests.unit.notifier.router_records import NINE, RouterRecords

HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
CALENDARS = {
    "office": Calendar(timezone="UTC", hours={"mon-fri": ("09:00-17:00",)}),
    "late": Calendar(timezone="UTC", hours={"mon-fri": ("14:00-20:00",)}),
    "never": Calendar.model_construct(timezone="UTC", hours={}, holidays=None),
}
TEAM = Team.model_validate(
    {
        "reps": [
            {"id": id, "name": id, "email": f"{id}@s.example", "calendar": calendar}
            for id, calendar in {"ana": "office", "bo": "late", "cy": "never"}.items()
        ],
        "pools": [{"id": "all", "members": [{"rep": "ana"}, {"rep": "bo"}]}, {"id": "one", "members": [{"rep": "bo"}]}],
    }
)
LIMITS = {"snooze": 2 * HOUR, "waiting_for_prospect": timedelta(days=1)}
TERMS = Terms((), {"hot": Urgency(touch_within=HOUR, counted_in="owner")}, TEAM, (), CALENDARS, pauses=LIMITS)


def clock(counted_in: str = "owner", rep: str | None = "ana", **fields: Any) -> ResponseClock:
    base = ResponseClock(
        lead_id="l1",
        version=1,
        urgency="hot",
        submit_at=NINE,
        promise_at=NINE + HOUR,
        updated_at=NINE,
        counted_in=counted_in,
        touch_within=2 * HOUR,
        counted_from=NINE,
        rep=rep,
        pool="all",
    )
    return replace(base, **fields)


def at(hours: float) -> datetime:
    """The time so many hours after midnight on the Tuesday of the clock."""
    return datetime(2026, 12, 1, tzinfo=UTC) + hours * HOUR


@pytest.mark.parametrize(
    ("counted_in", "rep", "fields", "end"),
    [
        ("always", "ana", {}, 11),
        ("owner", "ana", {}, 11),
        ("owner", "bo", {}, 16),
        ("owner", None, {}, 11),
        ("owner", None, {"pool": "one"}, 16),
        ("late", "ana", {}, 16),
        ("removed from the agreement", "ana", {}, 11),
        ("owner", "bo", {"worked": 90 * MINUTE, "counted_from": at(12)}, 14.5),
        ("owner", "ana", {"worked": 3 * HOUR, "counted_from": at(12)}, 12),
        ("owner", "cy", {}, 11),
    ],
)
def test_promise_ends_once_its_time_was_counted(
    counted_in: str, rep: str | None, fields: dict[str, Any], end: float
) -> None:
    assert promise_end(clock(counted_in, rep, **fields), TERMS) == at(end)


def test_time_counted_follows_the_hours_of_the_clock() -> None:
    assert counted_until(clock(), TERMS, at(24 + 10)) == 9 * HOUR
    assert counted_until(clock(worked=HOUR, counted_from=at(12)), TERMS, at(13)) == 2 * HOUR
    assert counted_until(clock("always"), TERMS, at(24 + 10)) == 25 * HOUR


def test_touch_before_a_change_of_owner_counts_less() -> None:
    changed = passed_on(clock(), TERMS, "bo", "all", at(10.5))
    assert counted_until(changed, TERMS, at(10)) == 90 * MINUTE, "Bo was not at work between"
    assert counted_until(fixed(clock(), TERMS, at(10.5)), TERMS, at(10)) == HOUR


def test_first_touch_fixes_the_time_counted() -> None:
    touched = stopped(clock(), TERMS, at(10))
    assert (touched.touched_at, touched.worked) == (at(10), HOUR)
    assert stopped(touched, TERMS, at(11)) == touched
    assert stopped(touched, TERMS, at(9.5)).worked == HOUR / 2
    assert passed_on(touched, TERMS, "bo", "all", at(12)).worked == HOUR


def test_reassignment_keeps_the_time_counted_so_far() -> None:
    changed = passed_on(clock(), TERMS, "bo", "all", at(10.5))
    assert (changed.worked, changed.counted_from, changed.promise_at) == (90 * MINUTE, at(10.5), at(14.5))
    back = passed_on(changed, TERMS, "ana", "all", at(14.25))
    assert (back.worked, back.promise_at) == (105 * MINUTE, at(14.5))


@pytest.mark.parametrize("counted_in", ["always", "office"])
def test_reassignment_does_not_change_a_clock_that_ignores_the_owner(counted_in: str) -> None:
    changed = passed_on(clock(counted_in), TERMS, "bo", "all", at(10.5))
    assert (changed.worked, changed.counted_from, changed.promise_at) == (timedelta(), NINE, at(11))


def test_queue_counts_in_the_hours_of_the_pool_and_the_assignment_in_those_of_the_owner() -> None:
    waiting = passed_on(clock(rep=None, pool=None), TERMS, None, "one", NINE)
    assert (waiting.worked, waiting.promise_at) == (timedelta(), at(16))
    assert passed_on(waiting, TERMS, "ana", "one", at(15)).promise_at == at(16)


def test_assignment_without_a_pool_counts_in_the_hours_of_the_owner_from_the_submit() -> None:
    assigned = passed_on(clock(rep=None, pool=None), TERMS, "ana", None, at(10))
    assert (assigned.worked, assigned.promise_at) == (timedelta(), at(11))


def test_promise_that_was_missed_stays() -> None:
    missed = clock(state="missed", missed_at=at(10))
    assert passed_on(missed, TERMS, "bo", "all", at(12)).promise_at == missed.promise_at


# --- pauses -----------------------------------------------------------------------------------------------------------


def test_pause_postpones_the_promise_and_ends_by_itself() -> None:
    snoozed = paused(clock(), "snooze", at(10), TERMS, at(9.5))
    assert snoozed is not None
    assert snoozed.promise_at == at(11.5)
    assert paused_until(snoozed, at(9.75)) == at(10)
    assert paused_until(snoozed, at(10)) is None
    assert counted_until(snoozed, TERMS, at(10.5)) == HOUR


def test_pause_of_a_clock_in_which_every_minute_counts_postpones_it() -> None:
    snoozed = paused(clock("always"), "snooze", at(10), TERMS, at(9.5))
    assert snoozed is not None
    assert snoozed.promise_at == at(11.5)


def test_resumed_clock_counts_on() -> None:
    snoozed = paused(clock(), "snooze", at(10.5), TERMS, at(9.5))
    assert snoozed is not None
    assert promise_end(resumed(snoozed, at(10)), TERMS) == at(11.5)
    assert resumed(snoozed, at(9.5)).pauses == ()
    assert resumed(snoozed, at(12)) is snoozed


def test_pauses_of_a_kind_take_no_more_than_the_agreement_allows() -> None:
    once = paused(clock(), "snooze", at(10.5), TERMS, at(9))
    assert once is not None
    twice = paused(once, "snooze", at(20), TERMS, at(11))
    assert twice is not None
    assert paused_until(twice, at(11)) == at(11.5)
    assert paused(twice, "snooze", at(20), TERMS, at(12)) is None
    assert paused(twice, "waiting_for_prospect", at(20), TERMS, at(12)) is not None
    assert paused(clock(), "snooze", at(10), dataclasses.replace(TERMS, pauses={}), NINE) is None


def test_later_pause_replaces_the_one_in_force() -> None:
    once = paused(clock(), "snooze", at(11), TERMS, at(9))
    assert once is not None
    shorter = paused(once, "snooze", at(10), TERMS, at(9.5))
    assert shorter is not None
    assert shorter.promise_at == at(12)


def test_number_of_pauses_is_bounded() -> None:
    snoozed: ResponseClock | None = clock()
    for n in range(PAUSES_MAX):
        assert snoozed is not None
        snoozed = paused(snoozed, "snooze", NINE + (2 * n + 1) * MINUTE, TERMS, NINE + 2 * n * MINUTE)
    assert snoozed is not None
    assert paused(snoozed, "snooze", at(20), TERMS, at(12)) is None


@pytest.mark.parametrize("state", ["met", "over"])
def test_ended_clock_is_not_paused(state: str) -> None:
    assert paused(clock(state=state), "snooze", at(10), TERMS, NINE) is None


def test_pause_ends_with_the_assignment() -> None:
    snoozed = paused(clock("always"), "snooze", at(11), TERMS, at(9.5))
    assert snoozed is not None
    assert passed_on(snoozed, TERMS, "bo", "all", at(10)).promise_at == at(11.5)


@given(start=st.integers(0, 600), minutes=st.integers(1, 120), more=st.integers(0, 60))
def test_longer_pause_never_makes_a_clock_due_sooner(start: int, minutes: int, more: int) -> None:
    now = NINE + start * MINUTE
    short = paused(clock(), "snooze", now + minutes * MINUTE, TERMS, now)
    long = paused(clock(), "snooze", now + (minutes + more) * MINUTE, TERMS, now)
    assert short is not None
    assert long is not None
    assert short.promise_at <= long.promise_at


# --- absences ---------------------------------------------------------------------------------------------------------


def test_absences_follow_the_changes_of_a_rep() -> None:
    records = RouterRecords(HandClock(NINE))
    away = with_change((), records.rep("ana", "away", NINE + 3 * HOUR))
    records.clock.advance(hours=1)
    back = with_change(away, records.rep("ana", "available"))
    assert [span.end - span.start for span in back] == [3_600_000_000]
    [*_, last] = with_change(back, records.rep("ana", "deactivated"))
    assert last.end == WITHOUT_END
    assert with_change(away, records.rep("ana", "away", NINE)) == back, "it ended in the past"


def test_number_of_absences_is_bounded() -> None:
    records, spans = RouterRecords(HandClock(NINE)), tuple[Span, ...]()
    for _ in range(2 * ABSENCES_MAX):
        spans = with_change(spans, records.rep("ana", "away"))
        records.clock.advance(minutes=1)
    assert len(spans) == ABSENCES_MAX
    records.clock.advance(days=500)
    assert len(with_change(spans, records.rep("ana", "available"))) <= 1


# --- cost -------------------------------------------------------------------------------------------------------------


class RecordedHours:
    """Hours of a calendar that count the spans read from them."""

    def __init__(self) -> None:
        self.spans_read = 0

    def spans(self, start: int, end: int) -> Iterator[Span]:
        hours = TERMS.hours("office", None, None)
        assert hours is not None
        for span in hours.spans(start, end):
            self.spans_read += 1
            yield span


def test_cost_of_thirty_days_of_work_grows_with_days_and_not_with_seconds() -> None:
    hours = RecordedHours()
    assert due_after(hours, NINE, 30 * 8 * HOUR) is not None
    assert hours.spans_read <= 31
