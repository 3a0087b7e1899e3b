"""The cost of working time: the instant at which thirty days of work have passed, and the work between two instants."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

from firsthour.bench.lines import BenchLine, line
from firsthour.bench.systems import cpu_seconds
from firsthour.kernel import business_time
from firsthour.kernel.calendar import hours_of
from schemas.agreement.calendars import Calendar

CALCULATIONS: Final = 500
ROUNDS: Final = 7
GOAL_US: Final = 1_000.0
START: Final = datetime(2026, 10, 1, 9, 30, tzinfo=UTC)
WORK: Final = 30 * timedelta(hours=8)


def working_time() -> list[BenchLine]:
    """Return the CPU per calculation: six weeks of a calendar with two spans a day, a changed clock and public holidays."""
    hours = hours_of(
        Calendar(timezone="Europe/Berlin", hours={"mon-fri": ("09:00-12:30", "13:30-18:00")}, holidays="DE-BE")
    )
    end = business_time.due_after(hours, START, WORK) or START
    due = [_us(lambda: business_time.due_after(hours, START, WORK)) for _ in range(ROUNDS)]
    passed = [_us(lambda: business_time.working_time(hours, START, end)) for _ in range(ROUNDS)]
    note = f"30 days of 8 hours, until {end:%Y-%m-%d}"
    return [
        line("working time, when it has passed", due, "us", goal=GOAL_US, note=note),
        line("working time, between two instants", passed, "us", goal=GOAL_US, note=note),
    ]


def _us(calculate: Callable[[], object]) -> float:
    before = cpu_seconds()
    for _ in range(CALCULATIONS):
        calculate()
    return (cpu_seconds() - before) / CALCULATIONS * 1e6
