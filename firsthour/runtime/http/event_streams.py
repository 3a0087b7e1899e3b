"""Answers that stay open and send events (`text/event-stream`, WHATWG HTML 9.2). They end when the server stops.

Each holds a connection for as long as its page is open. They are bounded, so that connections are left for other requests.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

from fastapi import Response

from firsthour.runtime.http.middleware import Receive, Scope, Send
from firsthour.runtime.http.problem import Problem

HEADERS: Final = {"cache-control": "no-store", "x-accel-buffering": "no"}
"""A proxy must pass each event on at once."""
HEARTBEAT: Final = b":\n\n"
"""A comment. It shows a broken connection to both ends, and keeps proxies from closing the connection."""

OF_ONE_VIEWER_MAX: Final = 250
"""Open streams of one session or key: a shared one may be on many screens."""
SHARE_OF_CONNECTIONS: Final = 0.5
"""Connections of a process that streams may hold, of all that it may have."""
RETRY_LATER: Final = {"retry-after": "10"}


class OpenStreams:
    """The open streams of this process. `most`: so many may be open."""

    def __init__(self, most: int = 500) -> None:
        self.most = most
        self._viewers: dict[asyncio.Task[None], str] = {}

    def admit(self, viewer: str) -> None:
        """Raise `Problem` 503 if too many streams are open, or 429 if this viewer has too many of them."""
        if len(self._viewers) >= self.most:
            raise Problem(503, "", f"{self.most} streams are open. Connect again later.", headers=RETRY_LATER)
        if sum(other == viewer for other in self._viewers.values()) >= OF_ONE_VIEWER_MAX:
            detail = f"{OF_ONE_VIEWER_MAX} streams of this session or key are open. Close pages that show live figures."
            raise Problem(429, "", detail, headers=RETRY_LATER)

    def add(self, task: asyncio.Task[None], viewer: str) -> None:
        """Note a stream that begins."""
        self._viewers[task] = viewer

    def remove(self, task: asyncio.Task[None]) -> None:
        """Note the end of a stream."""
        self._viewers.pop(task, None)

    def end(self) -> None:
        """End all of them."""
        for task in list(self._viewers):
            task.cancel()


_open = OpenStreams()


def event_bytes(data: bytes, *, event: str = "", id: str = "") -> bytes:
    """Return one event. `data`: without line breaks, as JSON has none."""
    head = (f"id: {id}\n" if id else "") + (f"event: {event}\n" if event else "")
    return head.encode() + b"data: " + data + b"\n\n"


class EventStreamResponse(Response):
    """Sends the parts of an iterator until it ends, the client has gone, or the server stops.

    The iterator is asked for the next part when the client has read enough of those before, so a slow client delays its own
    iterator only. `viewer`: the session or key that the stream counts for. Raises `Problem` if too many are open.
    """

    media_type = "text/event-stream"

    def __init__(
        self,
        parts: AsyncIterator[bytes],
        viewer: str,
        status_code: int = 200,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        _open.admit(viewer)
        super().__init__(None, status_code, {**HEADERS, **(headers or {})})
        del self.headers["content-length"]
        self._parts, self._viewer = parts, viewer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        sending = asyncio.create_task(self._send_parts(send))
        leaving = asyncio.create_task(_disconnected(receive))
        _open.add(sending, self._viewer)
        try:
            await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            _open.remove(sending)
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


def bound_streams(connections_max: int) -> None:
    """Let streams hold a part of this number of connections, and no more."""
    _open.most = int(connections_max * SHARE_OF_CONNECTIONS)


def end_streams() -> None:
    """End the open streams of this process. Clients connect again, to another process or to this one after its start."""
    _open.end()
