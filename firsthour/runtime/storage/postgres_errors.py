"""The failures of PostgreSQL: those that a state of the database causes, and those that lose the connection."""

from collections.abc import Mapping
from typing import Final

import asyncpg
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as NoConnectionError

from firsthour.runtime.storage.unit import StorageError

_UNAVAILABLE: Final = ("08", "53", "57", "58", "25006", "25P03", "28", "3D", "XX001", "XX002")
_OTHER_VERSION: Final = "it lacks tables of this version; run `firsthour migrate`"
_UNPREPARED: Final[Mapping[str, str]] = {
    "42P01": _OTHER_VERSION,
    "42703": _OTHER_VERSION,
    "3F000": _OTHER_VERSION,
    "42501": "its user lacks a right that this process needs; run `firsthour migrate`, which grants the rights of each service",
}
"""Errors of a database that is not prepared. Units wait until it is; the event is not at fault."""
_LOST: Final = ("08", "57P0", "25P03")  # the connection is closed, or about to be


def storage_error(failure: BaseException) -> StorageError | None:
    """Return a `StorageError` if the state of the database caused the failure, not the statement; None otherwise."""
    if isinstance(failure, DBAPIError | asyncpg.PostgresError):
        code = sqlstate(failure) or ""
        if code in _UNPREPARED:
            return StorageError(f"the database cannot be used: {_UNPREPARED[code]}")
        closed = isinstance(failure, DBAPIError) and failure.connection_invalidated
        if closed or code.startswith(_UNAVAILABLE):
            return StorageError(f"the database cannot commit: {error_kind(failure)}")
        return None
    if isinstance(failure, NoConnectionError | OSError | TimeoutError | asyncpg.InterfaceError):
        return StorageError(f"the database cannot be reached: {type(failure).__name__}")
    return None


def sqlstate(failure: BaseException) -> str | None:
    """Return PostgreSQL's code of an error."""
    error = failure.orig if isinstance(failure, DBAPIError) else failure
    return getattr(error, "sqlstate", None)


def replanned(failure: BaseException) -> bool:
    """Return whether a migration changed a table for which the session had plans. The driver has dropped these plans."""
    error = failure.orig.__cause__ if isinstance(failure, DBAPIError) and failure.orig else failure
    return isinstance(error, asyncpg.InvalidCachedStatementError)


def lost(failure: BaseException) -> bool:
    """Return whether the connection can no longer be used."""
    if isinstance(failure, DBAPIError):
        return failure.connection_invalidated
    closed = isinstance(failure, OSError | asyncpg.InterfaceError)
    return closed or (sqlstate(failure) or "").startswith(_LOST)


def error_kind(failure: BaseException) -> str:
    """Return the kind of an error. Its text is left out: it may contain values of rows."""
    error = (failure.orig.__cause__ or failure.orig) if isinstance(failure, DBAPIError) and failure.orig else failure
    return f"{type(error).__name__} {sqlstate(failure) or ''}".strip()
