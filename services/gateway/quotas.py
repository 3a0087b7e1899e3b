"""Quotas of sources: whether a source is beyond its own, and which of its events then wait in quarantine."""

from collections import Counter
from collections.abc import Sequence
from math import inf
from typing import Final, NamedTuple

from msgspec.structs import replace

from firsthour.kernel.cache import once_per_version
from firsthour.kernel.config import Config
from schemas.sources import Quota
from services.gateway.domain.contact_requests import Requests, is_request, requests_of
from services.gateway.domain.mapping import ParsedEvent
from services.gateway.intake.outcome import Accepted, Quarantined
from services.gateway.limits import MINUTE_SECONDS

SURGE_QUOTAS: Final = 2
"""From this many times the quota on, the source has a surge, of which both teams are told."""
HOUR_SECONDS: Final = 3_600.0
RECORD_COUNTS_MAX: Final = 10_000


class QuotaState(NamedTuple):
    """How a source stands to its quota."""

    beyond: bool
    surge: bool


@once_per_version
def requests_in(config: Config) -> Requests:
    """Return the lines of `qualify` that an event may meet."""
    return requests_of(config.agreement.qualify)


def are_requests(config: Config, events: Sequence[ParsedEvent]) -> list[bool]:
    """Return for each event whether it may be a request for contact, which is never quarantined."""
    requests = requests_in(config)
    return [is_request(requests, event) for event in events]


def state_of(quota: Quota, of_minute: int, of_hour: int) -> QuotaState:
    """Return the state after so many events of this minute and requests for contact of this hour."""
    per_minute, per_hour = quota.per_minute or inf, quota.leads_per_hour or inf
    surge = of_minute > SURGE_QUOTAS * per_minute or of_hour > SURGE_QUOTAS * per_hour
    return QuotaState(of_minute > per_minute or of_hour > per_hour, surge)


def quarantined(outcome: Accepted, source: str, wanted: Sequence[bool]) -> Accepted:
    """Return the outcome with the events that are no requests for contact in quarantine."""
    kept = [event for event, is_wanted in zip(outcome.events, wanted, strict=True) if is_wanted]
    rows = [row for row, is_wanted in zip(outcome.rows, wanted, strict=True) if is_wanted]
    held = [
        (event.type, row)
        for event, row, is_wanted in zip(outcome.events, outcome.rows, wanted, strict=True)
        if not is_wanted
    ]
    return replace(outcome, events=kept, rows=rows, quarantined=Quarantined(source, held))


class RecordCounts:
    """Events of sources that records of Kafka contain, by the minute and the hour in which these were written.

    Records that have waited in their topic are read much faster than they were written, so the time of reading tells nothing.
    Counts of a unit are added after its commit, so that a repeated unit counts once.
    """

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, float, int]] = Counter()

    def __len__(self) -> int:
        return len(self._counts)

    def number(self, key: tuple[str, float, int]) -> int:
        """Return the count of a source, a length of time, and the number of that window since 1970."""
        return self._counts[key]

    def add(self, counted: Counter[tuple[str, float, int]]) -> None:
        """Add counts. The oldest ones are forgotten."""
        self._counts.update(counted)
        while len(self._counts) > RECORD_COUNTS_MAX:
            del self._counts[next(iter(self._counts))]


class UnitCounts:
    """The counts of one unit, on top of those of the units before."""

    def __init__(self, before: RecordCounts) -> None:
        self._before = before
        self.added: Counter[tuple[str, float, int]] = Counter()

    def state_after(self, source: str, quota: Quota, written_at: float, events: int, requests: int) -> QuotaState:
        """Count the events of a record, and return how its source stands. `written_at`: seconds since 1970."""
        of_minute = self._add(source, MINUTE_SECONDS, written_at, events)
        of_hour = self._add(source, HOUR_SECONDS, written_at, requests)
        return state_of(quota, of_minute, of_hour)

    def _add(self, source: str, seconds: float, at: float, number: int) -> int:
        key = (source, seconds, int(at // seconds))
        self.added[key] += number
        return self._before.number(key) + self.added[key]
