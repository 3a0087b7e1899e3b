"""The outcomes of a fetch by the answer of the vendor's API, and the time of the next try."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final, NamedTuple

GIVE_UP_AFTER: Final = timedelta(hours=24)
"""From the arrival of a thin event to the last try."""
FIRST_SECONDS: Final = 5.0
PAUSE_SECONDS_MAX: Final = 900.0
RETRY_AFTER_SECONDS_MAX: Final = 3_600.0
OPEN_AFTER: Final = 5
"""Failures of a source in a row, after which only single requests probe its API."""
PROBE_SECONDS: Final = 15.0
PROBE_SECONDS_MAX: Final = 300.0
_TEMPORARY: Final = frozenset({408, 425, 429})


class TryLater(NamedTuple):
    """A temporary failure. `after_seconds`: as long as the API asks for. `of_api`: the API itself fails, not our configuration."""

    why: str
    after_seconds: float = 0.0
    of_api: bool = True


class FetchRefused(NamedTuple):
    """A failure that another try does not change. `why` has the remedy."""

    why: str


def judged(status: int, headers: Mapping[str, str], again: bool, real: datetime) -> TryLater | FetchRefused | None:
    """Return what an answer means. None: it has the rest of the event.

    Args:
        status: The status of the answer.
        headers: Its headers, by lower-case name.
        again: The refusal is temporary although its status reads as final.
        real: The real time, for a `Retry-After` that is a date.
    """
    if 200 <= status < 300:
        return None
    if status >= 500 or status in _TEMPORARY or again:
        return TryLater(f"the API answered {status}", retry_after(headers, real))
    if status in (401, 403):
        return FetchRefused(
            f"the API answered {status}; renew the token of `fetch` and check its permissions, then retry"
        )
    if status == 426:
        return FetchRefused(
            "the API answered 426; it ended this version: name a newer one in `fetch.version`, then retry"
        )
    if status in (404, 410):
        return FetchRefused(f"the API answered {status}: it does not know this event; check `fetch.path`, or drop it")
    if 300 <= status < 400:
        return FetchRefused(
            f"the API answered {status}, and redirects are not followed; correct `fetch.base_url`, then retry"
        )
    return FetchRefused(f"the API answered {status}; check path, headers and token of `fetch`, then retry")


def retry_after(headers: Mapping[str, str], real: datetime) -> float:
    """Return `retry-after` in seconds, from 0 to `RETRY_AFTER_SECONDS_MAX`; 0 if it is absent or unreadable."""
    text = headers.get("retry-after", "")
    try:
        seconds = float(text)
    except ValueError:
        try:
            seconds = (parsedate_to_datetime(text) - real).total_seconds()
        except (ValueError, TypeError):
            return 0.0
    return min(max(seconds, 0.0), RETRY_AFTER_SECONDS_MAX) if math.isfinite(seconds) else 0.0


def pause_seconds(tries: int, after_seconds: float, jitter: float) -> float:
    """Return the time until the next try: a random part of a limit that doubles, and no less than the API asks for.

    `jitter`: 0 to 1.
    """
    limit = min(PAUSE_SECONDS_MAX, FIRST_SECONDS * 2.0 ** min(tries - 1, 20))
    return max(after_seconds, limit * jitter)


@dataclass
class Breaker:
    """The breaker of the API of one source. Times are monotonic seconds."""

    failures: int = 0
    open_until: float = 0.0
    _wait: float = PROBE_SECONDS

    def places(self, most: int, now: float) -> int:
        """Return how many requests may be made now: `most`, one as a probe, or none."""
        if now < self.open_until:
            return 0
        return 1 if self.failures >= OPEN_AFTER else most

    def record(self, failure: TryLater | None, now: float) -> None:
        """Record an answer. None: the API works, whatever it said about the event."""
        if failure is None:
            self.failures, self.open_until, self._wait = 0, 0.0, PROBE_SECONDS
            return
        self.failures += 1
        if failure.after_seconds > 0:
            self.open_until = max(self.open_until, now + failure.after_seconds)
        if self.failures >= OPEN_AFTER:
            self.open_until = max(self.open_until, now + self._wait)
            self._wait = min(PROBE_SECONDS_MAX, self._wait * 2)
