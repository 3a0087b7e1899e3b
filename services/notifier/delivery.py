"""Sends pages: claim, send, record.

A crash between send and record sends the page twice; a page is never lost. A claim is a lease on the row of the page. If
its sender crashes or cannot record the outcome, the lease ends and the page is sent again.
"""

import asyncio
import random
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial

import structlog

from firsthour.runtime.processing.call_loop import CallLoop
from firsthour.runtime.processing.service import Resources
from firsthour.runtime.settings import environ
from firsthour.runtime.storage.config_versions import NothingAppliedError
from firsthour.runtime.storage.unit import Lane, StorageError
from services.notifier import channel_warnings
from services.notifier.channels.base import TIMEOUT_SECONDS, GiveUp, Outcome, Sent, TryAgain, Unusable, outcome_name
from services.notifier.claiming import ClaimResult, claim, hurry, hurry_ahead
from services.notifier.context import DELIVERY, SET_BACK, Claim, NotifierContext
from services.notifier.domain.health import Answer
from services.notifier.page_links import PageLinks
from services.notifier.recording import SendResult, record, record_page
from services.notifier.ways import Ways, problems

CLAIMED_AT_ONCE = 64  # pages per claiming unit
LOOK_SECONDS = 1.0  # the longest interval between two claims
HURRIED_AT_ONCE = 500  # pages made due per unit after a recovery
HURRIES_MAX = 200  # such units in one turn
STORAGE_SECONDS = 1.0  # the wait after a storage error
FAILURE_SECONDS = 0.1  # the wait after a unit that failed because of one of its pages

_log = structlog.get_logger(__name__)


class Delivery:
    """The runner that sends pages. Each page is a task of its own, in a slot of its destination: a slow one delays no other."""

    name = DELIVERY

    def __init__(
        self,
        resources: Resources,
        ways: Ways,
        context: NotifierContext,
        jitter: Callable[[], float] = random.random,  # spreads retries, guards nothing
    ) -> None:
        self._resources = resources
        self._ways = ways
        self._context = context
        self._links = PageLinks(resources)
        self._loop = CallLoop(self.name, self._record, timeout_seconds=TIMEOUT_SECONDS)
        self._wanted = True  # claim at the next turn: a page was added
        self._look_at = 0.0  # monotonic: when a page may be due without a wake-up
        self._jitter = jitter
        self._recovered = False  # waiting pages are to be made due: they may have waited for what has changed
        self._began = False  # pages were made due that wait for a time set by a clock that was ahead before the start
        self._version: str | None = None  # of the configuration at the last turn
        self._last_real: datetime | None = None  # the last reading of the host's clock
        self._storage_down = False  # the database was unavailable in the last turn
        context.bulkhead.closed, context.hand = False, self.hand
        context.recovered = self.recovered
        context.count_clock, context.count_delay = resources.telemetry.promise, resources.telemetry.page_delayed

    def wake(self) -> None:
        """Claim soon: a page was added."""
        self._wanted = True
        self._loop.wake()

    def recovered(self) -> None:
        """Make waiting pages due: a channel accepts again."""
        self._recovered = True
        self.wake()

    def hand(self, claims: Sequence[Claim]) -> None:
        """Send claimed pages. Called on the event loop, after the commit of the claims."""
        if self._context.bulkhead.closed:
            return
        for page_claim in claims:
            self._context.bulkhead.began(page_claim.page.channel)
            self._loop.start(self._send(page_claim))

    async def step(self) -> bool:
        """Claim due pages, wait for the outcome of every page being sent, and record it."""
        self._watch_clock()
        self._watch_config()
        claimed = await self._claim()
        await self._loop.ended()
        recorded = await self._loop.record()
        return await self._hurry() or recorded or claimed

    async def run(self) -> None:
        """Claim, send and record until cancelled."""
        self._context.bulkhead.closed = False
        await self._loop.run(self._turn, self._close)

    def _close(self) -> None:
        """Send no further page: the leases of the claimed ones end, and the next process sends them."""
        self._context.bulkhead.closed = True

    async def _turn(self) -> float:
        """Record, then claim as long as pages are due. Return the real seconds until the next turn."""
        self._watch_clock()
        self._watch_config()
        try:
            await self._loop.record()
            await self._hurry()
            while self._wanted or self._seconds_left() <= 0:
                await self._claim()
            self._storage_down = False
        except StorageError as failure:
            if not self._storage_down:
                _log.warning("storage unavailable", consumer=self.name, problem=str(failure))
            self._storage_down = True
            await asyncio.sleep(STORAGE_SECONDS)
        return max(0.0, self._seconds_left())

    async def _claim(self) -> bool:
        self._wanted = False
        work = partial(claim, context=self._context, limit=CLAIMED_AT_ONCE)
        try:
            claimed = await self._resources.units.run(work, Lane.BATCH)
        except StorageError:
            self._wanted = True
            raise
        except Exception as failure:  # noqa: BLE001  # any fault of one page must not hold up the others
            _log.error("claim failed", exc_info=failure)
            self._context.failing_pages.unit_failed(failure, self._resources.clock.real())
            self._look_at = self._resources.clock.monotonic() + FAILURE_SECONDS
            return True
        self._plan_look(claimed)
        self.hand(claimed.claims)
        return claimed.more

    def _plan_look(self, claimed: ClaimResult) -> None:
        clock = self._resources.clock
        seconds = 0.0 if claimed.more and not claimed.stalled else LOOK_SECONDS
        if claimed.next_at is not None:
            seconds = min(seconds, max(0.0, (claimed.next_at - clock.real()).total_seconds()))
        self._look_at = clock.monotonic() + seconds

    def _seconds_left(self) -> float:
        return self._look_at - self._resources.clock.monotonic()

    async def _send(self, page_claim: Claim) -> SendResult:
        outcome = await self._outcome(page_claim)
        clock = self._resources.clock
        self._note(page_claim, outcome)
        return SendResult(page_claim, outcome, clock.business(), clock.real())

    async def _outcome(self, page_claim: Claim) -> Outcome:
        channel = self._ways.get(page_claim.page.channel, self._resources.config.current)
        if channel is None:
            return Unusable(f"channel not set up here: {page_claim.page.channel}; see `firsthour doctor`")
        try:
            # A channel has its own timeout. This one limits a channel that ignores it.
            async with asyncio.timeout(TIMEOUT_SECONDS + 1.0):
                return await channel.send(await self._links.complete(page_claim))
        except Exception as failure:  # noqa: BLE001  # a channel must not raise: an exception counts as a temporary failure
            _log.error("channel failed", channel=page_claim.page.channel, error_type=type(failure).__name__)
            return TryAgain(None, f"{page_claim.page.channel}: {type(failure).__name__}")

    def _note(self, page_claim: Claim, outcome: Outcome) -> None:
        """Record whether the channel accepts pages at all. A rejection of one person says nothing against the channel."""
        answer: Answer = "accepted"
        if isinstance(outcome, TryAgain):
            answer = "failed"
        elif isinstance(outcome, Unusable):
            answer = "unusable"
        why = "" if isinstance(outcome, Sent) else outcome.why
        after_seconds = outcome.after_seconds if isinstance(outcome, TryAgain) else None
        name, health = page_claim.page.channel, self._context.health
        if isinstance(outcome, Sent | GiveUp):
            person, real = page_claim.page.person, self._resources.clock.real()
            if self._context.refusals.record(name, person, why or None, real):
                _log.error("recipient refused", channel=name, recipient=person, why=why)
        was_up = health.up(name)
        if health.record(name, answer, why, self._resources.clock.real(), after_seconds):
            _log.info("channel recovered", channel=name)
            self._recovered = True
        elif was_up and not health.up(name):
            _log.error("channel down", channel=name, why=why)
            self._context.note_outage(name, why, self._resources.clock.real())

    def _watch_clock(self) -> None:
        """Make every waiting page due if the host's clock was set back: it could wait for hours otherwise."""
        real = self._resources.clock.real()
        if self._last_real is not None and real < self._last_real - SET_BACK:
            _log.warning("host clock set back", seconds=round((self._last_real - real).total_seconds()))
            self._context.health.set_back(real)
            self._context.pace.set_back()
            self._recovered = True
        self._last_real = real

    def _watch_config(self) -> None:
        """Make every waiting page due if the configuration has changed: its hours or its channels may be others."""
        try:
            config = self._resources.config.current
        except NothingAppliedError:
            return
        version = config.version
        if self._version != version:
            self._ways.prepare(config)
        if self._version not in (None, version):
            self._recovered = True
        self._version = version

    async def _hurry(self) -> bool:
        """Make waiting pages due after a recovery of a channel, a change of the configuration, or of the host's clock."""
        if not self._recovered and self._began:
            return False
        work = partial(hurry if self._recovered else hurry_ahead, limit=HURRIED_AT_ONCE)
        for _ in range(HURRIES_MAX):
            if await self._resources.units.run(work, Lane.BATCH) < HURRIED_AT_ONCE:
                break
        self._recovered, self._wanted, self._began = False, True, True
        return True

    def warnings(self) -> list[str]:
        """Return the warnings of `/readyz` about channels: unusable ones of the ladder, and those that are down."""
        config = self._resources.config.current
        lines = channel_warnings.warnings(config, self._context.channels)
        lines += problems(config, environ(), self._resources.settings) if self._context.ways_out else ()
        for name, off in self._context.disabled.items():
            lines.append(
                f"{name} is switched off since {off.disabled_at:%Y-%m-%d %H:%M} UTC: {off.why}; `firsthour webhooks enable {name}`"
            )
        for name, outage in self._context.health.outages():
            lines.append(f"{name} accepts no pages since {outage.since:%Y-%m-%d %H:%M} UTC: {outage.why}")
        lines += [
            *self._context.refusals.lines(),
            *self._context.problems.values(),
            *self._context.failing_clocks.lines(),
            *self._context.failing_pages.lines(),
        ]
        return lines

    async def _record(self, results: Sequence[SendResult]) -> None:
        next_at = await self._record_or_split(results)
        if next_at is not None:
            clock = self._resources.clock
            self._look_at = min(self._look_at, clock.monotonic() + (next_at - clock.real()).total_seconds())
        for result in results:
            self._wanted = self._context.bulkhead.ended(result.claim.page.channel) or self._wanted
            self._report(result)

    async def _record_or_split(self, results: Sequence[SendResult]) -> datetime | None:
        """Record all outcomes in one unit; if it fails, each in one; if that fails, the page alone, which is not sent again."""
        run, context = self._resources.units.run, self._context
        try:
            return await run(partial(record, results=results, jitter=self._jitter, context=context), Lane.BATCH)
        except StorageError:
            raise
        except Exception as failure:  # noqa: BLE001  # any fault of one page must not hold up the others
            _log.error("recording failed", pages=len(results), exc_info=failure)
            if len(results) > 1:
                times = [await self._record_or_split([result]) for result in results]
                return min((at for at in times if at is not None), default=None)
            context.failing_pages.record(results[0].claim.page.id, failure, self._resources.clock.real())
            return await run(partial(record_page, result=results[0], jitter=self._jitter, context=context), Lane.BATCH)

    def _report(self, result: SendResult) -> None:
        """Count the outcome, and log a failure."""
        telemetry, page = self._resources.telemetry, result.claim.page
        telemetry.page(page.channel, outcome_name(result.outcome))
        if isinstance(result.outcome, Sent):
            for delivered in result.claim.pages:
                telemetry.handed_over(max(0.0, (result.at - delivered.due_at).total_seconds()))
        else:
            _log.warning("page not accepted", page=page.id, channel=page.channel, why=result.outcome.why)
