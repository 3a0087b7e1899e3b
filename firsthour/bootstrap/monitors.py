"""Monitors of the embedded writer and of the workers, for readiness and metrics."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Collection
from typing import Final

import structlog
from sqlalchemy.engine import Connection

from firsthour.kernel.time_units import micros
from firsthour.runtime.observability.metrics import Telemetry
from firsthour.runtime.processing.worker import Worker
from firsthour.runtime.storage import installation
from firsthour.runtime.storage.reader import Reader
from firsthour.runtime.storage.sqlite import SqliteUnits
from firsthour.runtime.storage.sqlite_engines import used_bytes
from firsthour.runtime.storage.unit import StorageError
from services.router.store.waiting import waiting_by_pool

WRITER_MONITOR: Final = "runtime.writer"
GAUGES: Final = "runtime.gauges"
WRITER_SECONDS = 2.0
GAUGES_SECONDS = 5.0

_log = structlog.get_logger(__name__)


class WriterMonitor:
    """Tries another commit after a failed one, so that readiness recovers even if there is nothing to write."""

    name = WRITER_MONITOR

    def __init__(self, units: SqliteUnits) -> None:
        self._units = units

    async def step(self) -> bool:
        if self._units.trouble is not None:
            with contextlib.suppress(StorageError):
                await self._units.run(lambda unit: installation.put(unit.connection, "tried_at", str(micros(unit.now))))
        return False

    async def run(self) -> None:
        while True:
            await asyncio.sleep(WRITER_SECONDS)
            await self.step()


class Gauges:
    """Sets the metrics of the lag of each consumer and of the number of waiting leads."""

    name = GAUGES

    def __init__(
        self,
        workers: Collection[Worker],
        reads: Reader,
        telemetry: Telemetry,
        *,
        queues: bool = True,
        bytes_max: int | None = None,
    ) -> None:
        """`queues`: this process may read the router's tables. `bytes_max`: of the embedded file; None: distributed."""
        self._workers, self._reads, self._telemetry, self._queues = workers, reads, telemetry, queues
        self._bytes_max = bytes_max
        self._bytes = 0

    async def step(self) -> bool:
        try:
            lags: Counter[tuple[str, str]] = Counter()
            for worker in self._workers:
                lags[worker.consumer, worker.topic] += await worker.lag()
            waiting, used = await self._reads(self._look)
        except StorageError:  # logged by the storage
            return False
        for (consumer, topic), records in lags.items():
            self._telemetry.lag(consumer, topic, records)
        if waiting is not None:
            self._telemetry.queues(waiting)
        if used is not None:
            self._bytes = used
            self._telemetry.database(used)
        return False

    def _look(self, connection: Connection) -> tuple[dict[str, int] | None, int | None]:
        """Return the leads that wait in each pool, and the bytes of the embedded file. None: not read by this process."""
        waiting = waiting_by_pool(connection) if self._queues else None
        return waiting, used_bytes(connection) if self._bytes_max is not None else None

    def warnings(self) -> list[str]:
        """Return a warning if the embedded file exceeds its size."""
        if self._bytes_max is None or self._bytes <= self._bytes_max:
            return []
        text = (
            f"the database holds {self._bytes / 1024**2:,.0f} MiB, more than FIRSTHOUR_DATABASE_BYTES_MAX; records of the log "
            "are deleted once they are read; raise the limit, or move to Kafka and PostgreSQL"
        )
        return [text]

    async def run(self) -> None:
        while True:
            await self.step()
            await asyncio.sleep(GAUGES_SECONDS)
