"""The bare loop over Kafka and PostgreSQL: one process for each service, as the product has, and no code of the product.

It consumes the same records, sends the very statements with the very parameters that were recorded, as many of them in
one transaction, and publishes the rows of the outbox in the same manner. It decodes nothing and decides nothing.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

import asyncpg
import uvloop

from firsthour.bench import environment, kafka, systems
from firsthour.bench.recorder import Place, RecordedUnit, Recording, hands, recorded
from firsthour.runtime.clock import HostClock
from firsthour.runtime.eventlog import outbox, publisher
from firsthour.runtime.http import server
from firsthour.runtime.settings import Settings
from firsthour.runtime.storage.postgres_connections import DIALECT

AT_ONCE: Final = 2  # units of a process that run side by side, as in `firsthour.runtime.storage.postgres`
SESSION: Final = "SELECT name, setting FROM pg_settings WHERE source = 'client' AND name NOT IN ('application_name', 'client_encoding')"


def work(pipe: Connection, place: Settings, record: Path, session: dict[str, str]) -> None:
    """Be ready, `go` when told, answer what is asked, until `stop`. `session`: settings of the product's connections."""
    uvloop.run(_work(pipe, place, recorded(record), session))


async def _work(pipe: Connection, place: Settings, record: Recording, session: dict[str, str]) -> None:
    server.tune()
    loop = Loop(place, record, session)
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
    with suppress(EOFError):
        while (asked := await asyncio.to_thread(pipe.recv)) != "stop":
            pipe.send(answers[asked]())
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
    await loop.close()


class Loop:
    """One service's units, in the order they had within each partition."""

    def __init__(self, place: Settings, record: Recording, session: dict[str, str]) -> None:
        self._place, self._session, self._texts = place, session, record.publishing
        self._hands = hands(record.units)
        self._begins = sorted({(unit.consumer, *place) for unit in record.units for place in unit.to})
        self._have: dict[Place, int] = defaultdict(int)
        self._more: dict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self._slots: dict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(AT_ONCE))
        self._dirty: set[Place] = set()
        self._publish = asyncio.Event()

    async def open(self) -> None:
        """Connect, and stand at the beginning."""
        heard = sorted({topic for _, topic, _ in self._begins})
        self._free: asyncio.LifoQueue[Any] = asyncio.LifoQueue()
        for _ in range(2 * AT_ONCE):
            self._free.put_nowait(await environment.connect(self._place, **self._session))
        self._outbox = await environment.connect(self._place, **{**self._session, **publisher.SESSION})
        await self._outbox.executemany("INSERT INTO cursors VALUES ($1, $2, $3, 0)", self._begins)
        self._readers = [(topic, await kafka.reader(self._place, topic)) for topic in heard]
        self._sender = await kafka.sender(self._place)

    async def close(self) -> None:
        """Let go."""
        for _, reader in self._readers:
            await reader.stop()
        await self._sender.stop()
        await self._outbox.close()
        while not self._free.empty():
            await self._free.get_nowait().close()

    async def run(self) -> None:
        """Everything that was recorded."""
        async with asyncio.TaskGroup() as group:
            for topic, reader in self._readers:
                group.create_task(self._read(topic, reader))
            for units in self._hands:
                group.create_task(self._repeat(units))
            group.create_task(self._publishing())

    async def _read(self, topic: str, reader: Any) -> None:
        while True:
            for tp, messages in (await reader.getmany(timeout_ms=1_000, max_records=1_000)).items():
                place = (topic, tp.partition)
                self._have[place] = messages[-1].offset + 1
            self._more[topic].set()

    async def _repeat(self, units: Sequence[RecordedUnit]) -> None:
        topic = next(iter(units[0].to))[0]
        for unit in units:
            while any(self._have[place] < to for place, to in unit.to.items()):
                self._more[topic].clear()
                await self._more[topic].wait()
            async with self._slots[topic]:
                connection = await self._free.get()
                while not await _sent(connection, unit):
                    pass
                self._free.put_nowait(connection)
            if unit.says:
                self._dirty |= unit.says
                self._publish.set()

    async def _publishing(self) -> None:
        while True:
            await self._publish.wait()
            self._publish.clear()
            places, self._dirty = self._dirty, set()
            while places:
                places = await self._round(sorted(places))

    async def _round(self, wanted: list[Place]) -> set[Place]:
        """Lock and read, send, delete and commit; then those of the places that have more, or that another held."""
        _, bound = outbox.LOCK_ROWS.bound(DIALECT, outbox.lock_values(wanted))
        await self._outbox.execute("BEGIN")
        taken = outbox.locked_rows(await self._outbox.fetch(self._texts["take"], *bound))
        async with asyncio.TaskGroup() as group:
            for (topic, partition), rows in taken.rows.items():
                body = [(row.key, row.body) for row in rows]
                name = self._place.kafka_prefix + topic
                if body:
                    group.create_task(kafka.send(self._sender, name, partition, body))
        await self._outbox.execute(outbox.end_of_round([row for rows in taken.rows.values() for row in rows]))
        return taken.full | (set(wanted) - taken.rows.keys())


async def _sent(connection: Any, unit: RecordedUnit) -> bool:
    """The unit is committed; False when it was a deadlock's victim, as the product's units may be too."""
    try:
        async with connection.transaction():
            for statement, parameters in unit.sent:
                await connection.fetch(statement, *parameters)
    except asyncpg.DeadlockDetectedError:
        return False
    return True
