"""Answers that stay open and send events (`text/event-stream`, WHATWG HTML 9.2). They end when the server stops."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

from fastapi import Response

from firsthour.runtime.http.middleware import Receive, Scope, Send

HEADERS: Final = {"cache-control": "no-store", "x-accel-buffering": "no"}
"""A proxy must pass each event on at once."""
HEARTBEAT: Final = b":\n\n"
"""A comment. It shows a broken connection to both ends, and keeps proxies from closing the connection."""

_open: set[asyncio.Task[None]] = set()


def event_bytes(data: bytes, *, event: str = "", id: str = "") -> bytes:
    """Return one event. `data`: without line breaks, as JSON has none."""
    head = (f"id: {id}\n" if id else "") + (f"event: {event}\n" if event else "")
    return head.encode() + b"data: " + data + b"\n\n"


class EventStreamResponse(Response):
    """Sends the parts of an iterator until it ends, the client has gone, or the server stops.

    The iterator is asked for the next part when the client has read enough of those before, so a slow client delays its own
    iterator only.
    """

    media_type = "text/event-stream"

    def __init__(
        self, parts: AsyncIterator[bytes], status_code: int = 200, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(None, status_code, {**HEADERS, **(headers or {})})
        del self.headers["content-length"]
        self._parts = parts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        sending = asyncio.create_task(self._send_parts(send))
        leaving = asyncio.create_task(_disconnected(receive))
        _open.add(sending)
        try:
            await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            _open.discard(sending)
            gone = leaving.done()
            for task in (sending, leaving):
                task.cancel()
            results = await asyncio.gather(sending, leaving, return_exceptions=True)
        if not gone:
            with contextlib.suppress(Exception):  # the client may leave at this moment
                await send({"type": "http.response.body", "body": b"", "more_body": False})
        _raise_failure(results[0])

    async def _send_parts(self, send: Send) -> None:
        async for part in self._parts:
            await send({"type": "http.response.body", "body": part, "more_body": True})


async def _disconnected(receive: Receive) -> None:
    """Return when the client has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass


def _raise_failure(result: Any) -> None:
    if isinstance(result, Exception):
        raise result


def end_streams() -> None:
    """End the open streams of this process. Clients connect again, to another process or to this one after its start."""
    for task in list(_open):
        task.cancel()
