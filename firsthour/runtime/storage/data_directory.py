"""The lock of a data directory, which one process at a time may use."""

import fcntl
import os
from pathlib import Path
from typing import IO

from firsthour.runtime.private_files import make_directory, open_private
from schemas.errors import FirstHourError


class AlreadyRunningError(FirstHourError):
    """Raised when another process holds this data directory."""


def hold(directory: Path) -> IO[str]:
    """Lock the directory for as long as the returned file is open.

    Raises:
        AlreadyRunningError: another process holds the lock.
        UnsafeFileError: the lock file is a symbolic link, or not a regular file.
    """
    make_directory(directory)
    lock = os.fdopen(open_private(directory / "lock", os.O_RDWR | os.O_CREAT), "r+")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as failure:
        lock.close()
        raise AlreadyRunningError(f"{directory}: another FirstHour process is using this data directory") from failure
    return lock
