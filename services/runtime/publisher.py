"""Publishes what units emitted: rows of `log` go to Kafka in order, and are gone once they are acknowledged.

Any process publishes any row. Who holds a partition (a lock of its transaction, which ends with the process) deletes its
rows by id, sends them, and commits when the broker has answered. Who finds it held comes again, for whoever holds it may
have looked before the last commit. A row is sent at least once, and the rows of one key always in the order of their
commits. Never "ids beyond the last one seen": ids commit out of order.
"""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from itertools import groupby
from typing import Any, Final, Protocol, cast

import sqlalchemy as sa
import structlog

from schemas import topics
from services.runtime import db
from services.runtime.intake import BrokerError
from services.runtime.log import Place, log
from services.runtime.postgres import DIALECT, Pool, storage_error
from services.runtime.service import GATHERED_SECONDS
from services.runtime.unit import StorageError

ROWS_AT_ONCE: Final = 500  # of a partition
SEND_SECONDS: Final = 8.0  # how long a transaction may wait for the broker
SWEEP_SECONDS: Final = 1.0
BACKOFF_MAX_SECONDS: Final = 2.0
HELD_SECONDS: Final = 0.03  # until the next look at what somebody else holds, who may send ours with theirs meanwhile
HELD_SECONDS_MAX: Final = 0.25
"""The same where it has been held for long: while a broker is silent, everybody would go on asking for what one holds, just
when brokers and processes that come back need the CPU."""
VACUUM_ROWS: Final = 20_000  # of ours that are gone: some 16 MB, which the next ones then lie in
SESSION: Final[Mapping[str, str]] = {"synchronous_commit": "off", "enable_bitmapscan": "off"}
"""What PostgreSQL is told for the publisher's sessions. A deletion that is lost is a second arrival, no more. By a bitmap of
an index every row that is gone would be visited, each time, until the table is vacuumed; and the outbox is mostly rows that
are gone, which is when the planner thinks of one."""
_VACUUM: Final = "VACUUM (SKIP_LOCKED, TRUNCATE FALSE, INDEX_CLEANUP ON) log"
"""PostgreSQL comes by itself once a minute, and by then a busy outbox has grown by a gigabyte that is written to disk for
nobody. One that another vacuums, or that is not ours to vacuum, is passed over."""

LOCKS: Final = 0x1EAD_0000  # the first half of the advisory locks' keys; the topic's number is added

_log = structlog.get_logger(__name__)


class Sender(Protocol):
    """Where rows go."""

    async def publish(self, topic: str, partition: int, rows: Sequence[tuple[str, bytes]]) -> None:
        """Keys and bodies, in this order, all acknowledged when it returns. Raises `BrokerError`; some may have arrived."""


def _take(_: db.Flavour) -> Any:
    """Locks what can be locked of the given places, and deletes the oldest rows there. It sees rows as of before the lock:
    none that whoever held it has deleted, and of a key none without all before it. Rows never change, so where they lie says
    which they are, and no index is asked a second time."""
    given = db.arrays(
        "given", kinds=("kind", sa.Integer), topics=("topic", sa.Text), partitions=("partition", sa.BigInteger)
    )
    lock = sa.func.pg_try_advisory_xact_lock(given.c.kind, sa.cast(given.c.partition, sa.Integer))
    held = sa.select(given.c.topic, given.c.partition).where(lock).cte("held").prefix_with("MATERIALIZED")
    lies_at: sa.ColumnElement[Any] = sa.literal_column("log.ctid")
    oldest = (
        sa.select(lies_at.label("lies_at"))
        .select_from(log)
        .where(log.c.topic == held.c.topic, log.c.partition == held.c.partition)
        .order_by(log.c.id)
        .limit(sa.bindparam("limit", type_=sa.Integer))
        .lateral("oldest")
    )
    there = sa.select(oldest.c.lies_at).select_from(held.join(oldest, sa.true())).scalar_subquery()
    gone = (
        sa.delete(log)
        .where(lies_at == sa.any_(sa.func.array(there)))
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
    given = db.arrays("given", topics=("topic", sa.Text), partitions=("partition", sa.BigInteger))
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

    def __init__(self, pool: Pool, sender: Sender, partitions: int, *, unhurried: Collection[str] = ()) -> None:
        """`pool` is for this alone: only here does a transaction wait for a network. `unhurried`: topics nobody waits for,
        whose rows gather a while."""
        self._pool = pool
        self._sender = sender
        self._all = {(topic, partition) for topic in topics.ALL for partition in range(partitions)}
        self._unhurried = frozenset(unhurried)
        self._dirty: set[Place] = set()
        self._gathering: set[Place] = set()
        self.held: set[Place] = set()  # by somebody else, when last tried
        self.held_since = 0.0  # when any of these was last let go of
        self._swept_at = 0.0
        self._gone = 0  # rows, since the last vacuum
        self.vacuuming: asyncio.Task[None] | None = None
        self._more = asyncio.Event()
        self._silent = False
        self.trouble: str | None = None

    def wake(self, places: Iterable[Place]) -> None:
        """Something was committed there."""
        for place in places:
            if place[0] not in self._unhurried:
                self._dirty.add(place)
                self._more.set()
            else:
                if not self._gathering:
                    asyncio.get_running_loop().call_later(GATHERED_SECONDS, self._gathered)
                self._gathering.add(place)

    def _gathered(self) -> None:
        self._dirty |= self._gathering
        self._gathering.clear()
        self._more.set()

    async def step(self) -> bool:
        """Publish everything that waits and that nobody else holds; whether anything did."""
        any_ = False
        while places := await self._left(self._all):
            ours, _ = await self._round(places)
            if not ours:
                break
            any_ = True
        self._dirty.clear()
        return any_

    async def run(self) -> None:
        failures = 0
        while True:
            try:
                await self._wait()
                await self._publish()
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
                if self.vacuuming:
                    await self.vacuuming
        except (BrokerError, StorageError, TimeoutError):
            pass
        await self._pool.close()

    async def _wait(self) -> None:
        """Until somebody committed, or it is time to come again for what others hold, or to look everywhere."""
        now = asyncio.get_running_loop().time
        if not self._dirty:
            self._more.clear()
            seconds = self._swept_at + SWEEP_SECONDS - now()
            if self.held:
                seconds = min(seconds, self.pause() * random.uniform(0.5, 1.0))  # noqa: S311  # jitter
            with suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, seconds)):
                    await self._more.wait()
        if now() - self._swept_at >= SWEEP_SECONDS:
            self._dirty |= await self._left(self._all)
            self._swept_at = now()

    def pause(self) -> float:
        """Seconds until the next look at what others hold: in proportion to how long they have."""
        held = asyncio.get_running_loop().time() - self.held_since
        return min(HELD_SECONDS_MAX, max(HELD_SECONDS, held / 2))

    async def _publish(self) -> None:
        """One round over what was committed, and what others held when last tried."""
        places = self._dirty | self.held | self._gathering  # which costs nothing more now
        self._dirty, self._gathering = set(), set()
        try:
            ours, full = await self._round(places)
        except BaseException:
            self._dirty |= places
            raise
        self._dirty |= full
        if not self.held or self.held & ours:
            self.held_since = asyncio.get_running_loop().time()
        self.held = places - ours

    async def _round(self, places: set[Place]) -> tuple[set[Place], set[Place]]:
        """One transaction: lock and delete, and commit once the broker has acknowledged. Those of these places that were
        ours, and those of them that may have more."""
        if not places:
            return set(), set()
        try:
            async with self._connection() as raw:
                await raw.execute("BEGIN")
                rows = await self._take(raw, places)
                sent = [row for row in rows if row[2] is not None]
                await self._send(sent)
                await raw.execute("COMMIT")
        except BrokerError:
            raise
        except Exception as failure:
            raise storage_error(failure) or failure from failure
        self._vacuum_after(len(sent))
        count = Counter((row[0], row[1]) for row in rows)
        return set(count), {place for place, number in count.items() if number >= ROWS_AT_ONCE}

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Any]:
        """One of the pool's; given up when the block ends by an exception, whatever it was in the middle of."""
        raw = await self._pool.take()
        clean = False
        try:
            yield raw
            clean = True
        finally:
            self._pool.give(raw, clean=clean)

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

    def _vacuum_after(self, rows: int) -> None:
        """Have the place of rows that are gone used again, every so many of them. Publishing goes on meanwhile."""
        self._gone += rows
        if self._gone >= VACUUM_ROWS and not self.vacuuming:
            self._gone = 0
            self.vacuuming = asyncio.create_task(self._vacuum())

    async def _vacuum(self) -> None:
        try:
            async with self._connection() as raw:
                await raw.execute(_VACUUM)
        except Exception as failure:  # noqa: BLE001  # nobody waits for it, and publishing says what is wrong there
            _log.debug("the outbox was not vacuumed", error_type=type(failure).__name__)
        finally:
            self.vacuuming = None

    async def _left(self, places: set[Place]) -> set[Place]:
        """Those of these places with rows to publish. Peeks."""
        names, partitions = zip(*sorted(places), strict=True)
        try:
            async with self._connection() as raw:
                found = await _ask(raw, _LEFT, topics=list(names), partitions=list(partitions))
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
