"""Files of the data directory: readable only by their user, and never opened through a symbolic link.

They contain personal data, keys and tokens. Their mode does not depend on the directory, which another program may have
created with mode 755.
"""

import contextlib
import errno
import os
import stat
from pathlib import Path
from typing import Final

from schemas.errors import FirstHourError

MODE: Final = 0o600
DIRECTORY_MODE: Final = 0o700
_OTHERS: Final = 0o077
_SQLITE_SUFFIXES: Final = ("", "-wal", "-shm", "-journal")


class UnsafeFileError(FirstHourError):
    """Raised for a file that is a symbolic link, or not a regular file."""


def make_directory(directory: Path) -> None:
    """Create the directory for this user only. An existing one keeps its mode; `exposure` reports an open one."""
    directory.mkdir(parents=True, exist_ok=True, mode=DIRECTORY_MODE)


def open_private(path: Path, flags: int) -> int:
    """Open a regular file and return its descriptor; its mode is 0600 from then on.

    Do not pass `O_TRUNC`: it would truncate the file before its kind is checked.

    Raises:
        UnsafeFileError: for a symbolic link, and for a file that is not regular.
        OSError: for all other failures.
    """
    try:
        descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, MODE)
    except OSError as failure:
        if failure.errno in (errno.ELOOP, errno.EMLINK):
            raise UnsafeFileError(f"{path}: is a symbolic link; remove it, or name another --data directory") from None
        raise
    try:
        status = os.fstat(descriptor)
        _refuse_unsafe(path, status)
        if stat.S_IMODE(status.st_mode) & _OTHERS:
            with contextlib.suppress(PermissionError):  # of another user: `exposure` names the directory
                os.fchmod(descriptor, MODE)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def write_private(path: Path, content: bytes) -> None:
    """Write the file completely or not at all. A file or link of that name is replaced.

    Raises `OSError` with the name of the file, also if the system gives none, as for a write to a full disk.
    """
    draft = path.with_name(f"{path.name}.{os.getpid()}.draft")
    draft.unlink(missing_ok=True)
    try:
        with os.fdopen(open_private(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL), "wb") as file:
            file.write(content)
        draft.replace(path)
    except OSError as failure:
        draft.unlink(missing_ok=True)
        raise OSError(failure.errno, failure.strerror, str(path)) from failure


def secure_sqlite(file: Path) -> None:
    """Create the database file before SQLite does, and restrict its companion files: SQLite copies the mode of the first.

    SQLite reports failures of the system. Raises `UnsafeFileError`.
    """
    with contextlib.suppress(OSError):  # an existing file or link is checked below
        os.close(open_private(file, os.O_RDWR | os.O_CREAT | os.O_EXCL))
    for suffix in _SQLITE_SUFFIXES:
        with contextlib.suppress(OSError):
            _restrict(file.with_name(file.name + suffix))


def _restrict(path: Path) -> None:
    """Set the mode of an existing file to 0600, without opening it for reading or writing.

    When a process closes such a descriptor, the system drops all locks that the process holds on the file, including
    those of SQLite's connections. Another process would then truncate the shared memory that they use.
    """
    descriptor = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC) if hasattr(os, "O_PATH") else None
    try:
        status = path.lstat() if descriptor is None else os.fstat(descriptor)
        _refuse_unsafe(path, status)
        if stat.S_IMODE(status.st_mode) & _OTHERS:
            with contextlib.suppress(PermissionError):
                Path(path if descriptor is None else f"/proc/self/fd/{descriptor}").chmod(MODE)
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _refuse_unsafe(path: Path, status: os.stat_result) -> None:
    if stat.S_ISLNK(status.st_mode):
        raise UnsafeFileError(f"{path}: is a symbolic link; remove it, or name another --data directory")
    if not stat.S_ISREG(status.st_mode):
        raise UnsafeFileError(f"{path}: is not a regular file; remove it, or name another --data directory")


def exposure(directory: Path) -> str | None:
    """Return a warning if other users can enter the directory; None: they cannot, or it does not exist.

    A group with the number of this user counts as the user's own, as is usual on Linux and in container images.
    """
    try:
        status = directory.stat()
    except OSError:
        return None
    others = _OTHERS if status.st_gid != os.geteuid() else 0o007
    if not stat.S_IMODE(status.st_mode) & others:
        return None
    mode = f"{stat.S_IMODE(status.st_mode):o}"
    return (
        f"{directory}: other users of this machine can enter the data directory (mode {mode}); `chmod 700 {directory}`"
    )
