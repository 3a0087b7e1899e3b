"""Timers over PostgreSQL: the lateness of pages that come due within one second, and the CPU of many clocks that wait.

The notifier has a process of its own. As on the embedded profile, all clocks but the first are copies.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from firsthour.bench import environment, processes
from firsthour.bench.distributed_rounds import ROUTER, SCORING, CpuWatch, wait_until
from firsthour.bench.environment import BenchDatabase
from firsthour.bench.lines import BenchLine
from firsthour.bench.processes import ProcessOrder, ServiceProcess
from firsthour.bench.timers import (
    CLOCKS,
    DAY,
    DUE,
    FIRST_PAGE,
    IDLE_SECONDS,
    LADDER,
    LATENESS,
    LEAD,
    LIVE,
    SECOND,
    SENT,
    STORED,
    WARM_SECONDS,
    copies,
    idle_lines,
    lateness_lines,
)
from firsthour.runtime.clock import HostClock
from firsthour.runtime.settings import Settings

T = TypeVar("T")

NOTIFIER: Final = "notifier"


@dataclass(frozen=True)
class RunningNotifier:
    """A notifier in a process of its own, with its database, in which one clock is stored."""

    settings: Settings
    child: ServiceProcess
    connection: Any

    async def until(self, statement: str, number: int) -> None:
        """Wait until the statement counts this many rows."""
        await wait_until(
            lambda: self.connection.fetchval(statement),
            lambda counted: counted >= number,
            (self.child,),
            lambda counted: f"{counted:,} of {number:,} pages were sent",
        )

    async def idle_share(self) -> float:
        """Return the share of a core that the notifier and the database use while nothing is due."""
        watch = CpuWatch(self.settings, {NOTIFIER: self.child})
        watch.begin()
        await asyncio.sleep(IDLE_SECONDS)
        cpu = watch.end(IDLE_SECONDS).cpu
        return (cpu[NOTIFIER] + cpu.get("PostgreSQL", 0.0)) / IDLE_SECONDS


def timers(server_settings: Settings, home: Path) -> list[BenchLine]:
    """Return the lateness of pages that come due within one second."""
    return lateness_lines(*_measured(server_settings, home, _timers))


def idle(server_settings: Settings, home: Path) -> list[BenchLine]:
    """Return the CPU of a notifier and its database that wait, with one clock and with many."""
    return idle_lines(*_measured(server_settings, home, _idle), STORED)


def _measured(server_settings: Settings, home: Path, measure: Callable[[RunningNotifier], Awaitable[T]]) -> T:
    async def in_database(database: BenchDatabase) -> T:
        async with _running(database) as notifier:
            return await measure(notifier)

    with environment.bench_database(server_settings, home, ladder=LADDER) as database:
        return asyncio.run(in_database(database))


@asynccontextmanager
async def _running(database: BenchDatabase) -> AsyncIterator[RunningNotifier]:
    """Run the services, and make the first clock from a form."""
    async with database.fresh() as settings:
        with ExitStack() as stack:
            services, child = (
                stack.enter_context(processes.service_process(ProcessOrder(settings, names)))
                for names in ((SCORING, ROUTER), (NOTIFIER,))
            )
            services.go([SCORING, ROUTER])
            child.go([NOTIFIER])
            connection = await environment.connect(settings)
            notifier = RunningNotifier(settings, child, connection)
            await environment.fill(settings, 1, readers=None)
            await notifier.until(FIRST_PAGE, 1)
            try:
                yield notifier
            finally:
                await connection.close()


async def _timers(notifier: RunningNotifier) -> tuple[list[tuple[int, int]], int]:
    connection = notifier.connection
    await connection.execute(copies(DUE, CLOCKS - DUE - 1, HostClock().real() + DAY, DAY))
    await connection.execute("ANALYZE notifier_clocks")
    await connection.execute(copies(0, DUE, HostClock().real() + LEAD, SECOND))
    await notifier.until(SENT, DUE)
    rows = [(int(row[0]), int(row[1])) for row in await connection.fetch(LATENESS)]
    return rows, int(await connection.fetchval(LIVE))


async def _idle(notifier: RunningNotifier) -> tuple[float, float]:
    await asyncio.sleep(WARM_SECONDS)
    one = await notifier.idle_share()
    await notifier.connection.execute(copies(0, STORED - 1, HostClock().real() + DAY, DAY))
    # Once, as autovacuum does after such a growth: its work is not that of the timers.
    await notifier.connection.execute("VACUUM ANALYZE notifier_clocks")
    return one, await notifier.idle_share()
