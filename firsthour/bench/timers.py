"""Timers: the lateness of pages that come due within one second among many clocks, and the CPU of many clocks that wait.

The product makes the first clock from a form. The others are copies of its row with other owners and times.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from sqlalchemy.engine import Connection

from firsthour.bench.fixtures import REPS, events, furnish
from firsthour.bench.lines import BenchLine, line, percentile
from firsthour.bench.systems import cpu_seconds, open_embedded, run
from firsthour.bootstrap.embedded import System
from firsthour.kernel.time_units import micros
from firsthour.runtime.clock import HostClock
from firsthour.runtime.storage.unit import Lane, Unit
from services.notifier.store.tables import clocks

T = TypeVar("T")

CLOCKS: Final = 100_000
DUE: Final = 10_000
STORED: Final = 1_000_000
SECOND: Final = timedelta(seconds=1)
LEAD: Final = timedelta(seconds=2)
"""The time from the commit of the copies to the first of them that is due."""
DAY: Final = timedelta(days=1)
LADDER: Final = ({"at": "0m", "page": "owner", "by": ["inbox"]}, {"at": "55m", "page": "owner", "by": ["inbox"]})
IDLE_SECONDS: Final = 60.0
"""Long enough for the audit, which looks at the rows each minute."""
WARM_SECONDS: Final = 20.0
"""The work that follows a start, such as the lists that are read once."""
LOOK_SECONDS: Final = 0.2
LATE_GOAL_SECONDS: Final = 2.0

FIRST_PAGE: Final = "SELECT count(*) FROM notifier_pages WHERE sent_at IS NOT NULL"
SENT: Final = "SELECT count(*) FROM notifier_pages WHERE rung > 0 AND sent_at IS NOT NULL"
LATENESS: Final = (
    "SELECT created_at - due_at, sent_at - due_at FROM notifier_pages WHERE rung > 0 AND sent_at IS NOT NULL"
)
LIVE: Final = "SELECT count(*) FROM notifier_clocks WHERE state = 'live'"

_MOVED: Final = frozenset(
    {
        *("submit_at", "promise_at", "assigned_at", "due_at", "updated_at"),
        *("fired_at", "rung_told_at", "told_at", "counted_from"),
    }
)
"""The times of a clock, which a copy has later by the same span."""


def copies(first: int, count: int, due_from: datetime, spread: timedelta) -> str:
    """Return the statement that copies the first clock. The copies are due one after the other within `spread`."""
    start, step = micros(due_from), round(spread / timedelta(microseconds=1)) / count

    def value(name: str) -> str:
        if name == "lead_id":
            return "'timer-' || n.i"
        if name == "rep":
            return f"'rep' || (n.i % {REPS})"
        if name in _MOVED:
            return f"one.{name} - one.due_at + {start} + CAST((n.i - {first}) * {step!r} AS bigint)"
        return f"one.{name}"

    names = [column.name for column in clocks.columns]
    # Only column names and numbers are inserted into the text.
    return (
        f"WITH RECURSIVE n(i) AS (SELECT {first} UNION ALL SELECT i + 1 FROM n WHERE i < {first + count - 1}) "  # noqa: S608
        f"INSERT INTO notifier_clocks ({', '.join(names)}) SELECT {', '.join(map(value, names))} "
        "FROM (SELECT * FROM notifier_clocks WHERE lead_id NOT LIKE 'timer-%' LIMIT 1) AS one CROSS JOIN n"
    )


def lateness_lines(rows: Sequence[tuple[int, int]], live: int) -> list[BenchLine]:
    """Return the lines of the lateness of these pages.

    Args:
        rows: The microseconds from the due time to the unit that stores the page, and to the answer of the channel.
        live: The clocks that ran meanwhile.
    """
    made, sent = ([row[column] / 1e6 for row in rows] for column in (0, 1))
    note = f"{len(rows):,} pages due within one second, {live:,} live clocks"
    return [
        line("timer lateness, p50", [percentile(made, 0.50)], "s", note=note),
        line("timer lateness, p99", [percentile(made, 0.99)], "s", goal=LATE_GOAL_SECONDS),
        line("timer lateness, max", [max(made)], "s"),
        line("timer to accepted page, p50", [percentile(sent, 0.50)], "s"),
        line("timer to accepted page, p99", [percentile(sent, 0.99)], "s"),
    ]


def idle_lines(one: float, many: float, stored: int) -> list[BenchLine]:
    """Return the lines of the share of a core that the timers use while none is due."""
    return [
        line("idle, one clock stored, CPU", [one * 1_000], "ms/s", note=f"{IDLE_SECONDS:.0f} s with one audit"),
        line(f"idle, {stored:,} clocks stored, CPU", [many * 1_000], "ms/s"),
        line("idle, many clocks against one", [many / one], "times"),
    ]


def timers(home: Path) -> list[BenchLine]:
    """Return the lateness of pages that come due within one second."""
    furnish(home, ladder=LADDER)
    return lateness_lines(*run(_timers(home)))


def idle(home: Path) -> list[BenchLine]:
    """Return the CPU of a process that waits, with one clock and with many."""
    furnish(home, ladder=LADDER)
    return idle_lines(*run(_idle(home)), STORED)


async def _timers(home: Path) -> tuple[list[tuple[int, int]], int]:
    async def measure(system: System) -> tuple[list[tuple[int, int]], int]:
        await _copy(system, DUE, CLOCKS - DUE - 1, HostClock().real() + DAY, DAY)
        await _copy(system, 0, DUE, HostClock().real() + LEAD, SECOND)
        await _until(system, SENT, DUE)
        rows = await system.reads(lambda c: [(int(row[0]), int(row[1])) for row in c.exec_driver_sql(LATENESS)])
        return rows, await _number(system, LIVE)

    return await _with_first_clock(home, measure)


async def _idle(home: Path) -> tuple[float, float]:
    async def measure(system: System) -> tuple[float, float]:
        await asyncio.sleep(WARM_SECONDS)
        one = await _idle_share()
        await _copy(system, 0, STORED - 1, HostClock().real() + DAY, DAY)
        return one, await _idle_share()

    return await _with_first_clock(home, measure)


async def _idle_share() -> float:
    before = cpu_seconds()
    await asyncio.sleep(IDLE_SECONDS)
    return (cpu_seconds() - before) / IDLE_SECONDS


async def _with_first_clock(home: Path, measure: Callable[[System], Awaitable[T]]) -> T:
    """Open the system, make its first clock from a form, and measure while it runs."""
    system = await open_embedded(home)
    running = asyncio.create_task(system.run())
    try:
        await system.units.append(list(events(1, HostClock().real(), readers=None)))
        await _until(system, FIRST_PAGE, 1)
        return await measure(system)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await system.close()


async def _copy(system: System, first: int, count: int, due_from: datetime, spread: timedelta) -> None:
    await system.units.run(partial(_insert, statement=copies(first, count, due_from, spread)), Lane.BATCH)


def _insert(unit: Unit, statement: str) -> None:
    unit.connection.exec_driver_sql(statement)


async def _until(system: System, statement: str, number: int) -> None:
    while await _number(system, statement) < number:  # noqa: ASYNC110  # another thread writes the rows
        await asyncio.sleep(LOOK_SECONDS)


async def _number(system: System, statement: str) -> int:
    def read(connection: Connection) -> int:
        return int(connection.exec_driver_sql(statement).scalar_one())

    return await system.reads(read)
