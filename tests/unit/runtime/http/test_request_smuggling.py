"""Request smuggling: a body is never parsed as a request, whatever its framing claims."""

from dataclasses import replace

import pytest

from tests.unit.runtime.http.echo_server import LIMITS, POST, echo_server, problem, statuses

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
async def test_ambiguous_body_is_refused_and_the_rest_is_not_parsed(case: str) -> None:
    async with echo_server(replace(LIMITS, linger_seconds=0.02)) as server:
        for parts in ([POST + CORPUS[case]], [bytes([byte]) for byte in POST + CORPUS[case]]):
            answer = await server.send(*parts)
            assert statuses(answer) in ([400], [501])
            problem(answer, statuses(answer)[0])
    assert all(request["path"] == "/v1/forms/demo" and request["body"] for request in server.app.requests)


async def test_chunked_body_of_http_1_0_is_refused() -> None:
    async with echo_server(LIMITS) as server:
        answer = await server.send(POST.replace(b"1.1", b"1.0") + CHUNKED + b"\r\n0\r\n\r\n" + INNER)
        problem(answer, 400)


async def test_trailers_are_not_added_to_the_headers() -> None:
    trailers = b"Authorization: Bearer stolen\r\nOrigin: https://evil.example\r\n"
    async with echo_server(LIMITS) as server:
        body = CHUNKED + b"Connection: close\r\nTrailer: Authorization\r\n\r\n5\r\nhello\r\n0\r\n" + trailers + b"\r\n"
        for parts in ([POST + body], [bytes([byte]) for byte in POST + body]):
            server.app.requests.clear()
            assert statuses(await server.send(*parts)) == [200]
            [request] = server.app.requests
            assert request["body"] == "hello"
            assert not request["headers"].keys() & {"authorization", "origin"}


async def test_request_after_connection_close_is_not_parsed() -> None:
    async with echo_server(LIMITS) as server:
        answer = await server.send(b"GET /1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" + INNER)
        assert statuses(answer) == [200]
        assert [request["path"] for request in server.app.requests] == ["/1"]


async def test_rest_of_a_body_answered_early_is_dropped() -> None:
    early = b"POST /early HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n"
    async with echo_server(replace(LIMITS, linger_seconds=0.02)) as server:
        assert statuses(await server.send(early, INNER, INNER, INNER, INNER)) == [200]
        assert server.app.requests == []


# --- offers of other protocols -----------------------------------------------------------------------------------

H2C = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"
WEBSOCKET = b"Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"


@pytest.mark.parametrize("offer", [H2C, WEBSOCKET])
@pytest.mark.parametrize("chunked", [False, True])
async def test_upgrade_offer_is_ignored_and_the_body_is_read(offer: bytes, chunked: bool) -> None:
    body = b"email=ada@corp.example"
    sent = (
        CHUNKED + b"\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
        if chunked
        else b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
    )
    last = b"GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    whole = POST + offer + sent + POST + offer + sent + last
    async with echo_server(LIMITS) as server:
        for parts in ([whole], [bytes([byte]) for byte in whole]):
            server.app.requests.clear()
            assert statuses(await server.send(*parts)) == [200] * 3
            assert [request["body"] for request in server.app.requests] == [body.decode(), body.decode(), ""]


async def test_upgrade_offer_cannot_hide_a_second_request() -> None:
    async with echo_server(replace(LIMITS, linger_seconds=0.02)) as server:
        assert statuses(await server.send(POST + H2C + LENGTH + b"Connection: close\r\n\r\n" + INNER)) == [200]
        [request] = server.app.requests
        assert request["body"] == INNER.decode()
        problem(await server.send(POST + H2C + LENGTH + CHUNKED + b"\r\n0\r\n\r\n" + INNER), 400)
