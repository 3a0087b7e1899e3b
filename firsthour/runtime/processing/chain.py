"""Hands the records that a unit emits to the consumers that hear them, in the same unit, on the embedded profile.

A lead then costs one commit and one hand-over between threads instead of three. A consumer takes part only if it has handled
everything before; otherwise its own worker reads the records from the log, as on the distributed profile. If a consumer
fails, the whole unit is rolled back and repeated without the others, so that each handles its failures by itself.

A consumer also fails if a statement does that stores its work. These statements run when the unit is flushed, after the
handler has returned.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from sqlalchemy.exc import DBAPIError

from firsthour.runtime.storage.records import Record
from firsthour.runtime.storage.sqlite_engines import storage_error
from firsthour.runtime.storage.sqlite_unit import SqliteUnit
from firsthour.runtime.storage.unit import StorageError
from schemas.errors import FirstHourError


class FollowerError(FirstHourError):
    """Raised when a consumer cannot handle the records that a unit of another has emitted."""


@contextmanager
def followers() -> Iterator[None]:
    """Raise `FollowerError` for each failure but those of the database itself, which a unit without the others would meet too."""
    try:
        yield
    except StorageError:
        raise
    except Exception as failure:
        if isinstance(failure, DBAPIError) and storage_error(failure) is not None:
            raise
        raise FollowerError(type(failure).__name__) from failure


class Follower(Protocol):
    """A consumer of one topic."""

    @property
    def topic(self) -> str: ...

    def follow(self, unit: SqliteUnit, end: int, records: Sequence[Record]) -> None:
        """Handle the records if the cursor is at `end`, the position before them. Raises what the handler raises."""


class Chain:
    """The consumers that take part, in the order in which they handle the records of one topic."""

    def __init__(self, followers: Sequence[Follower]) -> None:
        self._followers = followers

    def carry(self, unit: SqliteUnit) -> None:
        """Store the work of the unit, and hand on what it has emitted, and what that emits, until nothing is emitted.

        Called in `followers`.
        """
        emitted = unit.flush()
        while emitted:
            for topic, (end, records) in emitted.items():
                for follower in self._followers:
                    if follower.topic == topic:
                        follower.follow(unit, end, records)
            emitted = unit.flush()
