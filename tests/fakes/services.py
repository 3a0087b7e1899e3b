"""Services that are called over HTTP, on a real socket: they store the calls and answer as a test tells them.

In a test: `async with FakeService() as teams: ...`. Without an instruction each call is answered with `status`.
"""

import asyncio
import json
import ssl
from collections import deque
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Self


@dataclass(frozen=True)
class ServiceCall:
    """One request. Names of headers are lower case."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class ServiceAnswer:
    """The answer to one call. `status` 0: the call is never answered."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b"{}"


class FakeService:
    """Answers every call with `status`, unless answers were queued with `respond`."""

    def __init__(self, status: int = 202, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self.status = status
        self.calls: list[ServiceCall] = []
        self._answers: deque[ServiceAnswer] = deque()
        self._server: asyncio.Server | None = None
        self._open: dict[asyncio.StreamWriter, asyncio.Task[Any] | None] = {}
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def accepted(self) -> list[Any]:
        """Return the bodies of all calls, in order."""
        return [call.json for call in self.calls]

    def respond(self, status: int, body: bytes = b"{}", times: int = 1, **headers: str) -> None:
        """Answer the next calls with this status. An underscore in the name of a header stands for a hyphen."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self._answers.extend([ServiceAnswer(status, named, body)] * times)

    def hang(self, times: int = 1) -> None:
        """Read the next calls and never answer."""
        self._answers.extend([ServiceAnswer(0)] * times)

    def answer_to(self, call: ServiceCall) -> ServiceAnswer:
        """Return the answer to a call."""
        return self._answers.popleft() if self._answers else ServiceAnswer(self.status)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._server is not None:
            self._server.close()
            tasks = [task for task in self._open.values() if task is not None]
            for writer in list(self._open):
                writer.close()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._server.wait_closed()
            for _ in range(5):  # closed connections end in the next turns of the loop
                await asyncio.sleep(0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open[writer] = asyncio.current_task()
        try:
            while True:
                await self._answer(await _call(reader), reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self._open.pop(writer, None)
            writer.close()

    async def _answer(self, call: ServiceCall, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.calls.append(call)
        answer = self.answer_to(call)
        if answer.status == 0:
            await reader.read()  # until the client closes the connection
            raise ConnectionError
        head = {"content-type": "application/json", "content-length": str(len(answer.body)), **answer.headers}
        lines = [
            f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}",
            *(f"{k}: {v}" for k, v in head.items()),
        ]
        writer.write(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + answer.body)
        await writer.drain()


async def _call(reader: asyncio.StreamReader) -> ServiceCall:
    start, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines) if name}
    method, target, _ = start.split(" ")
    return ServiceCall(method, target, headers, await reader.readexactly(int(headers.get("content-length", "0"))))
