"""Files of the data directory: readable by their user alone, and never reached through a symbolic link.

They hold personal data, keys and tokens. Their mode does not rest on the directory's, which may have been made by
another program with mode 755.
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
    """A file of ours is a symbolic link, or no regular file."""


def make_directory(directory: Path) -> None:
    """Make the directory, entered by this user alone. One that exists keeps its mode; `exposure` says when it is open."""
    directory.mkdir(parents=True, exist_ok=True, mode=DIRECTORY_MODE)


def open_private(path: Path, flags: int) -> int:
    """Open a regular file and return its descriptor; its mode is 0600 from then on.

    Raises `UnsafeFileError` for a symbolic link and for a file that is not regular, `OSError` for the rest. Pass no
    `O_TRUNC`: a file is truncated before its kind can be judged.
    """
    try:
        descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, MODE)
    except OSError as failed:
        if failed.errno in (errno.ELOOP, errno.EMLINK):
            raise UnsafeFileError(f"{path}: is a symbolic link; remove it, or name another --data directory") from None
        raise
    try:
        found = os.fstat(descriptor)
        _refuse_unsafe(path, found)
        if stat.S_IMODE(found.st_mode) & _OTHERS:
            with contextlib.suppress(PermissionError):  # of another user: `exposure` names the directory
                os.fchmod(descriptor, MODE)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def write_private(path: Path, content: bytes) -> None:
    """Write the file whole or not at all. A file or link of that name is replaced, never written through.

    Raises `OSError` that names the file, also where the system names none: a write to a full disk.
    """
    draft = path.with_name(f"{path.name}.{os.getpid()}.draft")
    draft.unlink(missing_ok=True)
    try:
        with os.fdopen(open_private(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL), "wb") as file:
            file.write(content)
        draft.replace(path)
    except OSError as failed:
        draft.unlink(missing_ok=True)
        raise OSError(failed.errno, failed.strerror, str(path)) from failed


def secure_sqlite(file: Path) -> None:
    """Make the database file before SQLite does, and restrict the files beside it: SQLite copies the mode of the first.

    Failures of the system are left to SQLite to report. Raises `UnsafeFileError`.
    """
    with contextlib.suppress(OSError):  # a file that exists, as a link or otherwise, is judged below
        os.close(open_private(file, os.O_RDWR | os.O_CREAT | os.O_EXCL))
    for suffix in _SQLITE_SUFFIXES:
        with contextlib.suppress(OSError):
            _restrict(file.with_name(file.name + suffix))


def _restrict(path: Path) -> None:
    """Give a file that exists the mode 0600, without opening it for reading or writing.

    When a process closes any such descriptor of a file, the system drops all locks that the process holds on that file,
    those of SQLite's connections among them: another process would then cut the shared memory from under them.
    """
    descriptor = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC) if hasattr(os, "O_PATH") else None
    try:
        found = path.lstat() if descriptor is None else os.fstat(descriptor)
        _refuse_unsafe(path, found)
        if stat.S_IMODE(found.st_mode) & _OTHERS:
            with contextlib.suppress(PermissionError):
                Path(path if descriptor is None else f"/proc/self/fd/{descriptor}").chmod(MODE)
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _refuse_unsafe(path: Path, found: os.stat_result) -> None:
    if stat.S_ISLNK(found.st_mode):
        raise UnsafeFileError(f"{path}: is a symbolic link; remove it, or name another --data directory")
    if not stat.S_ISREG(found.st_mode):
        raise UnsafeFileError(f"{path}: is not a regular file; remove it, or name another --data directory")


def exposure(directory: Path) -> str | None:
    """A warning when users besides this one can enter the directory; None when it is closed, or not there.

    A group that has this user's number counts as this user's own (the habit of Linux, and of container images).
    """
    try:
        found = directory.stat()
    except OSError:
        return None
    others = _OTHERS if found.st_gid != os.geteuid() else 0o007
    if not stat.S_IMODE(found.st_mode) & others:
        return None
    mode = f"{stat.S_IMODE(found.st_mode):o}"
    return (
        f"{directory}: other users of this machine can enter the data directory (mode {mode}); `chmod 700 {directory}`"
    )
