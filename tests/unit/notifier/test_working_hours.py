"""The hours in which a clock counts: of a calendar, of the owner, and of the members of a pool together."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from firsthour.kernel.business_time import Span, WorkingHours, due_after, working_time
from firsthour.kernel.time_units import micros
from schemas.agreement.calendars import Calendar
from schemas.team import NO_END, Team
from services.notifier.domain.terms import Terms

MONDAY = datetime(2026, 11, 30, tzinfo=UTC)
HOUR = timedelta(hours=1)
CALENDARS = {
    "early": Calendar(timezone="UTC", hours={"mon-fri": ("06:00-12:00",)}),
    "late": Calendar(timezone="UTC", hours={"mon-fri": ("14:00-20:00",)}),
}


class StatedLeave:
    """Absences that reps stated over the API."""

    revision = 1

    def __init__(self, absences: Mapping[str, Sequence[Span]]) -> None:
        self._absences = absences

    def of(self, rep: str) -> Sequence[Span]:
        return self._absences.get(rep, ())


def terms(*reps: dict[str, Any], leave: dict[str, Sequence[Span]] | None = None) -> Terms:
    rows = [{"name": rep["id"], "email": f"{rep['id']}@s.example", **rep} for rep in reps]
    pool = {"id": "all", "members": [{"rep": rep["id"]} for rep in reps]}
    team = Team.model_validate({"reps": rows, "pools": [pool]})
    return Terms((), {}, team, (), CALENDARS, StatedLeave(leave or {}))


def span(begin: float, end: float) -> Span:
    """A span of Monday, in hours since midnight."""
    return Span(micros(MONDAY + begin * HOUR), micros(MONDAY + end * HOUR))


def on_monday(hours: WorkingHours | None) -> float:
    assert hours is not None
    return working_time(hours, MONDAY, MONDAY + 24 * HOUR) / HOUR


ANA = {"id": "ana", "calendar": "early"}
BO = {"id": "bo", "calendar": "late"}
LEAVE = {"from": "2026-11-30T08:00:00Z", "to": "2026-11-30T10:00:00Z"}


@pytest.mark.parametrize(
    ("counted_in", "rep", "pool"),
    [
        ("always", "ana", "all"),
        ("gone", "ana", "all"),
        ("owner", "without", "all"),
    ],
)
def test_hours_without_a_calendar_are_every_minute(counted_in: str, rep: str | None, pool: str | None) -> None:
    assert terms(ANA, {"id": "without"}).hours(counted_in, rep, pool) is None


def test_named_calendar_ignores_owner_and_leave() -> None:
    assert on_monday(terms({**ANA, "away": [LEAVE]}).hours("late", "ana", "all")) == 6


def test_owner_counts_in_their_calendar_without_both_kinds_of_leave() -> None:
    with_leave = terms({**ANA, "away": [LEAVE]}, leave={"ana": [span(9, 11)]})
    assert on_monday(with_leave.hours("owner", "ana", "all")) == 3


def test_owner_without_a_calendar_counts_each_minute_outside_leave() -> None:
    assert on_monday(terms({"id": "ana", "away": [LEAVE]}).hours("owner", "ana", "all")) == 22


@pytest.mark.parametrize("api", [False, True])
def test_absence_without_an_end_does_not_stop_the_clock_of_an_owner(api: bool) -> None:
    away = {} if api else {"away": [{"from": "2026-11-30", "to": "9999-12-31"}]}
    endless = terms({**ANA, **away}, BO, leave={"ana": [Span(micros(MONDAY), micros(NO_END))]} if api else None)
    assert on_monday(endless.hours("owner", "ana", "all")) == 6
    assert on_monday(endless.hours("owner", None, "all")) == 6  # of Bo alone


def test_pool_counts_while_one_member_is_at_work() -> None:
    both = terms({**ANA, "away": [LEAVE]}, BO, {"id": "cy", "calendar": "late"})
    assert on_monday(both.hours("owner", None, "all")) == 10


@pytest.mark.parametrize(("rep", "pool"), [("unknown", "all"), (None, "unknown"), (None, None)])
def test_without_a_known_owner_or_pool_the_members_of_all_pools_count(rep: str | None, pool: str | None) -> None:
    assert on_monday(terms(ANA, BO).hours("owner", rep, pool)) == 12


def test_leave_of_one_colleague_does_not_reduce_the_hours_of_the_pool() -> None:
    assert on_monday(terms({**ANA, "away": [LEAVE]}, {**ANA, "id": "bo"}).hours("owner", None, "all")) == 6


def test_pool_with_a_member_without_a_calendar_counts_each_minute() -> None:
    assert terms(ANA, {"id": "bo"}).hours("owner", None, "all") is None


def test_inactive_members_do_not_count() -> None:
    assert on_monday(terms(ANA, {**BO, "active": False}).hours("owner", None, "all")) == 6
    assert terms({**ANA, "active": False}).hours("owner", None, "all") is None


def test_huge_pool_with_one_calendar_has_the_spans_of_one_calendar() -> None:
    reps = [{"id": f"r{n}", "calendar": "early"} for n in range(1_000)]
    hours = terms(*reps).hours("owner", None, "all")
    assert hours is terms(ANA).hours("owner", None, "all")
    assert hours is not None
    assert due_after(hours, MONDAY, HOUR) == MONDAY + 7 * HOUR


def test_longer_leave_never_makes_the_clock_due_sooner() -> None:
    due = []
    for end in range(1, 24):
        hours = terms(ANA, leave={"ana": [span(0, end)]}).hours("owner", "ana", "all")
        assert hours is not None
        due.append(due_after(hours, MONDAY, HOUR))
    assert None not in due
    assert due == sorted(due, key=lambda at: at or MONDAY)
