"""Data directories of the embedded profile. Their tables are copied from a file that is made once."""

import tempfile
from functools import cache
from pathlib import Path
from typing import IO, Final

from firsthour.bootstrap import embedded
from firsthour.runtime.storage.data_directory import hold

DATABASE: Final = "firsthour.db"


@cache
def _tables() -> bytes:
    with tempfile.TemporaryDirectory() as directory:
        lock, _ = embedded.open_clock(Path(directory), 1.0)
        lock.close()
        return (Path(directory) / DATABASE).read_bytes()


def open_directory(directory: Path) -> IO[str]:
    """Lock a data directory, which gets current tables if it has no database. Return the lock."""
    if (directory / DATABASE).exists():
        return embedded.open_clock(directory, 1.0)[0]
    lock = hold(directory)
    (directory / DATABASE).write_bytes(_tables())
    return lock
