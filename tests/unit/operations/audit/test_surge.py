"""Sources with a surge, compared with the same hour of the weeks before."""

import pytest

from firsthour.operations.audit.silence import WEEK
from firsthour.operations.audit.surge import TIMES, USUAL_MIN, surges

NOW = 500_000


def events(*weeks: int, now: int, before: int = 0) -> dict[str, dict[int, int]]:
    """Return the events of one source: in this hour, the hour before, and this hour of each week before."""
    by_week = {NOW - (n + 1) * WEEK: number for n, number in enumerate(weeks)}
    return {"crm": {NOW: now, NOW - 1: before, **by_week}}


@pytest.mark.parametrize(
    ("counts", "is_surge"),
    [
        (events(20, 40, now=TIMES * 30), False),
        (events(20, 40, now=TIMES * 30 + 1), True),
        (events(1, 1, now=TIMES * USUAL_MIN), False),
        (events(1, 1, now=TIMES * USUAL_MIN + 1), True),
        (events(20, now=10_000), False),  # one week is no history
        (events(now=10_000), False),
    ],
)
def test_surge_is_more_than_ten_times_the_usual_number(counts: dict[str, dict[int, int]], is_surge: bool) -> None:
    assert [surge.source for surge in surges(counts, NOW)] == (["crm"] if is_surge else [])


def test_surge_goes_on_in_the_next_hour() -> None:
    counts = events(20, 20, 20, now=0, before=9_000)
    counts["crm"] |= {NOW - 1 - week * WEEK: 20 for week in (1, 2)}
    [surge] = surges(counts, NOW)
    assert (surge.hour, surge.events, surge.usual) == (NOW - 1, 9_000, 20)
