"""The bare loop over Kafka and PostgreSQL: a process for each service like the product, without the code of the product.

It consumes the same records, sends the recorded statements with the recorded parameters in the same transactions, and
publishes the rows of the outbox in the same way. It decodes nothing and decides nothing.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

import asyncpg
import uvloop

from firsthour.bench import environment, kafka, systems
from firsthour.bench.recorder import Place, RecordedUnit, Recording, by_worker, read_recording
from firsthour.runtime.clock import HostClock
from firsthour.runtime.eventlog import outbox, publisher
from firsthour.runtime.http import server
from firsthour.runtime.settings import Settings
from firsthour.runtime.storage.postgres_connections import DIALECT

AT_ONCE: Final = 2  # units of a process that run at once, as in `firsthour.runtime.storage.postgres`
SESSION: Final = "SELECT name, setting FROM pg_settings WHERE source = 'client' AND name NOT IN ('application_name', 'client_encoding')"


def work(pipe: Connection, settings: Settings, record: Path, session: dict[str, str]) -> None:
    """Answer the questions from the pipe until `stop`; `go` starts the loop. `session`: settings of the connections."""
    uvloop.run(_work(pipe, settings, read_recording(record), session))


async def _work(pipe: Connection, settings: Settings, record: Recording, session: dict[str, str]) -> None:
    server.tune()
    loop = BareLoop(settings, record, session)
    await loop.open()
    running: list[asyncio.Task[None]] = []
    began: list[float] = []

    def go() -> None:
        began.append(HostClock().monotonic())
        running.append(asyncio.create_task(loop.run()))

    answers: dict[str, Callable[[], Any]] = {
        "go": go,
        "cpu": systems.cpu_seconds,
        "began": lambda: began[0],
        "failed": lambda: systems.failure(running[0]),
    }
    pipe.send(0)
    await systems.answer(pipe, answers)
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
    await loop.close()


class BareLoop:
    """The recorded units of one service, in their order within each partition."""

    def __init__(self, settings: Settings, record: Recording, session: dict[str, str]) -> None:
        self._settings, self._session, self._texts = settings, session, record.publishing
        self._by_worker = by_worker(record.units)
        self._begins = sorted({(unit.consumer, *place) for unit in record.units for place in unit.to})
        self._available: dict[Place, int] = defaultdict(int)
        self._more: dict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self._slots: dict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(AT_ONCE))
        self._dirty: set[Place] = set()
        self._publish = asyncio.Event()

    async def open(self) -> None:
        """Connect, and create the cursors at the beginning of each partition."""
        topics = sorted({topic for _, topic, _ in self._begins})
        self._free: asyncio.LifoQueue[Any] = asyncio.LifoQueue()
        for _ in range(2 * AT_ONCE):
            self._free.put_nowait(await environment.connect(self._settings, **self._session))
        self._outbox = await environment.connect(self._settings, **{**self._session, **publisher.SESSION})
        await self._outbox.executemany("INSERT INTO cursors VALUES ($1, $2, $3, 0)", self._begins)
        self._readers = [(topic, await kafka.reader(self._settings, topic)) for topic in topics]
        self._sender = await kafka.sender(self._settings)

    async def close(self) -> None:
        """Close every connection."""
        for _, reader in self._readers:
            await reader.stop()
        await self._sender.stop()
        await self._outbox.close()
        while not self._free.empty():
            await self._free.get_nowait().close()

    async def run(self) -> None:
        """Repeat everything that was recorded."""
        async with asyncio.TaskGroup() as group:
            for topic, reader in self._readers:
                group.create_task(self._read(topic, reader))
            for units in self._by_worker:
                group.create_task(self._repeat(units))
            group.create_task(self._publish_rounds())

    async def _read(self, topic: str, reader: Any) -> None:
        while True:
            for tp, messages in (await reader.getmany(timeout_ms=1_000, max_records=1_000)).items():
                place = (topic, tp.partition)
                self._available[place] = messages[-1].offset + 1
            self._more[topic].set()

    async def _repeat(self, units: Sequence[RecordedUnit]) -> None:
        topic = next(iter(units[0].to))[0]
        for unit in units:
            while any(self._available[place] < to for place, to in unit.to.items()):
                self._more[topic].clear()
                await self._more[topic].wait()
            async with self._slots[topic]:
                connection = await self._free.get()
                while not await _repeated(connection, unit):
                    pass
                self._free.put_nowait(connection)
            if unit.emits:
                self._dirty |= unit.emits
                self._publish.set()

    async def _publish_rounds(self) -> None:
        while True:
            await self._publish.wait()
            self._publish.clear()
            places, self._dirty = self._dirty, set()
            while places:
                places = await self._round(sorted(places))

    async def _round(self, wanted: list[Place]) -> set[Place]:
        """Lock and read rows, send them, delete and commit. Return the places with more rows, or locked by another."""
        _, bound = outbox.LOCK_ROWS.bound(DIALECT, outbox.lock_values(wanted))
        await self._outbox.execute("BEGIN")
        taken = outbox.locked_rows(await self._outbox.fetch(self._texts["take"], *bound))
        async with asyncio.TaskGroup() as group:
            for (topic, partition), rows in taken.rows.items():
                body = [(row.key, row.body) for row in rows]
                name = self._settings.kafka_prefix + topic
                if body:
                    group.create_task(kafka.send(self._sender, name, partition, body))
        await self._outbox.execute(outbox.end_of_round([row for rows in taken.rows.values() for row in rows]))
        return taken.full | (set(wanted) - taken.rows.keys())


async def _repeated(connection: Any, unit: RecordedUnit) -> bool:
    """Repeat a unit; return False if a deadlock rolled it back, which also happens to units of the product."""
    try:
        async with connection.transaction():
            for statement, parameters in unit.sent:
                await connection.fetch(statement, *parameters)
    except asyncpg.DeadlockDetectedError:
        return False
    return True
