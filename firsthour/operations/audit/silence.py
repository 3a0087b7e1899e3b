"""Sources that fell silent, compared with their own history: the same hours of the weeks before."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

WEEK: Final = 7 * 24  # hours
WEEKS: Final = 4
WEEKS_MIN: Final = 2
"""Weeks of history that a judgement needs."""
EVENTS_MIN: Final = 5
"""Events in the same hours of each week: with fewer, silence is chance."""


@dataclass(frozen=True)
class Silence:
    """A source that sent nothing since the end of an hour, and its events in the same hours of the weeks before."""

    source: str
    since: int  # the first silent hour since the epoch
    expected: tuple[int, ...]  # the last week first


def silences(counts: Mapping[str, Mapping[int, int]], hour: int) -> Iterator[Silence]:
    """Yield the sources that are silent.

    Args:
        counts: Events by source and hour since the epoch.
        hour: The hour of now, which is not over and therefore no silent hour.
    """
    for source, events in sorted(counts.items()):
        since = max(events, default=hour) + 1
        silent = range(max(since, hour - WEEK), hour)
        first = min(events, default=hour)
        weeks = [week * WEEK for week in range(1, WEEKS + 1) if silent and silent[0] - week * WEEK >= first]
        expected = tuple(sum(events.get(at - week, 0) for at in silent) for week in weeks)
        if len(expected) >= WEEKS_MIN and min(expected) >= EVENTS_MIN:
            yield Silence(source, since, expected)
