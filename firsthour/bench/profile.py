"""Profiles: embedded, the stages of a lead; distributed, the CPU time by process, function, library and statement."""

import asyncio
import re
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final

from firsthour.bench import environment, fixtures, paging
from firsthour.bench.distributed import CONSUMERS, GATEWAY, all_services
from firsthour.bench.distributed_rounds import ROUTER, SCORING, CpuWatch, DistributedBench
from firsthour.bench.lines import BenchLine, line, percentile
from firsthour.bench.paging import PagedProgram, SlackPages
from firsthour.bench.recorder import RecordedUnit, read_recording
from firsthour.bench.samples import Shares
from firsthour.bench.server_process import server_process
from firsthour.bench.slack_process import api_url, slack_process
from firsthour.bench.stages import STAGES
from firsthour.runtime.clock import HostClock
from firsthour.runtime.settings import Settings

EVENTS: Final = 20_000
SHOWN: Final = 24
PAGE_RATE: Final = 100.0
PAGE_POOL: Final = 150
PAGE_SECONDS: Final = 20.0
STAGE_RATES: Final = (20.0, 100.0)
_WHITE: Final = re.compile(r"\s+")


def pages(server_settings: Settings, home: Path) -> list[BenchLine]:
    """Return the CPU and the samples of every process while webhooks arrive one by one."""
    lines: list[BenchLine] = []
    with (
        slack_process() as slack,
        environment.bench_database(server_settings, home, ladder=paging.LADDER, reps=PAGE_POOL) as database,
        all_services(database, samples=True, slack_url=api_url(slack)) as (settings, children),
    ):
        for name, child in children.items():
            child.go([name] if name in CONSUMERS else [])
        watch = CpuWatch(settings, children)
        product = PagedProgram(children[GATEWAY].port, watch.total)
        watch.begin()
        SlackPages(slack).offer(product, PAGE_RATE, PAGE_SECONDS)
        times = watch.end(0.0)
        used = {process: seconds / (PAGE_RATE * PAGE_SECONDS) * 1e6 for process, seconds in times.cpu.items()}
        lines += [line(f"webhook to page, CPU, {process}", [us], "us/event") for process, us in used.items()]
        for name, child in children.items():
            lines += _sample_lines(f"webhook to page, {name}", child.ask("samples"), used[name])
    return lines


def stages(home: Path) -> list[BenchLine]:
    """Return the time of each stage of a lead in the embedded process, at each rate."""
    fixtures.furnish(home, ladder=paging.LADDER, reps=PAGE_POOL)
    lines: list[BenchLine] = []
    with (
        slack_process() as slack,
        server_process(home, slack_url=api_url(slack), staged=True) as process,
    ):
        product = PagedProgram(process.port, partial(process.ask, "cpu"))
        pages = SlackPages(slack)
        pages.offer(product, STAGE_RATES[0], paging.WARM_SECONDS, measured=False)
        for rate in STAGE_RATES:
            process.ask("stages")
            pages.offer(product, rate, PAGE_SECONDS)
            lines += _stage_lines(rate, process.ask("stages"))
    return lines


def _stage_lines(rate: float, seconds: dict[str, list[float]]) -> list[BenchLine]:
    lines = []
    for stage in STAGES:
        ms = [each * 1_000 for each in seconds[stage]]
        note = f"p99 {percentile(ms, 0.99):.1f} ms; {len(ms)} times"
        lines.append(line(f"at {rate:.0f}/s: {stage}", [percentile(ms, 0.5)], "ms", note=note))
    return lines


def profile(server_settings: Settings, home: Path) -> list[BenchLine]:
    """Return samples of the product, and the times of the statements of another round, sent without concurrency."""
    with environment.bench_database(server_settings, home) as database:
        return asyncio.run(_profile(DistributedBench(database, EVENTS)))


async def _profile(work: DistributedBench) -> list[BenchLine]:
    await work.real(record=True)
    samples: dict[str, Shares] = {}
    times = await work.real(samples=samples)
    lines = [line(f"CPU, {process}", [used / work.count * 1e6], "us/event") for process, used in times.cpu.items()]
    for service in (SCORING, ROUTER):
        lines += _sample_lines(service, samples[service], times.cpu[service] / work.count * 1e6)
    async with work.database.fresh() as settings:
        for service in (SCORING, ROUTER):
            lines += await _statements(settings, service, read_recording(work.file(service)).units, work)
    return lines


def _sample_lines(service: str, shares: Shares, total: float) -> list[BenchLine]:
    ours: Counter[str] = Counter()
    libraries: Counter[str] = Counter()
    below: dict[str, Counter[str]] = {}
    for (function, library), share in shares.items():
        ours[function or "the loop"] += share * total  # type: ignore[assignment]  # microseconds, not a count
        libraries[library] += share * total  # type: ignore[assignment]  # likewise
        below.setdefault(function or "the loop", Counter())[library] += share * total  # type: ignore[assignment]
    lines = [line(f"{service}, code of {name}", [us], "us/event") for name, us in libraries.most_common(SHOWN // 2)]
    for name, us in ours.most_common(SHOWN):
        note = ", ".join(f"{library} {part:.1f}" for library, part in below[name].most_common(4))
        lines.append(line(f"{service}, on behalf of {name}", [us], "us/event", note=note))
    return lines


async def _statements(
    settings: Settings, service: str, units: Sequence[RecordedUnit], work: DistributedBench
) -> list[BenchLine]:
    """Return the times of the recorded statements, sent by a bare client one after the other on one connection."""
    connection = await environment.connect(settings, **work.session)
    begins = sorted({(unit.consumer, *settings) for unit in units for settings in unit.to})
    await connection.executemany("INSERT INTO cursors VALUES ($1, $2, $3, 0)", begins)
    seconds: Counter[str] = Counter()
    sent: Counter[str] = Counter()
    clock = HostClock()
    for unit in units:
        async with connection.transaction():
            for statement, parameters in unit.sent:
                start = clock.monotonic()
                await connection.fetch(statement, *parameters)
                seconds[statement] += clock.monotonic() - start  # type: ignore[assignment]  # not a count
                sent[statement] += 1
            start = clock.monotonic()
        seconds["COMMIT"] += clock.monotonic() - start  # type: ignore[assignment]  # likewise
        sent["COMMIT"] += 1
    await connection.close()
    note = f"{len(units)} units, alone on one connection"
    lines = [line(f"{service}, statements", [sum(seconds.values()) / work.count * 1e6], "us/event", note=note)]
    for statement, total in seconds.most_common(SHOWN):
        text = _WHITE.sub(" ", statement)[:110]
        note = f"{sent[statement]} times, {total / sent[statement] * 1e6:.0f} us each"
        lines.append(line(f"{service}: {text}", [total / work.count * 1e6], "us/event", note=note))
    return lines
