"""What size costs over Kafka and PostgreSQL: few and many leads stored, one router and two, many timers."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

from firsthour.bench import environment, processes
from firsthour.bench.distributed import ROUTER, SCORING, CpuWatch, DistributedBench, until_so, until_taken
from firsthour.bench.environment import Ground
from firsthour.bench.lines import BenchLine, line, percentile
from firsthour.bench.processes import Order, ServiceProcess
from firsthour.bench.recorder import RecordedUnit, recorded, said
from firsthour.bench.scale import (
    CLOCKS,
    FEW,
    GOAL,
    LADDER,
    LATE_GOAL_SECONDS,
    MANY_FULL,
    PAGES_LEFT,
    ROUND_EVENTS,
    ROUNDS,
    SPREAD,
    WATCH_SECONDS,
)
from firsthour.kernel.time_units import moment
from firsthour.runtime.clock import HostClock
from firsthour.runtime.settings import Settings
from firsthour.runtime.storage.records import Row
from schemas.topics import LEADS, ROUTES

FILLED_AT_ONCE: Final = 50_000
BACKLOG: Final = 40_000
BACKLOG_FULL: Final = 100_000
BACKLOG_ROUNDS: Final = 3
CLOCKS_AT_ONCE: Final = 2_000
ROUTES_OF_A_LEAD: Final = 2  # qualified, assigned
SETTLED_LOOKS: Final = 10
SETTLED_LOOK_SECONDS: Final = 0.2
NOTIFIER: Final = "notifier"


# --- leads stored -----------------------------------------------------------------------------------------------------


@dataclass
class Stored:
    """Scoring and router over a database of their own, fed by hand."""

    place: Settings
    child: ServiceProcess
    events: int = 0
    leads: int = 0

    async def feed(self, count: int, *, anew: bool = False) -> float:
        """So many more events; CPU microseconds for each, of the services and the database. `anew`: each makes a lead."""
        watch = CpuWatch(self.place, {"services": self.child})
        watch.begin()
        await environment.fill(self.place, count, readers=None if anew else self.leads, first=self.events)
        self.events += count
        self.leads += count if anew else 0
        cpu = watch.end(await until_taken(self.place, self.events, (self.child,))).cpu
        return (cpu["services"] + cpu.get("PostgreSQL", 0.0)) / count * 1e6


def growth(given: Settings, home: Path, *, many: int) -> list[BenchLine]:
    """Alternating between two systems, after both were filled through the product itself."""
    with environment.around(given, home) as ground:
        costs = asyncio.run(_growth(ground, many))
    ratios = [large / small for small, large in costs]
    note = f"{many:,} leads stored against {FEW:,}" + ("" if many == MANY_FULL else f"; --full takes {MANY_FULL:,}")
    return [
        line("an event among many leads", ratios, "times", goal=GOAL, note=note),
        line(f"an event among {FEW:,} leads, CPU", [small for small, _ in costs], "us/event"),
        line(f"an event among {many:,} leads, CPU", [large for _, large in costs], "us/event"),
    ]


async def _growth(ground: Ground, many: int) -> list[tuple[float, float]]:
    async with ground.fresh() as one, ground.fresh() as other:
        with ExitStack() as stack:
            small, large = (_stored(place, stack) for place in (one, other))
            for stored, leads in ((small, FEW), (large, many)):
                while stored.leads < leads:
                    await stored.feed(min(FILLED_AT_ONCE, leads - stored.leads), anew=True)
            costs = [(await small.feed(ROUND_EVENTS), await large.feed(ROUND_EVENTS)) for _ in range(ROUNDS + 1)]
    return costs[1:]  # the first warms both up


def _stored(place: Settings, stack: ExitStack) -> Stored:
    child = stack.enter_context(processes.services(Order(place, (SCORING, ROUTER))))
    child.go([SCORING, ROUTER])
    return Stored(place, child)


# --- one router, and two ----------------------------------------------------------------------------------------------


def backlog(given: Settings, home: Path, *, full: bool) -> list[BenchLine]:
    """So many scored leads at once, to be routed by one router and by two, in turn. They have joined before."""
    count = BACKLOG_FULL if full else BACKLOG
    with environment.around(given, home) as ground:
        alone, both = asyncio.run(_backlog(DistributedBench(ground, count)))
    note = f"{count:,} scored leads, {BACKLOG_ROUNDS} times in turn"
    ratios = [one / two for one, two in zip(alone, both, strict=True)]
    return [
        line("backlog, two routers against one", ratios, "times", goal=1.0, better="higher", note=note),
        line("backlog, one router", [count / seconds for seconds in alone], "leads/s"),
        line("backlog, two routers", [count / seconds for seconds in both], "leads/s"),
    ]


async def _backlog(work: DistributedBench) -> tuple[list[float], list[float]]:
    await work.real(record=True)
    rows = list(_said(recorded(work.file(SCORING)).units, LEADS))
    alone, both = [], []
    for _ in range(BACKLOG_ROUNDS):
        alone.append(await _drained(work, rows, 1))
        both.append(await _drained(work, rows, 2))
    return alone, both


def _said(units: Sequence[RecordedUnit], topic: str) -> Iterator[tuple[int, Row]]:
    """What was said on the topic, each record with its partition."""
    for unit in units:
        for name, partition, key, event_id, _, body in said(unit.sent):
            if name == topic:
                yield partition, Row(name, key, event_id, body)


async def _drained(work: DistributedBench, rows: Sequence[tuple[int, Row]], count: int) -> float:
    """Seconds from the first record to the last."""
    async with work.ground.fresh() as place, environment.producing(place) as producer:
        with ExitStack() as stack:
            order = Order(place, (ROUTER,))
            routers = [stack.enter_context(processes.services(order)) for _ in range(count)]
            for router in routers:
                router.go([ROUTER])
            await _shared(routers)
            start = HostClock().monotonic()
            await environment.put(place, producer, LEADS, rows)
            return await until_taken(place, len(rows), routers) - start


async def _shared(routers: Sequence[ServiceProcess]) -> None:
    """Until each has its share of the partitions, and has had it for a while."""
    looks: list[list[int]] = []
    while len(looks) < SETTLED_LOOKS or not min(looks[-1]) or any(look != looks[-1] for look in looks[-SETTLED_LOOKS:]):
        looks.append([router.ask("ours").get(ROUTER, 0) for router in routers])
        await asyncio.sleep(SETTLED_LOOK_SECONDS)


# --- timers -----------------------------------------------------------------------------------------------------------


def timers(given: Settings, home: Path) -> list[BenchLine]:
    """Clocks started over the better part of an hour of business time, and their first pages sent; then their second rungs
    come due, a minute of them is watched. Lateness is from due to the committed page. All services share one process,
    whose clock is set ahead by hand."""
    with environment.around(given, home, ladder=LADDER) as ground:
        late, live = asyncio.run(_timers(ground))
    note = f"{len(late):,} pages, {live:,} live clocks"
    return [
        line("timer lateness, p50", [percentile(late, 0.50)], "s", note=note),
        line("timer lateness, p99", [percentile(late, 0.99)], "s", goal=LATE_GOAL_SECONDS),
    ]


async def _timers(ground: Ground) -> tuple[list[float], int]:
    async with ground.fresh() as place:
        with processes.services(Order(place, (SCORING, ROUTER, NOTIFIER), shifted=True)) as child:
            child.go([SCORING, ROUTER, NOTIFIER])
            await _start_clocks(place, child)
            connection = await environment.connect(place)
            await until_so(
                lambda: connection.fetchval(PAGES_LEFT),
                lambda left: left == 0,
                (child,),
                lambda left: f"{left:,} pages are not sent",
            )
            first_due = await connection.fetchval("SELECT min(due_at) FROM notifier_clocks WHERE state = 'live'")
            child.ask("ahead", moment(int(first_due)) - HostClock().real())
            await asyncio.sleep(WATCH_SECONDS)
            rows = await connection.fetch(
                "SELECT (sent_at - due_at) / 1e6 FROM notifier_pages WHERE rung > 0 AND sent_at > 0"
            )
            live = await connection.fetchval("SELECT count(*) FROM notifier_clocks WHERE state = 'live'")
            await connection.close()
        return [float(row[0]) for row in rows], int(live)


async def _start_clocks(place: Settings, child: ServiceProcess) -> None:
    """All of them, a piece at a time, the clock set ahead after each."""
    ahead, step = timedelta(0), SPREAD / (CLOCKS // CLOCKS_AT_ONCE)
    for first in range(0, CLOCKS, CLOCKS_AT_ONCE):
        child.ask("ahead", ahead)
        now = HostClock().real() + ahead
        await environment.fill(place, CLOCKS_AT_ONCE, readers=None, first=first, one_asks_in=1, now=now)
        done = first + CLOCKS_AT_ONCE
        await until_taken(place, done, (child,))
        await until_taken(place, ROUTES_OF_A_LEAD * done, (child,), NOTIFIER, ROUTES)
        ahead += step
