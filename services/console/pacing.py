"""Work in the background of an event loop: after each step it leaves the loop to other work for several times as long."""

import asyncio
from collections.abc import Awaitable, Coroutine, Generator
from typing import Any, Final, TypeVar

T = TypeVar("T")
TIMES: Final = 4.0
"""How much longer other work gets than the step before."""
STEP_SECONDS_MIN: Final = 0.0005
"""After a shorter step there is no pause: a timer would cost more."""
PAUSE_SECONDS_MAX: Final = 0.02


class PacedWork(Awaitable[T]):
    """A coroutine whose steps are spread. `spent`: seconds that its steps took on the loop.

    A request that meets one of several steps in a row would wait for each of them, because it needs several turns of the loop.
    """

    def __init__(self, work: Coroutine[Any, Any, T], *, spread: bool) -> None:
        self._work, self._spread = work, spread
        self.spent = 0.0

    def __await__(self) -> Generator[Any, None, T]:
        loop = asyncio.get_running_loop()
        failure: BaseException | None = None
        while True:
            start = loop.time()
            try:
                waited = self._work.send(None) if failure is None else self._work.throw(failure)
            except StopIteration as done:
                self.spent += loop.time() - start
                result: T = done.value
                return result
            step, failure = loop.time() - start, None
            self.spent += step
            try:
                yield waited
                if self._spread and step >= STEP_SECONDS_MIN:
                    yield from asyncio.sleep(min(step * TIMES, PAUSE_SECONDS_MAX)).__await__()
            except BaseException as error:  # noqa: BLE001  # the work handles it, or ends with it
                failure = error
