"""Publishes what units emitted: rows of `log` go to Kafka in order, and are gone once they are acknowledged.

Any process publishes any row. Who holds a partition (a lock of its transaction, which ends with the process) deletes its
rows by id, sends them, and commits when the broker has answered; the others need not wait, for whoever holds it looks once
more after letting go. A row is sent at least once, and the rows of one key always in the order of their commits. Never
"ids beyond the last one seen": ids commit out of order.
"""

import asyncio
import random
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any, Final, Protocol, cast

import sqlalchemy as sa
import structlog
from sqlalchemy.dialects import postgresql

from schemas import topics
from services.runtime import db
from services.runtime.intake import BrokerError
from services.runtime.log import Place, log
from services.runtime.postgres import DIALECT, Pool, storage_error
from services.runtime.unit import StorageError

ROWS_AT_ONCE: Final = 500  # of a partition
SEND_SECONDS: Final = 8.0  # how long a transaction may wait for the broker
SWEEP_SECONDS: Final = 1.0
BACKOFF_MAX_SECONDS: Final = 2.0
LOCKS: Final = 0x1EAD_0000  # the first half of the advisory locks' keys; the topic's number is added

_log = structlog.get_logger(__name__)


class Sender(Protocol):
    """Where rows go."""

    async def publish(self, topic: str, partition: int, rows: Sequence[tuple[str, bytes]]) -> None:
        """Keys and bodies, in this order, all acknowledged when it returns. Raises `BrokerError`; some may have arrived."""


def _given(*columns: tuple[str, Any]) -> Any:
    arrays = [sa.cast(sa.bindparam(f"{name}s"), postgresql.ARRAY(type_)) for name, type_ in columns]
    return (
        sa.func.unnest(*arrays)
        .table_valued(*(sa.column(name, type_) for name, type_ in columns), name="given")
        .render_derived()
    )


def _take(_: db.Flavour) -> Any:
    """Locks what can be locked of the given places, and deletes the oldest rows there. It sees rows as of before the lock:
    none that whoever held it has deleted, and of a key none without all before it. An array of ids is looked up in the
    index, however the planner judges the table."""
    given = _given(("kind", sa.Integer), ("topic", sa.Text), ("partition", sa.BigInteger))
    lock = sa.func.pg_try_advisory_xact_lock(given.c.kind, sa.cast(given.c.partition, sa.Integer))
    held = sa.select(given.c.topic, given.c.partition).where(lock).cte("held").prefix_with("MATERIALIZED")
    oldest = (
        sa.select(log.c.id)
        .where(log.c.topic == held.c.topic, log.c.partition == held.c.partition)
        .order_by(log.c.id)
        .limit(sa.bindparam("limit", type_=sa.Integer))
        .lateral("oldest")
    )
    ids = sa.select(oldest.c.id).select_from(held.join(oldest, sa.true())).scalar_subquery()
    gone = (
        sa.delete(log)
        .where(log.c.id == sa.any_(sa.func.array(ids)))
        .returning(log.c.topic, log.c.partition, log.c.id, log.c.key, log.c.body)
        .cte("gone")
    )
    same = sa.and_(gone.c.topic == held.c.topic, gone.c.partition == held.c.partition)
    return (
        sa.select(held.c.topic, held.c.partition, gone.c.id, gone.c.key, gone.c.body)
        .select_from(held.outerjoin(gone, same))
        .order_by(held.c.topic, held.c.partition, gone.c.id)
    )


def _left(_: db.Flavour) -> Any:
    given = _given(("topic", sa.Text), ("partition", sa.BigInteger))
    there = sa.exists().where(log.c.topic == given.c.topic, log.c.partition == given.c.partition).correlate(given)
    return sa.select(given.c.topic, given.c.partition).where(there)


TAKE = db.Sql(_take)
_LEFT = db.Sql(_left)

_NUMBER: Final = {topic: n for n, topic in enumerate(topics.ALL)}


async def _ask(raw: Any, statement: db.Sql, **values: Any) -> list[Any]:
    """Every row of one statement."""
    text, bound = statement.bound(DIALECT, values)
    return cast(list[Any], await raw.fetch(text, *bound))


class Publisher:
    """The runner that publishes: when told of commits, and every second whatever has been left."""

    name = "runtime.publisher"

    def __init__(self, pool: Pool, sender: Sender, partitions: int) -> None:
        """`pool` is for this alone: only here does a transaction wait for a network."""
        self._pool = pool
        self._sender = sender
        self._all = {(topic, partition) for topic in topics.ALL for partition in range(partitions)}
        self._dirty: set[Place] = set()
        self._more = asyncio.Event()
        self._silent = False
        self.trouble: str | None = None

    def wake(self, places: Iterable[Place]) -> None:
        """Something was committed there."""
        self._dirty.update(places)
        self._more.set()

    async def step(self) -> bool:
        """Publish everything that waits; whether anything did."""
        any_ = False
        while await self._round(await self._left(self._all)):
            any_ = True
        self._dirty.clear()
        return any_

    async def run(self) -> None:
        failures = 0
        while True:
            try:
                await self._wait()
                places, self._dirty = self._dirty, set()
                try:
                    await self._publish(places)
                except BaseException:
                    self._dirty |= places
                    raise
                failures = 0
                self._heard()
            except (BrokerError, StorageError) as failure:
                failures += 1
                self._failed(failure)
                pause = min(BACKOFF_MAX_SECONDS, 0.05 * 2 ** min(failures, 8))
                await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311  # jitter

    async def close(self) -> None:
        """Publish what is left, if that goes fast; another process finds the rest."""
        try:
            async with asyncio.timeout(SEND_SECONDS / 4):
                await self.step()
        except (BrokerError, StorageError, TimeoutError):
            pass
        await self._pool.close()

    async def _wait(self) -> None:
        """Until somebody committed, else for a second: then look everywhere."""
        if not self._dirty:
            self._more.clear()
            try:
                async with asyncio.timeout(SWEEP_SECONDS):
                    await self._more.wait()
            except TimeoutError:
                self._dirty |= await self._left(self._all)

    async def _publish(self, places: set[Place]) -> None:
        while places:
            held = await self._round(places)
            places = await self._left(held) if held else set()

    async def _round(self, places: set[Place]) -> set[Place]:
        """One transaction: lock and delete, and commit once the broker has acknowledged. Those of these places that were
        ours."""
        if not places:
            return set()
        try:
            raw = await self._pool.take()
            clean = False
            try:
                await raw.execute("BEGIN")
                rows = await self._take(raw, places)
                held = {(row[0], row[1]) for row in rows}
                await self._send([row for row in rows if row[2] is not None])
                await raw.execute("COMMIT")
                clean = True
                return held
            finally:
                await asyncio.shield(self._pool.give(raw, clean=clean))
        except BrokerError:
            raise
        except Exception as failure:
            raise storage_error(failure) or failure from failure

    async def _take(self, raw: Any, places: set[Place]) -> list[Any]:
        """The rows of those places that nobody else holds, oldest first; a row without an id of a place with none."""
        names, partitions = zip(*sorted(places), strict=True)
        kinds = [LOCKS + _NUMBER[topic] for topic in names]
        return await _ask(raw, TAKE, kinds=kinds, topics=list(names), partitions=list(partitions), limit=ROWS_AT_ONCE)

    async def _send(self, rows: Sequence[Any]) -> None:
        if not rows:
            return
        try:
            async with asyncio.timeout(SEND_SECONDS), asyncio.TaskGroup() as group:
                for (topic, partition), these in groupby(rows, key=lambda row: (row[0], row[1])):
                    body = [(row[3], row[4]) for row in these]
                    group.create_task(self._sender.publish(topic, partition, body))
        except TimeoutError:
            raise BrokerError("the broker did not answer in time") from None
        except BaseExceptionGroup as failures:
            raise BrokerError("the broker did not take all of them") from failures

    async def _left(self, places: set[Place]) -> set[Place]:
        """Those of these places with rows to publish. Peeks: asked after letting go, it finds what others committed and
        could not publish meanwhile."""
        names, partitions = zip(*sorted(places), strict=True)
        try:
            raw = await self._pool.take()
            clean = False
            try:
                found = await _ask(raw, _LEFT, topics=list(names), partitions=list(partitions))
                clean = True
            finally:
                await asyncio.shield(self._pool.give(raw, clean=clean))
        except Exception as failure:
            raise storage_error(failure) or failure from failure
        return {(row[0], row[1]) for row in found}

    def _failed(self, failure: Exception) -> None:
        self.trouble = str(failure)
        if not self._silent:
            _log.warning("publishing waits", error_type=type(failure).__name__, problem=str(failure))
        self._silent = True

    def _heard(self) -> None:
        if self._silent:
            _log.info("publishing goes on")
        self._silent, self.trouble = False, None
