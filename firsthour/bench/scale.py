"""The cost of size: an event with few and with many leads stored."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from firsthour.bench.fixtures import events, furnish
from firsthour.bench.lines import BenchLine, line
from firsthour.bench.systems import cpu_seconds, open_embedded, run
from firsthour.bootstrap.embedded import System
from firsthour.runtime.clock import HostClock

FEW: Final = 10_000
MANY: Final = 200_000
MANY_FULL: Final = 1_000_000
ROUNDS: Final = 5
CHUNK: Final = 2_000
ROUND_EVENTS: Final = 6_000
GOAL: Final = 1.3


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
