"""The cost of size over Kafka and PostgreSQL: few and many leads stored, one router and two."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from firsthour.bench import environment, processes
from firsthour.bench.distributed_rounds import (
    ROUTER,
    SCORING,
    CpuWatch,
    DistributedBench,
    wait_for_consumer,
)
from firsthour.bench.environment import BenchDatabase
from firsthour.bench.lines import BenchLine, line
from firsthour.bench.processes import ProcessOrder, ServiceProcess
from firsthour.bench.recorder import RecordedUnit, emitted_rows, read_recording
from firsthour.bench.scale import FEW, GOAL, MANY_FULL, ROUND_EVENTS, ROUNDS
from firsthour.runtime.clock import HostClock
from firsthour.runtime.settings import Settings
from firsthour.runtime.storage.records import Row
from schemas.topics import LEADS

FILLED_AT_ONCE: Final = 50_000
BACKLOG: Final = 40_000
BACKLOG_FULL: Final = 100_000
BACKLOG_ROUNDS: Final = 3
SETTLED_LOOKS: Final = 10
SETTLED_LOOK_SECONDS: Final = 0.2


# --- leads stored -----------------------------------------------------------------------------------------------------


@dataclass
class StoredLeads:
    """Scoring and router over a database of their own, the number of its leads, and the events it got."""

    settings: Settings
    child: ServiceProcess
    events: int = 0
    leads: int = 0

    async def feed(self, count: int, *, new_leads: bool = False) -> float:
        """Handle `count` more events; return the CPU microseconds of each, in the services and the database.

        `new_leads`: each event creates a lead.
        """
        watch = CpuWatch(self.settings, {"services": self.child})
        watch.begin()
        await environment.fill(self.settings, count, readers=None if new_leads else self.leads, first=self.events)
        self.events += count
        self.leads += count if new_leads else 0
        cpu = watch.end(await wait_for_consumer(self.settings, self.events, (self.child,))).cpu
        return (cpu["services"] + cpu.get("PostgreSQL", 0.0)) / count * 1e6


def growth(server_settings: Settings, home: Path, *, many: int) -> list[BenchLine]:
    """Return the cost of an event in two systems, measured in turn. The product itself has filled both."""
    with environment.bench_database(server_settings, home) as database:
        costs = asyncio.run(_growth(database, many))
    ratios = [large / small for small, large in costs]
    note = f"{many:,} leads stored against {FEW:,}" + ("" if many == MANY_FULL else f"; --full takes {MANY_FULL:,}")
    return [
        line("an event among many leads", ratios, "times", goal=GOAL, note=note),
        line(f"an event among {FEW:,} leads, CPU", [small for small, _ in costs], "us/event"),
        line(f"an event among {many:,} leads, CPU", [large for _, large in costs], "us/event"),
    ]


async def _growth(database: BenchDatabase, many: int) -> list[tuple[float, float]]:
    async with database.fresh() as one, database.fresh() as other:
        with ExitStack() as stack:
            small, large = (_stored(settings, stack) for settings in (one, other))
            for stored, leads in ((small, FEW), (large, many)):
                while stored.leads < leads:
                    await stored.feed(min(FILLED_AT_ONCE, leads - stored.leads), new_leads=True)
            costs = [(await small.feed(ROUND_EVENTS), await large.feed(ROUND_EVENTS)) for _ in range(ROUNDS + 1)]
    return costs[1:]  # the first round is the warm-up


def _stored(settings: Settings, stack: ExitStack) -> StoredLeads:
    child = stack.enter_context(processes.service_process(ProcessOrder(settings, (SCORING, ROUTER))))
    child.go([SCORING, ROUTER])
    return StoredLeads(settings, child)


# --- one router, and two ----------------------------------------------------------------------------------------------


def backlog(server_settings: Settings, home: Path, *, full: bool) -> list[BenchLine]:
    """Return how much faster two routers than one route a backlog of scored leads. The routers have joined before it."""
    count = BACKLOG_FULL if full else BACKLOG
    with environment.bench_database(server_settings, home) as database:
        alone, both = asyncio.run(_backlog(DistributedBench(database, count)))
    note = f"{count:,} scored leads, {BACKLOG_ROUNDS} alternating rounds"
    ratios = [one / two for one, two in zip(alone, both, strict=True)]
    return [
        line("backlog, two routers against one", ratios, "times", goal=1.0, better="higher", note=note),
        line("backlog, one router", [count / seconds for seconds in alone], "leads/s"),
        line("backlog, two routers", [count / seconds for seconds in both], "leads/s"),
    ]


async def _backlog(work: DistributedBench) -> tuple[list[float], list[float]]:
    await work.real(record=True)
    rows = list(_emitted(read_recording(work.file(SCORING)).units, LEADS))
    alone, both = [], []
    for _ in range(BACKLOG_ROUNDS):
        alone.append(await _route_all(work, rows, 1))
        both.append(await _route_all(work, rows, 2))
    return alone, both


def _emitted(units: Sequence[RecordedUnit], topic: str) -> Iterator[tuple[int, Row]]:
    """Yield the rows that these units emitted to the topic, each with its partition."""
    for unit in units:
        for name, partition, key, event_id, _, body in emitted_rows(unit.sent):
            if name == topic:
                yield partition, Row(name, key, event_id, body)


async def _route_all(work: DistributedBench, rows: Sequence[tuple[int, Row]], count: int) -> float:
    """Return the seconds in which `count` routers handle these rows."""
    async with work.database.fresh() as settings, environment.producing(settings) as producer:
        with ExitStack() as stack:
            order = ProcessOrder(settings, (ROUTER,))
            routers = [stack.enter_context(processes.service_process(order)) for _ in range(count)]
            for router in routers:
                router.go([ROUTER])
            await _wait_for_shares(routers)
            start = HostClock().monotonic()
            await environment.put(settings, producer, LEADS, rows)
            return await wait_for_consumer(settings, len(rows), routers) - start


async def _wait_for_shares(routers: Sequence[ServiceProcess]) -> None:
    """Wait until each router has its share of the partitions, and the shares have not changed for a while."""
    looks: list[list[int]] = []
    while len(looks) < SETTLED_LOOKS or not min(looks[-1]) or any(look != looks[-1] for look in looks[-SETTLED_LOOKS:]):
        looks.append([router.ask("ours").get(ROUTER, 0) for router in routers])
        await asyncio.sleep(SETTLED_LOOK_SECONDS)
