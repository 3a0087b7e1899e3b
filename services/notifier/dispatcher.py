"""Sends dispatches: claim, send, record. A destination that is slow or away delays no other: each has places of its own."""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from functools import partial
from typing import Final

import msgspec
import structlog

from firsthour.kernel.time_units import EPOCH
from firsthour.runtime.processing.call_loop import CallLoop
from firsthour.runtime.processing.service import Resources
from firsthour.runtime.storage.config_versions import NothingAppliedError
from firsthour.runtime.storage.unit import Lane, StorageError
from services.notifier.channels.base import (
    TIMEOUT_SECONDS,
    Gone,
    Outcome,
    Sent,
    TeamChannel,
    TryAgain,
    Unusable,
    outcome_name,
)
from services.notifier.channels.pagerduty import PagerDutyChannel
from services.notifier.channels.webhook import WebhookChannel
from services.notifier.context import DISPATCHER, SET_BACK, NotifierContext
from services.notifier.dispatching import DispatchResult, claim_dispatches, record_dispatches
from services.notifier.domain.dispatch import Dispatch
from services.notifier.domain.health import Answer
from services.notifier.domain.notice import contact_of, notice_of
from services.notifier.domain.page import LEASE
from services.notifier.store.dispatches import hurry_dispatches
from services.notifier.ways import BrokenChannel, Ways

PLACES: Final = 8
"""Dispatches that are sent to one destination at a time."""
LOOK_SECONDS: Final = 1.0

_log = structlog.get_logger(__name__)


class Dispatcher:
    """The runner that sends dispatches. Each is a task of its own."""

    name = DISPATCHER

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
        self._jitter = jitter
        self._loop = CallLoop(self.name, self._record, timeout_seconds=TIMEOUT_SECONDS)
        self._busy: Counter[str] = Counter()  # dispatches on their way, by channel
        self._look_at = 0.0  # monotonic
        self._last_real: datetime | None = None  # the last reading of the host's clock

    def wake(self) -> None:
        """Claim soon: a dispatch was added."""
        self._look_at = 0.0
        self._loop.wake()

    async def step(self) -> bool:
        """Claim due dispatches, wait for the outcome of each, and record it. Return whether there was any."""
        claimed = await self._claim()
        await self._loop.ended()
        return await self._loop.record() or claimed

    async def run(self) -> None:
        """Claim, send and record until cancelled."""
        await self._loop.run(self._turn)

    async def _turn(self) -> float:
        """Record, and claim if something may be due. Return the real seconds until the next turn."""
        clock = self._resources.clock
        try:
            await self._loop.record()
            if clock.monotonic() >= self._look_at:
                await self._claim()
        except StorageError as failure:
            _log.warning("storage unavailable", consumer=self.name, problem=str(failure))
            self._look_at = clock.monotonic() + LOOK_SECONDS
        return min(LOOK_SECONDS, max(0.0, self._look_at - clock.monotonic()))

    async def _watch_clock(self) -> None:
        """Make dispatches due that wait for a time set by a host's clock that was ahead, now or before the start."""
        real, last = self._resources.clock.real(), self._last_real
        if last is None or real < last - SET_BACK:
            made = real + LEASE if last is None else EPOCH
            await self._resources.units.run(partial(hurry_dispatches, at=real, made=made), Lane.BATCH)
        self._last_real = real

    async def _claim(self) -> bool:
        clock, context = self._resources.clock, self._context
        try:
            names = context.usable(self._resources.config.current)
        except NothingAppliedError:
            self._look_at = clock.monotonic() + LOOK_SECONDS
            return False
        await self._watch_clock()
        room = {name: PLACES - self._busy[name] for name in names}
        troubles, context.troubles = context.troubles, []
        work = partial(claim_dispatches, context=context, room=room, troubles=troubles)
        try:
            claimed = await self._resources.units.run(work, Lane.BATCH)
        except StorageError:
            context.troubles = troubles + context.troubles
            raise
        context.disabled = claimed.disabled
        wait = LOOK_SECONDS if claimed.next_at is None else (claimed.next_at - clock.real()).total_seconds()
        # What is due already waits for a place, a probe or a person. A place becomes free with an outcome, which looks again.
        self._look_at = clock.monotonic() + (min(wait, LOOK_SECONDS) if wait > 0 else LOOK_SECONDS)
        for dispatch in claimed.claims:
            self._busy[dispatch.channel] += 1
            self._loop.start(self._send(dispatch))
        if claimed.moved:
            self._look_at = 0.0
        return bool(claimed.claims or claimed.moved or troubles)

    async def _send(self, dispatch: Dispatch) -> DispatchResult:
        clock = self._resources.clock
        began = clock.monotonic()
        try:
            call = self._call_of(dispatch)
            outcome = TryAgain(None, call) if isinstance(call, str) else await self._outcome(dispatch, call)
        finally:
            self._busy[dispatch.channel] -= 1
        milliseconds = round((clock.monotonic() - began) * 1000)
        if not isinstance(call, str):
            self._note(dispatch, outcome)
        self._report(dispatch, outcome)
        return DispatchResult(dispatch, outcome, clock.real(), milliseconds)

    def _call_of(self, dispatch: Dispatch) -> Callable[[], Awaitable[Outcome]] | str:
        """Return the call that sends a dispatch; or why the agreement in force has no way for it, and nothing is called."""
        agreement = self._resources.config.current.agreement
        channel = self._ways.get(dispatch.channel, self._resources.config.current)
        if dispatch.kind == "webhook" and isinstance(channel, WebhookChannel):
            return partial(channel.post, dispatch.id, dispatch.body.encode())
        if dispatch.kind == "alert" and isinstance(channel, PagerDutyChannel):
            return partial(channel.post, msgspec.json.decode(dispatch.body))
        if dispatch.kind == "notice" and isinstance(channel, TeamChannel):
            contact = contact_of(agreement.tell, dispatch.type)
            if contact is None:
                return f"the agreement names no recipient for {dispatch.type}; add it under `tell`"
            return partial(channel.tell, notice_of(dispatch, contact))
        if isinstance(channel, BrokenChannel):
            return channel.why
        return f"{dispatch.channel} is not what it was; correct `channels` in agreement.yaml"

    async def _outcome(self, dispatch: Dispatch, call: Callable[[], Awaitable[Outcome]]) -> Outcome:
        try:
            # A channel has its own timeout. This one limits a channel that ignores it.
            async with asyncio.timeout(TIMEOUT_SECONDS + 1.0):
                return await call()
        except Exception as failure:  # noqa: BLE001  # a channel must not raise: an exception counts as a temporary failure
            _log.error("channel failed", channel=dispatch.channel, error_type=type(failure).__name__)
            return TryAgain(None, f"{dispatch.channel}: {type(failure).__name__}")

    def _note(self, dispatch: Dispatch, outcome: Outcome) -> None:
        """Record whether the destination accepts anything."""
        answer: Answer = "accepted"
        if isinstance(outcome, TryAgain):
            answer = "failed"
        elif isinstance(outcome, Unusable) and not isinstance(outcome, Gone):
            answer = "unusable"
        why = "" if isinstance(outcome, Sent) else outcome.why
        after_seconds = outcome.after_seconds if isinstance(outcome, TryAgain) else None
        health, name = self._context.health, dispatch.channel
        was_up = health.up(name)
        if health.record(name, answer, why, self._resources.clock.real(), after_seconds):
            _log.info("channel recovered", channel=name)
            self._context.recovered()
        elif was_up and not health.up(name):
            _log.error("channel down", channel=name, why=why)
            self._context.note_outage(name, why, self._resources.clock.real())

    def _report(self, dispatch: Dispatch, outcome: Outcome) -> None:
        """Count the outcome, and log a failure."""
        self._resources.telemetry.page(dispatch.channel, outcome_name(outcome))
        if not isinstance(outcome, Sent):
            _log.warning("dispatch not accepted", dispatch=dispatch.id, channel=dispatch.channel, why=outcome.why)

    async def _record(self, results: Sequence[DispatchResult]) -> None:
        await self._resources.units.run(partial(record_dispatches, results=results, jitter=self._jitter), Lane.BATCH)
        self._look_at = 0.0
