"""Sources that send far more than usual: ten times their events of the same hour in the weeks before."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from firsthour.operations.audit.silence import WEEK, WEEKS, WEEKS_MIN

TIMES: Final = 10
USUAL_MIN: Final = 5
"""A source counts as sending so many events in an hour at least: with fewer, ten times as many is chance."""


@dataclass(frozen=True)
class Surge:
    """A surge of a source in an hour since the epoch, and what it usually sends in that hour."""

    source: str
    hour: int
    events: int
    usual: float


def surges(counts: Mapping[str, Mapping[int, int]], hour: int) -> Iterator[Surge]:
    """Yield the sources with a surge in this hour or the one before, so that a surge over both is one.

    Args:
        counts: Events by source and hour since the epoch. A source without two weeks of history has no usual number.
        hour: The hour of now.
    """
    for source, events in sorted(counts.items()):
        first = min(events, default=hour)
        for at in (hour, hour - 1):
            weeks = [events.get(at - week * WEEK, 0) for week in range(1, WEEKS + 1) if at - week * WEEK >= first]
            usual = sum(weeks) / len(weeks) if len(weeks) >= WEEKS_MIN else None
            if usual is not None and events.get(at, 0) > TIMES * max(usual, USUAL_MIN):
                yield Surge(source, at, events[at], usual)
                break
