"""The message and the exit code of a command that ended with an error."""

import errno
import sqlite3
from collections.abc import Mapping
from typing import Final

from firsthour.runtime.http.errors import outcome_of

_REMEDIES: Final[Mapping[int, str]] = {
    errno.ENOSPC: "make room on that disk",
    errno.EDQUOT: "make room, or raise the quota of this user",
    errno.EROFS: "mount that file system writable, or use another directory",
    errno.EEXIST: "use a directory",
    errno.ENOTDIR: "use a directory",
    errno.EMFILE: "raise the limit of open files (`ulimit -n`)",
    errno.EIO: "read the log of the operating system: the disk or network share fails",
}


def message(error: Exception) -> list[str]:
    """Return the lines that describe an error with an exit code."""
    if isinstance(error, OSError):
        cause = error.strerror or type(error).__name__
        if error.filename:
            return [f"{error.filename}: {cause}; {_REMEDIES.get(error.errno or 0, 'check its permissions')}"]
        return [f"{cause}; {_REMEDIES.get(error.errno or 0, '`firsthour doctor` shows the cause')}"]
    if hasattr(error, "orig"):  # SQLAlchemy's DBAPIError: its text quotes statements and values
        has_plain_text = type(error.orig) in (sqlite3.DatabaseError, sqlite3.OperationalError)
        cause = str(error.orig) if has_plain_text else type(error.orig).__name__
        return [f"the database cannot be used ({cause}); `firsthour doctor` shows the remedy"]
    remedy = outcome_of(error).remedy
    return (f"{error}; {remedy}" if remedy else str(error)).splitlines()
