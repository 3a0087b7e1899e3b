"""The cost of size: an event with few and with many leads stored, and the lateness of timers among many."""

import asyncio
import sqlite3
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from firsthour.bench.fixtures import events, furnish
from firsthour.bench.lines import BenchLine, line, percentile
from firsthour.bench.systems import caught_up, cpu_seconds, open_embedded, run
from firsthour.bootstrap.embedded import System
from firsthour.runtime.clock import HostClock

FEW: Final = 10_000
MANY: Final = 200_000
MANY_FULL: Final = 1_000_000
ROUNDS: Final = 5
CHUNK: Final = 2_000
ROUND_EVENTS: Final = 6_000
GOAL: Final = 1.3

CLOCKS: Final = 100_000
SPREAD: Final = timedelta(minutes=50)
LADDER: Final = ({"at": "0m", "page": "owner", "by": ["inbox"]}, {"at": "55m", "page": "owner", "by": ["inbox"]})
WATCH_SECONDS: Final = 60.0
LOOK_SECONDS: Final = 0.2
LATE_GOAL_SECONDS: Final = 2.0
PAGES_LEFT: Final = "SELECT count(*) FROM notifier_pages WHERE next_at IS NOT NULL"


# --- leads stored -----------------------------------------------------------------------------------------------------


@dataclass
class MeasuredSystem:
    """A system, the number of its leads, and the events it got."""

    system: System
    leads: int = 0
    events: int = 0

    async def feed(self, count: int) -> float:
        """Handle `count` more events; return the CPU microseconds of each, without those of appending it to the log."""
        cpu = 0.0
        for _ in range(0, count, CHUNK):
            rows = list(events(CHUNK, HostClock().real(), readers=self.leads, first=self.events))
            self.events += CHUNK
            await self.system.units.append(rows)
            before = cpu_seconds()
            await self._handle()
            cpu += cpu_seconds() - before
        return cpu / count * 1e6

    async def _handle(self) -> None:
        busy = True
        while busy:
            busy = False
            for worker in self.system.workers:
                while await worker.step():
                    busy = True


def growth(home: Path, many: int) -> list[BenchLine]:
    """Return the cost of an event in two systems, measured in turn. The product itself has filled both."""
    costs = run(_growth(home, many))
    ratios = [large / small for small, large in costs]
    note = f"{many:,} leads stored against {FEW:,}" + ("" if many == MANY_FULL else f"; --full takes {MANY_FULL:,}")
    return [
        line("an event among many leads", ratios, "times", goal=GOAL, note=note),
        line(f"an event among {FEW:,} leads, CPU", [small for small, _ in costs], "us/event"),
        line(f"an event among {many:,} leads, CPU", [large for _, large in costs], "us/event"),
    ]


async def _growth(home: Path, many: int) -> list[tuple[float, float]]:
    systems = []
    for name, leads in (("few", FEW), ("many", many)):
        measured = MeasuredSystem(await open_embedded(furnish(home / name), only=("scoring", "router")))
        await _fill(measured, leads)
        systems.append(measured)
    few, lots = systems
    costs = []
    for number in range(ROUNDS + 1):
        cost = (await few.feed(ROUND_EVENTS), await lots.feed(ROUND_EVENTS))
        if number:  # the first round is the warm-up
            costs.append(cost)
    for measured in systems:
        await measured.system.close()
    return costs


async def _fill(measured: MeasuredSystem, leads: int) -> None:
    """Create a lead with every event: one of five asks for a demo, the others read a page."""
    while measured.leads < leads:
        rows = list(events(CHUNK, HostClock().real(), readers=None, first=measured.events))
        measured.events += CHUNK
        measured.leads += CHUNK
        await measured.system.units.append(rows)
        await measured._handle()


# --- timers -----------------------------------------------------------------------------------------------------------


class ShiftedClock:
    """The clock of the host, with its business time set ahead by hand."""

    def __init__(self) -> None:
        self.host = HostClock()
        self.ahead = timedelta(0)

    def business(self) -> datetime:
        return self.host.real() + self.ahead

    def real(self) -> datetime:
        return self.host.real()

    def monotonic(self) -> float:
        return self.host.monotonic()

    def real_seconds(self, business: timedelta) -> float:
        return business.total_seconds()


def timers(home: Path) -> list[BenchLine]:
    """Return the lateness of pages among many clocks, from the due time to the committed page.

    The clocks start within 50 minutes of business time, and their first pages are sent. Then the second rungs come due, and
    the pages of one minute are measured.
    """
    furnish(home, ladder=LADDER)
    late, live = run(_timers(home))
    note = f"{len(late):,} pages, {live:,} live clocks"
    return [
        line("timer lateness, p50", [percentile(late, 0.50)], "s", note=note),
        line("timer lateness, p99", [percentile(late, 0.99)], "s", goal=LATE_GOAL_SECONDS),
    ]


async def _timers(home: Path) -> tuple[list[float], int]:
    clock = ShiftedClock()
    system = await open_embedded(home, clock=clock)
    running = asyncio.create_task(system.run())
    step = SPREAD / (CLOCKS * 5 // CHUNK)
    for first in range(0, CLOCKS * 5, CHUNK):
        await system.units.append(list(events(CHUNK, clock.business(), readers=5_000, first=first)))
        clock.ahead += step
        await caught_up(system)
    while await system.reads(lambda c: c.exec_driver_sql(PAGES_LEFT).scalar_one()):  # noqa: ASYNC110  # see `until`
        await asyncio.sleep(LOOK_SECONDS)
    first_due = await system.reads(lambda c: c.exec_driver_sql("SELECT min(due_at) FROM notifier_clocks").scalar_one())
    clock.ahead += timedelta(microseconds=first_due) - (
        clock.business() - datetime.fromtimestamp(0, clock.real().tzinfo)
    )
    await asyncio.sleep(WATCH_SECONDS)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await system.close()
    with sqlite3.connect(home / "firsthour.db") as connection:
        lateness = connection.execute(
            "SELECT (sent_at - due_at) / 1e6 FROM notifier_pages WHERE rung > 0 AND sent_at > 0"
        )
        live = connection.execute("SELECT count(*) FROM notifier_clocks WHERE state = 'live'").fetchone()[0]
        return [row[0] for row in lateness], int(live)
