"""A unit: one database transaction, in which state, emitted events and the reader's cursor are committed together.

Handlers are plain functions of a unit without `await`: no unit waits for a network while it holds locks. `Units` runs
them: in one writer thread on SQLite (`firsthour.runtime.storage.sqlite`), in greenlets on PostgreSQL.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from enum import IntEnum
from typing import Any, Protocol, TypeVar

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from firsthour.kernel.config import Config
from firsthour.kernel.time_units import micros, moment
from firsthour.runtime.clock import Clock, new_id
from firsthour.runtime.storage import statements
from firsthour.runtime.storage.records import Place, Row, log, partition_of
from schemas.envelope import encode
from schemas.errors import FirstHourError
from schemas.events.base import Event
from schemas.topics import EMITTED_BY

T = TypeVar("T")

_APPEND = statements.Sql(
    lambda _: sa.insert(log).values({c.name: sa.bindparam(c.name) for c in log.columns if c.name != "id"})
)


FindConfig = Callable[[Connection, int | None], Config]
"""Returns the configuration in force. The second argument is the id of its version; None: the unit has not read the id."""


class Unit:
    """The argument of a handler: a transaction with the configuration in force and the time, and with `store` and `emit`."""

    def __init__(
        self,
        connection: Connection,
        clock: Clock,
        config: Config | FindConfig,
        *,
        partitions: int = 1,
        ask: Callable[[Connection], datetime] | None = None,
    ) -> None:
        """Begin a unit in an open transaction.

        Args:
            connection: the connection, inside the transaction.
            clock: the clock of the process.
            config: the configuration in force, or a function that reads it when needed.
            partitions: the number of partitions of each topic.
            ask: reads the time of the database; None: the clock of the process counts.
        """
        self.connection = connection
        self._config = config
        self.clock = clock
        self._partitions = partitions
        self._ask = ask
        self.rows: list[Row] = []
        self.events: dict[tuple[str, str], Event] = {}  # those of the rows that this unit emitted, by topic and id
        self.woken: set[str] = set()  # names of ticks
        self.after: list[Callable[[], None]] = []  # called after the commit
        self._work: list[statements.Work] = []
        self._id = ""
        self._version: int | None = None
        self._now: datetime | None = None
        self._locked_at = self._began_at = 0  # microseconds of the database's clock; 0: not read

    @property
    def config(self) -> Config:
        """The configuration in force, the same for the whole unit."""
        if callable(self._config):
            self._config = self._config(self.connection, self._version)
        return self._config

    @property
    def now(self) -> datetime:
        """The business time of this unit. Read it after locking, so that it is not before the times in the locked rows."""
        if self._now is None:
            if self._ask is None:
                self._now = self.clock.business()
            else:
                self._now = moment(self._locked_at) if self._locked_at else self._ask(self.connection)
        return self._now

    def began(self, at: int, version: int | None) -> None:
        """Set the results of the first statement: the database's time (microseconds), and the version of the configuration."""
        self._began_at, self._version = at, version

    def lock(self, statement: statements.Sql, /, **values: Any) -> Sequence[Any]:
        """Run a SELECT that locks, and return its rows. On PostgreSQL each row has one more column at its end.

        After this, `now` is not before the last lock. If no row was locked, the unit has not waited, and `now` may be the
        time of its first statement.
        """
        is_empty = any(value == [] for value in values.values())
        rows, at = ([], None) if is_empty else statement.locked(self.connection, **values)
        self._locked_at = max(self._locked_at, at or self._began_at)
        return rows

    def store(self, *work: statements.Work) -> None:
        """Store these rows at the end of the unit, in one round trip with the emitted events.

        The unit itself cannot read them. No two works of a unit may change the same row.
        """
        self._work += work

    def new_id(self) -> str:
        """Return a unique id: an id of the unit with a number. It costs less than `clock.new_id`."""
        if not self._id:
            self._id, self._count = new_id(), 0
        self._count += 1
        return f"{self._id}.{self._count}"

    def emit(self, event: Event, *, key: str, id: str | None = None) -> None:
        """Append `event` to its topic when this unit commits. Raises `RecordTooLargeError`."""
        event_id = id or self.new_id()
        body = encode(event, id=event_id, source=SOURCES[event.TOPIC], time=self.now, key=key)
        self.rows.append(Row(event.TOPIC, key, event_id, body))
        self.events[event.TOPIC, event_id] = event

    def wake(self, tick: str) -> None:
        """Run the tick of this name soon after this unit commits, without waiting for its interval."""
        self.woken.add(tick)

    def recall(self, name: str) -> Any:
        """Return what an earlier unit has remembered under this name, and is still in force. None: read it."""
        return None

    def remember(self, name: str, value: Any) -> None:
        """Remember for later units what this one has read. The unit also stores each change that it makes in `value`."""

    def stored_form(self, body: bytes) -> bytes:
        """Return the body of a record as `log` holds it."""
        return body

    def finish(self) -> list[bytes]:
        """Store the pending work, and append the emitted events to `log`. Return their stored bodies.

        Only `Units` calls it, as the last step of the unit.
        """
        at, of = micros(self.clock.real()) if self.rows else 0, self._partitions
        bodies = [self.stored_form(row.body) for row in self.rows]
        rows: list[tuple[Any, ...]] = [
            (topic, partition_of(key, of) if of > 1 else 0, key, event_id, at, body)
            for (topic, key, event_id, _), body in zip(self.rows, bodies, strict=True)
        ]
        statements.execute_combined(self.connection, *self._work, (_APPEND, rows))
        self._work = []
        return bodies

    @property
    def places(self) -> set[Place]:
        """The partitions of the emitted events."""
        return {(row.topic, partition_of(row.key, self._partitions)) for row in self.rows}


SOURCES = {topic: f"urn:firsthour:{services[0]}" for topic, services in EMITTED_BY.items()}
"""The `source` of the envelope, by topic: the service that emits events to this topic."""


class Lane(IntEnum):
    """The order of waiting units: first commands, for which a person waits; then batches and ticks; last bulk work."""

    COMMAND = 0
    BATCH = 1
    BULK = 2


class Units(Protocol):
    """Runs units."""

    @property
    def alive(self) -> bool:
        """Whether units can still run."""

    @property
    def batch_seconds(self) -> float:
        """The seconds that one batch may take, because other units wait until it ends."""

    async def run(self, work: Callable[[Unit], T], lane: Lane = Lane.COMMAND) -> T:
        """Run `work` in a unit, and return its result after the commit. If `work` raises, the unit is rolled back.

        Raises:
            StorageError: the database cannot commit now (full, read-only, broken disk).
        """

    async def append(self, rows: list[Row]) -> None:
        """Durably append rows to the log, sharing a commit with other appends. Raises `StorageError`."""


class StorageError(FirstHourError):
    """Raised when the database cannot commit now. The unit was rolled back; a later try may succeed."""
