"""HTTP measured by a client: the time from a webhook to its page, and the CPU of the server per request."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from time import sleep
from typing import Final

from firsthour.bench import fixtures, systems
from firsthour.bench.fixtures import furnish
from firsthour.bench.http_client import LAST_PAGE_SECONDS, OpenLoop, closed_loop
from firsthour.bench.lines import BenchLine, line, percentile
from firsthour.bench.server_process import ServerProcess, server_process
from firsthour.runtime.clock import HostClock

REQUESTS: Final = 12_000
WARM_REQUESTS: Final = 2_000
BATCH: Final = 50
ROUNDS: Final = 3
CPU_GOAL_US: Final = 90.0
PAGE_GOALS_MS: Final = (5.0, 12.0)  # p50, p99
WARM_SECONDS: Final = 5.0

PagesSoFar = Callable[[], list[tuple[str, float]]]
"""Returns the address and the monotonic second of every page so far."""


@dataclass(frozen=True)
class Load:
    """Poisson arrivals at `rate` per second for `seconds`, after a warm-up of `warm` seconds. `goals`: p50, p99."""

    rate: float
    seconds: float
    warm: float = WARM_SECONDS
    goals: tuple[float, float] | None = None


def pages(home: Path, rate: float, seconds: float) -> list[BenchLine]:
    """Return the time from a webhook to the call of the channel."""
    load = Load(rate, seconds, goals=PAGE_GOALS_MS if rate == 100 else None)
    with server_process(furnish(home)) as server:
        return measure_pages(load, server.port, lambda: server.ask("pages"))


def measure_pages(load: Load, port: int, pages_so_far: PagesSoFar, note: str = "") -> list[BenchLine]:
    """Return the time from the scheduled moment of a webhook to its page, and to its 202."""
    chance = random.Random(11)
    total = int(load.rate * (load.warm + load.seconds))
    hooks = [fixtures.hook_request(number) for number in range(total)]
    start = HostClock().monotonic() + 0.5
    at = [start + gap for gap in accumulate(chance.expovariate(load.rate) for _ in range(total))]
    requests = OpenLoop([request for _, request in hooks], at)
    systems.run(requests.send(port))
    first = dict(reversed(_wait_for_pages(pages_so_far, total)))  # the first page of each address
    counted = [n for n in range(total) if at[n] >= start + load.warm]
    lost = sum(1 for n in counted if hooks[n][0] not in first)
    page = [(first[hooks[n][0]] - at[n]) * 1000 for n in counted if hooks[n][0] in first]
    ack = [(requests.acked[n] - at[n]) * 1000 for n in counted]
    goals = load.goals or (None, None)
    name = f"webhook to page at {load.rate:.0f}/s"
    notes = [f"{len(page):,} pages", *([f"{lost} missing"] if lost else []), *([note] if note else [])]
    return [
        line(f"{name}, p50", [percentile(page, 0.50)], "ms", goal=goals[0], note=", ".join(notes)),
        line(f"{name}, p99", [percentile(page, 0.99)], "ms", goal=goals[1]),
        line(f"webhook to 202 at {load.rate:.0f}/s, p50", [percentile(ack, 0.50)], "ms"),
        line(f"webhook to 202 at {load.rate:.0f}/s, p99", [percentile(ack, 0.99)], "ms"),
    ]


def _wait_for_pages(pages_so_far: PagesSoFar, count: int) -> list[tuple[str, float]]:
    clock = HostClock()
    end = clock.monotonic() + LAST_PAGE_SECONDS
    sent = pages_so_far()
    while len(sent) < count and clock.monotonic() < end:
        sleep(0.1)
        sent = pages_so_far()
    return sent


def ingest(home: Path) -> list[BenchLine]:
    """Return the CPU of the server per request, with the durable commit, and of a bare application on the same server."""
    with server_process(furnish(home), ("gateway",)) as server, server_process(None) as bare:
        return measure_ingest(server, bare, "durable before the 202")


def measure_ingest(server: ServerProcess, bare: ServerProcess, note: str) -> list[BenchLine]:
    """Return the CPU per request of a server, and of the bare one."""
    first = iter(range(0, 10_000_000, REQUESTS))

    def singles() -> list[bytes]:
        start = next(first)
        return [fixtures.event_request(n) for n in range(start, start + REQUESTS)]

    def batches() -> list[bytes]:
        start = next(first)
        return [fixtures.batch_request(n, BATCH) for n in range(start, start + REQUESTS // BATCH)]

    def hooks() -> list[bytes]:
        start = next(first)
        return [fixtures.hook_request(n)[1] for n in range(start, start + REQUESTS)]

    for warm in (server, bare):
        _cpu_per_request(warm, singles()[:WARM_REQUESTS])
    single, alone, hook, batch = [], [], [], []
    for _ in range(ROUNDS):
        alone.append(_cpu_per_request(bare, singles()))
        single.append(_cpu_per_request(server, singles()))
        hook.append(_cpu_per_request(server, hooks()))
        batch.append(_cpu_per_request(server, batches()) / BATCH)
    return [
        line("HTTP, one event a request, CPU", single, "us", goal=CPU_GOAL_US, note=note),
        line("HTTP, signed webhook, CPU", hook, "us"),
        line(f"HTTP, batches of {BATCH}, CPU", batch, "us/event"),
        line("HTTP, bare application, CPU", alone, "us"),
        line("HTTP, one event, of the bare application", [a / b for a, b in zip(single, alone, strict=True)], "times"),
    ]


def _cpu_per_request(server: ServerProcess, requests: Sequence[bytes]) -> float:
    before = server.ask("cpu")
    systems.run(closed_loop(server.port, requests))
    return float(server.ask("cpu") - before) / len(requests) * 1e6
