"""A unit on SQLite: it knows the positions of the records that it emits before it ends.

It also knows what earlier units have read: only the writer changes the database, so that stays in force until a unit fails.
"""

from dataclasses import dataclass, field
from typing import Any

from sqlalchemy.engine import Connection

from firsthour.kernel.config import Config
from firsthour.runtime.clock import Clock
from firsthour.runtime.storage import sqlite_rows
from firsthour.runtime.storage.packing import packed
from firsthour.runtime.storage.records import Record
from firsthour.runtime.storage.unit import Unit

Emitted = dict[str, tuple[int, list[Record]]]
"""By topic: the position before the records, and the records."""


@dataclass
class WriterMemory:
    """The values that units of one connection remember. `version`: increases when another connection changes the database."""

    values: dict[str, Any] = field(default_factory=dict)
    version: int = -1


class SqliteUnit(Unit):
    """The only writer's unit. `ends`: the position of the newest record of each topic; 0 for a topic that is not in it."""

    def __init__(
        self,
        connection: Connection,
        clock: Clock,
        config: Config,
        ends: dict[str, int],
        memory: WriterMemory | None = None,
    ) -> None:
        super().__init__(connection, clock, config)
        self.ends = dict(ends)
        self.appended: list[tuple[str, Record]] = []
        self.memory = WriterMemory() if memory is None else memory
        self.packs = True
        """Whether the log gets records in their packed form. Otherwise the first reader that needs this form packs them."""
        self._is_memory_checked = False

    def recall(self, name: str) -> Any:
        return self._values().get(name)

    def remember(self, name: str, value: Any) -> None:
        self._values()[name] = value

    def _values(self) -> dict[str, Any]:
        """Return the memory, emptied if a program other than the writer has changed the database."""
        if not self._is_memory_checked:
            version = sqlite_rows.rows(self.connection, "PRAGMA data_version", ())[0][0]
            if version != self.memory.version:
                self.memory.values.clear()
                self.memory.version = version
            self._is_memory_checked = True
        return self.memory.values

    def stored_form(self, body: bytes) -> bytes:
        return packed(body) if self.packs else body

    def flush(self) -> Emitted:
        """Store the pending work and append the emitted events. Return those that were not appended before."""
        events, self.events = self.events, {}
        bodies = self.finish()
        if not bodies:
            return {}
        last = sqlite_rows.rows(self.connection, "SELECT last_insert_rowid() AS last", ())[0].last
        rows, self.rows = self.rows, []
        emitted: Emitted = {}
        first = last - len(bodies) + 1  # one writer: the ids of one insert are consecutive
        for position, (row, stored) in enumerate(zip(rows, bodies, strict=True), first):
            event, form = events.get((row.topic, row.event_id)), stored if self.packs else None
            record = Record(position, row.key, row.event_id, row.body, event, form)
            self.appended.append((row.topic, record))
            emitted.setdefault(row.topic, (self.ends.get(row.topic, 0), []))[1].append(record)
        self.ends.update({topic: records[-1].position for topic, (_, records) in emitted.items()})
        return emitted
