"""HTTP measured by a client: the CPU of the server per request."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from firsthour.bench import fixtures, systems
from firsthour.bench.fixtures import furnish
from firsthour.bench.http_client import closed_loop
from firsthour.bench.lines import BenchLine, line
from firsthour.bench.server_process import ServerProcess, server_process

REQUESTS: Final = 12_000
WARM_REQUESTS: Final = 2_000
BATCH: Final = 50
ROUNDS: Final = 3
CPU_GOAL_US: Final = 90.0


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
