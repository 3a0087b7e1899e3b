"""Requests that need much time of a processor or a connection: one at a time, and few that wait."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from firsthour.runtime.http.problem import Problem

RETRY_SECONDS: Final = 5


class TurnQueue:
    """Lets one request work at a time. `at_most`: how many work or wait; `detail`: what a further one is told."""

    def __init__(self, at_most: int, detail: str) -> None:
        self._at_most, self._detail = at_most, detail
        self._free = asyncio.Lock()
        self._count = 0  # working and waiting

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for the requests before. Raises `Problem` 429 if too many work or wait already."""
        if self._count >= self._at_most:
            raise Problem(429, "Too Many Requests", self._detail, headers={"Retry-After": str(RETRY_SECONDS)})
        self._count += 1
        try:
            async with self._free:
                yield
        finally:
            self._count -= 1
