"""Stores the counts of the sources at intervals, and notes whose quarantine is full."""

import asyncio
from contextlib import suppress
from typing import Final

from firsthour.runtime.processing.service import Resources
from firsthour.runtime.storage.unit import Lane, StorageError
from services.gateway import quarantine
from services.gateway.flood_guard import FloodGuard
from services.gateway.quarantine import ROWS_MAX
from services.gateway.source_counts import QUARANTINED, SourceCounts, store

SOURCE_KEEPER: Final = "gateway.sources"
KEEP_SECONDS: Final = 5.0
LAST_SECONDS: Final = 2.0  # for what was counted last, when the process stops


class SourceKeeper:
    """Stores what was counted since the last step, if anything was. After a crash, the counts of a few seconds are missing."""

    name = SOURCE_KEEPER

    def __init__(self, counts: SourceCounts, guard: FloodGuard, resources: Resources) -> None:
        self._counts, self._guard = counts, guard
        self._units, self._reads = resources.units, resources.reads

    async def step(self) -> bool:
        taken = self._counts.take()
        if taken:
            try:
                await self._units.run(store(taken), Lane.BULK)
            except StorageError:  # logged by the storage; stored with a later step
                self._counts.put_back(taken)
        if self._guard.full or any(outcome == QUARANTINED for _, outcome in taken):
            await self._look_at_quarantine()
        return False

    async def _look_at_quarantine(self) -> None:
        with suppress(StorageError):  # logged by the storage; the sources of before stay full until a later step
            numbers = await self._reads(quarantine.numbers)
            self._guard.full = frozenset(source for source, (number, _) in numbers.items() if number >= ROWS_MAX)

    async def run(self) -> None:
        try:
            while True:
                await asyncio.sleep(KEEP_SECONDS)
                await self.step()
        finally:
            with suppress(TimeoutError):
                async with asyncio.timeout(LAST_SECONDS):  # a database that hangs does not delay the end
                    await self.step()
