"""The gateway on a real socket, and pages of another origin."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from firsthour.runtime.http.connection_limits import Limits
from firsthour.runtime.http.server import StopSignal, listen, port_of, serve
from tests.unit.gateway.harness import GatewayHarness


@asynccontextmanager
async def listening(harness: GatewayHarness) -> AsyncIterator[str]:
    """Serve the gateway, and return its address."""
    stop, started = StopSignal(), asyncio.Event()

    async def answering() -> None:
        started.set()

    bound = listen("127.0.0.1", 0)
    serving = asyncio.create_task(serve(harness.gateway, bound, stop, answering, Limits()))
    await started.wait()
    try:
        yield f"http://127.0.0.1:{port_of(bound)}"
    finally:
        stop.ask()
        stop.ask()
        await serving


@asynccontextmanager
async def page_on_another_origin(html: bytes) -> AsyncIterator[str]:
    """Serve this page, and return its address."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
        writer.write(head % len(html) + html)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "localhost", 0)
    async with server:
        yield f"http://localhost:{server.sockets[0].getsockname()[1]}/demo?utm_source=newsletter&utm_campaign=autumn"
