"""The distributed profile against its goals: from a topic to an owner, from a webhook to a page, HTTP.

Client processes, broker and database share this machine, so ratios within one run say more than rates.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

from firsthour.bench import baseline, environment, http, processes
from firsthour.bench import cpu as bench_cpu
from firsthour.bench.environment import Ground
from firsthour.bench.lines import BenchLine, line
from firsthour.bench.processes import Order, ServiceProcess
from firsthour.runtime.clock import HostClock
from firsthour.runtime.connectivity import connection_options
from firsthour.runtime.settings import Settings
from firsthour.runtime.storage.postgres_connections import ConnectionPool
from schemas.errors import FirstHourError
from schemas.topics import LEADS

T = TypeVar("T")

ROUNDS: Final = 3
ROUNDS_FULL: Final = 5
EVENTS: Final = 20_000
EVENTS_FULL: Final = 40_000
SUSTAINED_SECONDS: Final = 60
READERS: Final = 4_000
GOAL: Final = 0.70
PAGE_GOALS_MS: Final = (15.0, 40.0)
WARM_SECONDS: Final = 8.0
WARM_SECONDS_FULL: Final = 60.0
LOOK_SECONDS: Final = 0.02
QUIET_SECONDS: Final = 120.0
LOOK_CLOSER_SECONDS: Final = 2.0
SCORING: Final = "scoring"
ROUTER: Final = "router"
GATEWAY: Final = "gateway"
EVERYONE: Final = (SCORING, ROUTER, "notifier", "reporting")


class StandstillError(FirstHourError):
    """What was measured did not come to its end."""


@dataclass
class DistributedTimes:
    """One round: wall seconds, and CPU seconds by process. Processes that cannot be observed are left out."""

    wall: float
    cpu: dict[str, float] = field(default_factory=dict)
    rows: dict[str, int] = field(default_factory=dict)  # of each table, once the processes had ended

    @property
    def whole(self) -> float:
        return sum(self.cpu.values())


# --- a round ----------------------------------------------------------------------------------------------------------


class CpuWatch:
    """Wall time and CPU from `begin` to `end`, of these processes, the broker and the database."""

    def __init__(self, place: Settings, children: dict[str, ServiceProcess]) -> None:
        self._children = children
        self._servers = {"broker": bench_cpu.broker(place), "PostgreSQL": bench_cpu.database(place)}
        self._before: dict[str, float] = {}

    def begin(self) -> None:
        """Nothing runs yet."""
        self._before = self._cpu()

    def end(self, wall: float) -> DistributedTimes:
        """All is done."""
        after = self._cpu()
        return DistributedTimes(wall, {who: after[who] - before for who, before in self._before.items()})

    def _cpu(self) -> dict[str, float]:
        used = {who: float(child.ask("cpu")) for who, child in self._children.items()}
        seen = {who: server.cpu_seconds() for who, server in self._servers.items()}
        return used | {who: seconds for who, seconds in seen.items() if seconds is not None}


async def until_taken(
    place: Settings, count: int, those: Iterable[ServiceProcess], consumer: str = ROUTER, topic: str = LEADS
) -> float:
    """The monotonic second in which the consumer had taken so many records, and all that it said was on Kafka. Raises
    `StandstillError`, also when one of those processes failed."""
    connection = await environment.connect(place)
    try:
        return await until_so(
            lambda: environment.positions(place, connection, consumer, topic),
            lambda found: found == (count, True),
            those,
            lambda found: f"{consumer} stands at {found[0]:,} of {count:,} records of {topic}",
        )
    finally:
        await connection.close()


async def until_so(
    look: Callable[[], Awaitable[T]], so: Callable[[T], bool], those: Iterable[ServiceProcess], told: Callable[[T], str]
) -> float:
    """The monotonic second in which what is looked at was as it should be. Raises `StandstillError` when it has not changed
    for long, also when one of those processes failed."""
    clock = HostClock()
    last, since = None, clock.monotonic()
    while not so(found := await look()):
        now = clock.monotonic()
        if found != last:
            last, since = found, now
        elif now - since > LOOK_CLOSER_SECONDS:
            for failed in filter(None, [child.ask("failed") for child in those]):
                raise StandstillError(failed)
        if now - since > QUIET_SECONDS:
            raise StandstillError(told(found))
        await asyncio.sleep(LOOK_SECONDS)
    return clock.monotonic()


@dataclass
class DistributedBench:
    """Rounds of so many events, the product's and the bare loop's."""

    ground: Ground
    count: int
    session: dict[str, str] = field(default_factory=dict)

    def file(self, service: str) -> Path:
        """What that service sent in the recorded round."""
        return self.ground.home / f"{service}.record"

    async def real(self, *, record: bool = False, spent: dict[str, Any] | None = None) -> DistributedTimes:
        """The product, on a fresh copy: each service in a process of its own. `record`: for the bare loop. `spent`: is
        told where each spent its CPU."""
        async with self._filled() as place:
            with ExitStack() as stack:

                def start(name: str) -> ServiceProcess:
                    settings = place.model_copy(update={"data_dir": place.data_dir / name})
                    file = self.file(name) if record else None
                    order = Order(settings, (name,), record=file, samples=spent is not None)
                    return stack.enter_context(processes.services(order))

                made = {SCORING: start(SCORING), ROUTER: start(ROUTER)}
                if record:
                    self.session = await self._session(place)
                made[ROUTER].go([ROUTER])  # it finds nothing yet: what is measured begins with scoring
                watch = CpuWatch(place, made)
                watch.begin()
                made[SCORING].go([SCORING])
                end = await until_taken(place, self.count, made.values())
                took = watch.end(end - made[SCORING].ask("assigned")[SCORING])
                if spent is not None:
                    spent |= {name: child.ask("samples") for name, child in made.items()}
            took.rows = await environment.rows(place)
            return took

    async def bare(self) -> DistributedTimes:
        """What was recorded, on a fresh copy."""
        async with self._filled() as place:
            with ExitStack() as stack:
                made = {
                    name: stack.enter_context(processes.running(baseline.work, place, self.file(name), self.session))
                    for name in (ROUTER, SCORING)
                }
                watch = CpuWatch(place, made)
                watch.begin()
                for child in made.values():
                    child.ask("go")
                end = await until_taken(place, self.count, made.values())
                took = watch.end(end - made[SCORING].ask("began"))
            took.rows = await environment.rows(place)
            return took

    @asynccontextmanager
    async def _filled(self) -> AsyncIterator[Settings]:
        async with self.ground.fresh() as place:
            await environment.fill(place, self.count, readers=READERS)
            yield place

    async def _session(self, place: Settings) -> dict[str, str]:
        """What the product's sessions are told when they begin."""
        pool = ConnectionPool(*connection_options.database(place), size=1)
        raw = await pool.take()
        said = await raw.fetch(baseline.SESSION)
        pool.give(raw, clean=True)
        await pool.close()
        return {row[0]: row[1] for row in said}


# --- from a topic to an owner -----------------------------------------------------------------------------------------


def ratio(given: Settings, home: Path, *, full: bool) -> list[BenchLine]:
    """Bare and real in turn, several times."""
    rounds, count = (ROUNDS_FULL, EVENTS_FULL) if full else (ROUNDS, EVENTS)
    with environment.around(given, home) as ground:
        return asyncio.run(_ratio(DistributedBench(ground, count), rounds))


async def _ratio(work: DistributedBench, rounds: int) -> list[BenchLine]:
    await work.real(record=True)
    bare, real = [], []
    for _ in range(rounds):
        bare.append(await work.bare())
        real.append(await work.real())
    note = f"{work.count:,} events, {rounds} times in turn, scoring and router a process each"
    ratios = [one.wall / ours.wall for one, ours in zip(bare, real, strict=True)]
    of_cpu = [one.whole / ours.whole for one, ours in zip(bare, real, strict=True)]
    return [
        line("topic to owner, of the bare loop", ratios, "ratio", goal=GOAL, better="higher", note=note),
        line("topic to owner, of the CPU of the bare loop", of_cpu, "ratio"),
        line("topic to owner", [work.count / ours.wall for ours in real], "events/s"),
        line("bare loop", [work.count / one.wall for one in bare], "events/s"),
        *_cpu_lines("topic to owner, CPU", real, work.count),
        *_cpu_lines("bare loop, CPU", bare, work.count),
    ]


def _cpu_lines(name: str, rounds: Sequence[DistributedTimes], count: int) -> list[BenchLine]:
    parts = {who: [took.cpu[who] / count * 1e6 for took in rounds] for who in rounds[0].cpu}
    whole = line(name, [took.whole / count * 1e6 for took in rounds], "us/event")
    return [whole, *(line(f"{name}, of {who}", used, "us/event") for who, used in parts.items())]


def sustained(given: Settings, home: Path) -> list[BenchLine]:
    """One long round of each."""
    with environment.around(given, home) as ground:
        return asyncio.run(_sustained(DistributedBench(ground, EVENTS)))


async def _sustained(work: DistributedBench) -> list[BenchLine]:
    first = await work.real()
    work.count = int(work.count / first.wall * SUSTAINED_SECONDS * 1.1) // 1_000 * 1_000
    await work.real(record=True)
    ours, bare = await work.real(), await work.bare()
    note = f"{work.count:,} events in {ours.wall:.0f} s"
    name = "sustained, topic to owner"
    return [
        line(f"{name}, of the bare loop", [bare.wall / ours.wall], "ratio", goal=GOAL, better="higher", note=note),
        line(name, [work.count / ours.wall], "events/s"),
    ]


# --- HTTP -------------------------------------------------------------------------------------------------------------


def pages(given: Settings, home: Path, *, rate: float, seconds: float, warm: float) -> list[BenchLine]:
    """Webhook to page handed to the channel: a gateway, and every other service in a process of its own."""
    load = http.Load(rate, seconds, warm, PAGE_GOALS_MS if rate == 100 else None)
    with environment.around(given, home) as ground, whole(ground) as (place, children):
        for name, child in children.items():
            child.go([name] if name in EVERYONE else [])
        watch = CpuWatch(place, children)
        watch.begin()
        note = f"after {warm:.0f} s that do not count"
        lines = http.pages_of(load, children[GATEWAY].port, lambda: children["notifier"].ask("told"), note)
        took = watch.end(0.0)
    return [*lines, *_cpu_lines(f"webhook to page at {rate:.0f}/s, CPU", [took], int(rate * (warm + seconds)))]


@contextmanager
def whole(ground: Ground, *, samples: bool = False) -> Iterator[tuple[Settings, dict[str, ServiceProcess]]]:
    """Every service in a process of its own, none of them going yet."""
    fresh = ground.fresh()
    with asyncio.Runner() as loop:
        place = loop.run(fresh.__aenter__())
        try:
            with ExitStack() as stack:

                def start(name: str) -> ServiceProcess:
                    settings = place.model_copy(update={"data_dir": place.data_dir / name})
                    order = Order(settings, (name,), serves=name == GATEWAY, samples=samples)
                    return stack.enter_context(processes.services(order))

                yield place, {name: start(name) for name in (*EVERYONE, GATEWAY)}
        finally:
            loop.run(fresh.__aexit__(None, None, None))


def ingest(given: Settings, home: Path) -> list[BenchLine]:
    """CPU of a gateway per request: acknowledged by the broker before the 202."""
    with environment.around(given, home) as ground:
        return asyncio.run(_ingest(ground))


async def _ingest(ground: Ground) -> list[BenchLine]:
    async with ground.fresh() as place:
        order = Order(place, (GATEWAY,), serves=True)
        with processes.services(order) as there, http.serving(None) as bare:
            there.go()
            return await asyncio.to_thread(http.ingest_of, there, bare, "acknowledged by the broker before the 202")
