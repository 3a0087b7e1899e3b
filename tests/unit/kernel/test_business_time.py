"""Working time, compared with a reference that steps through it minute by minute and second by second."""

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import cache
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from firsthour.kernel.business_time import (
    HORIZON,
    AlwaysOpen,
    ReducedHours,
    Span,
    UnitedHours,
    due_after,
    joined,
    working_time,
)
from firsthour.kernel.calendar import CalendarHours, hours_of, week_of
from firsthour.kernel.public_holidays import holidays_of, is_known
from firsthour.kernel.time_units import micros
from schemas.agreement.calendars import Calendar
from tests.examples import examples

MINUTE, SECOND = timedelta(minutes=1), timedelta(seconds=1)
OFFICE = {"mon-fri": ("09:00-17:00",)}
ZONES = (
    "Africa/Cairo",
    "Africa/Casablanca",
    "Africa/Lagos",
    "America/Adak",
    "America/Anchorage",
    "America/Caracas",
    "America/Chicago",
    "America/Havana",
    "America/Los_Angeles",
    "America/New_York",
    "America/Nuuk",
    "America/Santiago",
    "America/Sao_Paulo",
    "America/St_Johns",
    "Antarctica/Troll",
    "Asia/Amman",
    "Asia/Beirut",
    "Asia/Jerusalem",
    "Asia/Kathmandu",
    "Asia/Kolkata",
    "Asia/Pyongyang",
    "Asia/Tokyo",
    "Australia/Lord_Howe",
    "Australia/Sydney",
    "Europe/Berlin",
    "Europe/Dublin",
    "Europe/London",
    "Pacific/Apia",
    "Pacific/Auckland",
    "Pacific/Chatham",
    "Pacific/Kiritimati",
    "UTC",
)
YEARS = range(2010, 2028)


@cache
def changes_of(zone: str) -> list[datetime]:
    """The instants, in UTC, at which this zone changes its offset, found between two days that differ."""
    place, first = ZoneInfo(zone), datetime(YEARS[0], 1, 1, tzinfo=UTC)
    days = [first + timedelta(days=n) for n in range(365 * len(YEARS))]
    return [
        change_between(place, before, after)
        for before, after in pairwise(days)
        if before.astimezone(place).utcoffset() != after.astimezone(place).utcoffset()
    ]


def change_between(zone: ZoneInfo, before: datetime, after: datetime) -> datetime:
    seconds = range(int((after - before) / SECOND) + 1)
    offset = before.astimezone(zone).utcoffset()
    return before + SECOND * bisect_left(
        seconds, True, key=lambda n: (before + n * SECOND).astimezone(zone).utcoffset() != offset
    )


def is_working(
    at: datetime, zone: ZoneInfo, week: Sequence[Sequence[tuple[int, int]]], holidays: frozenset[date]
) -> bool:
    """The definition: the local time of this instant lies in the hours of its local day."""
    local = at.astimezone(zone)
    minute = local.hour * 60 + local.minute
    return local.date() not in holidays and any(begin <= minute < end for begin, end in week[local.weekday()])


def counted(works: Callable[[datetime], bool], start: datetime, end: datetime, step: timedelta) -> timedelta:
    """The working time from `start` to `end`, step by step."""
    return sum((step for n in range((end - start) // step) if works(start + n * step)), timedelta())


def first_due(works: Callable[[datetime], bool], start: datetime, amount: timedelta, end: datetime) -> datetime | None:
    """The first minute by whose end this amount has passed; None: not before `end`."""
    at = start
    while at < end:
        if works(at):
            amount -= MINUTE
        at += MINUTE
        if amount <= timedelta():
            return at
    return None


clock_minutes = st.integers(0, 24 * 60)
day_hours = st.lists(st.tuples(clock_minutes, clock_minutes).filter(lambda span: span[0] < span[1]), max_size=3)
weeks = st.lists(day_hours, min_size=7, max_size=7)
zones = st.sampled_from(ZONES)


@st.composite
def around_changes(draw: st.DrawFn) -> tuple[str, datetime]:
    """A zone, and a minute at most three days before or after one of the changes of its clock."""
    zone = draw(zones)
    changes = changes_of(zone) or [datetime(2026, 11, 1, tzinfo=UTC)]
    return zone, draw(st.sampled_from(changes)) + draw(st.integers(-3 * 24 * 60, 3 * 24 * 60)) * MINUTE


@settings(max_examples=examples(500))
@given(around_changes(), weeks, st.integers(0, 3 * 24 * 60), st.sets(st.integers(-3, 3)), st.integers(1, 2_000))
@example(("Pacific/Apia", datetime(2011, 12, 29, tzinfo=UTC)), [[(0, 1440)]] * 7, 3 * 24 * 60, set(), 1_000)
@example(("Australia/Lord_Howe", datetime(2026, 4, 4, 10, tzinfo=UTC)), [[(90, 120)]] * 7, 1440, set(), 31)
@example(("Asia/Kathmandu", datetime(2026, 11, 29, tzinfo=UTC)), [[(540, 1080)]] * 7, 1440, {0}, 540)
def test_working_time_and_due_time_equal_a_count_by_minutes(
    place: tuple[str, datetime], week: list[list[tuple[int, int]]], minutes: int, off: set[int], amount: int
) -> None:
    zone, start = ZoneInfo(place[0]), place[1]
    holidays = frozenset(start.date() + timedelta(days=n) for n in off)
    hours = CalendarHours(zone, week, holidays.__contains__)
    end = start + minutes * MINUTE

    def works(at: datetime) -> bool:
        return is_working(at, zone, week, holidays)

    assert working_time(hours, start, end) == counted(works, start, end, MINUTE)
    due = due_after(hours, start, amount * MINUTE)
    expected = first_due(works, start, amount * MINUTE, end)
    assert due == expected if expected is not None else due is None or due > end


@pytest.mark.parametrize("zone", ZONES)
def test_working_time_equals_a_count_by_seconds_around_each_change(zone: str) -> None:
    place, week = ZoneInfo(zone), [[(0, 30), (61, 95), (120, 150), (1_410, 1_440)]] * 7
    hours = CalendarHours(place, week)
    for change in changes_of(zone)[-4:]:
        works = [is_working(change + n * SECOND, place, week, frozenset()) for n in range(-5_400, 5_400)]
        for start, end in ((-5_400, 5_400), (-1, 1), (0, 5_400), (-1_801, 3_599), (-3_600, 1)):
            expected = sum(works[start + 5_400 : end + 5_400])
            assert working_time(hours, change + start * SECOND, change + end * SECOND) == expected * SECOND


@given(around_changes(), weeks, st.lists(st.integers(0, 10_000_000_000), min_size=3, max_size=3))
def test_working_time_adds_up_and_never_exceeds_real_time(
    place: tuple[str, datetime], week: list[list[tuple[int, int]]], after: list[int]
) -> None:
    hours = CalendarHours(ZoneInfo(place[0]), week)
    a, b, c = (place[1] + timedelta(microseconds=n * 50) for n in sorted(after))
    assert working_time(hours, a, b) + working_time(hours, b, c) == working_time(hours, a, c) <= c - a
    assert working_time(hours, b, a) == timedelta()


@given(around_changes(), weeks, st.integers(1, 10**12))
def test_the_due_time_is_the_first_at_which_the_amount_has_passed(
    place: tuple[str, datetime], week: list[list[tuple[int, int]]], microseconds: int
) -> None:
    hours, amount = CalendarHours(ZoneInfo(place[0]), week), timedelta(microseconds=microseconds)
    due = due_after(hours, place[1], amount)
    if due is None:
        assert working_time(hours, place[1], place[1] + HORIZON) < amount
    else:
        assert working_time(hours, place[1], due) == amount
        assert working_time(hours, place[1], due - timedelta(microseconds=1)) < amount


@settings(max_examples=examples(170))
@given(
    around_changes(),
    st.lists(
        st.tuples(weeks, st.lists(st.tuples(st.integers(-2_000, 2_000), st.integers(1, 900)), max_size=3)), max_size=3
    ),
    st.integers(0, 2_000),
)
def test_the_hours_of_a_pool_are_those_in_which_a_member_is_at_work(
    place: tuple[str, datetime], members: list[tuple[list[list[tuple[int, int]]], list[tuple[int, int]]]], minutes: int
) -> None:
    zone, start = ZoneInfo(place[0]), place[1]
    end = start + minutes * MINUTE
    leave = [[(start + at * MINUTE, start + (at + length) * MINUTE) for at, length in spans] for _, spans in members]

    def works(at: datetime) -> bool:
        return any(
            is_working(at, zone, week, frozenset()) and not any(begin <= at < finish for begin, finish in spans)
            for (week, _), spans in zip(members, leave, strict=True)
        )

    pool = UnitedHours(
        ReducedHours(CalendarHours(zone, week), [Span(micros(begin), micros(finish)) for begin, finish in spans])
        for (week, _), spans in zip(members, leave, strict=True)
    )
    assert working_time(pool, start, end) == counted(works, start, end, MINUTE)


# --- known mistakes -----------------------------------------------------------------------------------------------


def berlin(year: int, month: int, day: int, hour: int = 0, minute: int = 0) -> datetime:
    return datetime(year, month, day, hour, minute, tzinfo=ZoneInfo("Europe/Berlin"))


def test_an_hour_from_saturday_afternoon_is_due_on_monday_at_ten() -> None:
    office = CalendarHours(ZoneInfo("Europe/Berlin"), week_of(OFFICE))
    assert due_after(office, berlin(2026, 11, 28, 16, 30), timedelta(hours=1)) == berlin(2026, 11, 30, 10)
    assert due_after(office, berlin(2026, 11, 29, 20), timedelta(hours=1)) == berlin(2026, 11, 30, 10)


def test_time_that_ends_with_the_day_is_due_that_day() -> None:
    office = CalendarHours(ZoneInfo("Europe/Berlin"), week_of(OFFICE))
    assert due_after(office, berlin(2026, 11, 27, 16), timedelta(hours=1)) == berlin(2026, 11, 27, 17)
    assert due_after(office, berlin(2026, 11, 27, 16, 30), timedelta(hours=1)) == berlin(2026, 11, 30, 9, 30)


@pytest.mark.parametrize(("month", "day", "hours"), [(3, 29, 23), (10, 25, 25)])
def test_a_whole_day_has_an_hour_less_or_more_when_clocks_change(month: int, day: int, hours: int) -> None:
    always = CalendarHours(ZoneInfo("Europe/Berlin"), week_of({"mon-sun": ["00:00-24:00"]}))
    start = berlin(2026, month, day)
    assert working_time(always, start, berlin(2026, month, day + 1)) == timedelta(hours=hours)
    assert due_after(always, start, timedelta(hours=hours)) == berlin(2026, month, day + 1)


def test_the_day_that_apia_skipped_has_no_hours() -> None:
    zone = ZoneInfo("Pacific/Apia")
    friday = CalendarHours(zone, week_of({"fri": ["00:00-24:00"]}))
    start = datetime(2011, 12, 28, tzinfo=zone)
    assert working_time(friday, start, start.astimezone(UTC) + timedelta(days=3)) == timedelta()


def test_hours_that_never_come_are_never_due() -> None:
    closed = CalendarHours(ZoneInfo("UTC"), [[]] * 7)
    start = datetime(2026, 11, 29, tzinfo=UTC)
    endless = ReducedHours(AlwaysOpen(), [Span(micros(start), micros(datetime(9999, 12, 31, tzinfo=UTC)))])
    for hours in (closed, UnitedHours([]), endless):
        assert due_after(hours, start, SECOND) is None
        assert due_after(hours, start, timedelta()) == start


@pytest.mark.parametrize("at", [datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC) - HORIZON])
def test_the_ends_of_the_calendar_are_no_error(at: datetime) -> None:
    office = CalendarHours(ZoneInfo("Pacific/Kiritimati"), week_of(OFFICE))
    assert due_after(office, at, timedelta(hours=1)) is not None


def test_spans_are_computed_once_for_each_day() -> None:
    class CountingHours:
        looks = 0

        def __call__(self, day: date) -> bool:
            self.looks += 1
            return False

    holiday = CountingHours()
    office = CalendarHours(ZoneInfo("Europe/Berlin"), week_of({"mon-sun": ["09:00-17:00"]}), holiday)
    start = berlin(2026, 11, 1)
    for _ in range(3):
        working_time(office, start, start + timedelta(days=30))
    assert holiday.looks <= 2 * 31  # a day of UTC touches two local days at most


@pytest.mark.parametrize(
    ("days", "weekdays"), [("mon", [0]), ("mon-fri", [0, 1, 2, 3, 4]), ("sat-mon", [5, 6, 0]), ("sun-sun", [6])]
)
def test_days_of_a_calendar_may_pass_the_end_of_the_week(days: str, weekdays: list[int]) -> None:
    assert [day for day, hours in enumerate(week_of({days: ["09:00-17:00"]})) if hours] == sorted(weekdays)


def test_a_public_holiday_has_no_hours() -> None:
    office = hours_of(Calendar(timezone="Europe/Berlin", hours={"mon-fri": ("09:00-17:00",)}, holidays="DE-BE"))
    assert due_after(office, berlin(2026, 12, 24, 16), timedelta(hours=2)) == berlin(2026, 12, 28, 10)
    assert working_time(office, berlin(2026, 3, 6, 9), berlin(2026, 3, 10)) == timedelta(hours=16)


@pytest.mark.parametrize(("code", "expected"), [("DE", True), ("DE-BE", True), ("DE-ZZ", False), ("XX", False)])
def test_a_country_or_region_without_known_holidays_is_told_apart(code: str, expected: bool) -> None:
    assert is_known(code) is expected
    if not expected:
        with pytest.raises(ValueError, match=code):
            holidays_of(code)


def spans(*bounds: tuple[int, int]) -> Iterator[Span]:
    return (Span(*bound) for bound in bounds)


def test_touching_spans_are_joined() -> None:
    assert list(joined(spans((1, 3), (3, 4), (6, 9), (7, 8)))) == [(1, 4), (6, 9)]
