"""The write-ahead log is copied into the database file beside the writer."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

from firsthour.runtime.storage import installation
from firsthour.runtime.storage.checkpoints import Checkpoints
from tests.contract.conftest import SqliteBackend, open_embedded


async def stored_beside_the_log(backend: SqliteBackend) -> list[tuple[str]]:
    """Return the fact that the database file has without its log."""
    alone = shutil.copy(backend.file, backend.file.with_name("alone.db"))
    with closing(sqlite3.connect(alone)) as connection:
        return connection.execute("SELECT value FROM meta WHERE name = 'color'").fetchall()


async def test_checkpoint_copies_the_log_while_the_writer_is_open(tmp_path: Path) -> None:
    backend = await open_embedded(tmp_path / "x.db")
    await backend.units.run(lambda unit: installation.put(unit.connection, "color", "red"))
    before = await stored_beside_the_log(backend)
    await Checkpoints(backend.file).step()
    assert (before, await stored_beside_the_log(backend)) == ([], [("red",)])
    await backend.units.close()
    backend.reads.close()


async def test_checkpoint_that_fails_ends_nothing(tmp_path: Path) -> None:
    assert await Checkpoints(tmp_path / "missing" / "x.db").step() is False
