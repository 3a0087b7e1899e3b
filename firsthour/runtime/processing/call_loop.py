"""The loop of a runner that claims rows, makes a call for each of them outside any unit, and records the outcomes."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any, Generic, TypeVar

import structlog

from firsthour.runtime.storage.unit import StorageError

Result = TypeVar("Result")

_log = structlog.get_logger(__name__)


class CallLoop(Generic[Result]):
    """The calls that are on their way, and the outcomes that are not recorded yet.

    A call whose outcome is not recorded is made again, by this process or the next.
    """

    def __init__(
        self, name: str, record: Callable[[Sequence[Result]], Awaitable[None]], *, timeout_seconds: float
    ) -> None:
        """`record`: stores outcomes. `timeout_seconds`: how long the end of the loop waits for calls."""
        self._name, self._record = name, record
        self._timeout_seconds = timeout_seconds
        self._calls: set[asyncio.Task[None]] = set()
        self._results: list[Result] = []
        self._wakeup = asyncio.Event()

    def wake(self) -> None:
        """Begin the next turn soon."""
        self._wakeup.set()

    def start(self, call: Coroutine[Any, Any, Result]) -> None:
        """Make a call, which returns its outcome and raises nothing."""
        task = asyncio.create_task(self._make(call))
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)

    async def _make(self, call: Coroutine[Any, Any, Result]) -> None:
        result = await call
        self._results.append(result)  # `record` may have begun a new list meanwhile
        self.wake()

    async def ended(self) -> None:
        """Wait until every call has ended."""
        if self._calls:
            await asyncio.wait(self._calls)

    async def record(self) -> bool:
        """Record the outcomes so far. Return whether there was any. Raises `StorageError`: they are kept for the next time."""
        results, self._results = self._results, []
        if not results:
            return False
        try:
            await self._record(results)
        except (StorageError, asyncio.CancelledError):
            self._results = results + self._results
            raise
        return True

    async def run(self, turn: Callable[[], Awaitable[float]], closing: Callable[[], None] = lambda: None) -> None:
        """Take turns until cancelled, then wait for the calls on their way, and record their outcomes.

        Args:
            turn: Returns the seconds until the next turn, which begins sooner if the loop is woken.
            closing: Called before the last calls are waited for, so that no further one is started.
        """
        try:
            while True:
                self._wakeup.clear()
                seconds = await turn()
                with suppress(TimeoutError):
                    async with asyncio.timeout(seconds):
                        await self._wakeup.wait()
        finally:
            closing()
            await self._finish()

    async def _finish(self) -> None:
        if self._calls:
            await asyncio.wait(self._calls, timeout=self._timeout_seconds)
        try:
            await self.record()
        except StorageError as failure:
            _log.warning("storage unavailable", consumer=self._name, problem=str(failure))
