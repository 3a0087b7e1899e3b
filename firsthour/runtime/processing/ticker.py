"""Runs one tick: when it is woken, when it is due, and at a regular interval."""

import asyncio
from collections.abc import Iterable
from typing import Final

import structlog

from firsthour.runtime.clock import Clock
from firsthour.runtime.processing.service import Tick
from firsthour.runtime.storage.unit import Lane, StorageError, Unit, Units

FAILURES_MAX: Final = 3  # in a row; `failing` then names the tick
RETRY_SECONDS: Final = 2.0  # while the database is unreachable; due work waits no longer than this once it is reachable

_log = structlog.get_logger(__name__)


class Ticker:
    """The runner of one tick."""

    def __init__(self, tick: Tick, units: Units, clock: Clock) -> None:
        self._tick = tick
        self._units = units
        self._clock = clock
        self._woken = asyncio.Event()
        self.failing: str | None = None  # the reason, after several failures in a row

    @property
    def name(self) -> str:
        return self._tick.name

    def wake(self) -> None:
        """Run the tick now, or once more if it is running."""
        self._woken.set()

    async def step(self) -> bool:
        """Run the tick once. Return whether more is due at once."""
        return await self._run_once() == 0.0

    async def run(self) -> None:
        unavailable, failures = False, 0
        while True:
            self._woken.clear()
            try:
                seconds = await self._run_once()
                unavailable, failures, self.failing = False, 0, None
            except StorageError as failure:
                if not unavailable:
                    _log.warning("storage unavailable", consumer=self.name, problem=str(failure))
                unavailable, seconds = True, RETRY_SECONDS
            except Exception as failure:  # noqa: BLE001  # the ticker must not end: it logs the failure and tries again
                _log.error("tick failed", consumer=self.name, exc_info=failure)
                failures += 1
                if failures >= FAILURES_MAX:
                    self.failing = f"failed {failures} times in a row ({type(failure).__name__})"
                seconds = self._tick.every_seconds
            if seconds > 0:
                try:
                    async with asyncio.timeout(seconds):
                        await self._woken.wait()
                except TimeoutError:
                    pass

    async def _run_once(self) -> float:
        """Run the tick in a unit. Return the real seconds until the next run."""

        def work(unit: Unit) -> float:
            due = self._tick.run(unit)
            every = self._tick.every_seconds
            if due is None:
                return every
            return max(0.0, min(every, self._clock.real_seconds(due - self._clock.business())))

        try:
            return await self._units.run(work, Lane.BATCH)
        except StorageError:
            raise
        except Exception as failure:
            if self._tick.failed is not None:
                self._tick.failed(failure, self._clock.real())
            raise


def failing(runners: Iterable[object]) -> dict[str, str]:
    """Return the failing ticks among these runners: name to reason."""
    tickers = (runner for runner in runners if isinstance(runner, Ticker))
    return {ticker.name: ticker.failing for ticker in tickers if ticker.failing is not None}
