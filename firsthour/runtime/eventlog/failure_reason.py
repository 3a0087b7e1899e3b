"""The reason of a failure, as it is stored and shown: without personal data."""

import traceback
from pathlib import Path
from typing import Final

from schemas.envelope import RecordTooLargeError, UnknownEventError

_ROOT: Final = Path(__file__).parents[3]
_PACKAGES: Final = tuple(_ROOT / name for name in ("firsthour", "schemas", "services"))


def failure_reason(failure: Exception) -> str:
    """Return why a handler failed: the kind of the failure, and the line of our code that raised it.

    The text of the exception is left out: a driver quotes statements with their values, and a `KeyError` the missing key.
    """
    if isinstance(failure, UnknownEventError | RecordTooLargeError):
        return f"{type(failure).__name__}: {failure}"  # our own text
    error, line = getattr(failure, "orig", failure), ""
    code = getattr(error, "sqlstate", None) or getattr(error, "sqlite_errorname", None)
    for frame in traceback.extract_tb(failure.__traceback__):
        path = Path(frame.filename)
        if any(path.is_relative_to(package) for package in _PACKAGES):
            line = f" at {path.relative_to(_ROOT).as_posix()}:{frame.lineno}"
    return f"{type(failure).__name__}{f' {code}' if code else ''}{line}"
