"""Slack's Web API over a real socket, within Slack's documented limits: it stores what it accepts, and fails on request.

In a test: `async with FakeSlack() as slack: ...`. As a process of its own, `python -m tests.fakes.slack --port 9001 --record
FILE` appends one JSON line per accepted message before it answers; `POST /fault` adds a fault and `POST /recover` removes all.
With `--calls FILE`, every call adds a line with its answer to that file.
"""

import argparse
import asyncio
import json
import socket
import struct
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any, ClassVar, Literal, Self
from urllib.parse import parse_qsl

from tests.fakes.slack_limits import message_error, view_error

FaultKind = Literal["answer", "hang", "drop", "accept_then_drop"]


@dataclass
class SlackFault:
    """The failure of the next calls."""

    kind: FaultKind
    times: int | None  # None: until `recover()`
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: str = ""


class FakeSlack:
    """Accepts messages unless a fault is set. Faults are used in the order in which they were added."""

    def __init__(
        self,
        record: Path | None = None,
        calls_record: Path | None = None,
        seconds: Callable[[], float] | None = None,
    ) -> None:
        """Take the clock of the rate limit, one message a second per channel. `seconds` None: there is no such limit."""
        self.posted: dict[tuple[str, str], dict[str, Any]] = {}  # by channel and ts: as the newest update shows it
        self.updates: list[dict[str, Any]] = []  # the arguments of each accepted `chat.update`, in order
        self.views: list[dict[str, Any]] = []  # the dialogs that were opened
        self.replies: list[dict[str, Any]] = []  # what was told over a `response_url`
        self.unknown: set[str] = set()  # channels that do not exist
        self.closed: set[str] = set()  # channels that the app is not in
        self.joined: set[str] = set()  # the names of the channels that the app is in
        self.rate_limited = 0
        self._seconds = seconds
        self._last: dict[str, float] = {}
        self._count = 0
        self.messages: list[dict[str, Any]] = []  # the arguments of each accepted call, in order
        self._moments: list[float] = []  # the second of each accepted call
        self.tokens: list[str] = []  # the Authorization header of every call
        self.calls = 0
        self.connections = 0
        self._record = record
        self._calls_record = calls_record
        self._faults: deque[SlackFault] = deque()
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/api/"

    @property
    def response_url(self) -> str:
        """Return an address for answers that only the person who clicked sees."""
        return f"http://127.0.0.1:{self.port}/response/1"

    @property
    def open_connections(self) -> int:
        """Return the number of open connections."""
        return len(self._open)

    @property
    def recipients(self) -> list[str]:
        """Return the Slack ids of the recipients of accepted messages by time; with a clock, those of one moment by id.

        Messages to different people are sent side by side, so the order of arrival within a moment is chance.
        """
        recipients = (recipient(message["channel"]) for message in self.messages)
        return [to for _, to in sorted(zip(self._moments, recipients, strict=True))]

    def respond(self, status: int, retry_after: float | None = None, times: int | None = 1, body: str = "{}") -> None:
        """Answer the next calls with this status."""
        headers = {} if retry_after is None else {"Retry-After": f"{retry_after:g}"}
        self._faults.append(SlackFault("answer", times, status, headers, body))

    def error(self, code: str, times: int | None = 1, retry_after: float | None = None) -> None:
        """Answer the next calls with 200 and `ok: false`, as Slack does."""
        self.respond(200, retry_after, times, json.dumps({"ok": False, "error": code}))

    def fail(self, fault: SlackFault) -> None:
        """Answer the next calls with this fault."""
        self._faults.append(fault)

    def hang(self, times: int | None = 1) -> None:
        """Read the next calls and never answer."""
        self._faults.append(SlackFault("hang", times))

    def drop(self, times: int | None = 1) -> None:
        """Reset the connection without accepting the message."""
        self._faults.append(SlackFault("drop", times))

    def accept_then_drop(self, times: int | None = 1) -> None:
        """Accept the message, then reset the connection instead of answering."""
        self._faults.append(SlackFault("accept_then_drop", times))

    def recover(self) -> None:
        """Remove all faults."""
        self._faults.clear()

    async def start(self, port: int = 0) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            for writer in list(self._open):
                writer.close()
            await self._server.wait_closed()

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(self, *exc: object) -> None:
        await self.stop()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        self.connections += 1
        try:
            while await self._call(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self._open.discard(writer)
            writer.close()

    async def _call(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Serve one request. Return whether the connection stays open."""
        start, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines) if name}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        path = start.split(" ")[1]
        if path == "/fault":
            self._faults.append(SlackFault(**json.loads(body)))
            return await _answer(writer, SlackFault("answer", 1, body="{}"))
        if path == "/recover":
            self.recover()
            return await _answer(writer, SlackFault("answer", 1, body="{}"))
        method = path.removeprefix("/api/")
        if path.startswith("/response/"):
            return await _answer(writer, self._tell(json.loads(body)))
        if method not in ("chat.postMessage", *self._others):
            return await _answer(writer, _refused("unknown_method"))
        self.calls += 1
        self.tokens.append(headers.get("authorization", ""))
        if method == "chat.postMessage":
            return await self._post_message(json.loads(body), reader, writer)
        is_form = headers.get("content-type", "").startswith("application/x-www-form-urlencoded")
        arguments = dict(parse_qsl(body.decode())) if is_form else json.loads(body)
        return await self._other(method, arguments, reader, writer)

    async def _other(
        self, method: str, arguments: dict[str, Any], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        """Serve a call that posts no message."""
        fault = self._fault()
        if fault is None or fault.kind == "accept_then_drop":
            answer = self._others[method](self, arguments)
            if fault is None:
                return await _answer(writer, answer)
        return await self._fail(fault, reader, writer)

    async def _post_message(
        self, message: dict[str, Any], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        fault = self._fault()
        refusal = self._refusal(message) if fault is None else None
        self._note(message, fault or refusal)
        if refusal is not None:
            return await _answer(writer, refusal)
        if fault is None or fault.kind == "accept_then_drop":
            stamp = self._accept(message, answered=fault is None)
            if fault is None:
                reply = {"ok": True, "channel": conversation(message["channel"]), "ts": stamp, "message": {}}
                return await _answer(writer, SlackFault("answer", 1, body=json.dumps(reply)))
        return await self._fail(fault, reader, writer)

    async def _fail(self, fault: SlackFault, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        if fault.kind == "answer":
            return await _answer(writer, fault)
        if fault.kind == "hang":
            await reader.read()  # until the client closes the connection
            return False
        _reset(writer)
        return False

    def _refusal(self, message: dict[str, Any]) -> SlackFault | None:
        """Return the answer to a message that Slack does not accept."""
        channel = message["channel"]
        if channel in self.unknown or channel in self.closed:
            return _refused("channel_not_found" if channel in self.unknown else "not_in_channel")
        error = message_error(message)
        if error is not None:
            return _refused(error)
        thread = message.get("thread_ts")
        if thread is not None and (conversation(channel), thread) not in self.posted:
            return _refused("invalid_thread_ts")
        if self._seconds is not None:
            now = self._seconds()
            if now - self._last.get(conversation(channel), -1.0) < 1.0:
                self.rate_limited += 1
                return SlackFault(
                    "answer", 1, 429, {"Retry-After": "1"}, json.dumps({"ok": False, "error": "ratelimited"})
                )
            self._last[conversation(channel)] = now
        return None

    def _update(self, message: dict[str, Any]) -> SlackFault:
        place = message["channel"], message["ts"]
        error = message_error(message) or (None if place in self.posted else "message_not_found")
        if error is not None:
            return _refused(error)
        self.posted[place] = message
        self.updates.append(message)
        return SlackFault("answer", 1, body=json.dumps({"ok": True, "channel": place[0], "ts": place[1]}))

    def _open_view(self, arguments: dict[str, Any]) -> SlackFault:
        error = view_error(arguments["view"]) if arguments.get("trigger_id") else "invalid_trigger_id"
        if error is not None:
            return _refused(error)
        self.views.append(arguments["view"])
        return SlackFault("answer", 1, body=json.dumps({"ok": True, "view": {"id": f"V{len(self.views)}"}}))

    def _test(self, arguments: dict[str, Any]) -> SlackFault:
        return SlackFault("answer", 1, body=json.dumps({"ok": True, "user_id": "UBOT", "team_id": "T1"}))

    def _conversations(self, arguments: dict[str, Any]) -> SlackFault:
        """Return the channels that the app is in, a page at a time."""
        start, names = int(arguments.get("cursor", "0") or 0), sorted(self.joined)
        rows = [{"id": f"C0{name.upper()}", "name": name} for name in names[start : start + int(arguments["limit"])]]
        following = start + len(rows)
        metadata = {"next_cursor": str(following) if following < len(names) else ""}
        return SlackFault("answer", 1, body=json.dumps({"ok": True, "channels": rows, "response_metadata": metadata}))

    def _tell(self, reply: dict[str, Any]) -> SlackFault:
        self.replies.append(reply)
        return SlackFault("answer", 1, body="ok")

    _others: ClassVar[Mapping[str, Callable[["FakeSlack", dict[str, Any]], SlackFault]]] = {
        "chat.update": _update,
        "views.open": _open_view,
        "auth.test": _test,
        "users.conversations": _conversations,
    }

    def _fault(self) -> SlackFault | None:
        if not self._faults:
            return None
        fault = self._faults[0]
        if fault.times is not None:
            fault.times -= 1
            if fault.times <= 0:
                self._faults.popleft()
        return fault

    def _accept(self, message: dict[str, Any], *, answered: bool) -> str:
        now = time.time()
        _append(self._record, message, at=now, client_msg_id=message.get("client_msg_id"), answered=answered)
        self.messages.append(message)
        self._count += 1
        self._moments.append(self._count if self._seconds is None else self._seconds())
        stamp = f"{int(now)}.{self._count:06d}"
        self.posted[conversation(message["channel"]), stamp] = message
        return stamp

    def _note(self, message: dict[str, Any], fault: SlackFault | None) -> None:
        answer = "ok" if fault is None else str(fault.status) if fault.kind == "answer" else fault.kind
        _append(self._calls_record, message, at=time.time(), answer=answer)


def conversation(channel: str) -> str:
    """Return the id of the conversation: that of the direct messages for a member id."""
    return f"D{channel}" if channel.startswith("U") else channel


def recipient(channel: str) -> str:
    """Return the member id of a conversation of direct messages, and any other channel as it is."""
    return channel[1:] if channel.startswith("DU") else channel


def _refused(error: str) -> SlackFault:
    return SlackFault("answer", 1, body=json.dumps({"ok": False, "error": error}))


def _append(record: Path | None, message: dict[str, Any], **more: object) -> None:
    """Append one line about this message; without `record`, do nothing."""
    if record is not None:
        payload = message.get("metadata", {}).get("event_payload", {})
        with record.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps({**more, "to": recipient(message["channel"]), **payload}) + "\n")


async def _answer(writer: asyncio.StreamWriter, fault: SlackFault) -> bool:
    body = fault.body.encode()
    head = {"Content-Type": "application/json", "Content-Length": str(len(body)), **fault.headers}
    lines = [f"HTTP/1.1 {fault.status} {HTTPStatus(fault.status).phrase}", *(f"{k}: {v}" for k, v in head.items())]
    writer.write(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body)
    await writer.drain()
    return True


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close with RST instead of FIN, as after a crash of the peer."""
    connection: socket.socket = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def fault_body(fault: SlackFault) -> bytes:
    """Return the body of `POST /fault`, for a fake in a process of its own."""
    return json.dumps(asdict(fault)).encode()


async def _main(port: int, record: Path, calls: Path | None) -> None:
    fake = await FakeSlack(record, calls).start(port)
    print(fake.url, flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--record", type=Path, required=True)
    parser.add_argument("--calls", type=Path)
    options = parser.parse_args()
    asyncio.run(_main(options.port, options.record, options.calls))
