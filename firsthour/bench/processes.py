"""Services of the distributed profile, in processes of their own as in a deployment.

A process takes commands from a pipe (`go`, `stop`) and answers questions about its state.
"""

import asyncio
import logging
import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from time import sleep
from typing import Any, Final

import structlog

from firsthour.bench import systems
from firsthour.bench.recorder import recording
from firsthour.bench.samples import Samples
from firsthour.bench.server_process import ServerProcess
from firsthour.bench.systems import open_services
from firsthour.runtime.clock import HostClock
from firsthour.runtime.eventlog.kafka_consumer import KafkaLog
from firsthour.runtime.http import server
from firsthour.runtime.settings import Settings
from firsthour.runtime.storage.records import Place
from schemas.errors import FirstHourError

JOIN_SECONDS: Final = 40.0
START_SECONDS: Final = 60.0
STOP_SECONDS: Final = 30.0
LOOK_SECONDS: Final = 0.01


@dataclass(frozen=True)
class ProcessOrder:
    """The task of a process. `record`: the file for its statements to the database; `samples`: take CPU samples."""

    settings: Settings
    service_names: tuple[str, ...]
    serves: bool = False
    record: Path | None = None
    samples: bool = False
    slack_url: str | None = None  # see `systems.channels_of`


# --- inside -----------------------------------------------------------------------------------------------------------


def work(pipe: Connection, order: ProcessOrder) -> None:
    """Run until `stop` arrives."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    systems.run(_Work(pipe, order).run())


class _Work:
    def __init__(self, pipe: Connection, order: ProcessOrder) -> None:
        self._pipe, self._order = pipe, order
        self._stop, self._samples = server.StopSignal(), Samples()
        self._running: asyncio.Task[None] | None = None
        self._assigned: dict[str, float] = {}  # service: the monotonic second in which it got its partitions

    async def run(self) -> None:
        order = self._order
        order.settings.data_dir.mkdir(parents=True, exist_ok=True)
        with recording(order.record) if order.record else nullcontext():
            self._system = await open_services(order.settings, order.service_names, order.slack_url)
            for log in self._system.logs:
                log.assigned = self._stamped(log, log.assigned)
            try:
                await self._serve() if order.serves else await self._answer(0)
            finally:
                if self._running is not None:
                    self._running.cancel()
                    await asyncio.gather(self._running, return_exceptions=True)
                await self._system.close()

    async def _serve(self) -> None:
        bound = server.listen("127.0.0.1", 0)
        tasks: list[asyncio.Task[None]] = []

        async def started() -> None:
            tasks.append(asyncio.create_task(self._answer(server.port_of(bound))))

        await server.serve(self._system.app, bound, self._stop, started)

    async def _answer(self, port: int) -> None:
        answers: dict[str, Callable[[], Any]] = {
            "go": self._go,
            "cpu": systems.cpu_seconds,
            "ours": lambda: {log.service: len(log.ours) for log in self._system.logs if log.joined},
            "assigned": lambda: self._assigned,
            "samples": self._samples.end,
            "failed": lambda: None if self._running is None else systems.failure(self._running),
        }
        self._pipe.send(port)
        await systems.answer(self._pipe, answers)
        self._stop.ask()

    def _go(self) -> None:
        if self._order.samples:
            self._samples.begin()
        self._running = asyncio.create_task(self._system.run())

    def _stamped(self, log: KafkaLog, then: Callable[[set[Place]], None]) -> Callable[[set[Place]], None]:
        def assigned(places: set[Place]) -> None:
            if places:
                self._assigned[log.service] = HostClock().monotonic()
            then(places)

        return assigned


# --- outside ----------------------------------------------------------------------------------------------------------


class SilentProcessError(FirstHourError):
    """Raised when a process does not carry out a command in time."""


class ServiceProcess(ServerProcess):
    """A process of services, as its parent sees it. `port`: of its HTTP server, 0 without one."""

    def go(self, joins: Sequence[str] = ()) -> None:
        """Start the services; return when those in `joins` are in their consumer groups. Raises `SilentProcessError`."""
        self.ask("go")
        clock = HostClock()
        end = clock.monotonic() + JOIN_SECONDS
        while set(joins) - self.ask("ours").keys():
            if clock.monotonic() > end:
                raise SilentProcessError(f"{', '.join(joins)}: not in its group after {JOIN_SECONDS:.0f} s")
            sleep(LOOK_SECONDS)


@contextmanager
def child_process(target: Callable[..., None], *arguments: Any) -> Iterator[ServiceProcess]:
    """Run `target(pipe, *arguments)` in a process while the context is open. Once ready, it sends its port (or 0)."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=target, args=(theirs, *arguments))
    process.start()
    theirs.close()
    try:
        if not ours.poll(START_SECONDS):
            raise SilentProcessError(f"a process did not start within {START_SECONDS:.0f} s")
        yield ServiceProcess(ours, ours.recv())
    finally:
        with suppress(OSError):
            ours.send("stop")
        process.join(STOP_SECONDS)
        process.kill()
        process.join()


def service_process(order: ProcessOrder) -> AbstractContextManager[ServiceProcess]:
    """Run a process of the product while the context is open."""
    return child_process(work, order)
