"""Stores the counts of the sources at intervals."""

import asyncio
from typing import Final

from firsthour.runtime.storage.unit import Lane, StorageError, Units
from services.gateway.source_counts import SourceCounts, store

SOURCE_KEEPER: Final = "gateway.sources"
KEEP_SECONDS: Final = 5.0


class SourceKeeper:
    """Stores what was counted since the last step, if anything was. After a crash, the counts of a few seconds are missing."""

    name = SOURCE_KEEPER

    def __init__(self, counts: SourceCounts, units: Units) -> None:
        self._counts, self._units = counts, units

    async def step(self) -> bool:
        taken = self._counts.take()
        if taken:
            try:
                await self._units.run(store(taken), Lane.BULK)
            except StorageError:  # logged by the storage; stored with a later step
                self._counts.put_back(taken)
        return False

    async def run(self) -> None:
        while True:
            await asyncio.sleep(KEEP_SECONDS)
            await self.step()
