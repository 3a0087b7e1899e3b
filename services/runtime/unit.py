"""A unit: one database transaction in which state, emitted events and the reader's cursor stand or fall together.

Handlers are plain functions of a unit, with no `await` in them, so nothing can wait for a network while locks are held.
`Units` runs them: one writer thread on SQLite (`services.runtime.sqlite`), `run_sync` on PostgreSQL.
"""

from collections.abc import Callable
from datetime import datetime
from enum import IntEnum
from typing import Protocol, TypeVar

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from schemas.envelope import encode
from schemas.events import Event
from schemas.topics import SAID_BY
from services.runtime import db
from services.runtime.clock import Clock, micros, new_id
from services.runtime.config import Config
from services.runtime.log import Place, Row, log, partition_of

T = TypeVar("T")

_APPEND = db.Sql(lambda _: sa.insert(log).values({c.name: sa.bindparam(c.name) for c in log.columns if c.name != "id"}))


class Unit:
    """What a handler gets: a connection inside a transaction, the configuration in force, the time, and `emit`."""

    def __init__(
        self,
        connection: Connection,
        clock: Clock,
        config: Config | Callable[[Connection], Config],
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
        self._id = ""
        self._now: datetime | None = None

    @property
    def config(self) -> Config:
        """What is in force, the same for the whole unit."""
        if callable(self._config):
            self._config = self._config(self.connection)
        return self._config

    @property
    def now(self) -> datetime:
        """Business time, read once: ask for it after the locks, so that a unit that waited does not predate what it finds."""
        if self._now is None:
            self._now = self._ask(self.connection) if self._ask else self.clock.business()
        return self._now

    def new_id(self) -> str:
        """An id of this unit's own: unique, ordered within the unit, cheap."""
        if not self._id:
            self._id, self._count = new_id(), 0
        self._count += 1
        return f"{self._id}.{self._count}"

    def emit(self, event: Event, *, key: str, id: str | None = None) -> None:
        """Say `event` on its topic when this unit commits."""
        event_id = id or self.new_id()
        body = encode(event, id=event_id, source=SOURCES[event.TOPIC], time=self.now, key=key)
        self.rows.append(Row(event.TOPIC, key, event_id, body))

    def wake(self, tick: str) -> None:
        """Run the tick of that name soon after this unit commits, without waiting for its second."""
        self.woken.add(tick)

    def store_rows(self) -> int:
        """Append what was emitted to `log`; the number of rows. Called last, by whoever runs the unit."""
        at, of = micros(self.clock.real()) if self.rows else 0, self._partitions
        _APPEND.tuples(
            self.connection,
            [
                (topic, partition_of(key, of) if of > 1 else 0, key, event_id, at, body)
                for topic, key, event_id, body in self.rows
            ],
        )
        return len(self.rows)

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
    LATER = 2


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


class StorageError(Exception):
    """The database cannot commit now; nothing of the unit was kept. Retrying later may help."""
