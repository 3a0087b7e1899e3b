"""Limits of a connection: the size of heads, times, and the number of connections."""

import asyncio
import select
import socket
from dataclasses import replace
from statistics import median
from time import perf_counter

import pytest

from firsthour.runtime import settings
from firsthour.runtime.http import middleware
from firsthour.runtime.http.server import KEEP_ALIVE_SECONDS
from tests.unit.runtime.http.echo_server import (
    LIMITS,
    POST,
    SHORT,
    echo_server,
    problem,
    read_to_end,
    statuses,
    until_cut_off,
    wait_until,
)


def test_default_limits_are_the_documented_ones() -> None:
    assert (LIMITS.head_bytes_max, LIMITS.headers_max, LIMITS.head_seconds) == (16_384, 100, 10.0)
    assert (KEEP_ALIVE_SECONDS, LIMITS.connections_max, settings.load().connections_max) == (30, 1_000, 1_000)


# --- heads -------------------------------------------------------------------------------------------------------


async def test_head_of_more_than_16_kib_is_refused_whole_and_in_parts() -> None:
    fits, too_long = b"x" * (LIMITS.head_bytes_max - 200), b"x" * LIMITS.head_bytes_max
    async with echo_server(LIMITS) as server:
        assert statuses(
            await server.send(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX: " + fits + b"\r\n\r\n")
        ) == [200]
        problem(await server.send(b"GET / HTTP/1.1\r\nHost: a\r\nX: " + too_long + b"\r\n\r\n"), 431)
        problem(await server.send(b"GET / HTTP/1.1\r\nHost: a\r\nX: ", *[b"x" * 4096] * 8), 431)
        problem(await server.send(b"GET /" + too_long + b" HTTP/1.1\r\nHost: a\r\n\r\n"), 431)
        problem(await server.send(b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 101 + b"\r\n"), 431)
    assert len(server.app.requests) == 1


async def test_head_without_end_ends_the_connection() -> None:
    async with echo_server(LIMITS) as server:
        _, writer = await server.connect()
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\nX: ")
        assert await until_cut_off(writer, b"x" * 65536) < 50 * 1024 * 1024


@pytest.mark.parametrize(
    "rest", [b"0\r\nX: " + b"x" * 300_000, b"1;e=" + b"x" * 300_000], ids=["trailer", "chunk extension"]
)
async def test_trailers_and_chunk_extensions_are_bounded(rest: bytes) -> None:
    async with echo_server(replace(LIMITS, linger_seconds=0.1)) as server:
        problem(await server.send(POST + b"Transfer-Encoding: chunked\r\n\r\n" + rest), 400)


async def test_request_without_exactly_one_host_is_refused() -> None:
    async with echo_server(LIMITS) as server:
        for head in (b"", b"Host: a\r\nHost: a\r\n", b"Host: a b\r\n", b"Host: a/b\r\n"):
            problem(await server.send(b"GET / HTTP/1.1\r\n" + head + b"\r\n"), 400)
        assert statuses(await server.send(b"GET / HTTP/1.0\r\n\r\n")) == [200]
        problem(await server.send(b"GET / HTTP/2.0\r\nHost: a\r\n\r\n"), 505)
        problem(await server.send(b"CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n"), 405)


# --- time --------------------------------------------------------------------------------------------------------


async def test_stalled_head_is_answered_408_and_a_silent_connection_is_closed() -> None:
    whole = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
    async with echo_server(SHORT) as server:
        sent: list[list[bytes]] = [[b"GET / HTTP/1.1\r\nHost:"], [], [whole, b"GET / HT"]]
        stalled, silent, second = await asyncio.gather(*(server.send(*parts) for parts in sent))
        problem(stalled, 408)
        assert silent == b""
        assert statuses(second) == [200, 408]


async def test_blank_lines_do_not_keep_a_connection_open() -> None:
    async with echo_server(SHORT) as server:
        reader, writer = await server.connect()
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        await reader.readuntil(b"}}")
        writer.write(b"\r\n")
        assert statuses(await read_to_end(reader)) == [408]


async def test_other_requests_are_answered_beside_300_stalled_connections() -> None:
    async with echo_server(SHORT) as server:
        stalled = [await server.connect() for _ in range(300)]
        for _, writer in stalled:
            writer.write(b"POST /v1/events HTTP/1.1\r\nHost: a\r\n")
        assert statuses(await server.send(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")) == [200]
        answers = await asyncio.gather(*(read_to_end(reader) for reader, _ in stalled))
        assert {tuple(statuses(answer)) for answer in answers} <= {(408,), ()}


async def test_head_that_comes_byte_by_byte_is_answered_408() -> None:
    async with echo_server(SHORT) as server:
        reader, writer = await server.connect()
        writer.write(b"GET / HTTP/1.1\r\nX: ")
        await until_answered(reader, writer)


async def test_body_that_comes_byte_by_byte_is_answered_408(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(middleware.read_body, "__defaults__", (middleware.BODY_LIMIT, 0.3))
    async with echo_server(LIMITS) as server:
        reader, writer = await server.connect()
        writer.write(POST + b"Content-Length: 100000\r\n\r\n")
        await until_answered(reader, writer)


async def test_answer_before_the_end_of_a_body_reaches_a_client_that_reads_late(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(middleware.read_body, "__defaults__", (middleware.BODY_LIMIT, 0.0))
    other = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    async with echo_server(LIMITS) as server:
        with socket.create_connection(("127.0.0.1", server.port)) as client:
            client.setblocking(False)
            client.sendall(POST + b"Content-Length: 100000\r\n\r\n")
            while not select.select([client], [], [], 0)[0]:
                await server.send(other)
            for _ in range(3):
                client.sendall(b"x")
                await server.send(other)
            assert statuses(client.recv(10_000)) == [408]


async def until_answered(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send byte after byte until the server answers that this takes too long."""
    answer = asyncio.create_task(reader.readuntil(b"\r\n\r\n"))
    while not answer.done():
        writer.write(b"x")
        await asyncio.wait({answer}, timeout=0.01)
    assert statuses(answer.result()) == [408]


@pytest.mark.parametrize(
    "head", [b"GET / HTTP/1.1\r\nX: ", POST + b"Content-Length: 100000\r\n\r\n"], ids=["head", "body"]
)
async def test_crowd_of_slow_clients_does_not_take_all_places(head: bytes) -> None:
    async with echo_server(replace(LIMITS, connections_max=20)) as server:
        crowd = [await server.connect() for _ in range(20)]
        for _, writer in crowd:
            writer.write(head)
            await writer.drain()
        assert statuses(await server.send(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")) == [200]
        assert await read_to_end(crowd[0][0]) == b""


@pytest.mark.slow
async def test_crowd_of_slow_clients_delays_other_requests_less_than_twice() -> None:
    """Between two requests, three of 400 clients send a byte of a head or a body."""
    async with echo_server(LIMITS) as crowded, echo_server(LIMITS) as quiet:
        crowd = [await crowded.connect() for _ in range(400)]
        for number, (_, writer) in enumerate(crowd):
            writer.write(POST + (b"Content-Length: 100000\r\n\r\n" if number % 2 else b"X: "))
        clients = [await server.connect() for server in (crowded, quiet)]
        seconds: list[list[float]] = [[], []]
        for number in range(400):
            for step in range(3):
                crowd[(3 * number + step) % len(crowd)][1].write(b"x")
            for place, client in enumerate(clients):
                seconds[place].append(await seconds_of_request(*client))
        assert median(seconds[0]) < 2 * median(seconds[1])


async def seconds_of_request(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> float:
    start = perf_counter()
    writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    await reader.readuntil(b"}}")
    return perf_counter() - start


async def test_stalled_body_is_answered_408(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(middleware.read_body, "__defaults__", (middleware.BODY_LIMIT, 0.1))
    async with echo_server(LIMITS) as server:
        assert statuses(await server.send(POST + b"Content-Length: 9\r\n\r\nab")) == [408]


async def test_connection_without_requests_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("firsthour.runtime.http.server.KEEP_ALIVE_SECONDS", 0.1)
    async with echo_server(LIMITS) as server:
        assert statuses(await server.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")) == [200]


async def test_client_that_does_not_read_its_answers_is_disconnected() -> None:
    async with echo_server(replace(LIMITS, write_seconds=0.1)) as server:
        _, writer = await server.connect()
        body = b"x" * 200_000
        assert await until_cut_off(writer, POST + b"Content-Length: %d\r\n\r\n" % len(body) + body)


# --- number ------------------------------------------------------------------------------------------------------


async def test_new_connection_evicts_the_longest_idle_one() -> None:
    async with echo_server(replace(LIMITS, connections_max=3)) as server:
        idle = [await server.connect() for _ in range(3)]
        assert statuses(await server.send(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")) == [200]
        assert await read_to_end(idle[0][0]) == b""
        idle[2][1].write(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert statuses(await read_to_end(idle[2][0])) == [200]


async def test_connection_beyond_the_limit_of_busy_ones_is_answered_503() -> None:
    async with echo_server(replace(LIMITS, connections_max=2)) as server:
        busy = [await server.connect() for _ in range(2)]
        for _, writer in busy:
            writer.write(b"GET /hold HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        await wait_until(lambda: len(server.app.hold._waiters) == 2)
        answer = await server.send()
        problem(answer, 503)
        assert b"retry-after: " in answer
        server.app.hold.set()
        for reader, _ in busy:
            assert statuses(await read_to_end(reader)) == [200]


async def test_refused_connections_do_not_count_towards_the_limit() -> None:
    async with echo_server(replace(LIMITS, connections_max=1, linger_seconds=60)) as server:
        for _ in range(3):
            reader, writer = await server.connect()
            writer.write(b"GET / HTTP/1.1\r\n\r\n")
            problem(await read_to_end(reader), 400)
        _, writer = await server.connect()
        writer.write(b"GET /hold HTTP/1.1\r\nHost: a\r\n\r\n")
        await wait_until(lambda: len(server.app.hold._waiters) == 1)
        for _ in range(20):
            reader, refused = await server.connect()
            problem(await read_to_end(reader), 503)
            await until_cut_off(refused, b"x")
        server.app.hold.set()


@pytest.mark.parametrize("target", [b"http://a", b"a:80", b"/\xff", b"/%zz\xc3\xa9"])
async def test_invalid_target_does_not_affect_the_running_request_before_it(target: bytes) -> None:
    async with echo_server(LIMITS) as server:
        reader, writer = await server.connect()
        writer.write(b"GET /hold HTTP/1.1\r\nHost: a\r\n\r\nGET " + target + b" HTTP/1.1\r\nHost: a\r\n\r\n")
        await wait_until(lambda: len(server.app.hold._waiters) == 1)
        server.app.hold.set()
        assert statuses(await read_to_end(reader)) == [200]


async def test_pipelined_requests_are_answered_in_order_up_to_the_limit() -> None:
    get = b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n"
    async with echo_server(LIMITS) as server:
        last = b"GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
        answer = await server.send(b"".join(get % n for n in range(20)) + last)
        assert statuses(answer) == [200] * 21
        assert [request["path"] for request in server.app.requests] == [*(f"/{n}" for n in range(20)), "/last"]
        server.app.requests.clear()
        answer = await server.send(b"".join(get % n for n in range(5_000)))
        assert statuses(answer) == [200] * (LIMITS.pipelined_max + 1)
