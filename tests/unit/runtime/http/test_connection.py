"""A server on a real socket, and clients that write bytes: bounds of heads, of time and of connections; no body is read
as a request."""

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from firsthour.runtime import settings
from firsthour.runtime.http import middleware
from firsthour.runtime.http.connection import Limits
from firsthour.runtime.http.server import KEEP_ALIVE_SECONDS, StopSignal, listen, port_of, serve
from firsthour.runtime.observability.metrics import Telemetry
from tests.hand_clock import HandClock

LIMITS = Limits()
SHORT = replace(LIMITS, head_seconds=1.0, linger_seconds=0.1)
POST = b"POST /v1/forms/demo HTTP/1.1\r\nHost: a\r\n"


@dataclass
class Echo:
    """An application that answers what it was asked, and remembers it."""

    asked: list[dict[str, Any]] = field(default_factory=list)
    hold: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/hold":
            await self.hold.wait()
        if scope["path"] == "/early":
            await middleware.send_response(send, 200, {}, b"early")
            return
        message = await receive() if scope["method"] == "POST" else {}
        headers = {name.decode(): value.decode("latin-1") for name, value in scope["headers"]}
        said = {"path": scope["path"], "body": message.get("body", b"").decode("latin-1"), "headers": headers}
        self.asked.append(said)
        await middleware.send_response(send, 200, {}, json.dumps(said).encode())


@dataclass
class Served:
    """The server's port, and connections to it."""

    port: int
    app: Echo
    writers: list[asyncio.StreamWriter] = field(default_factory=list)

    async def connect(self) -> "tuple[asyncio.StreamReader, asyncio.StreamWriter]":
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        self.writers.append(writer)
        return reader, writer

    async def send(self, *parts: bytes) -> bytes:
        """All that is answered to these bytes until the server ends the connection."""
        reader, writer = await self.connect()
        for part in parts:
            writer.write(part)
            await writer.drain()
        return await everything(reader)


async def everything(reader: asyncio.StreamReader) -> bytes:
    async with asyncio.timeout(20):
        try:
            return await reader.read()
        except ConnectionError:
            return b""


@asynccontextmanager
async def served(limits: Limits) -> AsyncIterator[Served]:
    echo, stop, started = Echo(), StopSignal(), asyncio.Event()

    async def answering() -> None:
        started.set()

    bound = listen("127.0.0.1", 0)
    rim = middleware.RequestMiddleware(echo, telemetry=Telemetry(), clock=HandClock())
    serving = asyncio.create_task(serve(rim, bound, stop, answering, limits))
    await started.wait()
    made = Served(port_of(bound), echo)
    try:
        yield made
    finally:
        for writer in made.writers:
            writer.close()
        stop.ask()
        stop.ask()
        await serving


def test_the_bounds_are_those_that_are_told_to_operators() -> None:
    assert (LIMITS.head_bytes_max, LIMITS.headers_max, LIMITS.head_seconds) == (16_384, 100, 10.0)
    assert (KEEP_ALIVE_SECONDS, LIMITS.connections_max, settings.load().connections_max) == (30, 1_000, 1_000)


def statuses(answer: bytes) -> list[int]:
    return [int(found) for found in re.findall(rb"HTTP/1\.1 ([0-9]{3}) ", answer)]


def problem(answer: bytes, status: int) -> dict[str, Any]:
    """The problem that ends a connection."""
    assert statuses(answer) == [status]
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"connection: close" in head
    assert b"content-type: application/problem+json" in head
    said: dict[str, Any] = json.loads(body)
    assert said["status"] == status
    return said


# --- heads -------------------------------------------------------------------------------------------------------


async def test_a_head_beyond_16_kib_is_refused_whether_it_comes_whole_or_in_parts() -> None:
    fits, too_long = b"x" * (LIMITS.head_bytes_max - 200), b"x" * LIMITS.head_bytes_max
    async with served(LIMITS) as server:
        assert statuses(
            await server.send(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX: " + fits + b"\r\n\r\n")
        ) == [200]
        problem(await server.send(b"GET / HTTP/1.1\r\nHost: a\r\nX: " + too_long + b"\r\n\r\n"), 431)
        problem(await server.send(b"GET / HTTP/1.1\r\nHost: a\r\nX: ", *[b"x" * 4096] * 8), 431)
        problem(await server.send(b"GET /" + too_long + b" HTTP/1.1\r\nHost: a\r\n\r\n"), 431)
        problem(await server.send(b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 101 + b"\r\n"), 431)
    assert len(server.app.asked) == 1


async def test_a_head_without_end_ends_the_connection() -> None:
    async with served(LIMITS) as server:
        _, writer = await server.connect()
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\nX: ")
        assert await until_cut_off(writer, b"x" * 65536) < 50 * 1024 * 1024


async def until_cut_off(writer: asyncio.StreamWriter, part: bytes) -> int:
    """Send until the server ends the connection; how many bytes that took."""
    sent = 0
    async with asyncio.timeout(20):
        with contextlib.suppress(ConnectionError):
            while True:
                writer.write(part)
                sent += len(part)
                await writer.drain()
                await asyncio.sleep(0)
    return sent


@pytest.mark.parametrize(
    "rest", [b"0\r\nX: " + b"x" * 300_000, b"1;e=" + b"x" * 300_000], ids=["trailer", "chunk extension"]
)
async def test_what_is_neither_head_nor_body_is_bounded_too(rest: bytes) -> None:
    async with served(replace(LIMITS, linger_seconds=0.1)) as server:
        problem(await server.send(POST + b"Transfer-Encoding: chunked\r\n\r\n" + rest), 400)


async def test_a_request_needs_one_host() -> None:
    async with served(LIMITS) as server:
        for head in (b"", b"Host: a\r\nHost: a\r\n", b"Host: a b\r\n", b"Host: a/b\r\n"):
            problem(await server.send(b"GET / HTTP/1.1\r\n" + head + b"\r\n"), 400)
        assert statuses(await server.send(b"GET / HTTP/1.0\r\n\r\n")) == [200]
        problem(await server.send(b"GET / HTTP/2.0\r\nHost: a\r\n\r\n"), 505)
        problem(await server.send(b"CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n"), 405)


# --- time --------------------------------------------------------------------------------------------------------


async def test_a_head_that_stalls_is_answered_408_and_a_silent_connection_is_closed() -> None:
    whole = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
    async with served(SHORT) as server:
        sent: list[list[bytes]] = [[b"GET / HTTP/1.1\r\nHost:"], [], [whole, b"GET / HT"]]
        stalled, silent, second = await asyncio.gather(*(server.send(*parts) for parts in sent))
        problem(stalled, 408)
        assert silent == b""
        assert statuses(second) == [200, 408]


async def test_blank_lines_do_not_keep_a_connection() -> None:
    async with served(SHORT) as server:
        reader, writer = await server.connect()
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        await reader.readuntil(b"}}")
        writer.write(b"\r\n")
        assert statuses(await everything(reader)) == [408]


async def test_300_stalled_connections_end_and_others_are_answered_beside_them() -> None:
    async with served(SHORT) as server:
        stalled = [await server.connect() for _ in range(300)]
        for _, writer in stalled:
            writer.write(b"POST /v1/events HTTP/1.1\r\nHost: a\r\n")
        assert statuses(await server.send(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")) == [200]
        answers = await asyncio.gather(*(everything(reader) for reader, _ in stalled))
        assert {tuple(statuses(answer)) for answer in answers} <= {(408,), ()}


async def test_a_body_that_stalls_is_answered_408(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(middleware.read_body, "__defaults__", (middleware.BODY_LIMIT, 0.1))
    async with served(LIMITS) as server:
        assert statuses(await server.send(POST + b"Content-Length: 9\r\n\r\nab")) == [408]


async def test_a_connection_without_requests_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("firsthour.runtime.http.server.KEEP_ALIVE_SECONDS", 0.1)
    async with served(LIMITS) as server:
        assert statuses(await server.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")) == [200]


async def test_a_client_that_does_not_read_its_answers_is_cut_off() -> None:
    async with served(replace(LIMITS, write_seconds=0.1)) as server:
        _, writer = await server.connect()
        body = b"x" * 200_000
        assert await until_cut_off(writer, POST + b"Content-Length: %d\r\n\r\n" % len(body) + body)


# --- number ------------------------------------------------------------------------------------------------------


async def test_a_new_connection_takes_the_place_of_the_one_that_waits_longest() -> None:
    async with served(replace(LIMITS, connections_max=3)) as server:
        idle = [await server.connect() for _ in range(3)]
        assert statuses(await server.send(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")) == [200]
        assert await everything(idle[0][0]) == b""
        idle[2][1].write(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert statuses(await everything(idle[2][0])) == [200]


async def test_beyond_the_number_of_busy_connections_the_answer_is_503() -> None:
    async with served(replace(LIMITS, connections_max=2)) as server:
        busy = [await server.connect() for _ in range(2)]
        for _, writer in busy:
            writer.write(b"GET /hold HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        await until(lambda: len(server.app.hold._waiters) == 2)
        answer = await server.send()
        problem(answer, 503)
        assert b"retry-after: " in answer
        server.app.hold.set()
        for reader, _ in busy:
            assert statuses(await everything(reader)) == [200]


async def test_connections_that_are_refused_hold_no_place() -> None:
    async with served(replace(LIMITS, connections_max=1, linger_seconds=60)) as server:
        for _ in range(3):
            reader, writer = await server.connect()
            writer.write(b"GET / HTTP/1.1\r\n\r\n")
            problem(await everything(reader), 400)
        _, writer = await server.connect()
        writer.write(b"GET /hold HTTP/1.1\r\nHost: a\r\n\r\n")
        await until(lambda: len(server.app.hold._waiters) == 1)
        for _ in range(20):
            reader, refused = await server.connect()
            problem(await everything(reader), 503)
            await until_cut_off(refused, b"x")
        server.app.hold.set()


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not holds():
            await asyncio.sleep(0.005)


@pytest.mark.parametrize("target", [b"http://a", b"a:80", b"/\xff", b"/%zz\xc3\xa9"])
async def test_a_bad_target_behind_a_request_under_way_costs_that_request_nothing(target: bytes) -> None:
    async with served(LIMITS) as server:
        reader, writer = await server.connect()
        writer.write(b"GET /hold HTTP/1.1\r\nHost: a\r\n\r\nGET " + target + b" HTTP/1.1\r\nHost: a\r\n\r\n")
        await until(lambda: len(server.app.hold._waiters) == 1)
        server.app.hold.set()
        assert statuses(await everything(reader)) == [200]


async def test_requests_sent_ahead_are_answered_in_order_up_to_a_bound() -> None:
    get = b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n"
    async with served(LIMITS) as server:
        last = b"GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
        answer = await server.send(b"".join(get % n for n in range(20)) + last)
        assert statuses(answer) == [200] * 21
        assert [said["path"] for said in server.app.asked] == [*(f"/{n}" for n in range(20)), "/last"]
        server.app.asked.clear()
        answer = await server.send(b"".join(get % n for n in range(5_000)))
        assert statuses(answer) == [200] * (LIMITS.pipelined_max + 1)


# --- a body is never a request -----------------------------------------------------------------------------------

INNER = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
LENGTH = b"Content-Length: %d\r\n" % len(INNER)
CHUNKED = b"Transfer-Encoding: chunked\r\n"
CORPUS = {
    "CL.TE": LENGTH + CHUNKED + b"\r\n0\r\n\r\n" + INNER,
    "TE.CL": CHUNKED + LENGTH + b"\r\n0\r\n\r\n" + INNER,
    "two lengths": LENGTH + b"Content-Length: 0\r\n\r\n" + INNER,
    "two equal lengths": LENGTH + LENGTH + b"\r\n" + INNER,
    "list of lengths": b"Content-Length: 0, 37\r\n\r\n" + INNER,
    "signed length": b"Content-Length: +0\r\n\r\n" + INNER,
    "negative length": b"Content-Length: -1\r\n\r\n" + INNER,
    "empty length": b"Content-Length: \r\n\r\n" + INNER,
    "huge length": b"Content-Length: " + b"9" * 40 + b"\r\n\r\n" + INNER,
    "blank before colon": b"Transfer-Encoding : chunked\r\n" + LENGTH + b"\r\n" + INNER,
    "length, blank before colon": b"Content-Length : 5\r\n\r\n" + INNER,
    "unknown coding": b"Transfer-Encoding: xchunked\r\n" + LENGTH + b"\r\n" + INNER,
    "coding after chunked": b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n" + INNER,
    "coding before chunked": b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n" + INNER,
    "two codings": CHUNKED + b"Transfer-Encoding: identity\r\n\r\n0\r\n\r\n" + INNER,
    "vertical tab": b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n" + INNER,
    "obs-fold": b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n" + INNER,
    "obs-fold of another": b"X: a\r\n b\r\nContent-Length: 0\r\n\r\n" + INNER,
    "bare LF in the head": b"X: a\nContent-Length: 0\r\n\r\n" + INNER,
    "bare LF at its end": b"Content-Length: 0\r\n\n" + INNER,
    "bare CR": b"X: a\rContent-Length: 0\r\n\r\n" + INNER,
    "NUL": b"X: a\0b\r\nContent-Length: 0\r\n\r\n" + INNER,
    "bare LF after a chunk size": CHUNKED + b"\r\n5\nhello\r\n0\r\n\r\n" + INNER,
    "bare LF in a chunk extension": CHUNKED + b"\r\n5;a\nhello\r\n0\r\n\r\n" + INNER,
    "bare LF after a chunk": CHUNKED + b"\r\n5\r\nhello\n0\r\n\r\n" + INNER,
    "negative chunk": CHUNKED + b"\r\n-5\r\nhello\r\n0\r\n\r\n" + INNER,
    "chunk size 0x": CHUNKED + b"\r\n0x5\r\nhello\r\n0\r\n\r\n" + INNER,
    "chunk longer than its size": CHUNKED + b"\r\n3\r\nhello\r\n0\r\n\r\n" + INNER,
    "chunk of 80 bits": CHUNKED + b"\r\n11111111111111111111\r\nhello\r\n0\r\n\r\n" + INNER,
    "length in a trailer": CHUNKED + b"\r\n0\r\nContent-Length: 5\r\n\r\n" + INNER,
}


@pytest.mark.parametrize("case", CORPUS)
async def test_an_ambiguous_body_is_refused_and_nothing_after_it_is_read(case: str) -> None:
    async with served(replace(LIMITS, linger_seconds=0.1)) as server:
        for parts in ([POST + CORPUS[case]], [bytes([byte]) for byte in POST + CORPUS[case]]):
            answer = await server.send(*parts)
            assert statuses(answer) in ([400], [501])
            problem(answer, statuses(answer)[0])
    assert not [asked for asked in server.app.asked if asked["path"] != "/v1/forms/demo" or asked["body"] == ""]


async def test_http_1_0_has_no_chunks() -> None:
    async with served(LIMITS) as server:
        answer = await server.send(POST.replace(b"1.1", b"1.0") + CHUNKED + b"\r\n0\r\n\r\n" + INNER)
        problem(answer, 400)


async def test_trailers_are_no_headers() -> None:
    trailers = b"Authorization: Bearer stolen\r\nOrigin: https://evil.example\r\n"
    async with served(LIMITS) as server:
        body = CHUNKED + b"Connection: close\r\nTrailer: Authorization\r\n\r\n5\r\nhello\r\n0\r\n" + trailers + b"\r\n"
        for parts in ([POST + body], [bytes([byte]) for byte in POST + body]):
            server.app.asked.clear()
            assert statuses(await server.send(*parts)) == [200]
            [asked] = server.app.asked
            assert asked["body"] == "hello"
            assert not asked["headers"].keys() & {"authorization", "origin"}


async def test_a_request_after_the_last_of_a_connection_is_not_read() -> None:
    async with served(LIMITS) as server:
        answer = await server.send(b"GET /1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" + INNER)
        assert statuses(answer) == [200]
        assert [asked["path"] for asked in server.app.asked] == ["/1"]


async def test_the_rest_of_a_body_answered_early_is_dropped() -> None:
    early = b"POST /early HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n"
    async with served(replace(LIMITS, linger_seconds=0.1)) as server:
        assert statuses(await server.send(early, INNER, INNER, INNER, INNER)) == [200]
        assert server.app.asked == []


# --- offers of other protocols -----------------------------------------------------------------------------------

H2C = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"
WEBSOCKET = b"Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"


@pytest.mark.parametrize("offer", [H2C, WEBSOCKET])
@pytest.mark.parametrize("chunked", [False, True])
async def test_an_upgrade_offer_is_ignored_and_the_body_is_read(offer: bytes, chunked: bool) -> None:
    body = b"email=ada@corp.example"
    sent = (
        CHUNKED + b"\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
        if chunked
        else b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
    )
    last = b"GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    whole = POST + offer + sent + POST + offer + sent + last
    async with served(LIMITS) as server:
        for parts in ([whole], [bytes([byte]) for byte in whole]):
            server.app.asked.clear()
            assert statuses(await server.send(*parts)) == [200] * 3
            assert [asked["body"] for asked in server.app.asked] == [body.decode(), body.decode(), ""]


async def test_an_upgrade_offer_hides_no_second_request() -> None:
    async with served(replace(LIMITS, linger_seconds=0.1)) as server:
        assert statuses(await server.send(POST + H2C + LENGTH + b"Connection: close\r\n\r\n" + INNER)) == [200]
        [asked] = server.app.asked
        assert asked["body"] == INNER.decode()
        problem(await server.send(POST + H2C + LENGTH + CHUNKED + b"\r\n0\r\n\r\n" + INNER), 400)
