"""Serves an application over HTTP until it is stopped: the only module that imports uvicorn."""

import asyncio
import contextlib
import errno
import gc
import logging
import resource
import signal
import socket
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from dataclasses import replace
from functools import partial
from typing import Any

import structlog
import uvicorn
import uvloop
from starlette.types import ASGIApp

from firsthour.runtime.http.connection import BoundedProtocol, ConnectionState
from firsthour.runtime.http.connection_limits import Limits
from firsthour.runtime.http.event_streams import bound_streams, end_streams
from schemas.errors import FirstHourError

GRACEFUL_SECONDS = 20
KEEP_ALIVE_SECONDS = 30
FILES_RESERVED = 200  # open files for the database, the broker, secrets and logs
SWITCH_SECONDS = 0.002
_SIGNALS = (signal.SIGINT, signal.SIGTERM)

_log = structlog.get_logger(__name__)


class PortTakenError(FirstHourError):
    """Raised when the process cannot listen on an address."""


def listen(host: str, port: int) -> socket.socket:
    """Return a socket bound to the address. Port 0: any free port. Clients can connect once `serve` listens on it.

    Raises:
        PortTakenError: The address cannot be used. The message has the remedy.
    """
    try:
        family, kind, proto, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        bound = socket.socket(family, kind, proto)
    except OSError as failure:
        raise PortTakenError(
            f"{host} is not an address of this machine ({failure.strerror}); choose another --host"
        ) from None
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except (OSError, OverflowError) as failure:
        bound.close()
        raise PortTakenError(_bind_error(host, port, getattr(failure, "errno", None))) from None
    return bound


def _bind_error(host: str, port: int, code: int | None) -> str:
    if code == errno.EADDRINUSE:
        return f"port {port} of {host} is in use; choose another with --port, or end the program that uses it"
    if code == errno.EACCES:
        return f"port {port} needs administrator rights; choose one above 1023 with --port"
    return f"{host}:{port} cannot be listened on; choose another --host or --port"


def port_of(bound: socket.socket) -> int:
    """Return the port of a bound socket."""
    return int(bound.getsockname()[1])


class StopSignal:
    """Set by SIGTERM and SIGINT. `asked`: stop. `hurried`: stop at once, after a second signal."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.hurried = asyncio.Event()

    def ask(self) -> None:
        (self.hurried if self.asked.is_set() else self.asked).set()

    @contextlib.contextmanager
    def on_signals(self) -> Generator[None, None, None]:
        """Handle the signals inside the block."""
        loop = asyncio.get_running_loop()
        for name in _SIGNALS:
            loop.add_signal_handler(name, self.ask)
        try:
            yield
        finally:
            for name in _SIGNALS:
                loop.remove_signal_handler(name)


class _Server(uvicorn.Server):
    """uvicorn's server without its handling of signals, which ends the process."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.answering = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.answering.set()


def within_files(limits: Limits) -> Limits:
    """Return the limits, with fewer connections if the process may not open enough files.

    The limit of open files is raised where allowed.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = limits.connections_max + FILES_RESERVED
    if soft != resource.RLIM_INFINITY and soft < needed:
        soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        if soft < needed:
            possible = max(1, soft - FILES_RESERVED)
            _log.warning("connections limited by open files", connections_max=possible, files_max=soft)
            return replace(limits, connections_max=possible)
    return limits


def _server(app: ASGIApp, limits: Limits) -> _Server:
    protocol: Any = partial(BoundedProtocol, shared=ConnectionState(limits))
    return _Server(
        uvicorn.Config(
            app,
            http=protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            log_level=logging.WARNING,  # the command logs start and stop
            access_log=False,
            proxy_headers=False,  # a client could set the header, and so choose its address
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=GRACEFUL_SECONDS,
        )
    )


@contextlib.asynccontextmanager
async def serving(app: ASGIApp, bound: socket.socket, limits: Limits) -> AsyncGenerator[None, None]:
    """Answer requests on `bound` inside the block, in the background."""
    server = _server(app, limits)
    running = asyncio.create_task(server.serve([bound]))
    answering = asyncio.create_task(server.answering.wait())
    try:
        await asyncio.wait([running, answering], return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            running.result()
        yield
    finally:
        answering.cancel()
        server.should_exit = server.force_exit = True
        await asyncio.wait([running])


async def serve(
    app: ASGIApp,
    bound: socket.socket,
    stop: StopSignal,
    started: Callable[[], Awaitable[None]],
    limits: Limits | None = None,
) -> None:
    """Answer requests on `bound` until `stop`. Running requests then have `GRACEFUL_SECONDS` to end.

    Args:
        app: The application.
        bound: The socket. It is closed at the end.
        stop: Set by a signal.
        started: Called once requests are answered.
        limits: The limits of connections. None: the defaults.
    """
    bounded = within_files(limits or Limits())
    bound_streams(bounded.connections_max)
    server = _server(app, bounded)

    async def steer() -> None:
        try:
            await server.answering.wait()
            tune()
            await started()
            await stop.asked.wait()
        finally:
            server.should_exit = True
            end_streams()
        await stop.hurried.wait()
        server.force_exit = True

    steering = asyncio.create_task(steer())
    try:
        await server.serve([bound])
        if steering.done():
            steering.result()
    finally:
        steering.cancel()
        bound.close()


def tune() -> None:
    """Tune the interpreter after start.

    The garbage collector skips the objects that are loaded by now, because they stay. The writer thread and the event loop
    alternate many times per request. Waiting 5 ms for the interpreter each time would dominate the latency.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 100)  # reference counting frees the objects of a request; cycles can wait
    sys.setswitchinterval(SWITCH_SECONDS)


def run(main: Callable[[], Awaitable[int]]) -> int:
    """Run `main` on uvloop, and return its result: the exit code."""

    async def whole() -> int:
        return await main()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(whole())
