"""One round of publishing: a transaction that locks partitions, sends their oldest rows and deletes the acknowledged ones.

The lock ends with the transaction, and so with the process. A record that the broker rejects permanently becomes a dead
letter in the same transaction. The rows behind it are sent in the next round.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final, cast

import structlog
from sqlalchemy.util.concurrency import greenlet_spawn

from firsthour.runtime.clock import Clock
from firsthour.runtime.eventlog import dead_letters, outbox
from firsthour.runtime.eventlog.dead_letters import Retention
from firsthour.runtime.eventlog.outbox import LockedRows, OutboxRow
from firsthour.runtime.eventlog.sending import PublishResult, RecordSender, send_all
from firsthour.runtime.storage import statements
from firsthour.runtime.storage.postgres_connections import DIALECT, AsyncpgConnection, ConnectionPool
from firsthour.runtime.storage.postgres_errors import storage_error
from firsthour.runtime.storage.records import Place, Row

REJECTED_IN_A_ROW_MAX: Final = 10  # of a partition; more mean that the topic is misconfigured, not the records
VACUUM_ROWS: Final = 20_000  # deleted rows between two vacuums: about 16 MB, which new rows then use again
_VACUUM: Final = "VACUUM (SKIP_LOCKED, TRUNCATE FALSE, INDEX_CLEANUP ON) log"
"""PostgreSQL's own vacuum runs once a minute; until then a busy outbox grows by a gigabyte. A table that another process
vacuums, or that this user may not vacuum, is skipped."""

_log = structlog.get_logger(__name__)


@dataclass
class Round:
    """The outcome of one transaction for its partitions."""

    ours: set[Place] = field(default_factory=set)  # locked; the others are held by another process
    full: set[Place] = field(default_factory=set)  # may have more rows
    removed: int = 0  # rows that left the outbox: published, or dead letters
    failed: dict[Place, str] = field(default_factory=dict)  # with the reason
    cut_off: set[Place] = field(default_factory=set)  # failed: without an answer while others waited
    slow: set[Place] = field(default_factory=set)  # published, late


class RoundRunner:
    """Runs rounds on connections of its own: only here does a transaction wait for a network."""

    def __init__(self, pool: ConnectionPool, partitions: int, clock: Clock, retention: Retention) -> None:
        self._pool = pool
        self._clock = clock
        self._retention = retention
        self._everywhere = outbox.waiting_values(partitions)
        self._rejected: dict[Place, int] = {}  # records rejected since the last one that was acknowledged
        self._deleted = 0  # rows, since the last vacuum
        self.oldest: dict[Place, int] = {}  # when the oldest row of a partition was appended, as of the last look
        self.vacuuming: asyncio.Task[None] | None = None

    async def run(self, places: set[Place], sender: RecordSender) -> Round:
        """Run one round over these partitions. Raises `StorageError`."""
        try:
            async with self._connection() as raw:
                await raw.begin()
                locked = outbox.locked_rows(await _fetch(raw, outbox.LOCK_ROWS, **outbox.lock_values(places)))
                results = await send_all(sender, locked.rows)
                outcome, removed, rejected = self._outcome(locked, results)
                await self._store_rejected(raw, rejected)
                await raw.execute(outbox.end_of_round(removed))
        except Exception as failure:
            raise storage_error(failure) or failure from failure
        outcome.removed = len(removed)
        for row, reason in rejected:  # counted after the commit: a round that is rolled back is repeated
            self._rejected[row.place] = self._rejected.get(row.place, 0) + 1
            _log.error("record rejected by broker", topic=row.topic, partition=row.partition, reason=reason)
        for place in outcome.ours - outcome.failed.keys() - outcome.full:
            self.oldest.pop(place, None)  # until the next look
        self._vacuum_after(len(removed))
        return outcome

    async def waiting(self) -> list[Place]:
        """Return the partitions with unpublished rows, and update `oldest`. Locks nothing. Raises `StorageError`."""
        try:
            async with self._connection() as raw:
                self.oldest = outbox.since(await _fetch(raw, outbox.WAITING, **self._everywhere))
        except Exception as failure:
            raise storage_error(failure) or failure from failure
        return list(self.oldest)

    async def close(self) -> None:
        """Close the connections."""
        await self._pool.close()

    def _outcome(
        self, locked: LockedRows, results: Mapping[Place, PublishResult]
    ) -> tuple[Round, list[OutboxRow], list[tuple[OutboxRow, str]]]:
        """Return the outcome for each partition, the rows that leave the outbox, and the rejected ones among them, each with
        the reason of the broker."""
        outcome = Round(ours=set(locked.rows), full=locked.full)
        removed: list[OutboxRow] = []
        rejected: list[tuple[OutboxRow, str]] = []
        for place, result in results.items():
            rows = locked.rows[place]
            removed += rows[: result.acknowledged]
            if result.acknowledged:
                self._rejected.pop(place, None)
            if result.problem is not None:
                outcome.failed[place] = result.problem
            if result.cut_off:
                outcome.cut_off.add(place)
            if result.slow:
                outcome.slow.add(place)
            if result.rejected is None:
                continue
            if self._rejected.get(place, 0) < REJECTED_IN_A_ROW_MAX:
                rejected.append((rows[result.acknowledged], result.rejected))
                outcome.full.add(place)
            else:
                outcome.failed[place] = (
                    f"the broker rejects every record ({result.rejected}); correct max.message.bytes of the topic"
                )
        outcome.full -= outcome.failed.keys()
        removed += [row for row, _ in rejected]
        return outcome, removed, rejected

    async def _store_rejected(self, raw: Any, rejected: Sequence[tuple[OutboxRow, str]]) -> None:
        """Store rejected records as dead letters, in the transaction in which they leave the outbox."""
        if not rejected:
            return
        at, connection = self._clock.real(), cast(Any, AsyncpgConnection(raw))

        def work() -> None:
            for row, reason in sorted(rejected):
                record = Row(row.topic, row.key, row.event_id, row.body)
                place = f"{row.topic}/{row.partition}/{row.id}"
                dead_letters.dead_letter_rejected(connection, record, place, reason, at=at, retention=self._retention)

        await greenlet_spawn(work)

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Any]:
        """Provide a connection of the pool. If the block raises, the connection is closed instead of returned."""
        raw = await self._pool.take()
        clean = False
        try:
            yield raw
            clean = True
        except TimeoutError:
            self._pool.drop_idle()
            raise
        finally:
            self._pool.give(raw, clean=clean)

    def _vacuum_after(self, rows: int) -> None:
        """Vacuum the table after every `VACUUM_ROWS` deleted rows. Publishing continues meanwhile."""
        self._deleted += rows
        if self._deleted >= VACUUM_ROWS and not self.vacuuming:
            self._deleted = 0
            self.vacuuming = asyncio.create_task(self._vacuum())

    async def _vacuum(self) -> None:
        try:
            async with self._connection() as raw:
                await raw.execute(_VACUUM)
        except Exception as failure:  # noqa: BLE001  # no caller waits for it, and the next round logs the problem
            _log.debug("outbox not vacuumed", error_type=type(failure).__name__)
        finally:
            self.vacuuming = None


async def _fetch(raw: Any, statement: statements.Sql, **values: Any) -> list[Any]:
    """Return every row of a statement."""
    text, bound = statement.bound(DIALECT, values)
    return cast(list[Any], await raw.fetch(text, *bound))
