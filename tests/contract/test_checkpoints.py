"""The write-ahead log is copied into the database file beside the writer."""

import shutil
import sqlite3
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from firsthour.runtime.storage import installation
from firsthour.runtime.storage.checkpoints import PAGES, PAUSE_SECONDS, Checkpoints, pause_after
from firsthour.runtime.storage.unit import Unit
from tests.contract.conftest import SqliteBackend, open_embedded


async def stored_beside_the_log(backend: SqliteBackend) -> list[tuple[str]]:
    """Return the fact that the database file has without its log."""
    alone = shutil.copy(backend.file, backend.file.with_name("alone.db"))
    with closing(sqlite3.connect(alone)) as connection:
        return connection.execute("SELECT value FROM meta WHERE name = 'color'").fetchall()


def _put(color: str, unit: Unit) -> None:
    installation.put(unit.connection, "color", color)


async def test_checkpoint_copies_the_log_while_the_writer_is_open(tmp_path: Path) -> None:
    backend = await open_embedded(tmp_path / "x.db")
    await backend.units.run(lambda unit: installation.put(unit.connection, "color", "red"))
    before = await stored_beside_the_log(backend)
    await Checkpoints(backend.file).step()
    assert (before, await stored_beside_the_log(backend)) == ([], [("red",)])
    await backend.units.close()
    backend.reads.close()


@pytest.mark.parametrize(
    ("pages", "seconds", "pause"),
    [(0, 2.0, 10.0), (PAGES // 2, 2.0, 4.0), (PAGES // 20, 2.0, 10.0), (PAGES * 2, 8.0, 4.0), (PAGES * 8, 8.0, 2.0)],
    ids=["no log", "slow", "very slow", "faster than before", "fast"],
)
def test_log_that_grows_slowly_is_copied_less_often(pages: int, seconds: float, pause: float) -> None:
    assert pause_after(pages, seconds) == pause


async def test_pause_follows_the_pages_of_the_log(tmp_path: Path) -> None:
    backend = await open_embedded(tmp_path / "x.db")
    checkpoints = Checkpoints(backend.file)
    pauses = []
    for color in ("red" * 4_096 * PAGES, "blue", "green"):  # the second one overwrites the pages of the first
        await backend.units.run(partial(_put, color))
        await checkpoints.step()
        pauses.append(checkpoints.pause)
    assert pauses == [PAUSE_SECONDS[0], PAUSE_SECONDS[0], PAUSE_SECONDS[1]]
    await backend.units.close()
    backend.reads.close()


async def test_checkpoint_that_fails_ends_nothing(tmp_path: Path) -> None:
    assert await Checkpoints(tmp_path / "missing" / "x.db").step() is False
