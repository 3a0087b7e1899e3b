"""Measures the distributed profile against its goals: topic to owner, webhook to page, and CPU per HTTP request.

Client processes, broker and database share this machine, so a ratio within one run is more reliable than a rate.
"""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Final

from firsthour.bench import environment, http, paging, processes
from firsthour.bench.distributed_rounds import ROUTER, SCORING, CpuWatch, DistributedBench, DistributedTimes
from firsthour.bench.environment import BenchDatabase
from firsthour.bench.lines import BenchLine, line
from firsthour.bench.minimum import minimum_process
from firsthour.bench.paging import Load, PagedProgram, SlackPages
from firsthour.bench.processes import ProcessOrder, ServiceProcess
from firsthour.bench.server_process import server_process
from firsthour.bench.slack_process import api_url, slack_process
from firsthour.runtime.settings import Settings

ROUNDS: Final = 3
ROUNDS_FULL: Final = 5
EVENTS: Final = 20_000
EVENTS_FULL: Final = 40_000
SUSTAINED_SECONDS: Final = 60
GOAL: Final = 0.70
WARM_SECONDS: Final = 8.0
WARM_SECONDS_FULL: Final = 60.0
GATEWAY: Final = "gateway"
CONSUMERS: Final = (SCORING, ROUTER, "notifier", "reporting")


# --- from a topic to an owner -----------------------------------------------------------------------------------------


def ratio(server_settings: Settings, home: Path, *, full: bool) -> list[BenchLine]:
    """Return the speed of the product as a share of the bare loop's. Rounds of the two alternate."""
    rounds, count = (ROUNDS_FULL, EVENTS_FULL) if full else (ROUNDS, EVENTS)
    with environment.bench_database(server_settings, home) as database:
        return asyncio.run(_ratio(DistributedBench(database, count), rounds))


async def _ratio(work: DistributedBench, rounds: int) -> list[BenchLine]:
    await work.real(record=True)
    bare, real = [], []
    for _ in range(rounds):
        bare.append(await work.bare())
        real.append(await work.real())
    note = f"{work.count:,} events, {rounds} alternating rounds, scoring and router in a process each"
    pairs = list(zip(bare, real, strict=True))
    ratios = [loop.wall / product.wall for loop, product in pairs]
    cpu_ratios = [loop.total_cpu / product.total_cpu for loop, product in pairs]
    return [
        line("topic to owner, of the bare loop", ratios, "ratio", goal=GOAL, better="higher", note=note),
        line("topic to owner, of the CPU of the bare loop", cpu_ratios, "ratio"),
        line("topic to owner", [work.count / times.wall for times in real], "events/s"),
        line("bare loop", [work.count / times.wall for times in bare], "events/s"),
        *_cpu_lines("topic to owner, CPU", real, work.count),
        *_cpu_lines("bare loop, CPU", bare, work.count),
    ]


def _cpu_lines(name: str, rounds: Sequence[DistributedTimes], count: int) -> list[BenchLine]:
    parts = {process: [times.cpu[process] / count * 1e6 for times in rounds] for process in rounds[0].cpu}
    total = line(name, [times.total_cpu / count * 1e6 for times in rounds], "us/event")
    return [total, *(line(f"{name}, of {process}", values, "us/event") for process, values in parts.items())]


def sustained(server_settings: Settings, home: Path) -> list[BenchLine]:
    """Return the same ratio over one long round of the product and one of the bare loop."""
    with environment.bench_database(server_settings, home) as database:
        return asyncio.run(_sustained(DistributedBench(database, EVENTS)))


async def _sustained(work: DistributedBench) -> list[BenchLine]:
    first = await work.real()
    work.count = int(work.count / first.wall * SUSTAINED_SECONDS * 1.1) // 1_000 * 1_000
    await work.real(record=True)
    real, bare = await work.real(), await work.bare()
    note = f"{work.count:,} events in {real.wall:.0f} s"
    name = "sustained, topic to owner"
    return [
        line(f"{name}, of the bare loop", [bare.wall / real.wall], "ratio", goal=GOAL, better="higher", note=note),
        line(name, [work.count / real.wall], "events/s"),
    ]


# --- HTTP -------------------------------------------------------------------------------------------------------------


def pages(server_settings: Settings, home: Path, *, load: Load, warm: float) -> list[BenchLine]:
    """Return the time from a webhook to its message in Slack, with each service in its own process."""
    with (
        slack_process() as slack,
        environment.bench_database(server_settings, home, ladder=paging.LADDER, reps=load.pool) as database,
        all_services(database, slack_url=api_url(slack)) as (settings, children),
        minimum_process(home, load.pool, slack.port) as least_process,
    ):
        for name, child in children.items():
            child.go([name] if name in CONSUMERS else [])
        watch = CpuWatch(settings, children)
        product = PagedProgram(children[GATEWAY].port, watch.total)
        least = PagedProgram(least_process.port, partial(least_process.ask, "cpu"))
        paging.measure(SlackPages(slack), load, product, least, warm)
    return paging.page_lines(load, product, least, None, paging.GOALS_MS.get(load.key))


@contextmanager
def all_services(
    database: BenchDatabase, *, samples: bool = False, slack_url: str | None = None
) -> Iterator[tuple[Settings, dict[str, ServiceProcess]]]:
    """Open each service in its own process. The processes wait for `go`."""
    fresh = database.fresh()
    with asyncio.Runner() as loop:
        settings = loop.run(fresh.__aenter__())
        try:
            with ExitStack() as stack:

                def start(name: str) -> ServiceProcess:
                    own = settings.model_copy(update={"data_dir": settings.data_dir / name})
                    order = ProcessOrder(own, (name,), serves=name == GATEWAY, samples=samples, slack_url=slack_url)
                    return stack.enter_context(processes.service_process(order))

                yield settings, {name: start(name) for name in (*CONSUMERS, GATEWAY)}
        finally:
            loop.run(fresh.__aexit__(None, None, None))


def ingest(server_settings: Settings, home: Path) -> list[BenchLine]:
    """Return the CPU of a gateway per request. The broker acknowledges each event before the 202."""
    with environment.bench_database(server_settings, home) as database:
        return asyncio.run(_ingest(database))


async def _ingest(database: BenchDatabase) -> list[BenchLine]:
    async with database.fresh() as settings:
        order = ProcessOrder(settings, (GATEWAY,), serves=True)
        with processes.service_process(order) as gateway, server_process(None) as bare:
            gateway.go()
            note = "acknowledged by the broker before the 202"
            return await asyncio.to_thread(http.measure_ingest, gateway, bare, note)
