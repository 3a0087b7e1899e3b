"""A unit: one database transaction in which state, emitted events and the reader's cursor stand or fall together.

Handlers are plain functions of a unit, with no `await` in them, so nothing can wait for a network while locks are held.
`Units` runs them: one writer thread on SQLite (`firsthour.runtime.storage.sqlite`), `run_sync` on PostgreSQL.
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
from schemas.events import Event
from schemas.topics import SAID_BY

T = TypeVar("T")

_APPEND = statements.Sql(
    lambda _: sa.insert(log).values({c.name: sa.bindparam(c.name) for c in log.columns if c.name != "id"})
)


FindConfig = Callable[[Connection, int | None], Config]
"""Finds what is in force; given the number of its version, when that has been read already."""


class Unit:
    """What a handler gets: a connection inside a transaction, the configuration in force, the time, `store` and `emit`."""

    def __init__(
        self,
        connection: Connection,
        clock: Clock,
        config: Config | FindConfig,
        *,
        partitions: int = 1,
        ask: Callable[[Connection], datetime] | None = None,
    ) -> None:
        """`config`: what is in force, or who finds it when asked; `partitions` of each topic; `ask` for the time where the database's clock is the one that counts."""
        self.connection = connection
        self._config = config
        self.clock = clock
        self._partitions = partitions
        self._ask = ask
        self.rows: list[Row] = []
        self.woken: set[str] = set()
        self.after: list[Callable[[], None]] = []
        self._work: list[statements.Work] = []
        self._id = ""
        self._version: int | None = None
        self._now: datetime | None = None
        self._locked_at = self._began_at = 0  # microseconds of the database's clock, as far as they were read

    @property
    def config(self) -> Config:
        """What is in force, the same for the whole unit."""
        if callable(self._config):
            self._config = self._config(self.connection, self._version)
        return self._config

    @property
    def now(self) -> datetime:
        """Business time, read once: ask for it after the locks, so that a unit that waited does not predate what it finds."""
        if self._now is None:
            if self._ask is None:
                self._now = self.clock.business()
            else:
                self._now = moment(self._locked_at) if self._locked_at else self._ask(self.connection)
        return self._now

    def began(self, at: int, version: int | None) -> None:
        """What the first statement read beside its own: the database's time (microseconds), the configuration in force."""
        self._began_at, self._version = at, version

    def lock(self, statement: statements.Sql, /, **values: Any) -> Sequence[Any]:
        """The rows of a SELECT that locks, maybe with a column more at their end; `now` is then not before the last lock.
        Who found nothing to lock has waited for nobody: then `now` may be as of the unit's first statement."""
        nothing = any(value == [] for value in values.values())
        rows, at = ([], None) if nothing else statement.locked(self.connection, **values)
        self._locked_at = max(self._locked_at, at or self._began_at)
        return rows

    def store(self, *work: statements.Work) -> None:
        """Store these with what is emitted, at the unit's end and in one statement where that helps. So nothing reads them
        before, and no two of one unit may change the same row."""
        self._work += work

    def new_id(self) -> str:
        """An id of this unit's own: unique, ordered within the unit, cheap."""
        if not self._id:
            self._id, self._count = new_id(), 0
        self._count += 1
        return f"{self._id}.{self._count}"

    def emit(self, event: Event, *, key: str, id: str | None = None) -> None:
        """Say `event` on its topic when this unit commits. Raises `RecordTooLargeError`."""
        event_id = id or self.new_id()
        body = encode(event, id=event_id, source=SOURCES[event.TOPIC], time=self.now, key=key)
        self.rows.append(Row(event.TOPIC, key, event_id, body))

    def wake(self, tick: str) -> None:
        """Run the tick of that name soon after this unit commits, without waiting for its second."""
        self.woken.add(tick)

    def finish(self) -> int:
        """Store what is left to store, and append what was emitted to `log`; the number of its rows. Called last, by whoever
        runs the unit."""
        at, of = micros(self.clock.real()) if self.rows else 0, self._partitions
        rows: list[tuple[Any, ...]] = [
            (topic, partition_of(key, of) if of > 1 else 0, key, event_id, at, body)
            for topic, key, event_id, body in self.rows
        ]
        statements.execute_combined(self.connection, *self._work, (_APPEND, rows))
        self._work = []
        return len(rows)

    @property
    def places(self) -> set[Place]:
        """Where what was emitted goes."""
        return {(row.topic, partition_of(row.key, self._partitions)) for row in self.rows}


SOURCES = {topic: f"urn:firsthour:{speakers[0]}" for topic, speakers in SAID_BY.items()}
"""Who says what is on a topic, as the envelope's `source`."""


class Lane(IntEnum):
    """Who goes first when several units wait: commands people wait for, then batches and ticks, then what can wait."""

    COMMAND = 0
    BATCH = 1
    BULK = 2


class Units(Protocol):
    """Runs units."""

    @property
    def alive(self) -> bool:
        """Whether units can still run at all."""

    @property
    def batch_seconds(self) -> float:
        """How long a batch in one unit may take, for the good of those behind it."""

    async def run(self, work: Callable[[Unit], T], lane: Lane = Lane.COMMAND) -> T:
        """The result of `work`, committed when this returns. Whatever `work` raises rolls the unit back.

        Raises `StorageError` when the database cannot commit now (full, read-only, broken disk).
        """

    async def append(self, rows: list[Row]) -> None:
        """Durably append rows to the log, sharing a commit with everybody who asks meanwhile. Raises `StorageError`."""


class StorageError(FirstHourError):
    """The database cannot commit now; nothing of the unit was kept. Retrying later may help."""
