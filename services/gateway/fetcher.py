"""Completes thin events: claims them, reads the rest from the vendor's API outside any unit, then appends what they mean."""

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Final, NamedTuple

import msgspec
import structlog

from firsthour.runtime.eventlog.dead_letters import GATEWAY, retention_of
from firsthour.runtime.http.client import AnswerTooLargeError, HttpAnswer, NoAnswerError, get_pinned
from firsthour.runtime.http.problem import Problem
from firsthour.runtime.http.public_hosts import PrivateAddressError, UnknownHostError, addresses_of
from firsthour.runtime.processing.call_loop import CallLoop
from firsthour.runtime.processing.service import Resources
from firsthour.runtime.storage.config_versions import NothingAppliedError
from firsthour.runtime.storage.unit import Lane, StorageError, Unit
from schemas.sources import WebhookSource
from services.gateway import fetches, quarantine, unmatched
from services.gateway.domain import thin_events
from services.gateway.domain.coerce import Json, UnmappableError
from services.gateway.domain.fetch_outcomes import (
    GIVE_UP_AFTER,
    Breaker,
    FetchRefused,
    TryLater,
    judged,
    pause_seconds,
)
from services.gateway.fetches import FETCHER, Waiting
from services.gateway.flood_guard import FloodGuard
from services.gateway.intake.completed import map_completed, refused_body
from services.gateway.intake.outcome import Accepted
from services.gateway.kept_bodies import keep_body
from services.gateway.source_counts import NOT_COMPLETED, UNMAPPED, UNMATCHED, SourceCounts
from services.gateway.sources import CurrentSources, VendorApi, WebhookEndpoint
from services.gateway.store import IntakeStore

PLACES: Final = 8
"""Requests of a process that are on their way at a time."""
PLACES_OF_SOURCE: Final = 4
TIMEOUT_SECONDS: Final = 5.0
LOOK_SECONDS: Final = 1.0
IDLE_SECONDS: Final = 60.0  # between two looks while no source has thin events: rows of a removed source may wait
NOT_READY_SECONDS: Final = 60.0
_GONE: Final = "sources.yaml no longer names this source, or its `fetch`; add it again and retry, or drop the letter"

_log = structlog.get_logger(__name__)


class FetchResult(NamedTuple):
    """The outcome of a claimed thin event, and the real time of the answer."""

    claim: Waiting
    outcome: Accepted | TryLater | FetchRefused
    at: datetime


class Fetcher:
    """The runner that completes thin events. Each request is a task of its own."""

    name = FETCHER

    def __init__(
        self,
        resources: Resources,
        sources: CurrentSources,
        guard: FloodGuard,
        store: IntakeStore,
        counts: SourceCounts,
        jitter: Callable[[], float] = random.random,  # spreads retries, guards nothing
    ) -> None:
        self._resources, self._sources = resources, sources
        self._guard, self._store, self._counts = guard, store, counts
        self._sample = unmatched.UnmatchedSample(resources.clock.monotonic)
        self._retention = retention_of(resources.settings)
        self._jitter = jitter
        self.timeout_seconds = TIMEOUT_SECONDS  # of one request
        self._breakers: dict[str, Breaker] = {}
        self._busy: Counter[str] = Counter()  # requests on their way, by source
        self._loop = CallLoop(self.name, self._record, timeout_seconds=TIMEOUT_SECONDS)
        self._idle_until = 0.0  # monotonic

    def wake(self) -> None:
        """Claim soon: a thin event was added."""
        self._idle_until = 0.0
        self._loop.wake()

    async def step(self) -> bool:
        """Claim what is due, wait for each answer, and record it. Return whether there was anything."""
        self._idle_until = 0.0
        claimed = await self._claim()
        await self._loop.ended()
        return await self._loop.record() or claimed

    async def run(self) -> None:
        """Claim, fetch and record until cancelled."""
        await self._loop.run(self._turn)

    async def _turn(self) -> float:
        try:
            await self._loop.record()
            await self._claim()
        except StorageError as failure:
            _log.warning("storage unavailable", consumer=self.name, problem=str(failure))
        return LOOK_SECONDS

    # --- claim -------------------------------------------------------------------------------------------------------

    async def _claim(self) -> bool:
        """Start the requests that may be made now. Return whether anything was claimed or given up."""
        clock = self._resources.clock
        if clock.monotonic() < self._idle_until:
            return False
        try:
            endpoints = {id: one for id, one in self._sources.index.webhooks.items() if one.api is not None}
        except NothingAppliedError:
            return False
        at = await self._resources.reads(fetches.next_fetch_at)
        if at is None or at > clock.real():
            self._idle_until = 0.0 if endpoints else clock.monotonic() + IDLE_SECONDS
            return False
        claims, gone = await self._resources.units.run(
            partial(self._claim_work, places=self._places(endpoints)), Lane.BATCH
        )
        for claim in claims:
            self._busy[claim.source] += 1
            self._loop.start(self._fetch(claim, endpoints[claim.source]))
        return bool(claims or gone)

    def _places(self, endpoints: dict[str, WebhookEndpoint]) -> dict[str, int]:
        now, free = self._resources.clock.monotonic(), PLACES - sum(self._busy.values())
        places = {}
        for source in sorted(endpoints, key=lambda source: self._busy[source]):
            most = self._breakers.setdefault(source, Breaker()).places(PLACES_OF_SOURCE, now)
            places[source] = max(0, min(most - self._busy[source], free))
            free -= places[source]
        return places

    def _claim_work(self, unit: Unit, places: dict[str, int]) -> tuple[list[Waiting], int]:
        """Claim what is due, and keep the thin events of sources that are gone as dead letters."""
        known = {
            one.id for one in unit.config.sources.sources if isinstance(one, WebhookSource) and one.fetch is not None
        }
        gone = fetches.orphans(unit, known)
        for one in gone:
            keep_body(unit, refused_body(one.source, one.event_id, one.event, _GONE), self._retention)
        fetches.remove(unit, [one.id for one in gone])
        return fetches.claim(unit, {source: number for source, number in places.items() if source in known}), len(gone)

    # --- fetch -------------------------------------------------------------------------------------------------------

    async def _fetch(self, claim: Waiting, endpoint: WebhookEndpoint) -> FetchResult:
        clock, source = self._resources.clock, claim.source
        try:
            outcome = await self._outcome(claim, endpoint)
        except Exception as failure:  # noqa: BLE001  # a thin event must not be lost: an exception is a temporary failure
            _log.error("fetch failed", source=source, error_type=type(failure).__name__)
            outcome = TryLater(f"the fetch failed ({type(failure).__name__})", of_api=False)
        finally:
            self._busy[source] -= 1
        if not isinstance(outcome, TryLater):
            self._breakers[source].record(None, clock.monotonic())
        elif outcome.of_api:
            self._breakers[source].record(outcome, clock.monotonic())
        return FetchResult(claim, outcome, clock.real())

    async def _outcome(self, claim: Waiting, endpoint: WebhookEndpoint) -> Accepted | TryLater | FetchRefused:
        api = endpoint.api
        if api is None or api.trouble is not None:
            return TryLater(f"nothing was fetched: {api.trouble if api else _GONE}", NOT_READY_SECONDS, of_api=False)
        try:
            answer = await self._answer(api, thin_events.path_of(api.lookup, claim.event))
        except UnmappableError as error:
            return FetchRefused(str(error))
        except AnswerTooLargeError as error:
            return FetchRefused(f"the API gave {error}; ask for fewer fields in `fetch.path`, then retry")
        except PrivateAddressError as error:
            remedy = "name it in FIRSTHOUR_WEBHOOK_PRIVATE_HOSTS if it is yours"
            return TryLater(f"{error}; {remedy}", NOT_READY_SECONDS, of_api=False)
        except (NoAnswerError, UnknownHostError) as error:
            return TryLater(f"the API cannot be read: {error}")
        except TimeoutError:
            return TryLater(f"the API cannot be read: no address within {self.timeout_seconds:g} s")
        again = answer.status >= 300 and thin_events.asks_again(api.lookup, _json(answer.body))
        refusal = judged(answer.status, answer.headers, again, self._resources.clock.real())
        if refusal is not None:
            return refusal
        value = _json(answer.body)
        if not isinstance(value, dict):
            return TryLater("the answer of the API is not a JSON object")
        return self._mapped(claim, endpoint, value)

    async def _answer(self, api: VendorApi, path: str) -> HttpAnswer:
        async with asyncio.timeout(self.timeout_seconds + 1.0):  # the look-up of a name has no limit of its own
            private_allowed = api.host in self._resources.settings.webhook_private_hosts
            found = await addresses_of(api.host, api.port, private_allowed=private_allowed)
            return await get_pinned(api.base_url + path, found, api.headers, self.timeout_seconds)

    def _mapped(self, claim: Waiting, endpoint: WebhookEndpoint, answer: Json) -> Accepted | TryLater:
        """Return the events of a completed one, those beyond the quota in quarantine."""
        team = self._resources.config.current.team
        mapped = map_completed(endpoint, claim.event_id, claim.event, answer, team, claim.received_at)
        marked = self._guard.mark_relayed(mapped)
        outcome = marked if isinstance(marked, Accepted) else mapped
        quota = self._sources.index.quotas.get(claim.source)
        if quota is not None:
            try:
                admitted = self._guard.admit(outcome, claim.source, quota)
            except Problem as problem:
                return TryLater(problem.detail, NOT_READY_SECONDS, of_api=False)
            outcome = admitted if isinstance(admitted, Accepted) else outcome
        return outcome

    # --- record ------------------------------------------------------------------------------------------------------

    async def _record(self, results: Sequence[FetchResult]) -> None:
        for result in await self._resources.units.run(partial(self._record_work, results=results)):
            self._count(result)

    def _record_work(self, unit: Unit, results: Sequence[FetchResult]) -> list[FetchResult]:
        """Store the outcomes. One whose claim is lost stays unchanged: another process completes it."""
        kept = fetches.still_claimed(unit, [result.claim for result in results])
        stored, ended = [], []
        for result in results:
            claim, outcome = result.claim, self._final(result)
            if claim.id not in kept:
                continue
            stored.append(FetchResult(claim, outcome, result.at))
            if isinstance(outcome, TryLater):
                seconds = pause_seconds(claim.tries, outcome.after_seconds, self._jitter())
                fetches.postpone(unit, claim, outcome.why, result.at + timedelta(seconds=seconds))
                continue
            ended.append(claim.id)
            if isinstance(outcome, FetchRefused):
                keep_body(unit, refused_body(claim.source, claim.event_id, claim.event, outcome.why), self._retention)
                continue
            unit.rows.extend(outcome.rows)
            if outcome.quarantined is not None:
                quarantine.keep(unit, outcome.quarantined.source, outcome.quarantined.rows)
            if outcome.unmatched_body is not None and self._sample.takes(outcome.unmatched_body):
                unmatched.keep(unit, outcome.unmatched_body, self._retention)
            for body in outcome.bodies:
                keep_body(unit, body, self._retention)
        fetches.remove(unit, ended)
        return stored

    def _final(self, result: FetchResult) -> Accepted | TryLater | FetchRefused:
        """Return the outcome, which is final once the time for tries is over."""
        if isinstance(result.outcome, TryLater) and result.at - result.claim.added_at >= GIVE_UP_AFTER:
            hours = GIVE_UP_AFTER // timedelta(hours=1)
            return FetchRefused(f"{result.outcome.why}; it was tried for {hours} hours: retry when that is mended")
        return result.outcome

    def _count(self, result: FetchResult) -> None:
        """Count a stored outcome, and log a failure."""
        outcome, source = result.outcome, result.claim.source
        if isinstance(outcome, Accepted):
            self._store.count(outcome)
            if outcome.unmatched:
                self._counts.note(source, UNMATCHED, outcome.unmatched)
            elif outcome.bodies:
                self._counts.note(source, UNMAPPED, len(outcome.bodies))
                self._resources.telemetry.dead_letter(GATEWAY)
            return
        if isinstance(outcome, TryLater):
            _log.info("event not completed yet", source=source, thin_event=result.claim.event_id, why=outcome.why)
        else:
            _log.warning("event not completed", source=source, thin_event=result.claim.event_id, why=outcome.why)
            self._counts.note(source, NOT_COMPLETED)
            self._resources.telemetry.dead_letter(GATEWAY)


def _json(body: bytes) -> Json:
    """Return the value of a body; None: it is not JSON."""
    try:
        value: Json = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return value
