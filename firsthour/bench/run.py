"""`firsthour bench`: measures this machine against the goals, in about three minutes; `--full` takes longer ones.

Each measurement runs in a process of its own, so that none pays for what another left behind. Ratios are taken within
one run; absolute figures say something about this machine only.
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

from firsthour.bench import distributed as bench_distributed
from firsthour.bench import distributed_scale, environment, http, pipeline, rules, scale
from firsthour.bench import profile as bench_profile
from firsthour.bench.lines import BenchLine
from firsthour.runtime import settings
from firsthour.runtime.clock import HostClock
from firsthour.runtime.settings import Settings, SettingsError
from firsthour.runtime.version import VERSION

LOOK_SECONDS: Final = 0.2
WIDTH_IN_A_FILE: Final = 140


class Measurement(NamedTuple):
    """What is measured, about how long it takes, and what gives its lines in a directory of its own."""

    title: str
    seconds: float
    measure: Callable[[Path], list[BenchLine]]


class BenchResult(msgspec.Struct, frozen=True):
    """What a run found, as written by `--json`."""

    version: str
    python: str
    platform: str
    lines: list[BenchLine]
    over: str = ""  # broker and database, where there are any
    cores: int = 0

    @property
    def missed(self) -> list[BenchLine]:
        return [line for line in self.lines if line.ok is False]


def measurements(*, full: bool) -> list[Measurement]:
    """Of the embedded profile, in the order they are made."""
    many = scale.MANY_FULL if full else scale.MANY
    latency = http.pages
    quick = [
        Measurement("Rules", 3, _rules),
        Measurement("From the log to an owner", 40, pipeline.ratio),
        Measurement("From webhook to page", 34, partial(latency, rate=100, seconds=60 if full else 20)),
        Measurement("HTTP", 30, http.ingest),
        Measurement("Many leads stored", many / 4_000, partial(scale.growth, many=many)),
    ]
    if not full:
        return quick
    return [
        *quick,
        Measurement("From webhook to page, 400/s", 74, partial(latency, rate=400, seconds=60)),
        Measurement("Sustained", 300, pipeline.sustained),
        Measurement("Many timers", 240, scale.timers),
    ]


def distributed(given: Settings, *, full: bool) -> list[Measurement]:
    """Of the distributed profile, in the order they are made."""
    many = scale.MANY_FULL if full else scale.MANY
    warm = bench_distributed.WARM_SECONDS_FULL if full else bench_distributed.WARM_SECONDS
    page = partial(bench_distributed.pages, given, rate=100, seconds=60 if full else 20, warm=warm)
    quick = [
        Measurement(
            "From a topic to an owner",
            240 if full else 120,
            partial(bench_distributed.ratio, given, full=full),
        ),
        Measurement("From webhook to page", 150 if full else 45, page),
        Measurement("HTTP", 40, partial(bench_distributed.ingest, given)),
        Measurement(
            "One router and two",
            200 if full else 80,
            partial(distributed_scale.backlog, given, full=full),
        ),
        Measurement("Many leads stored", many / 2_500, partial(distributed_scale.growth, given, many=many)),
    ]
    if not full:
        return quick
    return [
        *quick,
        Measurement("Sustained", 300, partial(bench_distributed.sustained, given)),
        Measurement("Many timers", 200, partial(distributed_scale.timers, given)),
    ]


def profiled(given: Settings) -> list[Measurement]:
    """Where the time goes, on both roads."""
    return [
        Measurement("Profile, from a topic to an owner", 60, partial(bench_profile.profile, given)),
        Measurement("Profile, from webhook to page", 40, partial(bench_profile.pages, given)),
    ]


def _rules(home: Path) -> list[BenchLine]:
    return rules.rules()


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
    """The exit code: 0, or with `strict` 1 when a goal was missed. `json`: a file to write to, `-` for standard output,
    which then holds nothing else. `directory`: on whose disk to measure (default: the one for temporary files). `only`: part
    of the titles of what to measure.

    Over Kafka and PostgreSQL where the settings name them; there, `profile` says where the time goes instead.
    """
    given = settings.load()
    if profile and not given.distributed:
        raise SettingsError(
            ("FIRSTHOUR_DATABASE_URL, FIRSTHOUR_KAFKA_BOOTSTRAP: --profile is of that profile; set both",)
        )
    screen = Console(stderr=True) if json == "-" else console or Console()
    if not screen.is_terminal:
        screen.width = max(screen.width, WIDTH_IN_A_FILE)  # no window to fit, and the verdict is the last column
    over = asyncio.run(environment.found(given)) if given.distributed else ""
    if not given.distributed:
        todo = measurements(full=full)
    else:
        todo = profiled(given) if profile else distributed(given, full=full)
    titles = [one.title for one in todo]
    todo = [one for one in todo if only is None or only.lower() in one.title.lower()]
    if not todo:
        raise SettingsError((f"--only {only}: nothing is called so; there are: {', '.join(titles)}",))
    with tempfile.TemporaryDirectory(prefix="firsthour-bench-", dir=directory) as home:
        lines = _measure(todo, Path(home), screen)
    result = BenchResult(VERSION, platform.python_version(), platform.platform(), lines, over, os.cpu_count() or 0)
    screen.print(table(result))
    if json is not None:
        written = msgspec.json.format(msgspec.json.encode(result)).decode()
        if json == "-":
            print(written)
        else:
            Path(json).write_text(written + "\n", encoding="utf-8")
    return 1 if strict and result.missed else 0


def _measure(todo: Sequence[Measurement], home: Path, screen: Console) -> list[BenchLine]:
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
            lines += measured.result()
            done += one.seconds
    return lines


def _watch(measured: Future[list[BenchLine]], expected_seconds: float, advance: Callable[[float], None]) -> None:
    """Move the bar with time, up to what was expected."""
    clock = HostClock()
    start = last = clock.monotonic()
    while not wait([measured], timeout=LOOK_SECONDS).done:
        now = clock.monotonic()
        if now - start < expected_seconds:
            advance(now - last)
        last = now


def table(result: BenchResult) -> Table:
    """For people."""
    parts = (
        f"FirstHour {result.version}",
        f"Python {result.python}",
        result.over or "embedded",
        f"{result.cores} cores",
    )
    shown = Table(title=", ".join(parts), title_justify="left", header_style="bold")
    shown.add_column("What", min_width=34)
    shown.add_column("Measured", justify="right")
    shown.add_column("Unit")
    shown.add_column("Spread", justify="right", style="dim")
    shown.add_column("Goal", justify="right")
    shown.add_column("")
    for line in result.lines:
        spread = "{:,g} to {:,g}".format(*line.spread) if line.spread else ""
        verdict = {True: "[green]reached[/]", False: "[red]missed[/]", None: ""}[line.ok]
        goal = "" if line.goal is None else f"{line.goal:g}"
        what = f"{line.name}\n[dim]{line.note}[/]" if line.note else line.name
        shown.add_row(what, f"{line.value:,g}", line.unit, spread, goal, verdict)
    return shown
