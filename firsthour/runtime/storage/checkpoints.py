"""Copies the write-ahead log of SQLite into the database file, beside the writer.

Otherwise the commit that fills the log does it, and every page and answer waits for that. The writer still does so if the log
grows faster than it is copied here. Each copy waits for the disk, so a log that grows slowly is copied less often.
"""

import asyncio
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from typing import Final

PAGES: Final = 1_000
"""Pages of the log that one copy aims at: far from the bound at which the writer copies them."""
PAUSE_SECONDS: Final = (2.0, 10.0)
"""The shortest and the longest pause between two copies."""


class Checkpoints:
    """The runner. It waits for no lock; after a failure, the next step copies the rest."""

    name = "runtime.checkpoints"

    def __init__(self, file: Path) -> None:
        self._uri = f"{file.absolute().as_uri()}?mode=rw"  # a file that was removed is not created anew
        self.pause = PAUSE_SECONDS[0]
        """Seconds until the next copy."""

    async def step(self) -> bool:
        """Copy what the log holds. Return False: there is nothing more to do at once."""
        pages = await asyncio.to_thread(self._copy)
        self.pause = pause_after(pages, self.pause)
        return False

    async def run(self) -> None:
        while True:
            await asyncio.sleep(self.pause)
            await self.step()

    def _copy(self) -> int:
        """Return the pages of the log since it last began anew. 0 after a failure."""
        with suppress(sqlite3.Error), closing(sqlite3.connect(self._uri, timeout=0, uri=True)) as connection:
            _, pages, _ = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            return max(int(pages), 0)  # -1: there is no log
        return 0


def pause_after(pages: int, seconds: float) -> float:
    """Return the pause in which the log grows to `PAGES`, if it goes on as in these `seconds`. Both bounds hold."""
    shortest, longest = PAUSE_SECONDS
    return min(max(shortest, seconds * PAGES / max(pages, 1)), longest)
