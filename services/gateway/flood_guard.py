"""The flood guard: refuses what is beyond the limits at the door, marks bursts, and sorts events beyond a quota."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Final

from msgspec.structs import replace

from firsthour.runtime.clock import Clock
from firsthour.runtime.config.reading import Configs
from firsthour.runtime.http.client_address import public_sender
from firsthour.runtime.http.problem import Problem
from schemas.sources import Quota
from services.gateway import quotas
from services.gateway.bursts import BURST_MIN, BurstMark, Bursts
from services.gateway.domain.coerce import UnmappableError
from services.gateway.domain.contact_requests import company_of_request
from services.gateway.intake.outcome import Accepted, Rejected, rows_of
from services.gateway.limits import MINUTE_SECONDS, DoorLimits, Windows, mail_domain
from services.gateway.quotas import HOUR_SECONDS
from services.gateway.source_counts import SURGE, SourceCounts

FULL_RETRY_SECONDS: Final = 600


class FloodGuard:
    """The guard of one process.

    Attributes:
        door: The limits at the door.
        full: The sources whose quarantine is full.
    """

    def __init__(self, configs: Configs, clock: Clock, counts: SourceCounts, posts_per_minute: int) -> None:
        self.door = DoorLimits(posts_per_minute)
        self.full: frozenset[str] = frozenset()
        self._configs, self._clock, self._counts = configs, clock, counts
        self._bursts = Bursts()
        self._minutes, self._hours = Windows(MINUTE_SECONDS), Windows(HOUR_SECONDS)

    def check_form(self, outcome: Accepted | Rejected, address: str) -> Accepted | Rejected:
        """Count a posted form by its mail domain, and return it with the mark of its burst. Raises `Problem` 429."""
        if not isinstance(outcome, Accepted) or not outcome.events:
            return outcome
        now, event = self._clock.monotonic(), outcome.events[0]
        domain, client = mail_domain(event.external.email), public_sender(address)
        of_domain = self.door.check_domain(domain, now) if domain else 0
        of_client = self.door.of_client(client) if client else 0
        if of_domain <= BURST_MIN and of_client <= BURST_MIN and not self._bursts:
            return outcome
        mark = self._bursts.mark(domain, client, of_domain, of_client, now, self._clock.real())
        return outcome if mark is None else _marked(outcome, {0: mark})

    def mark_relayed(self, outcome: Accepted | Rejected) -> Accepted | Rejected:
        """Count the requests for contact that a webhook or SDK passed on, and return them with the marks of their bursts.

        They count by mail domain, and by the address of the client that the sender states: its own is that of a server.
        """
        if not isinstance(outcome, Accepted) or not outcome.events:
            return outcome
        requests, now = quotas.requests_in(self._configs.current), self._clock.monotonic()
        marks: dict[int, BurstMark] = {}
        for index, event in enumerate(outcome.events):
            domain = company_of_request(requests, event)
            mark = None if domain is None else self._mark(domain, event.client, now)
            if mark is not None:
                marks[index] = mark
        return _marked(outcome, marks) if marks else outcome

    def _mark(self, domain: str, address: str, now: float) -> BurstMark | None:
        client = public_sender(address) if address else ""
        of_domain, of_client = self.door.count_relayed(domain, client, now)
        if of_domain <= BURST_MIN and of_client <= BURST_MIN and not self._bursts:
            return None
        return self._bursts.mark(domain, client, of_domain, of_client, now, self._clock.real())

    def admit(self, outcome: Accepted | Rejected, source: str, quota: Quota) -> Accepted | Rejected:
        """Return the outcome, with the events beyond the quota in quarantine.

        Raises:
            Problem: 429 far beyond the quota, or if the quarantine of the source is full.
        """
        if not isinstance(outcome, Accepted) or not outcome.events:
            return outcome
        self.door.check_source(source, quota, len(outcome.events), self._clock.monotonic())
        wanted = quotas.are_requests(self._configs.current, outcome.events)
        if not self._is_beyond(source, quota, len(wanted), sum(wanted)) or all(wanted):
            return outcome
        if source in self.full:
            raise Problem(
                429,
                "",
                f"The quarantine of the source {source} is full. Release or drop its events: `firsthour quarantine`.",
                headers={"Retry-After": str(FULL_RETRY_SECONDS)},
            )
        return quotas.quarantined(outcome, source, wanted)

    def _is_beyond(self, source: str, quota: Quota, events: int, requests: int) -> bool:
        """Count the events of a request, and return whether the source is beyond its quota."""
        now = self._clock.monotonic()
        of_minute = self._minutes.add(source, now, events)
        of_hour = self._hours.add(source, now, requests)
        state = quotas.state_of(quota, of_minute, of_hour)
        if state.surge:
            self._counts.note(source, SURGE, events)
        return state.beyond


def _marked(outcome: Accepted, marks: Mapping[int, BurstMark]) -> Accepted:
    """Return the outcome with these marks, by the index of the event."""
    events, rows = [*outcome.events], [*outcome.rows]
    for index, mark in marks.items():
        event = events[index]
        marked = replace(event, external=replace(event.external, burst=mark.held, confirms=mark.confirms))
        with suppress(UnmappableError):  # the mark would make the event larger than a record may be
            rows[index] = rows_of([marked])[0]
            events[index] = marked
    return replace(outcome, events=events, rows=rows)
