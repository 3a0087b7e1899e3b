"""`firsthour bench`: measures this machine against the goals, in about six minutes; `--full` measures for longer.

Each measurement runs in a process of its own, so that none is affected by an earlier one. Ratios are within one run; absolute
figures depend on the machine.
"""

import asyncio
import multiprocessing
import os
import platform
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, wait
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from firsthour.bench import console as bench_console
from firsthour.bench import distributed as bench_distributed
from firsthour.bench import (
    distributed_scale,
    distributed_timers,
    environment,
    funnel,
    http,
    lead_disk,
    paging,
    pipeline,
    rules,
    scale,
    search,
    team_size,
    timers,
    working_time,
)
from firsthour.bench import profile as bench_profile
from firsthour.bench.lines import BenchLine
from firsthour.bench.paging import Load
from firsthour.runtime import settings
from firsthour.runtime.clock import HostClock
from firsthour.runtime.settings import Settings, SettingsError
from firsthour.runtime.version import VERSION

LOOK_SECONDS: Final = 0.2
WIDTH_IN_A_FILE: Final = 140
LOADS: Final = (Load(150, 20, 5), Load(150, 100, 5))
LOADS_FULL: Final = (Load(12, 5, 10), Load(1_000, 20, 10), Load(1_000, 100, 10), Load(1_000, 200, 10))


class Measurement(NamedTuple):
    """A title, about how long it takes, and the function that returns its lines. It gets a directory of its own."""

    title: str
    seconds: float
    measure: Callable[[Path], list[BenchLine]]


class BenchResult(msgspec.Struct, frozen=True):
    """The result of a run, as written by `--json`."""

    version: str
    python: str
    platform: str
    lines: list[BenchLine]
    over: str = ""  # broker and database. Empty: embedded
    cores: int = 0

    @property
    def missed(self) -> list[BenchLine]:
        return [line for line in self.lines if line.ok is False]


def measurements(*, full: bool) -> list[Measurement]:
    """Return the measurements of the embedded profile, in their order."""
    many = scale.MANY_FULL if full else scale.MANY
    quick = [
        Measurement("Rules", 3, _rules),
        Measurement("Working time", 1, _working_time),
        Measurement("From the log to an owner", 40, pipeline.ratio),
        *[_pages(load) for load in LOADS],
        Measurement("HTTP", 30, http.ingest),
        Measurement("Console", 75, bench_console.console),
        Measurement("Many timers", 15, timers.timers),
        Measurement("Disk of a lead", 50, lead_disk.disk),
        Measurement("Many leads stored", many / 4_000, partial(scale.growth, many=many)),
    ]
    if not full:
        return [*quick, Measurement("Funnel", 25, funnel.funnel), Measurement("Search", 30, search.search)]
    return [
        *quick,
        Measurement("Funnel", 240, partial(funnel.funnel, leads=funnel.LEADS_FULL)),
        Measurement("Search", 240, partial(search.search, leads=search.LEADS_FULL)),
        *[_pages(load) for load in LOADS_FULL],
        Measurement("Most leads", 90, paging.most),
        Measurement("Size of the team", 110, team_size.team_size),
        Measurement("Sustained", 300, pipeline.sustained),
        Measurement("Idle", 160, timers.idle),
    ]


def _pages(load: Load) -> Measurement:
    return Measurement(f"From form to Slack {load.name}", 7 * load.seconds + 20, partial(paging.pages, load=load))


def distributed(server_settings: Settings, *, full: bool) -> list[Measurement]:
    """Return the measurements of the distributed profile, in their order."""
    many = scale.MANY_FULL if full else scale.MANY
    warm = bench_distributed.WARM_SECONDS_FULL if full else bench_distributed.WARM_SECONDS
    loads = (*LOADS, *(LOADS_FULL if full else ()))
    quick = [
        Measurement(
            "From a topic to an owner",
            240 if full else 120,
            partial(bench_distributed.ratio, server_settings, full=full),
        ),
        *[
            Measurement(
                f"From form to Slack {load.name}",
                7 * load.seconds + 2 * warm + 25,
                partial(bench_distributed.pages, server_settings, load=load, warm=warm),
            )
            for load in loads
        ],
        Measurement("HTTP", 40, partial(bench_distributed.ingest, server_settings)),
        Measurement(
            "One router and two",
            200 if full else 80,
            partial(distributed_scale.backlog, server_settings, full=full),
        ),
        Measurement("Many timers", 35, partial(distributed_timers.timers, server_settings)),
        Measurement("Many leads stored", many / 2_500, partial(distributed_scale.growth, server_settings, many=many)),
        Measurement(
            "Search",
            400 if full else 60,
            partial(search.distributed_search, server_settings, leads=search.LEADS_FULL if full else search.LEADS),
        ),
    ]
    if not full:
        return quick
    return [
        *quick,
        Measurement("Sustained", 300, partial(bench_distributed.sustained, server_settings)),
        Measurement("Idle", 190, partial(distributed_timers.idle, server_settings)),
    ]


def profiled(server_settings: Settings) -> list[Measurement]:
    """Return the measurements of `--profile`."""
    if not server_settings.distributed:
        return [Measurement("Profile, from form to Slack", 55, bench_profile.stages)]
    return [
        Measurement("Profile, from a topic to an owner", 60, partial(bench_profile.profile, server_settings)),
        Measurement("Profile, from webhook to page", 40, partial(bench_profile.pages, server_settings)),
    ]


def _rules(home: Path) -> list[BenchLine]:
    return rules.rules()


def _working_time(home: Path) -> list[BenchLine]:
    return working_time.working_time()


def run(
    *,
    full: bool = False,
    only: str | None = None,
    json: str | None = None,
    strict: bool = False,
    profile: bool = False,
    console: Console | None = None,
    directory: Path | None = None,
) -> int:
    """Measure over Kafka and PostgreSQL if the settings name them, else the embedded profile.

    Args:
        full: measure for longer.
        only: measure only the titles that contain this text.
        json: a file for the result. `-`: standard output, which then contains nothing else.
        strict: a missed goal is a failure.
        profile: measure where the time is spent instead.
        console: the output of the table. None: standard output.
        directory: on the disk to measure. None: that of temporary files.

    Returns:
        The exit code: 1 for a missed goal with `strict`, else 0.

    Raises:
        SettingsError: no title contains `only`.
    """
    server_settings = settings.load()
    screen = Console(stderr=True) if json == "-" else console or Console()
    if not screen.is_terminal:
        # No window limits the width, and the verdict is the last column.
        screen.width = max(screen.width, WIDTH_IN_A_FILE)
    over = asyncio.run(environment.server_releases(server_settings)) if server_settings.distributed else ""
    if profile:
        todo = profiled(server_settings)
    else:
        todo = distributed(server_settings, full=full) if server_settings.distributed else measurements(full=full)
    titles = [one.title for one in todo]
    todo = [measurement for measurement in todo if only is None or only.lower() in measurement.title.lower()]
    if not todo:
        raise SettingsError((f"--only {only}: no title contains this; name a part of one: {', '.join(titles)}",))
    with tempfile.TemporaryDirectory(prefix="firsthour-bench-", dir=directory) as home:
        lines = _run_measurements(todo, Path(home), screen)
    result = BenchResult(VERSION, platform.python_version(), platform.platform(), lines, over, os.cpu_count() or 0)
    screen.print(table(result))
    if json is not None:
        text = msgspec.json.format(msgspec.json.encode(result)).decode()
        if json == "-":
            print(text)
        else:
            Path(json).write_text(text + "\n", encoding="utf-8")
    return 1 if strict and result.missed else 0


def _run_measurements(todo: Sequence[Measurement], home: Path, screen: Console) -> list[BenchLine]:
    lines: list[BenchLine] = []
    spawn = multiprocessing.get_context("spawn")
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with (
        Progress(*columns, console=screen, transient=True) as progress,
        ProcessPoolExecutor(1, mp_context=spawn, max_tasks_per_child=1) as processes,
    ):
        task = progress.add_task("", total=sum(one.seconds for one in todo))
        done = 0.0
        for number, one in enumerate(todo):
            progress.update(task, description=f"{one.title} ({number + 1} of {len(todo)})", completed=done)
            measured = processes.submit(one.measure, home / str(number))
            _watch(measured, one.seconds, partial(progress.advance, task))
            for found in measured.result():
                screen.print(summary(found), style="dim", highlight=False)
                lines.append(found)
            done += one.seconds
    return lines


def _watch(measured: Future[list[BenchLine]], expected_seconds: float, advance: Callable[[float], None]) -> None:
    """Move the bar with time, up to the expected seconds."""
    clock = HostClock()
    start = last = clock.monotonic()
    while not wait([measured], timeout=LOOK_SECONDS).done:
        now = clock.monotonic()
        if now - start < expected_seconds:
            advance(now - last)
        last = now


def summary(found: BenchLine) -> str:
    """Return a line in one sentence. It is printed at once, because a whole run takes long and can be interrupted."""
    verdict = {True: ", reached", False: ", missed", None: ""}[found.ok]
    goal = "" if found.goal is None else f" (goal {found.goal:g}{verdict})"
    return f"{found.name}: {found.value:,g} {found.unit}{goal}"


def table(result: BenchResult) -> Table:
    """Return the result as a table for people."""
    parts = (
        f"FirstHour {result.version}",
        f"Python {result.python}",
        result.over or "embedded",
        f"{result.cores} cores",
    )
    rows = Table(title=", ".join(parts), title_justify="left", header_style="bold")
    rows.add_column("Line", min_width=34)
    rows.add_column("Measured", justify="right")
    rows.add_column("Unit")
    rows.add_column("Spread", justify="right", style="dim")
    rows.add_column("Goal", justify="right")
    rows.add_column("")
    for line in result.lines:
        spread = "{:,g} to {:,g}".format(*line.spread) if line.spread else ""
        verdict = {True: "[green]reached[/]", False: "[red]missed[/]", None: ""}[line.ok]
        goal = "" if line.goal is None else f"{line.goal:g}"
        name = f"{line.name}\n[dim]{line.note}[/]" if line.note else line.name
        rows.add_row(name, f"{line.value:,g}", line.unit, spread, goal, verdict)
    return rows
