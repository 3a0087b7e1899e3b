"""Tasks of publishing rounds that run at the same time."""

import asyncio
from collections.abc import Coroutine
from typing import Any, Final

import structlog

ROUND_SECONDS: Final = 1.0  # after this time the next round no longer waits for the end of this one
ROUNDS_AT_ONCE: Final = 3  # each with a connection

_log = structlog.get_logger(__name__)


class RoundTasks:
    """Runs rounds. The next one starts when the one before has ended, or has lasted for `ROUND_SECONDS`."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    async def begin(self, work: Coroutine[Any, Any, None]) -> None:
        """Run one round, and return when the next may start. Raises its failure if it ends within `ROUND_SECONDS`."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._on_end)
        done, _ = await asyncio.wait({task}, timeout=ROUND_SECONDS)
        if done:
            await task
        while len(self._tasks) >= ROUNDS_AT_ONCE:
            await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)

    async def end(self) -> None:
        """Cancel the running rounds."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _on_end(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (failure := task.exception()) is not None:
            _log.debug("round failed", error_type=type(failure).__name__)  # the next sweep finds its rows again
