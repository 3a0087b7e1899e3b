"""The minimum program: what a page costs at least. It stores a lead and its owner in one commit, answers, and posts one message.

One asyncio process, SQLite with `synchronous=FULL`, the next rep in turn. It scores nothing, promises nothing, and forgets a
message that Slack does not accept.
"""

import asyncio
import sqlite3
from collections import deque
from contextlib import AbstractContextManager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final, cast

import msgspec

from firsthour.bench import processes, systems
from firsthour.bench.fixtures import request
from firsthour.bench.http_client import HttpConnection, whole_message
from firsthour.bench.processes import ServiceProcess

ACCEPTED: Final = b"HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
_STORE: Final = "INSERT INTO leads (email, owner, body) VALUES (?, ?, ?)"


class MinimumProgram:
    """The leads, the reps in turn, and the idle connections to Slack."""

    def __init__(self, home: Path, reps: int, slack_port: int) -> None:
        self._connection = sqlite3.connect(home / "minimum.db", isolation_level=None)
        for pragma in ("journal_mode=WAL", "synchronous=FULL"):
            self._connection.execute(f"PRAGMA {pragma}")
        self._connection.execute("CREATE TABLE leads (id INTEGER PRIMARY KEY, email TEXT, owner TEXT, body BLOB)")
        self._reps, self._turn, self._slack_port = reps, 0, slack_port
        self._idle: deque[HttpConnection] = deque()
        self._posts: set[asyncio.Task[None]] = set()

    def accept(self, body: bytes) -> None:
        """Store the lead in a commit of its own, and begin to page its owner."""
        lead = msgspec.json.decode(body)
        self._turn = (self._turn + 1) % self._reps
        owner = f"rep{self._turn}"
        self._connection.execute(_STORE, (lead["email"], owner, body))
        post = asyncio.create_task(self._page(owner, lead))
        self._posts.add(post)
        post.add_done_callback(self._posts.discard)

    async def _page(self, owner: str, lead: dict[str, Any]) -> None:
        text = f"Call {lead['name']} ({lead['title']}, {lead['company']}): {lead['email']}"
        message = msgspec.json.encode({"channel": owner, "text": text})
        connection = self._idle.popleft() if self._idle else await self._connect()
        connection.send(request("/api/chat.postMessage", message, {"Authorization": "Bearer none"}))

    async def _connect(self) -> HttpConnection:
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(
            lambda: HttpConnection(lambda answered, _: self._idle.append(answered)), "127.0.0.1", self._slack_port
        )
        return connection


class MinimumConnection(asyncio.Protocol):
    """One connection of a client."""

    def __init__(self, program: MinimumProgram) -> None:
        self._program, self._received = program, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's transports have another class

    def data_received(self, data: bytes) -> None:
        self._received += data
        while (message := whole_message(self._received)) is not None:
            body, self._received = message
            self._program.accept(body)
            self._transport.write(ACCEPTED)


def work(pipe: Connection, home: Path, reps: int, slack_port: int) -> None:
    """Serve until `stop`."""
    program = MinimumProgram(home, reps, slack_port)
    systems.run(systems.serve(pipe, lambda: MinimumConnection(program), {"cpu": systems.cpu_seconds}))


def minimum_process(home: Path, reps: int, slack_port: int) -> AbstractContextManager[ServiceProcess]:
    """Run the minimum program with this number of reps while the context is open."""
    return processes.child_process(work, home, reps, slack_port)
