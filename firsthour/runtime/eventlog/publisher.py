"""Publishes what units emitted: rows of `log` are sent to Kafka in order, and deleted once they are acknowledged.

Any process publishes any row. The process that holds the lock of a partition reads its rows, sends them, deletes those
that the broker acknowledged, and commits. If another process holds the lock, this one tries again later, since the holder
may have read before the last commit. Each row is sent at least once. The rows of one key are sent in the order of their
commits. Never read "ids beyond the last one seen": ids commit out of order.

Normally one round takes all partitions with rows, in one transaction. A partition that fails, or that delays a round, is
in trouble: it is tried in rounds of its own until the broker acknowledges its rows.
"""

import asyncio
import random
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from typing import Final

import structlog

from firsthour.runtime.clock import Clock, HostClock
from firsthour.runtime.eventlog import dead_letters, outbox
from firsthour.runtime.eventlog.dead_letters import Retention
from firsthour.runtime.eventlog.log import LINGER_SECONDS
from firsthour.runtime.eventlog.outbox_round import RoundRunner
from firsthour.runtime.eventlog.producer import BrokerError
from firsthour.runtime.eventlog.round_tasks import ROUNDS_AT_ONCE, RoundTasks
from firsthour.runtime.eventlog.sending import SEND_SECONDS, RecordSender
from firsthour.runtime.eventlog.troubled_partitions import PLACES_AT_ONCE, TroubledPartitions, backoff_seconds
from firsthour.runtime.storage.postgres_connections import ConnectionPool
from firsthour.runtime.storage.records import Place
from firsthour.runtime.storage.unit import StorageError

SWEEP_SECONDS: Final = 1.0
HELD_SECONDS: Final = 0.03  # until a held partition is tried again; its holder may also send the rows of this process
HELD_SECONDS_MAX: Final = 0.25
"""The same for a partition that another process has held for long. Otherwise, while a broker is silent, every process would
ask for the partitions that one of them holds, and take the CPU that restarting brokers and processes need."""
CONNECTIONS: Final = 2 * ROUNDS_AT_ONCE + 1
"""For the rounds of all partitions, for the rounds of partitions in trouble, and one for sweeps and vacuuming."""
SESSION: Final[Mapping[str, str]] = {"synchronous_commit": "off", "enable_bitmapscan": "off"}
"""Settings of PostgreSQL for the publisher's sessions. Losing a DELETE only causes a redelivery. A bitmap scan visits every
deleted row until the table is vacuumed. Most rows of an outbox are deleted rows, and then the planner chooses such a
scan."""

_log = structlog.get_logger(__name__)


class Publisher:
    """The runner that publishes the rows of each commit it is woken for, and every second the rows that have waited for one."""

    name = "runtime.publisher"

    def __init__(
        self,
        pool: ConnectionPool,
        sender: RecordSender,
        partitions: int,
        *,
        bulk: Collection[str] = (),
        apart: RecordSender | None = None,
        clock: Clock | None = None,
        retention: Retention = dead_letters.DEFAULT,
    ) -> None:
        """Publish with the connections of a pool.

        Args:
            pool: the connections of the publisher alone, because its transactions wait for the broker.
            sender: sends the rows.
            partitions: the number of partitions of each topic.
            bulk: topics whose rows are collected for `LINGER_SECONDS`.
            apart: the sender for partitions in trouble, so that their failures do not affect others; None: the same sender.
            clock: the clock of the process.
            retention: the bounds of dead letters, which rejected records become.
        """
        self._sender = sender
        self._apart = apart or sender
        self._clock = clock or HostClock()
        self._runner = RoundRunner(pool, partitions, self._clock, retention)
        self._bulk = frozenset(bulk)
        self._dirty: dict[Place, None] = {}  # partitions with new rows, in the order of the commits
        self._lingering: set[Place] = set()
        self.held: set[Place] = set()  # by other processes, when last tried
        self.held_since = 0.0  # when one of these was last free
        self._swept_at = 0.0
        self._swept: Mapping[Place, int] | None = None  # `oldest` at the last sweep; None: there was none
        self._more = asyncio.Event()
        self._rounds, self._retries = RoundTasks(), RoundTasks()
        self._busy: set[Place] = set()  # in a round
        self._troubled = TroubledPartitions(self._busy)
        self._storage: str | None = None  # the problem with the database; None: there is none

    @property
    def trouble(self) -> str | None:
        """The reason why rows are not published; None: they are."""
        return self._storage if self._storage is not None else self._troubled.summary

    @property
    def oldest(self) -> Mapping[Place, int]:
        """When the oldest row of each partition was appended (microseconds), as of the last sweep."""
        return self._runner.oldest

    @property
    def vacuuming(self) -> "asyncio.Task[None] | None":
        """The vacuum that is running."""
        return self._runner.vacuuming

    def age(self) -> outbox.OutboxAge | None:
        """Return how long the oldest unpublished row has waited, as of the last sweep."""
        return outbox.age(self._runner.oldest, self._clock.real())

    def age_seconds(self) -> float:
        """Return the same for the metrics; 0: no row waits."""
        age = self.age()
        return 0.0 if age is None else age.waited.total_seconds()

    def wake(self, places: Iterable[Place]) -> None:
        """Publish these partitions soon: a unit has committed rows there."""
        for place in places:
            if place[0] not in self._bulk:
                self._dirty[place] = None
                self._more.set()
            else:
                if not self._lingering:
                    asyncio.get_running_loop().call_later(LINGER_SECONDS, self._end_linger)
                self._lingering.add(place)

    def _end_linger(self) -> None:
        self._dirty |= dict.fromkeys(self._lingering)
        self._lingering.clear()
        self._more.set()

    async def step(self) -> bool:
        """Publish every waiting row that no other process holds. Return whether there was any.

        Raises:
            BrokerError: the broker did not acknowledge all of them.
            StorageError: the database cannot be used.
        """
        failed: dict[Place, str] = {}
        published = False
        while places := set(await self._runner.waiting()) - failed.keys():
            outcome = await self._runner.run(set(sorted(places)[:PLACES_AT_ONCE]), self._sender)
            failed |= outcome.failed
            published = published or outcome.removed > 0
            if not outcome.ours:
                break
        self._dirty.clear()
        if failed:
            raise BrokerError(next(iter(failed.values())))
        return published

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._publish_forever())
            group.create_task(self._retry_forever())

    async def close(self) -> None:
        """Publish the waiting rows, if that is quick. Other processes publish the rest."""
        try:
            async with asyncio.timeout(SEND_SECONDS / 4):
                await self.step()
                if self.vacuuming:
                    await self.vacuuming
        except (BrokerError, StorageError, TimeoutError):
            pass
        await self._runner.close()

    # --- the rounds of all partitions that are not in trouble ---------------------------------------------------------

    async def _publish_forever(self) -> None:
        failures = 0
        try:
            while True:
                try:
                    await self._wait()
                    await self._publish()
                    failures = 0
                    self._storage_recovered()
                except StorageError as failure:
                    failures += 1
                    self._storage_failed(failure)
                    await asyncio.sleep(backoff_seconds(failures))
        finally:
            await self._rounds.end()

    def _ready(self) -> set[Place]:
        """The partitions to be published now."""
        return self._dirty.keys() - self._busy - self._troubled.places

    async def _wait(self) -> None:
        """Wait for a commit, or for the time to try held partitions again or to sweep."""
        now = asyncio.get_running_loop().time
        if not self._ready():
            self._more.clear()
            seconds = self._swept_at + SWEEP_SECONDS - now()
            if self.held:
                seconds = min(seconds, self.pause() * random.uniform(0.5, 1.0))  # noqa: S311  # jitter
            with suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, seconds)):
                    await self._more.wait()
        if now() - self._swept_at >= SWEEP_SECONDS:
            await self._sweep()
            self._swept_at = now()

    async def _sweep(self) -> None:
        """Publish the partitions whose oldest row has waited since the last sweep. The process that committed a row publishes
        it at once; another one would only hold the lock that this process then waits for."""
        before, places = self._swept, await self._runner.waiting()
        self._swept = dict(self._runner.oldest)
        self._dirty |= dict.fromkeys(
            place for place in places if before is None or before.get(place) == self._swept[place]
        )

    def pause(self) -> float:
        """Return the seconds until held partitions are tried again, in proportion to the time they have been held."""
        held = asyncio.get_running_loop().time() - self.held_since
        return min(HELD_SECONDS_MAX, max(HELD_SECONDS, held / 2))

    async def _publish(self) -> None:
        """Run a round of the partitions with new rows, and of those that were held when last tried. A long round continues
        beside the next one."""
        candidates = [*self._dirty, *self.held, *self._lingering]  # lingering partitions add little to a round
        apart = self._busy | self._troubled.places
        places = set([place for place in dict.fromkeys(candidates) if place not in apart][:PLACES_AT_ONCE])
        if not places:
            self.held -= apart
            return
        for place in places:
            self._dirty.pop(place, None)
        self._lingering -= places
        self._busy |= places
        await self._rounds.begin(self._run_round(places))

    async def _run_round(self, places: set[Place]) -> None:
        try:
            outcome = await self._runner.run(places, self._sender)
        except BaseException:
            self._dirty |= dict.fromkeys(places)
            raise
        finally:
            self._busy -= places
            self._more.set()
        self._dirty |= dict.fromkeys(outcome.full)
        self._troubled.note_failures(outcome)
        if not self.held or self.held & outcome.ours:
            self.held_since = asyncio.get_running_loop().time()
        self.held = (self.held - places) | (places - outcome.ours)

    # --- partitions in trouble ----------------------------------------------------------------------------------------

    async def _retry_forever(self) -> None:
        """Run rounds of the partitions in trouble."""
        try:
            while True:
                due = await self._troubled.due()
                self._busy |= due
                try:
                    await self._retries.begin(self._retry(due))
                except StorageError as failure:
                    self._storage_failed(failure)
                    await asyncio.sleep(backoff_seconds(8))
        finally:
            await self._retries.end()

    async def _retry(self, places: set[Place]) -> None:
        try:
            outcome = await self._runner.run(places, self._apart)
        finally:
            self._busy -= places
            self._troubled.wake()
        for place in self._troubled.note_retry(places, outcome):
            self._dirty[place] = None  # it may have more rows
            self._more.set()

    # --- the database -------------------------------------------------------------------------------------------------

    def _storage_failed(self, failure: Exception) -> None:
        if self._storage is None:
            _log.warning("publishing delayed", error_type=type(failure).__name__, problem=str(failure))
        self._storage = str(failure)

    def _storage_recovered(self) -> None:
        if self._storage is not None:
            _log.info("publishing resumed")
        self._storage = None
