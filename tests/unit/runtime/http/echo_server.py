"""A server on a real socket with an application that echoes requests, and clients that write bytes."""

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from firsthour.runtime.http import middleware
from firsthour.runtime.http.connection_limits import Limits
from firsthour.runtime.http.server import StopSignal, listen, port_of, serve
from firsthour.runtime.observability.metrics import Telemetry
from tests.hand_clock import HandClock

LIMITS = Limits()
SHORT = replace(LIMITS, head_seconds=1.0, linger_seconds=0.1)
POST = b"POST /v1/forms/demo HTTP/1.1\r\nHost: a\r\n"


@dataclass
class Echo:
    """An application that answers each request with its content, and records it. `/hold` waits for `hold`."""

    requests: list[dict[str, Any]] = field(default_factory=list)
    hold: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/hold":
            await self.hold.wait()
        if scope["path"] == "/early":
            await middleware.send_response(send, 200, {}, b"early")
            return
        message = await receive() if scope["method"] == "POST" else {}
        headers = {name.decode(): value.decode("latin-1") for name, value in scope["headers"]}
        request = {"path": scope["path"], "body": message.get("body", b"").decode("latin-1"), "headers": headers}
        self.requests.append(request)
        await middleware.send_response(send, 200, {}, json.dumps(request).encode())


@dataclass
class EchoServer:
    """A running server, and connections to it."""

    port: int
    app: Echo
    writers: list[asyncio.StreamWriter] = field(default_factory=list)

    async def connect(self) -> "tuple[asyncio.StreamReader, asyncio.StreamWriter]":
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        self.writers.append(writer)
        return reader, writer

    async def send(self, *parts: bytes) -> bytes:
        """Send bytes. Return what the server sends until it ends the connection."""
        reader, writer = await self.connect()
        for part in parts:
            writer.write(part)
            await writer.drain()
        return await read_to_end(reader)


async def read_to_end(reader: asyncio.StreamReader) -> bytes:
    async with asyncio.timeout(20):
        try:
            return await reader.read()
        except ConnectionError:
            return b""


@asynccontextmanager
async def echo_server(limits: Limits) -> AsyncIterator[EchoServer]:
    echo, stop, started = Echo(), StopSignal(), asyncio.Event()

    async def answering() -> None:
        started.set()

    bound = listen("127.0.0.1", 0)
    app = middleware.RequestMiddleware(echo, telemetry=Telemetry(), clock=HandClock())
    serving = asyncio.create_task(serve(app, bound, stop, answering, limits))
    await started.wait()
    server = EchoServer(port_of(bound), echo)
    try:
        yield server
    finally:
        for writer in server.writers:
            writer.close()
        stop.ask()
        stop.ask()
        await serving


def statuses(answer: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/1\.1 ([0-9]{3}) ", answer)]


def problem(answer: bytes, status: int) -> dict[str, Any]:
    """Return the problem that ends a connection."""
    assert statuses(answer) == [status]
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"connection: close" in head
    assert b"content-type: application/problem+json" in head
    members: dict[str, Any] = json.loads(body)
    assert members["status"] == status
    return members


async def until_cut_off(writer: asyncio.StreamWriter, part: bytes) -> int:
    """Send until the server ends the connection. Return the number of bytes sent."""
    sent = 0
    async with asyncio.timeout(20):
        with contextlib.suppress(ConnectionError):
            while True:
                writer.write(part)
                sent += len(part)
                await writer.drain()
                await asyncio.sleep(0)
    return sent


async def wait_until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.005)
