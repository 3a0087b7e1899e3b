"""Copies the write-ahead log of SQLite into the database file, beside the writer.

Otherwise the commit that fills the log does it, and every page and answer waits for that. The writer still does so if the log
grows faster than it is copied here.
"""

import asyncio
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from typing import Final

CHECKPOINT_SECONDS: Final = 2.0


class Checkpoints:
    """The runner. It waits for no lock; after a failure, the next step copies the rest."""

    name = "runtime.checkpoints"

    def __init__(self, file: Path) -> None:
        self._uri = f"{file.absolute().as_uri()}?mode=rw"  # a file that was removed is not created anew

    async def step(self) -> bool:
        """Copy what the log holds. Return False: there is nothing more to do at once."""
        await asyncio.to_thread(self._copy)
        return False

    async def run(self) -> None:
        while True:
            await asyncio.sleep(CHECKPOINT_SECONDS)
            await self.step()

    def _copy(self) -> None:
        with suppress(sqlite3.Error), closing(sqlite3.connect(self._uri, timeout=0, uri=True)) as connection:
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
