"""The real path: from the scheduled moment of a webhook over HTTP to its message at a stand-in for Slack, over HTTP.

Product, minimum program, stand-in and client have a process each. Product and minimum program are measured in turn, and the
ratios are those of one round. A person gets one message a second, so no rate is above one lead a second for each rep.
"""

import random
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import accumulate, count
from pathlib import Path
from signal import SIGINT
from time import sleep
from typing import Final, NamedTuple

from firsthour.bench import fixtures, systems
from firsthour.bench.fixtures import furnish
from firsthour.bench.http_client import OpenLoop, closed_loop
from firsthour.bench.lines import BenchLine, line, percentile
from firsthour.bench.minimum import minimum_process
from firsthour.bench.server_process import ServerProcess, server_process
from firsthour.bench.slack_process import api_url, slack_process
from firsthour.runtime.clock import HostClock

LADDER: Final = ({"at": "0m", "page": "owner", "by": ["slack"]},)
ROUNDS: Final = 3
WARM_SECONDS: Final = 3.0
REST_SECONDS: Final = 1.5
"""The time in which a program finishes what it does after the last page, such as its reports."""
LOOK_SECONDS: Final = 0.05
QUIET_SECONDS: Final = 10.0
"""How long no page may arrive before the rest counts as missing."""
MOST_LEADS: Final = 2_000
MOST_POOL: Final = 400
SYNC_RATE: Final = 2.0
SYNC_SECONDS: Final = 10.0
_CALLS: Final = re.compile(r"^\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+).*\b(?:fdatasync|fsync)\b", re.MULTILINE)


class PagingGoals(NamedTuple):
    """Multiples of the minimum program, or milliseconds."""

    p50: float
    p99: float
    cpu: float | None = None


GOALS: Final = {(150, 20): PagingGoals(2.5, 3.0, 3.0), (150, 100): PagingGoals(3.0, 4.0)}
"""Multiples, by pool and rate: the embedded profile."""
GOALS_MS: Final = {(150, 20): PagingGoals(12.0, 40.0), (150, 100): PagingGoals(20.0, 80.0)}
"""Milliseconds, by pool and rate: the distributed profile, whose services share two cores."""


@dataclass(frozen=True)
class Load:
    """Poisson arrivals at `rate` per second for `seconds` a round, to a pool of this size."""

    pool: int
    rate: float
    seconds: float

    @property
    def name(self) -> str:
        return f"at {self.rate:.0f}/s, pool of {self.pool:,}"

    @property
    def key(self) -> tuple[int, int]:
        """Pool and rate, as the goals are named."""
        return self.pool, int(self.rate)


@dataclass
class PagedProgram:
    """A program, and what was measured of it in each round. Times are milliseconds; CPU is that of a lead."""

    port: int
    cpu: Callable[[], float]
    page: list[list[float]] = field(default_factory=list)
    acked: list[list[float]] = field(default_factory=list)
    cpu_ms: list[float] = field(default_factory=list)
    late: list[list[float]] = field(default_factory=list)  # of the client: when requests were sent after their time
    missing: int = 0


class SlackPages:
    """Sends webhooks with numbers that no other has, and waits for their messages at the stand-in."""

    def __init__(self, slack: ServerProcess) -> None:
        self._slack = slack
        self._numbers = count()
        self._chance = random.Random(11)

    def offer(self, program: PagedProgram, rate: float, seconds: float, *, measured: bool = True) -> None:
        """Offer the load once."""
        clock, total = HostClock(), max(1, int(rate * seconds))
        numbers, requests = self._hooks(total)
        sleep(REST_SECONDS)
        before, start = program.cpu(), clock.monotonic() + 0.5
        at = [start + gap for gap in accumulate(self._chance.expovariate(rate) for _ in range(total))]
        sent = OpenLoop(requests, at)
        systems.run(sent.send(program.port))
        first = self.wait(numbers)
        used = program.cpu() - before
        if not measured:
            return
        paged = [(number, moment) for number, moment in zip(numbers, at, strict=True) if number in first]
        program.missing += total - len(paged)
        program.page.append([(first[number] - moment) * 1_000 for number, moment in paged] or [float("inf")])
        program.acked.append([(sent.acked[n] - moment) * 1_000 for n, moment in enumerate(at)])
        program.cpu_ms.append(used / total * 1_000)
        program.late.append([seconds * 1_000 for seconds in sent.late])

    def most(self, program: PagedProgram, total: int) -> float:
        """Return the leads a second, from the first webhook to the last message, if each connection sends as fast as it can."""
        numbers, requests = self._hooks(total)
        start = HostClock().monotonic()
        systems.run(closed_loop(program.port, requests))
        first = self.wait(numbers)
        return len(first) / (max(first.values()) - start)

    def _hooks(self, total: int) -> tuple[list[int], list[bytes]]:
        numbers = [next(self._numbers) for _ in range(total)]
        return numbers, [fixtures.hook_request(number)[1] for number in numbers]

    def wait(self, numbers: Sequence[int]) -> dict[int, float]:
        """Return the second of the first message about each of these leads, once all have one or no more arrive."""
        clock, wanted = HostClock(), set(numbers)
        arrived, since = -1, clock.monotonic()
        while True:
            first = {number: at for number, at in self._slack.ask("pages").items() if number in wanted}
            if len(first) == len(wanted):
                return first
            if len(first) != arrived:
                arrived, since = len(first), clock.monotonic()
            elif clock.monotonic() - since > QUIET_SECONDS:
                return first
            sleep(LOOK_SECONDS)


@contextmanager
def _both(home: Path, pool: int) -> Iterator[tuple[SlackPages, PagedProgram, PagedProgram, ServerProcess]]:
    """Run the stand-in, the product and the minimum program with a pool of this size."""
    furnish(home, ladder=LADDER, reps=pool)
    with (
        slack_process() as slack,
        server_process(home, slack_url=api_url(slack)) as product,
        minimum_process(home, pool, slack.port) as least,
    ):
        programs = [PagedProgram(one.port, partial(one.ask, "cpu")) for one in (product, least)]
        yield SlackPages(slack), programs[0], programs[1], product


def pages(home: Path, *, load: Load) -> list[BenchLine]:
    """Return the time from a webhook to its message, and the CPU of a lead, of the product and as multiples of the minimum."""
    with _both(home, load.pool) as (slack, product, least, _):
        measure(slack, load, product, least, WARM_SECONDS)
    return page_lines(load, product, least, GOALS.get(load.key), None)


def measure(slack: SlackPages, load: Load, product: PagedProgram, least: PagedProgram, warm: float) -> None:
    """Offer the load to both in turn, after `warm` seconds that are not measured."""
    for program in (least, product):
        slack.offer(program, load.rate, warm, measured=False)
    for _ in range(ROUNDS):
        for program in (least, product):
            slack.offer(program, load.rate, load.seconds)


def page_lines(
    load: Load, product: PagedProgram, least: PagedProgram, goals: PagingGoals | None, goals_ms: PagingGoals | None
) -> list[BenchLine]:
    """Return the lines of the product beside the minimum program. `goals`: multiples of it; `goals_ms`: milliseconds."""
    name = f"form to Slack {load.name}"
    note = f"{sum(map(len, product.page)):,} pages in {len(product.page)} rounds"
    note += f", {product.missing} missing" if product.missing else ""
    lateness = [percentile(times, 0.99) for times in product.late]
    late_note = f"the client sent late by {max(lateness):.1f} ms (p99)" if lateness else ""
    lines = []
    for n, (share, text) in enumerate(((0.50, "p50"), (0.99, "p99"))):
        ours, theirs = ([percentile(times, share) for times in one.page] for one in (product, least))
        ratios = [mine / minimum for mine, minimum in zip(ours, theirs, strict=True)]
        lines += [
            line(f"{name}, {text}", ours, "ms", goal=goals_ms[n] if goals_ms else None, note=late_note if n else note),
            line(f"{name}, {text}, of the minimum program", ratios, "times", goal=goals[n] if goals else None),
        ]
    lines.append(line(f"form to 202 {load.name}, p99", [percentile(times, 0.99) for times in product.acked], "ms"))
    cpu = [mine / minimum for mine, minimum in zip(product.cpu_ms, least.cpu_ms, strict=True)]
    name = f"CPU of a lead {load.name}"
    return [
        *lines,
        line(name, product.cpu_ms, "ms"),
        line(f"{name}, of the minimum program", cpu, "times", goal=goals.cpu if goals else None),
    ]


def most(home: Path) -> list[BenchLine]:
    """Return the most leads a second that are all paged, and the disk and the fdatasync calls of a lead."""
    with _both(home, MOST_POOL) as (slack, product, least, process):
        syncs = _syncs(slack, product, process)
        ours, theirs = [], []
        for program in (least, product):
            slack.offer(program, 20, WARM_SECONDS, measured=False)
        for _ in range(ROUNDS):
            theirs.append(slack.most(least, MOST_LEADS))
            ours.append(slack.most(product, MOST_LEADS))
    ratios = [mine / minimum for mine, minimum in zip(ours, theirs, strict=True)]
    note = f"pool of {MOST_POOL}; {MOST_LEADS:,} leads a round"
    return [
        line("most leads, every one paged", ours, "leads/s", note=note),
        line("most leads, of the minimum program", ratios, "times", goal=0.5, better="higher"),
        *syncs,
    ]


def _syncs(slack: SlackPages, product: PagedProgram, process: ServerProcess) -> list[BenchLine]:
    """Return the line of the calls that wait for the disk. They are counted by `strace`, if it is installed and permitted."""
    if shutil.which("strace") is None:
        return []
    command = ["strace", "-f", "-c", "-e", "trace=fdatasync,fsync", "-p", str(process.ask("pid"))]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as trace:  # noqa: S603  # our own process id
        sleep(1.0)
        slack.offer(product, SYNC_RATE, SYNC_SECONDS)
        trace.send_signal(SIGINT)
        report = trace.communicate()[1]
    calls = sum(int(number) for number in _CALLS.findall(report))
    if not calls:
        return []
    number = calls / int(SYNC_RATE * SYNC_SECONDS)
    return [line(f"fdatasync calls of a lead at {SYNC_RATE:.0f}/s", [number], "calls", goal=4.0)]
