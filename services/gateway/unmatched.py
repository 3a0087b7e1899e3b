"""Keeps the newest bodies to which no entry of their mapping applies. The others are counted.

A vendor may send thousands of such events, and each kept body costs a commit. So a process keeps at most one
body of each source and type per `SECONDS`.
"""

from collections.abc import Callable
from typing import Final

from firsthour.runtime.eventlog.dead_letters import UNMATCHED, Retention, budget_of, keep_newest
from firsthour.runtime.storage.unit import Unit
from services.gateway.intake.outcome import UnmatchedBody
from services.gateway.kept_bodies import keep_body

SECONDS: Final = 60.0
OF_TYPE_MAX: Final = 5
OF_SOURCE_MAX: Final = 100
BYTES_MAX: Final = 4 * 1024 * 1024
PLACES_MAX: Final = 1_000


class UnmatchedSample:
    """Decides which bodies are kept."""

    def __init__(self, seconds: Callable[[], float]) -> None:
        """`seconds`: a clock that only moves on."""
        self._seconds = seconds
        self._kept_at: dict[tuple[str, str], float] = {}

    def copy(self) -> "UnmatchedSample":
        """Return a copy, which a unit changes and that takes the place of this one after the commit."""
        other = UnmatchedSample(self._seconds)
        other._kept_at = dict(self._kept_at)
        return other

    def takes(self, body: UnmatchedBody) -> bool:
        """Tell whether to keep this body now, and remember it."""
        seconds = self._seconds()
        place = (body.body.source, body.type)
        kept_at = self._kept_at.get(place)
        if kept_at is not None and seconds - kept_at < SECONDS:
            return False
        if kept_at is None and len(self._kept_at) >= PLACES_MAX:
            self._kept_at.clear()
        self._kept_at[place] = seconds
        return True


def keep(unit: Unit, unmatched: UnmatchedBody, retention: Retention) -> None:
    """Keep this body, and remove those that it replaces."""
    body = unmatched.body
    bounded = Retention(retention.age, min(retention.bytes_max, BYTES_MAX))
    keep_body(unit, body, bounded, key=unmatched.type, state=UNMATCHED)
    keep_newest(unit.connection, budget_of(body.source, UNMATCHED), OF_TYPE_MAX, OF_SOURCE_MAX)
