"""The life of a process of the distributed profile: it answers at once, waits for database and broker, works, and stops."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from firsthour.bootstrap.distributed import Distributed, open_distributed
from firsthour.bootstrap.readiness import startup_warnings
from firsthour.bootstrap.services import GATEWAY
from firsthour.bootstrap.startup import StartupGate, obstacles
from firsthour.runtime.clock import Clock, HostClock
from firsthour.runtime.http.connection_limits import Limits
from firsthour.runtime.http.metrics_port import answering, listening
from firsthour.runtime.http.server import StopSignal, listen, port_of, serve
from firsthour.runtime.settings import Settings
from firsthour.runtime.version import VERSION
from services.notifier.channels.base import Channel

LOOK_SECONDS: Final = 1.0
STOPPED_BADLY: Final = 1
BAD_SETTING: Final = 2

_log = structlog.get_logger(__name__)

Channels = Callable[[Settings, Clock], Mapping[str, Channel]]


@dataclass
class Process:
    """Serves these services at this address until a signal stops it."""

    settings: Settings
    service_names: Sequence[str]
    host: str
    port: int
    channels: Channels

    async def run(self) -> int:
        """Serve, and return the exit code: 0 after a signal, 1 when the process was stuck, 2 for an unusable secret."""
        stop = StopSignal()
        with (
            stop.on_signals(),
            contextlib.closing(listen(self.host, self.port)) as bound,
            listening(self.host, self.settings.metrics_port, bound) as metrics,
        ):

            async def started() -> None:
                _log.info(
                    "serving",
                    host=self.host,
                    port=port_of(bound),
                    version=VERSION,
                    services=" ".join(self.service_names),
                )

            async with self._opened() as system:  # takes long without waiting, so it precedes the first connection
                gate = StartupGate(system.keys)
                answered = asyncio.Event()
                life = asyncio.create_task(self._live(system, gate, stop, answered))
                try:
                    limits = Limits(connections_max=self.settings.connections_max)
                    async with answering(system.resources.telemetry, metrics):
                        await serve(gate, bound, stop, started, limits)
                finally:
                    stop.asked.set()
                    answered.set()
                    await asyncio.wait([life])
            _log.info("stopped", services=" ".join(self.service_names))
            return life.result()

    @contextlib.asynccontextmanager
    async def _opened(self) -> AsyncIterator[Distributed]:
        channels = self.channels(self.settings, HostClock())
        try:
            system = await open_distributed(self.settings, self.service_names, channels)
            try:
                yield system
            finally:
                await system.close()
        finally:
            for channel in channels.values():
                await channel.close()

    async def _live(self, system: Distributed, gate: StartupGate, stop: StopSignal, answered: asyncio.Event) -> int:
        """Work until stopped. Return after the last request was answered (`answered`), so that nothing closes earlier."""
        try:
            return await self._work(system, gate, stop, answered)
        finally:
            stop.asked.set()
            await answered.wait()

    async def _work(self, system: Distributed, gate: StartupGate, stop: StopSignal, answered: asyncio.Event) -> int:
        if not await self._wait(system, gate, stop):
            return 0
        if not self.warned(system):
            return BAD_SETTING
        running = asyncio.create_task(system.run())
        gate.inner = system.app
        asked = asyncio.create_task(stop.asked.wait())
        await asyncio.wait([running, asked], return_when=asyncio.FIRST_COMPLETED)
        system.state.leaving = True
        stop.asked.set()
        asked.cancel()
        if system.front is not None:  # running requests are still answered, and may need every runner
            await answered.wait()
        running.cancel()
        (result,) = await asyncio.gather(running, return_exceptions=True)
        if isinstance(result, asyncio.CancelledError):
            return 0
        _log.error("process stuck, exiting", problem=system.state.problem, exc_info=result)
        return STOPPED_BADLY

    def warned(self, system: Distributed) -> bool:
        """Log the warnings about settings and configuration. Return False if the process must not start: the secret of a
        source is unusable."""
        front = GATEWAY in self.service_names
        warnings = startup_warnings(self.settings, system.config.current, system.runners, front=front)
        for warning in warnings:
            _log.log(logging.ERROR if warning.fatal else logging.WARNING, warning.event, problem=warning.text)
        return not any(warning.fatal for warning in warnings)

    async def _wait(self, system: Distributed, gate: StartupGate, stop: StopSignal) -> bool:
        """Wait until the process can work; return False if it is stopped before. A gateway needs only its configuration,
        which is on its own disk if it has worked here before."""
        logged: tuple[str, ...] = ()
        while not stop.asked.is_set():
            await system.refresh()
            missing = await self._missing(system)
            if not missing:
                return True
            if missing != logged:
                for line in missing:
                    _log.warning("waiting", problem=line)
            logged = gate.waits_for = missing
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await stop.asked.wait()
        return False

    async def _missing(self, system: Distributed) -> tuple[str, ...]:
        if GATEWAY in self.service_names and system.config.is_loaded:
            return ()
        problems = tuple(str(obstacle) for obstacle in await obstacles(self.settings))
        if not problems and not system.config.is_loaded:
            return ("no configuration is in force; `firsthour apply` stores one",)
        return problems
