"""HTTP measured from outside: the server in a process of its own, a raw client that speaks just enough HTTP/1.1."""

import asyncio
import multiprocessing
import random
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from time import sleep
from typing import Any, Final, cast

from starlette.types import Receive, Scope, Send

from firsthour.bench import fixtures, systems
from firsthour.bench.fixtures import furnish
from firsthour.bench.lines import BenchLine, line, percentile
from firsthour.bench.systems import RecordingChannel, open_embedded
from firsthour.runtime.clock import HostClock
from firsthour.runtime.http import server
from schemas.errors import FirstHourError

CONNECTIONS: Final = 32
REQUESTS: Final = 12_000
WARM_REQUESTS: Final = 2_000
BATCH: Final = 50
ROUNDS: Final = 3
CPU_GOAL_US: Final = 90.0
PAGE_GOALS_MS: Final = (5.0, 12.0)  # p50, p99
WARM_SECONDS: Final = 5.0
LAST_PAGE_SECONDS: Final = 10.0


# --- the server, in its own process -----------------------------------------------------------------------------------


def serve(port: Connection, home: Path | None, only: Sequence[str] | None) -> None:
    """Serve until `stop` arrives. Without a home: an application that only reads the body and answers 202."""
    systems.run(_serve(port, home, only))


async def _serve(port: Connection, home: Path | None, only: Sequence[str] | None) -> None:
    told, stop = RecordingChannel(), server.StopSignal()
    system = await open_embedded(home, only=only, inbox=told) if home is not None else None
    running = asyncio.create_task(system.run()) if system else None
    bound = server.listen("127.0.0.1", 0)
    answers: dict[str, Callable[[], Any]] = {"cpu": systems.cpu_seconds, "told": lambda: told.told}

    async def answer() -> None:
        while (asked := await asyncio.to_thread(port.recv)) != "stop":
            port.send(answers[asked]())
        stop.ask()

    async def started() -> None:
        port.send(server.port_of(bound))
        pipe.append(asyncio.create_task(answer()))

    pipe: list[asyncio.Task[None]] = []
    await server.serve(system.app if system else _bare, bound, stop, started)
    if system and running:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await system.close()


async def _bare(scope: Scope, receive: Receive, send: Send) -> None:
    more = True
    while more:
        more = (await receive()).get("more_body", False)
    headers = [(b"content-type", b"application/json"), (b"content-length", b"11")]
    await send({"type": "http.response.start", "status": 202, "headers": headers})
    await send({"type": "http.response.body", "body": b'{"ids":[1]}'})


@dataclass(frozen=True)
class ServerProcess:
    """A server process, as its client sees it."""

    pipe: Connection
    port: int

    def ask(self, what: str, *given: object) -> Any:
        """`cpu`: seconds used so far. `told`: (address, monotonic second) of every page."""
        self.pipe.send((what, *given) if given else what)
        return self.pipe.recv()


@contextmanager
def serving(home: Path | None, only: Sequence[str] | None = None) -> Iterator[ServerProcess]:
    """Run a server process while the context is open. `home`: see `serve`."""
    ours, theirs = multiprocessing.Pipe()
    spawn = multiprocessing.get_context("spawn")
    process = spawn.Process(target=serve, args=(theirs, home, only))
    process.start()
    theirs.close()
    try:
        yield ServerProcess(ours, ours.recv())
    finally:
        if process.is_alive():
            ours.send("stop")
        process.join(20)
        process.kill()


# --- the client -----------------------------------------------------------------------------------------------------


class Talk(asyncio.Protocol):
    """One keep-alive connection: a request out, then its whole answer in."""

    def __init__(self, answered: Callable[["Talk", int], None]) -> None:
        self._answered = answered
        self._got = b""
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are not of that class

    def say(self, request: bytes) -> None:
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._got += data
        head, found, body = self._got.partition(b"\r\n\r\n")
        if not found:
            return
        _, _, length = head.lower().partition(b"content-length: ")
        if len(body) < int(length.partition(b"\r\n")[0] or 0):
            return
        self._got = b""
        self._answered(self, int(head[9:12]))

    def close(self) -> None:
        self._transport.close()


@asynccontextmanager
async def talks(port: int, count: int, answered: Callable[[Talk, int], None]) -> AsyncIterator[list[Talk]]:
    """`count` open connections."""
    loop = asyncio.get_running_loop()
    opened = [(await loop.create_connection(lambda: Talk(answered), "127.0.0.1", port))[1] for _ in range(count)]
    try:
        yield opened
    finally:
        for talk in opened:
            talk.close()
        await asyncio.sleep(0)  # a turn of the loop, in which they do close


class LoadRefusedError(FirstHourError):
    """The server answered something else than 202: what was measured is not what was meant."""


async def closed_loop(port: int, requests: Sequence[bytes]) -> None:
    """Every request, each connection sending its next as soon as the last is answered. Raises `LoadRefusedError`."""
    waiting = iter(requests)
    left = len(requests)
    done = asyncio.get_running_loop().create_future()

    def answered(talk: Talk, status: int) -> None:
        nonlocal left
        left -= 1
        if done.done():
            return
        if status != 202:
            done.set_exception(LoadRefusedError(f"answered {status}"))
        elif left == 0:
            done.set_result(None)
        elif (request := next(waiting, None)) is not None:
            talk.say(request)

    async with talks(port, CONNECTIONS, answered) as opened:
        for talk, request in zip(opened, waiting, strict=False):
            talk.say(request)
        await done


@dataclass
class OpenLoop:
    """Requests sent at their scheduled times, however the earlier ones fare. Times are monotonic seconds."""

    requests: Sequence[bytes]
    at: Sequence[float]
    acked: dict[int, float] = field(default_factory=dict)

    async def send(self, port: int) -> None:
        """All of them. A thread keeps the schedule: sleeping in the loop is a millisecond off."""
        loop, clock = asyncio.get_running_loop(), HostClock()
        busy: dict[Talk, int] = {}
        done = loop.create_future()

        def answered(talk: Talk, status: int) -> None:
            self.acked[busy.pop(talk)] = clock.monotonic()
            free.append(talk)
            if status != 202 and not done.done():
                done.set_exception(LoadRefusedError(f"answered {status}"))
            elif len(self.acked) == len(self.requests) and not done.done():
                done.set_result(None)

        async with talks(port, 4 * CONNECTIONS, answered) as opened:
            free = deque(opened)  # in turn, so that none idles until it is closed

            def start(number: int) -> None:
                if not free:
                    if not done.done():
                        done.set_exception(LoadRefusedError("it answers so slowly that every connection is taken"))
                    return
                talk = free.popleft()
                busy[talk] = number
                talk.say(self.requests[number])

            def keep_schedule() -> None:
                for number, moment in enumerate(self.at):
                    sleep(max(0.0, moment - clock.monotonic()))
                    loop.call_soon_threadsafe(start, number)

            threading.Thread(target=keep_schedule, daemon=True).start()
            async with asyncio.timeout(self.at[-1] - clock.monotonic() + LAST_PAGE_SECONDS):
                await done


# --- what is measured -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Load:
    """Poisson arrivals at `rate` a second for so many seconds, after as many that count for nothing. `goals`: p50, p99."""

    rate: float
    seconds: float
    warm: float = WARM_SECONDS
    goals: tuple[float, float] | None = None


def pages(home: Path, rate: float, seconds: float) -> list[BenchLine]:
    """Webhook to page handed to the channel."""
    load = Load(rate, seconds, goals=PAGE_GOALS_MS if rate == 100 else None)
    with serving(furnish(home)) as there:
        return pages_of(load, there.port, lambda: there.ask("told"))


def pages_of(load: Load, port: int, told: Callable[[], list[tuple[str, float]]], note: str = "") -> list[BenchLine]:
    """Webhook to page, counted from the scheduled time. `told`: address and monotonic second of every page so far."""
    chance = random.Random(11)
    total = int(load.rate * (load.warm + load.seconds))
    made = [fixtures.hook_request(number) for number in range(total)]
    start = HostClock().monotonic() + 0.5
    at = [start + sum_ for sum_ in _running_sum([chance.expovariate(load.rate) for _ in range(total)])]
    sent = OpenLoop([request for _, request in made], at)
    systems.run(sent.send(port))
    first = dict(reversed(_all_told(told, total)))  # the first page of each
    counted = [n for n in range(total) if at[n] >= start + load.warm]
    lost = sum(1 for n in counted if made[n][0] not in first)
    page = [(first[made[n][0]] - at[n]) * 1000 for n in counted if made[n][0] in first]
    ack = [(sent.acked[n] - at[n]) * 1000 for n in counted]
    goals = load.goals or (None, None)
    name = f"webhook to page at {load.rate:.0f}/s"
    notes = [f"{len(page):,} pages", *([f"{lost} missing"] if lost else []), *([note] if note else [])]
    return [
        line(f"{name}, p50", [percentile(page, 0.50)], "ms", goal=goals[0], note=", ".join(notes)),
        line(f"{name}, p99", [percentile(page, 0.99)], "ms", goal=goals[1]),
        line(f"webhook to 202 at {load.rate:.0f}/s, p50", [percentile(ack, 0.50)], "ms"),
        line(f"webhook to 202 at {load.rate:.0f}/s, p99", [percentile(ack, 0.99)], "ms"),
    ]


def _running_sum(gaps: Sequence[float]) -> Iterator[float]:
    total = 0.0
    for gap in gaps:
        total += gap
        yield total


def _all_told(ask: Callable[[], list[tuple[str, float]]], wanted: int) -> list[tuple[str, float]]:
    clock = HostClock()
    end = clock.monotonic() + LAST_PAGE_SECONDS
    told = ask()
    while len(told) < wanted and clock.monotonic() < end:
        sleep(0.1)
        told = ask()
    return told


def ingest(home: Path) -> list[BenchLine]:
    """CPU of the server per request, durable commit included, and of a bare application on the same server."""
    with serving(furnish(home), ("gateway",)) as there, serving(None) as bare:
        return ingest_of(there, bare, "durable before the 202")


def ingest_of(there: ServerProcess, bare: ServerProcess, note: str) -> list[BenchLine]:
    """CPU per request of one server, and of the bare one."""
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

    for warm in (there, bare):
        _cost(warm, singles()[:WARM_REQUESTS])
    single, alone, hook, batch = [], [], [], []
    for _ in range(ROUNDS):
        alone.append(_cost(bare, singles()))
        single.append(_cost(there, singles()))
        hook.append(_cost(there, hooks()))
        batch.append(_cost(there, batches()) / BATCH)
    return [
        line("HTTP, one event a request, CPU", single, "us", goal=CPU_GOAL_US, note=note),
        line("HTTP, signed webhook, CPU", hook, "us"),
        line(f"HTTP, batches of {BATCH}, CPU", batch, "us/event"),
        line("HTTP, bare application, CPU", alone, "us"),
        line("HTTP, one event, of the bare application", [a / b for a, b in zip(single, alone, strict=True)], "times"),
    ]


def _cost(there: ServerProcess, requests: Sequence[bytes]) -> float:
    before = there.ask("cpu")
    systems.run(closed_loop(there.port, requests))
    return float(there.ask("cpu") - before) / len(requests) * 1e6
