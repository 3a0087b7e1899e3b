"""Appends the gateway's events durably and in order: at the broker, or in the spool while the broker does not answer.

After the first failure all events go to the spool, so that no further request waits for a silent broker. This ends when
the broker answers and the spool is empty. Appends are held back for a moment before that: only when no append is on its
way to the spool can the next event go to the broker without overtaking an earlier event of its key.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from datetime import timedelta
from typing import Final

import structlog

from firsthour.runtime.clock import Clock
from firsthour.runtime.eventlog.producer import SEND_SECONDS, BrokerError, Producer, RecordRejectedError
from firsthour.runtime.eventlog.spool import HEAD_ROWS, Spool
from firsthour.runtime.storage.records import Row
from firsthour.runtime.storage.unit import StorageError

HOLD_SECONDS: Final = 0.25  # the longest wait of an append while the spool becomes empty
LOOK_SECONDS: Final = 5.0  # between two probes of the broker while there are no appends
BACKOFF_SECONDS: Final = 0.05
BACKOFF_MAX_SECONDS: Final = 1.0
AGE_LOOK_SECONDS: Final = 3600.0
AGE_MAX: Final = timedelta(days=10)
"""The age of a spooled row that causes a warning. An event is recognised as seen for 21 days. It may be sent again during its
days in the spool and seven days in the topic, so these must be fewer."""

_log = structlog.get_logger(__name__)


async def hand_over(spool: Spool, producer: Producer, limit: int = HEAD_ROWS) -> int:
    """Send the oldest rows of the spool, and drop them there once they are acknowledged. Return their number.

    After a crash between these two steps the rows are sent again; readers recognise the duplicates. Raises `BrokerError`,
    `StorageError`.
    """
    head = await spool.head(limit)
    if head:
        await producer.send([row for _, row in head])
        await spool.drop(head[-1][0])
    return len(head)


class DurableAppend:
    """Appends the rows of the gateway's requests. As a runner, it drains the spool."""

    name = "gateway.intake"

    def __init__(
        self,
        producer: Producer,
        spool: Spool | None,
        clock: Clock,
        *,
        hold_seconds: float = HOLD_SECONDS,
        dead_letter: Callable[[Row, str], Awaitable[None]] | None = None,
    ) -> None:
        """Append through a producer and a spool.

        Args:
            producer: sends rows to the broker.
            spool: a started spool, whose rows are sent first. None: events are rejected while the broker does not answer.
            clock: the clock of the process.
            hold_seconds: the longest wait of an append while the spool becomes empty.
            dead_letter: stores a row that the broker rejects permanently, with the reason; None: the row blocks the spool.
        """
        self._dead_letter = dead_letter
        self._producer = producer
        self._spool = spool
        self._clock = clock
        self._hold_seconds = hold_seconds
        self._spooling = self.spooled > 0
        self._silent = True  # while spooling: the broker must answer a probe before the next rows are sent
        self._limit = (
            1  # rows to hand over at once; few after a failure, because those rows may have arrived nevertheless
        )
        self._gate: asyncio.Event | None = None  # held-back appends wait for it; None: appends are not held back
        self._spooling_started = asyncio.Event()
        self._spooling_since = clock.monotonic()
        self._acknowledged = False  # the broker acknowledged a send after the last look
        self._age_look = 0.0  # time of the next look at the age of the rows
        self._stuck = False  # the failure to drain the spool is logged

    @property
    def spooled(self) -> int:
        """The number of rows in the spool."""
        return 0 if self._spool is None else self._spool.count

    def ready(self) -> str:
        """Return `ok`, or the reason why no event is accepted now."""
        problem = "there is no spool" if self._spool is None else self._spool.problem
        if not self._spooling or problem is None:
            return "ok"
        state = "the broker does not answer" if self._silent else "the spool is being emptied"
        return f"{state}, and nothing can be spooled: {problem}"

    def warnings(self) -> tuple[str, ...]:
        """Return the problems that matter as soon as the broker does not answer."""
        if self._spool is None or self._spool.problem is None:
            return ()
        return (f"the spool cannot be used ({self._spool.problem}): events are rejected while the broker is silent",)

    async def append(self, rows: Sequence[Row]) -> None:
        """Append rows; they are at the broker or in the spool when it returns. Raises `StorageError` if both reject them."""
        if not rows:
            return
        seconds = SEND_SECONDS
        if self._gate is not None:
            since = self._clock.monotonic()
            await self._gate.wait()  # only once: if spooling has not ended by then, the rows go to the spool
            seconds -= self._clock.monotonic() - since
        if not self._spooling:
            try:
                await self._producer.send(rows, seconds)
            except BrokerError as failure:
                self._start_spooling(str(failure))
            else:
                self._acknowledged = True
                return
        if self._spool is None:
            raise StorageError("the broker does not answer, and there is no spool")
        await self._spool.append(rows)

    async def run(self) -> None:
        await self._look()
        self._log_state_at_start()
        failures = 0
        while True:
            if not self._spooling:
                await self._idle()
            elif await self.step():
                failures = 0
            else:
                failures = min(failures + 1, 8)
                await self._tend()
                seconds = min(BACKOFF_MAX_SECONDS, BACKOFF_SECONDS * 2**failures)
                await asyncio.sleep(seconds * random.uniform(0.5, 1.0))  # noqa: S311  # jitter

    async def step(self) -> bool:
        """Hand over the oldest rows of the spool. Return whether that succeeded, so that the next step can follow at once."""
        if not self._spooling or (self._silent and not await self._producer.answers()):
            return False
        is_last_step = not self._silent and self.spooled <= self._limit
        with self._holding_back() if is_last_step else nullcontext():
            append_count = self._append_count
            try:
                if self._spool is not None:
                    await hand_over(self._spool, self._producer, self._limit)
            except RecordRejectedError as rejection:
                if not await self._dead_letter_oldest(rejection.reason):
                    return False
            except BrokerError:
                self._silent, self._limit = True, 1
                return False
            except StorageError as failure:
                # A broken spool that is empty does not matter: there is no event that the next one could overtake.
                if self.spooled > 0 or append_count != self._append_count:
                    self._log_stuck(failure)
                    return False
            self._silent, self._stuck = False, False
            self._limit = min(HEAD_ROWS, self._limit * 4)
            if self.spooled == 0 and append_count == self._append_count:
                self._stop_spooling()
            return True

    async def _dead_letter_oldest(self, reason: str) -> bool:
        """Store the oldest row, which the broker rejects permanently, as a dead letter. Return whether that succeeded."""
        if self._dead_letter is None or self._spool is None:
            return False
        try:
            for id, row in await self._spool.head(1):
                await self._dead_letter(row, reason)
                await self._spool.drop(id)
                _log.error("record rejected by broker", topic=row.topic, reason=reason)
        except StorageError as failure:
            self._log_stuck(failure)
            return False
        return True

    @property
    def _append_count(self) -> int:
        return 0 if self._spool is None else self._spool.append_count

    def _start_spooling(self, problem: str) -> None:
        if self._spooling:
            return
        self._spooling, self._silent, self._limit = True, True, 1
        self._spooling_since = self._clock.monotonic()
        self._spooling_started.set()
        _log.warning("spooling started", problem=problem)

    def _stop_spooling(self) -> None:
        """Let appends go to the broker again.

        The caller has no `await` between its check and this call, so that no append goes to the spool in between.
        """
        self._spooling, self._acknowledged = False, True
        _log.info("spooling ended", seconds=round(self._clock.monotonic() - self._spooling_since, 1))

    @contextmanager
    def _holding_back(self) -> Iterator[None]:
        """Hold back new appends until the end of the block, or for `hold_seconds`.

        Otherwise a spool in constant use would never become empty.
        """
        gate = self._gate = asyncio.Event()

        def open_gate() -> None:
            self._gate = None
            gate.set()

        timer = asyncio.get_running_loop().call_later(self._hold_seconds, open_gate)
        try:
            yield
        finally:
            timer.cancel()
            open_gate()

    async def _idle(self) -> None:
        """Wait until spooling begins. Probe the broker meanwhile, so that it is not a request that finds it silent."""
        self._spooling_started.clear()
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                await self._spooling_started.wait()
        except TimeoutError:
            await self._look()

    async def _look(self) -> None:
        acknowledged, self._acknowledged = self._acknowledged, False
        if not acknowledged and not await self._producer.answers():
            self._start_spooling("the broker did not answer a probe")
        await self._tend()

    async def _tend(self) -> None:
        """Try to repair a spool that rejects rows, and report old rows."""
        if self._spool is None:
            return
        await self._spool.mend()
        if self._spool.count and not self._spooling:
            self._start_spooling("the spool is usable again, and holds earlier events")
        now = self._clock.monotonic()
        if self._spool.count and now >= self._age_look:
            self._age_look = now + AGE_LOOK_SECONDS
            try:
                oldest = await self._spool.oldest()
            except StorageError as failure:
                self._log_stuck(failure)
                return
            if oldest is not None and self._clock.real() - oldest > AGE_MAX:
                _log.warning("spooled events older than ten days", events=self._spool.count)

    def _log_state_at_start(self) -> None:
        for line in self.warnings():
            _log.warning("spool unusable", problem=line)
        if self.spooled:
            _log.info("spool not empty at start", events=self.spooled)

    def _log_stuck(self, failure: StorageError) -> None:
        if not self._stuck:
            self._stuck = True
            _log.error("spool not drained", events=self.spooled, problem=str(failure))
