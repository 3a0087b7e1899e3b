"""Sends pages: claim, send, record.

Dying between send and record pages twice: a rep is told twice, never not at all. A claim is a lease on the page's row;
when its sender died, or could not record, the lease ends and the page is sent again.
"""

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial

import structlog

from firsthour.runtime.processing.service import Resources
from firsthour.runtime.storage.unit import Lane, StorageError
from services.notifier import channel_warnings
from services.notifier.channels.base import TIMEOUT_SECONDS, Channel, Outcome, Sent, TryAgain, Unusable
from services.notifier.domain.health import Answer
from services.notifier.sending import (
    DELIVERY,
    Claim,
    Claimed,
    Delivered,
    NotifierContext,
    claim,
    hurry,
    outcome_name,
    record,
)

CLAIMED_AT_ONCE = 64
SENDING_AT_ONCE = 64
LOOK_SECONDS = 1.0
HURRIED_AT_ONCE = 500
HURRIES_MAX = 200
STORAGE_SECONDS = 1.0
SET_BACK = timedelta(seconds=30)
"""A host's clock that shows so much less than before was set back."""

_log = structlog.get_logger(__name__)


class Delivery:
    """The runner that sends. A slow channel holds back nobody: each page is a task of its own, up to a limit."""

    name = DELIVERY

    def __init__(
        self,
        resources: Resources,
        channels: Mapping[str, Channel],
        desk: NotifierContext,
        jitter: Callable[[], float] = random.random,  # spreads retries, guards nothing
    ) -> None:
        self._resources = resources
        self._channels = channels
        self._desk = desk
        self._sending: set[asyncio.Task[None]] = set()
        self._done: list[Delivered] = []
        self._news = asyncio.Event()  # something was recorded, claimed elsewhere, or finished
        self._asked = True  # somebody added a page
        self._look_at = 0.0  # monotonic: when a page may be due without anybody asking
        self._jitter = jitter
        self._closing = False
        self._recovered = False  # a channel, since waiting pages were last hurried
        self._shown: datetime | None = None  # by the host's clock, when it was last read
        self._away = False  # the database, when last asked
        desk.room, desk.hand, desk.ended = self.room, self.hand, resources.telemetry.promise

    def room(self) -> int:
        """How many more pages may be on their way. Also asked from the writer's thread: a guess is good enough."""
        return 0 if self._closing else SENDING_AT_ONCE - len(self._sending) - len(self._done)

    def wake(self) -> None:
        """There is a page to be claimed."""
        self._asked = True
        self._news.set()

    def hand(self, claims: Sequence[Claim]) -> None:
        """Send what is claimed already. On the loop, after the commit of its claim."""
        if self._closing:
            return  # the lease ends; whoever runs next sends it
        for one in claims:
            task = asyncio.create_task(self._send(one))
            self._sending.add(task)
            task.add_done_callback(self._sending.discard)

    async def step(self) -> bool:
        """Claim what is due, wait until everything on its way has an answer, record it."""
        self._watch_clock()
        claimed = await self._claim()
        if self._sending:
            await asyncio.wait(self._sending)
        recorded = await self._record()
        return await self._hurry() or recorded or claimed

    async def run(self) -> None:
        self._closing = False
        try:
            while True:
                self._news.clear()
                seconds = await self._turn()
                try:
                    async with asyncio.timeout(seconds):
                        await self._news.wait()
                except TimeoutError:
                    pass
        finally:
            await self._finish()

    async def _turn(self) -> float:
        """Record, then claim as long as something is due; real seconds until the next look."""
        self._watch_clock()
        try:
            await self._record()
            await self._hurry()
            while (self._asked or self._seconds_left() <= 0) and self.room() > 0:
                await self._claim()
            self._away = False
        except StorageError as failure:
            if not self._away:
                _log.warning("storage unavailable", consumer=self.name, problem=str(failure))
            self._away = True
            await asyncio.sleep(STORAGE_SECONDS)
        return max(0.0, self._seconds_left()) if self.room() > 0 else LOOK_SECONDS

    async def _claim(self) -> bool:
        self._asked = False
        limit = min(CLAIMED_AT_ONCE, self.room())
        if limit <= 0:
            return False
        try:
            found = await self._resources.units.run(lambda unit: claim(unit, self._desk, limit), Lane.BATCH)
        except StorageError:
            self._asked = True
            raise
        self._plan_look(found)
        self.hand(found.claims)
        return found.more

    def _plan_look(self, found: Claimed) -> None:
        clock = self._resources.clock
        seconds = 0.0 if found.more and not found.stalled else LOOK_SECONDS
        if found.next_at is not None:
            seconds = min(seconds, max(0.0, (found.next_at - clock.real()).total_seconds()))
        self._look_at = clock.monotonic() + seconds

    def _seconds_left(self) -> float:
        return self._look_at - self._resources.clock.monotonic()

    async def _send(self, one: Claim) -> None:
        outcome = await self._outcome(one)
        clock = self._resources.clock
        self._note(one, outcome)
        self._done.append(Delivered(one, outcome, clock.business(), clock.real()))
        self._news.set()

    async def _outcome(self, one: Claim) -> Outcome:
        channel = self._channels.get(one.page.channel)
        if channel is None:
            return Unusable(f"the channel {one.page.channel} is not set up here")
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS + 1.0):  # channels keep their own; this holds for a broken one
                return await channel.send(one.message)
        except Exception as failure:  # noqa: BLE001  # a channel that breaks its promise is one that did not accept
            _log.error("channel failed", channel=one.page.channel, error_type=type(failure).__name__)
            return TryAgain(None, f"{one.page.channel}: {type(failure).__name__}")

    def _note(self, one: Claim, outcome: Outcome) -> None:
        """Note whether the channel accepts pages at all. It does where it refuses one person."""
        answer: Answer = "well"
        if isinstance(outcome, TryAgain):
            answer = "not_now"
        elif isinstance(outcome, Unusable):
            answer = "refuses_us"
        why = "" if isinstance(outcome, Sent) else outcome.why
        after_seconds = outcome.after_seconds if isinstance(outcome, TryAgain) else None
        name, health = one.page.channel, self._desk.health
        was_up = health.up(name)
        if health.noted(name, answer, why, self._resources.clock.real(), after_seconds):
            _log.info("channel recovered", channel=name)
            self._recovered = True
        elif was_up and not health.up(name):
            _log.error("channel down", channel=name, why=why)

    def _watch_clock(self) -> None:
        """Have every page that waits looked at now when the host's clock was set back: it would wait for hours."""
        real = self._resources.clock.real()
        if self._shown is not None and real < self._shown - SET_BACK:
            _log.warning("host clock set back", seconds=round((self._shown - real).total_seconds()))
            self._desk.health.set_back(real)
            self._desk.pace.set_back()
            self._recovered = True
        self._shown = real

    async def _hurry(self) -> bool:
        """After a channel's recovery, or after the host's clock was set back: send now what waits."""
        if not self._recovered:
            return False
        work = partial(hurry, limit=HURRIED_AT_ONCE)
        for _ in range(HURRIES_MAX):
            if await self._resources.units.run(work, Lane.BATCH) < HURRIED_AT_ONCE:
                break
        self._recovered, self._asked = False, True
        return True

    def warnings(self) -> list[str]:
        """The lines of `/readyz` about channels: those that the files name and that cannot be used, and those that are down."""
        found = channel_warnings.warnings(self._resources.config.current, self._desk.channels)
        for name, down in self._desk.health.troubles():
            found.append(f"{name} accepts no pages since {down.since:%Y-%m-%d %H:%M} UTC: {down.why}")
        return found

    async def _record(self) -> bool:
        done, self._done = self._done, []
        if not done:
            return False
        try:
            next_at = await self._resources.units.run(
                partial(record, done=done, jitter=self._jitter, desk=self._desk), Lane.BATCH
            )
        except (StorageError, asyncio.CancelledError):
            self._done = done + self._done
            raise
        if next_at is not None:
            clock = self._resources.clock
            self._look_at = min(self._look_at, clock.monotonic() + (next_at - clock.real()).total_seconds())
        for one in done:
            self._tell(one)
        return True

    def _tell(self, one: Delivered) -> None:
        telemetry, page = self._resources.telemetry, one.claim.page
        telemetry.page(page.channel, outcome_name(one.outcome))
        if isinstance(one.outcome, Sent):
            telemetry.handed_over(max(0.0, (one.at - page.due_at).total_seconds()))
        else:
            _log.warning("page not accepted", page=page.id, channel=page.channel, why=one.outcome.why)

    async def _finish(self) -> None:
        """Let what is on its way arrive, and say so: a page that was sent and not recorded is sent twice."""
        self._closing = True
        if self._sending:
            await asyncio.wait(self._sending, timeout=TIMEOUT_SECONDS)
        try:
            await self._record()
        except StorageError as failure:
            _log.warning("storage unavailable", consumer=self.name, problem=str(failure))
