"""Where the time goes on the road from a topic to an owner: by process, by function of ours, by library, by statement."""

import asyncio
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from firsthour.bench import environment, http
from firsthour.bench.distributed import EVERYONE, GATEWAY, ROUTER, SCORING, CpuWatch, DistributedBench, whole
from firsthour.bench.lines import BenchLine, line
from firsthour.bench.recorder import RecordedUnit, recorded
from firsthour.bench.samples import Spent
from firsthour.runtime.clock import HostClock
from firsthour.runtime.settings import Settings

EVENTS: Final = 20_000
SHOWN: Final = 24
PAGE_RATE: Final = 100.0
PAGE_SECONDS: Final = 20.0
_WHITE: Final = re.compile(r"\s+")


def pages(given: Settings, home: Path) -> list[BenchLine]:
    """Every process sampled while webhooks come in one by one, and the CPU that each of them used."""
    load = http.Load(PAGE_RATE, PAGE_SECONDS, 0.0)
    lines: list[BenchLine] = []
    with environment.around(given, home) as ground, whole(ground, samples=True) as (place, children):
        for name, child in children.items():
            child.go([name] if name in EVERYONE else [])
        watch = CpuWatch(place, children)
        watch.begin()
        http.pages_of(load, children[GATEWAY].port, lambda: children["notifier"].ask("told"))
        took = watch.end(0.0)
        used = {who: seconds / (PAGE_RATE * PAGE_SECONDS) * 1e6 for who, seconds in took.cpu.items()}
        lines += [line(f"webhook to page, CPU, {who}", [us], "us/event") for who, us in used.items()]
        for name, child in children.items():
            lines += _sampled(f"webhook to page, {name}", child.ask("samples"), used[name])
    return lines


def profile(given: Settings, home: Path) -> list[BenchLine]:
    """Sample the product, then send the statements of another round one after the other, without concurrency."""
    with environment.around(given, home) as ground:
        return asyncio.run(_profile(DistributedBench(ground, EVENTS)))


async def _profile(work: DistributedBench) -> list[BenchLine]:
    await work.real(record=True)
    spent: dict[str, Spent] = {}
    took = await work.real(spent=spent)
    lines = [line(f"CPU, {who}", [used / work.count * 1e6], "us/event") for who, used in took.cpu.items()]
    for service in (SCORING, ROUTER):
        lines += _sampled(service, spent[service], took.cpu[service] / work.count * 1e6)
    async with work.ground.fresh() as place:
        for service in (SCORING, ROUTER):
            lines += await _statements(place, service, recorded(work.file(service)).units, work)
    return lines


def _sampled(service: str, spent: Spent, whole: float) -> list[BenchLine]:
    ours: Counter[str] = Counter()
    libraries: Counter[str] = Counter()
    below: dict[str, Counter[str]] = {}
    for (function, library), share in spent.items():
        ours[function or "the loop"] += share * whole  # type: ignore[assignment]  # microseconds, not a count
        libraries[library] += share * whole  # type: ignore[assignment]  # likewise
        below.setdefault(function or "the loop", Counter())[library] += share * whole  # type: ignore[assignment]
    lines = [line(f"{service}, code of {name}", [us], "us/event") for name, us in libraries.most_common(SHOWN // 2)]
    for name, us in ours.most_common(SHOWN):
        note = ", ".join(f"{library} {part:.1f}" for library, part in below[name].most_common(4))
        lines.append(line(f"{service}, on behalf of {name}", [us], "us/event", note=note))
    return lines


async def _statements(
    place: Settings, service: str, units: Sequence[RecordedUnit], work: DistributedBench
) -> list[BenchLine]:
    """Each unit as recorded, all of them one after the other on one connection, as seen by a bare client."""
    connection = await environment.connect(place, **work.session)
    begins = sorted({(unit.consumer, *place) for unit in units for place in unit.to})
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
    for statement, took in seconds.most_common(SHOWN):
        text = _WHITE.sub(" ", statement)[:110]
        note = f"{sent[statement]} times, {took / sent[statement] * 1e6:.0f} us each"
        lines.append(line(f"{service}: {text}", [took / work.count * 1e6], "us/event", note=note))
    return lines
