"""Rounds of the distributed profile: the same events through the product, and through the bare loop."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

from firsthour.bench import baseline, environment, processes
from firsthour.bench import cpu as bench_cpu
from firsthour.bench.environment import BenchDatabase
from firsthour.bench.processes import ProcessOrder, ServiceProcess
from firsthour.runtime.clock import HostClock
from firsthour.runtime.connectivity import connection_options
from firsthour.runtime.settings import Settings
from firsthour.runtime.storage.postgres_connections import ConnectionPool
from schemas.errors import FirstHourError
from schemas.topics import LEADS

T = TypeVar("T")

READERS: Final = 4_000
LOOK_SECONDS: Final = 0.02
QUIET_SECONDS: Final = 120.0
LOOK_CLOSER_SECONDS: Final = 2.0
SCORING: Final = "scoring"
ROUTER: Final = "router"


class StandstillError(FirstHourError):
    """A measured process made no progress, or failed, before the end of the measurement."""


@dataclass
class DistributedTimes:
    """One round: wall seconds, and CPU seconds by process. Processes that cannot be observed are left out."""

    wall: float
    cpu: dict[str, float] = field(default_factory=dict)
    rows: dict[str, int] = field(default_factory=dict)  # of each table, after the processes have ended

    @property
    def total_cpu(self) -> float:
        return sum(self.cpu.values())


class CpuWatch:
    """Measures wall time and CPU of these processes, the broker and the database from `begin` to `end`."""

    def __init__(self, settings: Settings, children: dict[str, ServiceProcess]) -> None:
        self._children = children
        self._servers = {"broker": bench_cpu.broker(settings), "PostgreSQL": bench_cpu.database(settings)}
        self._before: dict[str, float] = {}

    def begin(self) -> None:
        """Note the CPU used before the first event."""
        self._before = self._cpu()

    def end(self, wall: float) -> DistributedTimes:
        """Return the CPU used since `begin`, with these wall seconds."""
        after = self._cpu()
        return DistributedTimes(wall, {process: after[process] - cpu for process, cpu in self._before.items()})

    def total(self) -> float:
        """Return the CPU seconds that all have used so far."""
        return sum(self._cpu().values())

    def _cpu(self) -> dict[str, float]:
        children = {service: float(child.ask("cpu")) for service, child in self._children.items()}
        servers = {name: server.cpu_seconds() for name, server in self._servers.items()}
        return children | {name: seconds for name, seconds in servers.items() if seconds is not None}


async def wait_for_consumer(
    settings: Settings, count: int, children: Iterable[ServiceProcess], consumer: str = ROUTER, topic: str = LEADS
) -> float:
    """Wait until the consumer has handled `count` records of the topic, and all emitted rows are on Kafka.

    Returns:
        The monotonic second of that moment.

    Raises:
        StandstillError: No progress for a long time, or one of the processes failed.
    """
    connection = await environment.connect(settings)
    try:
        return await wait_until(
            lambda: environment.positions(connection, consumer, topic),
            lambda state: state == (count, True),
            children,
            lambda state: f"{consumer} stands at {state[0]:,} of {count:,} records of {topic}",
        )
    finally:
        await connection.close()


async def wait_until(
    look: Callable[[], Awaitable[T]],
    done: Callable[[T], bool],
    children: Iterable[ServiceProcess],
    describe: Callable[[T], str],
) -> float:
    """Look at a state repeatedly until it is `done`.

    Args:
        look: returns the state.
        done: whether the state is the final one.
        children: the processes that change the state.
        describe: the message about a state that does not change.

    Returns:
        The monotonic second in which the state was done.

    Raises:
        StandstillError: The state did not change for a long time, or one of the processes failed.
    """
    clock = HostClock()
    last, since = None, clock.monotonic()
    while not done(state := await look()):
        now = clock.monotonic()
        if state != last:
            last, since = state, now
        elif now - since > LOOK_CLOSER_SECONDS:
            for failure in filter(None, [child.ask("failed") for child in children]):
                raise StandstillError(failure)
        if now - since > QUIET_SECONDS:
            raise StandstillError(describe(state))
        await asyncio.sleep(LOOK_SECONDS)
    return clock.monotonic()


@dataclass
class DistributedBench:
    """Rounds of `count` events, through the product or through the bare loop."""

    database: BenchDatabase
    count: int
    session: dict[str, str] = field(default_factory=dict)  # settings of the product's connections

    def file(self, service: str) -> Path:
        """Return the file with the statements that this service sent in the recorded round."""
        return self.database.home / f"{service}.record"

    async def real(self, *, record: bool = False, samples: dict[str, Any] | None = None) -> DistributedTimes:
        """Run the product on a fresh copy, each service in a process of its own.

        Args:
            record: record the statements for the bare loop.
            samples: is filled with the CPU samples of each service. None: no samples are taken.
        """
        async with self._filled() as settings:
            with ExitStack() as stack:

                def start(name: str) -> ServiceProcess:
                    own = settings.model_copy(update={"data_dir": settings.data_dir / name})
                    file = self.file(name) if record else None
                    order = ProcessOrder(own, (name,), record=file, samples=samples is not None)
                    return stack.enter_context(processes.service_process(order))

                children = {SCORING: start(SCORING), ROUTER: start(ROUTER)}
                if record:
                    self.session = await self._session(settings)
                children[ROUTER].go([ROUTER])  # its topic is still empty: the measured work begins with scoring
                watch = CpuWatch(settings, children)
                watch.begin()
                children[SCORING].go([SCORING])
                end = await wait_for_consumer(settings, self.count, children.values())
                times = watch.end(end - children[SCORING].ask("assigned")[SCORING])
                if samples is not None:
                    samples |= {name: child.ask("samples") for name, child in children.items()}
            times.rows = await environment.rows(settings)
            return times

    async def bare(self) -> DistributedTimes:
        """Repeat the recorded statements on a fresh copy."""
        async with self._filled() as settings:
            with ExitStack() as stack:
                children = {
                    name: stack.enter_context(
                        processes.child_process(baseline.work, settings, self.file(name), self.session)
                    )
                    for name in (ROUTER, SCORING)
                }
                watch = CpuWatch(settings, children)
                watch.begin()
                for child in children.values():
                    child.ask("go")
                end = await wait_for_consumer(settings, self.count, children.values())
                times = watch.end(end - children[SCORING].ask("began"))
            times.rows = await environment.rows(settings)
            return times

    @asynccontextmanager
    async def _filled(self) -> AsyncIterator[Settings]:
        async with self.database.fresh() as settings:
            await environment.fill(settings, self.count, readers=READERS)
            yield settings

    async def _session(self, settings: Settings) -> dict[str, str]:
        """Return the settings that the product gives its connections to the database."""
        pool = ConnectionPool(*connection_options.database(settings), size=1)
        raw = await pool.take()
        rows = await raw.fetch(baseline.SESSION)
        pool.give(raw, clean=True)
        await pool.close()
        return {row[0]: row[1] for row in rows}
