"""The console while leads arrive: how soon viewers see a change, how fast and large pages are, and what viewers cost.

Post to page is measured with viewers of *Now* and without, in turn. Viewers, product, stand-in for Slack and client have a process
each; the viewers only count what they get.
"""

import asyncio
import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from time import sleep
from typing import Any, Final, cast
from urllib.parse import urlsplit

from firsthour.bench import fixtures, systems
from firsthour.bench.fixtures import KEY, furnish
from firsthour.bench.http_client import closed_loop
from firsthour.bench.lines import BenchLine, line, percentile
from firsthour.bench.paging import LADDER, Load, PagedProgram, SlackPages
from firsthour.bench.processes import ServiceProcess, child_process
from firsthour.bench.server_process import ServerProcess, server_process
from firsthour.bench.slack_process import api_url, slack_process
from firsthour.runtime.clock import HostClock
from firsthour.runtime.http.client import Client

VIEWERS: Final = 200
LOAD: Final = Load(150, 100, 5)
ROUNDS: Final = 4
WARM_SECONDS: Final = 3.0
CHANGES: Final = 20
CHANGE_SECONDS: Final = 0.7  # between two changes, longer than the pause of a page that is open
SLOWER_MAX: Final = 1.3
VIEWER_BYTES_MAX: Final = 200_000
SEEN_MS_MAX: Final = 500.0
PAGE_MS_MAX: Final = 100.0
PAGE_BYTES_MAX: Final = 100_000
PAGE_READS: Final = 15
STREAM: Final = "/console/now/stream"
PAGES: Final = ("/console/now", "/console/leads", "/console/funnel", "/console/response", "/console/sessions")
_MARK: Final = re.compile(rb"Viewed \d+ Seen")
_MARK_CHARS: Final = 40


# --- the process of the viewers -----------------------------------------------------------------------------------------


class StreamViewer(asyncio.Protocol):
    """One page that is open. `marks`: the monotonic second in which a name first arrived; None: only bytes are counted."""

    def __init__(self, request: bytes, marks: dict[str, float] | None, begun: Callable[[], None]) -> None:
        self._request, self._marks, self._begun = request, marks, begun
        self._tail, self.bytes = b"", 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast(asyncio.Transport, transport).write(self._request)

    def data_received(self, data: bytes) -> None:
        if not self.bytes:
            self._begun()
        self.bytes += len(data)
        if self._marks is not None:
            now = HostClock().monotonic()
            for mark in _MARK.findall(self._tail + data):
                self._marks.setdefault(mark.decode(), now)
            self._tail = data[-_MARK_CHARS:]


def view(pipe: Connection, port: int, cookie: str, count: int, marked: bool) -> None:
    """Keep this many pages open until `stop`."""
    systems.run(_view(pipe, port, cookie, count, marked))


async def _view(pipe: Connection, port: int, cookie: str, count: int, marked: bool) -> None:
    head = f"GET {STREAM} HTTP/1.1\r\nHost: 127.0.0.1\r\nCookie: {cookie}\r\n\r\n".encode()
    all_open, left = asyncio.Event(), count

    def begun() -> None:
        nonlocal left
        left -= 1
        if not left:
            all_open.set()

    loop = asyncio.get_running_loop()
    marks: list[dict[str, float] | None] = [{} if marked else None for _ in range(count)]
    opened = [
        await loop.create_connection(partial(StreamViewer, head, seen, begun), "127.0.0.1", port) for seen in marks
    ]
    await all_open.wait()
    pipe.send(0)
    answers: dict[str, Callable[[], Any]] = {
        "marks": lambda: marks,
        "bytes": lambda: sum(viewer.bytes for _, viewer in opened),
    }
    await systems.answer(pipe, answers)
    for transport, _ in opened:
        transport.abort()


# --- the measurements ---------------------------------------------------------------------------------------------------


def console(home: Path) -> list[BenchLine]:
    """Return the lines of the console."""
    furnish(home, ladder=LADDER, reps=LOAD.pool)
    with slack_process() as slack, server_process(home, slack_url=api_url(slack)) as server:
        cookie = sign_in(server.port)
        pages = SlackPages(slack)
        alone, watched = (PagedProgram(server.port, partial(server.ask, "cpu")) for _ in range(2))
        pages.offer(alone, LOAD.rate, WARM_SECONDS, measured=False)
        seen = _changes_seen(server, cookie)
        bytes_of_viewers = [
            _round(pages, alone, watched, server, cookie, alone_first=number % 2 == 0) for number in range(ROUNDS)
        ]
        drawn = list(_drawn(server.port, cookie))
    return [*seen, *viewer_lines(alone, watched, bytes_of_viewers), *drawn]


def sign_in(port: int) -> str:
    """Return the cookie of a session of a manager."""
    with Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
        link = client.post(
            "/v1/console-links", json={"role": "manager"}, headers={"authorization": f"Bearer {KEY}"}
        ).json()["url"]
        answer = client.post(urlsplit(link).path)
        return "; ".join(f"{name}={value}" for name, value in answer.cookies.items())


def _round(
    pages: SlackPages,
    alone: PagedProgram,
    watched: PagedProgram,
    server: ServerProcess,
    cookie: str,
    *,
    alone_first: bool,
) -> tuple[float, float]:
    """Offer the load without viewers and with them. Return the memory of a viewer, and what one got in a second, in bytes."""
    if alone_first:
        pages.offer(alone, LOAD.rate, LOAD.seconds)
    before = server.ask("memory")
    with child_process(view, server.port, cookie, VIEWERS, False) as viewers:
        sleep(WARM_SECONDS)  # all of them got their first text
        got, start = viewers.ask("bytes"), HostClock().monotonic()
        pages.offer(watched, LOAD.rate, LOAD.seconds)
        received = (viewers.ask("bytes") - got) / (HostClock().monotonic() - start) / VIEWERS
        memory = (server.ask("memory") - before) / VIEWERS
    if not alone_first:
        pages.offer(alone, LOAD.rate, LOAD.seconds)
    return memory, received


def viewer_lines(
    alone: PagedProgram, watched: PagedProgram, of_viewers: Sequence[tuple[float, float]]
) -> list[BenchLine]:
    """Return the lines about many viewers."""
    name = f"form to Slack {LOAD.name}, {VIEWERS} viewers"
    lines = []
    for share, text in ((0.50, "p50"), (0.99, "p99")):
        with_them, without = ([percentile(times, share) for times in one.page] for one in (watched, alone))
        ratios = [mine / other for mine, other in zip(with_them, without, strict=True)]
        lines += [
            line(f"{name}, {text}", with_them, "ms"),
            line(f"{name}, {text}, of none", ratios, "times", goal=SLOWER_MAX),
        ]
    missing = alone.missing + watched.missing
    note = f"each got {max(received for _, received in of_viewers) / 1_000:.0f} kB/s" + (
        f"; {missing} missing" if missing else ""
    )
    cpu = [mine / other for mine, other in zip(watched.cpu_ms, alone.cpu_ms, strict=True)]
    return [
        *lines,
        line(f"CPU of a lead, {VIEWERS} viewers, of none", cpu, "times"),
        line(
            "memory of a viewer",
            [memory / 1_000 for memory, _ in of_viewers],
            "kB",
            goal=VIEWER_BYTES_MAX / 1_000,
            note=note,
        ),
    ]


def _changes_seen(server: ServerProcess, cookie: str) -> list[BenchLine]:
    """Return how long after its post both of two viewers have a new lead on their page."""
    clock = HostClock()
    posted: dict[str, float] = {}
    with child_process(view, server.port, cookie, 2, True) as viewers:
        for number in range(CHANGES):
            name = f"Viewed {number} Seen"
            posted[name] = clock.monotonic()
            systems.run(closed_loop(server.port, [fixtures.hook_request(10_000_000 + number, name=name)[1]]))
            sleep(CHANGE_SECONDS)
        both = _marks(viewers)
    spans = [
        (max(seen[name] for seen in both) - at) * 1_000 for name, at in posted.items() if all(name in s for s in both)
    ]
    note = f"{len(spans)} of {CHANGES} changes, the later of two viewers"
    return [
        line("change to viewers, p50", [percentile(spans, 0.50)], "ms", note=note),
        line("change to viewers, p99", [percentile(spans, 0.99)], "ms", goal=SEEN_MS_MAX),
    ]


def _marks(viewers: ServiceProcess) -> list[dict[str, float]]:
    return list(viewers.ask("marks"))


def _drawn(port: int, cookie: str) -> Iterator[BenchLine]:
    """Yield the time and the size of the slowest and the largest page."""
    clock = HostClock()
    spans, sizes = {}, {}
    with Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, headers={"cookie": cookie}) as client:
        lead = client.get("/v1/leads?limit=1", headers={"authorization": f"Bearer {KEY}"}).json()["items"][0]["id"]
        for path in (*PAGES, f"/console/leads/{lead}"):
            name = path.replace(lead, "ID")
            sizes[name] = len(client.get(path).raise_for_status().content)  # the first is not measured
            times = []
            for _ in range(PAGE_READS):
                start = clock.monotonic()
                client.get(path)
                times.append((clock.monotonic() - start) * 1_000)
            spans[name] = percentile(times, 0.50)
    slowest, largest = max(spans, key=lambda name: spans[name]), max(sizes, key=lambda name: sizes[name])
    yield line("slowest page, server", [spans[slowest]], "ms", goal=PAGE_MS_MAX, note=slowest)
    yield line("largest page", [sizes[largest] / 1_000], "kB", goal=PAGE_BYTES_MAX / 1_000, note=largest)
