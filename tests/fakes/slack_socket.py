"""Slack's end of a Socket Mode connection, over a real socket: it sends requests, and stores the answers."""

import asyncio
import base64
import hashlib
import json
from collections.abc import Mapping
from itertools import count
from typing import Any, Self

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
TEXT, CLOSE, PING, PONG = 1, 8, 9, 10


class FakeSlackSocket:
    """`apps.connections.open`, and the connection. `token`: the app token that is accepted."""

    def __init__(self, token: str) -> None:
        self.token = token
        self.opened = 0  # connections
        self.answers: dict[str, dict[str, Any]] = {}  # by the id of the envelope
        self._writers: list[asyncio.StreamWriter] = []
        self._changed = asyncio.Condition()
        self._ids = count(1)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._server.close()
        self.drop()
        await self._server.wait_closed()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/api/"

    async def connected(self, times: int = 1) -> None:
        """Wait until so many connections were opened."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.opened >= times)

    def drop(self) -> None:
        """Break the connections."""
        for writer in self._writers:
            writer.close()
        self._writers.clear()

    def refresh(self) -> None:
        """Ask for a new connection, as Slack does every few hours."""
        self._writers[-1].write(
            _frame(TEXT, json.dumps({"type": "disconnect", "reason": "refresh_requested"}).encode())
        )

    async def ask(self, kind: str, payload: Mapping[str, Any]) -> dict[str, Any]:
        """Send a request over the newest connection, and return its answer."""
        id = f"envelope-{next(self._ids)}"
        message = {"type": kind, "envelope_id": id, "payload": payload, "accepts_response_payload": True}
        self._writers[-1].write(_frame(TEXT, json.dumps(message).encode()))
        async with self._changed:
            await self._changed.wait_for(lambda: id in self.answers)
        return self.answers[id]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            start, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
            if start.startswith("POST"):
                await reader.readexactly(int(headers.get("content-length", "0")))
                await self._open(headers.get("authorization", ""), writer)
                return
            await self._upgrade(headers["sec-websocket-key"], writer)
            while True:
                opcode, body = await _read_frame(reader)
                if opcode == PING:
                    writer.write(_frame(PONG, body))
                elif opcode == TEXT:
                    await self._store(json.loads(body))
                elif opcode == CLOSE:
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _open(self, authorization: str, writer: asyncio.StreamWriter) -> None:
        reply: dict[str, Any] = {"ok": False, "error": "invalid_auth"}
        if authorization == f"Bearer {self.token}":
            reply = {"ok": True, "url": f"ws://127.0.0.1:{self.port}/link/?ticket=1&app_id=2"}
        body = json.dumps(reply).encode()
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        writer.write(head.encode() + body)
        await writer.drain()

    async def _upgrade(self, key: str, writer: asyncio.StreamWriter) -> None:
        accept = base64.b64encode(hashlib.sha1(key.encode() + _GUID, usedforsecurity=False).digest()).decode()
        head = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        writer.write(f"{head}Sec-WebSocket-Accept: {accept}\r\n\r\n".encode())
        writer.write(_frame(TEXT, json.dumps({"type": "hello", "num_connections": 1}).encode()))
        self._writers.append(writer)
        async with self._changed:
            self.opened += 1
            self._changed.notify_all()

    async def _store(self, answer: dict[str, Any]) -> None:
        async with self._changed:
            self.answers[answer["envelope_id"]] = answer
            self._changed.notify_all()


def _frame(opcode: int, body: bytes) -> bytes:
    size = bytes([len(body)]) if len(body) < 126 else b"\x7e" + len(body).to_bytes(2, "big")
    return bytes([0x80 | opcode]) + size + body


async def _read_frame(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """Return opcode and body of a frame of a client, which is masked."""
    first, second = await reader.readexactly(2)
    size = second & 0x7F
    if size == 126:
        size = int.from_bytes(await reader.readexactly(2), "big")
    elif size == 127:
        size = int.from_bytes(await reader.readexactly(8), "big")
    mask = await reader.readexactly(4)
    body = await reader.readexactly(size)
    return first & 0x0F, bytes(byte ^ mask[n % 4] for n, byte in enumerate(body))
