"""The flood guard: refuses what is beyond the limits at the door, and sorts the events of a source beyond its quota."""

from typing import Final

from msgspec.structs import replace

from firsthour.kernel.cache import once_per_version
from firsthour.kernel.config import Config
from firsthour.runtime.clock import Clock
from firsthour.runtime.config.reading import Configs
from firsthour.runtime.http.problem import Problem
from schemas.sources import Quota
from services.gateway.domain.contact_requests import Requests, is_request, requests_of
from services.gateway.domain.mapping import ParsedEvent
from services.gateway.intake.outcome import Accepted, Quarantined, Rejected
from services.gateway.limits import MINUTE_SECONDS, DoorLimits, Windows

HOUR_SECONDS: Final = 3_600.0
FULL_RETRY_SECONDS: Final = 600


@once_per_version
def _requests(config: Config) -> Requests:
    return requests_of(config.agreement.qualify)


class FloodGuard:
    """The guard of one process.

    Attributes:
        door: The limits at the door.
        full: The sources whose quarantine is full.
    """

    def __init__(self, configs: Configs, clock: Clock, posts_per_minute: int) -> None:
        self.door = DoorLimits(posts_per_minute)
        self.full: frozenset[str] = frozenset()
        self._configs, self._clock = configs, clock
        self._minutes, self._hours = Windows(MINUTE_SECONDS), Windows(HOUR_SECONDS)

    def check_form(self, outcome: Accepted | Rejected) -> None:
        """Count a posted form by its mail domain. Raises `Problem` 429."""
        if isinstance(outcome, Accepted) and outcome.events:
            self.door.check_domain(outcome.events[0].external.email, self._clock.monotonic())

    def admit(self, outcome: Accepted | Rejected, source: str, quota: Quota) -> Accepted | Rejected:
        """Return the outcome, with the events beyond the quota in quarantine.

        Raises:
            Problem: 429 far beyond the quota, or if the quarantine of the source is full.
        """
        if not isinstance(outcome, Accepted) or not outcome.events:
            return outcome
        self.door.check_source(source, quota, len(outcome.events), self._clock.monotonic())
        requests = _requests(self._configs.current)
        wanted = [is_request(requests, event) for event in outcome.events]
        if not self._is_beyond(source, quota, len(wanted), sum(wanted)) or all(wanted):
            return outcome
        if source in self.full:
            raise Problem(
                429,
                "",
                f"The quarantine of the source {source} is full. Release or drop its events: `firsthour quarantine`.",
                headers={"Retry-After": str(FULL_RETRY_SECONDS)},
            )
        return _sorted(outcome, source, wanted)

    def _is_beyond(self, source: str, quota: Quota, events: int, requests: int) -> bool:
        """Count the events of a request, and return whether the source is beyond its quota."""
        now = self._clock.monotonic()
        of_minute = self._minutes.add(source, now, events)
        of_hour = self._hours.add(source, now, requests)
        by_minute = quota.per_minute is not None and of_minute > quota.per_minute
        return by_minute or (quota.leads_per_hour is not None and of_hour > quota.leads_per_hour)


def _sorted(outcome: Accepted, source: str, wanted: list[bool]) -> Accepted:
    """Return the outcome with the events that nobody asked for in quarantine."""
    kept: list[ParsedEvent] = [event for event, is_wanted in zip(outcome.events, wanted, strict=True) if is_wanted]
    rows = [row for row, is_wanted in zip(outcome.rows, wanted, strict=True) if is_wanted]
    held = [
        (event.type, row)
        for event, row, is_wanted in zip(outcome.events, outcome.rows, wanted, strict=True)
        if not is_wanted
    ]
    return replace(outcome, events=kept, rows=rows, quarantined=Quarantined(source, held))
