"""Calls to other services, over real sockets to servers that answer with bytes of each test."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from firsthour.runtime.http import client
from firsthour.runtime.http.client import Endpoint, NoAnswerError
from firsthour.runtime.http.client_connection import ANSWER_BYTES_MAX, HEAD_BYTES_MAX
from tests.fakes.certificates import Authority

SECONDS = 30.0
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


@dataclass
class ByteServer:
    """Answers the requests of each connection with these bytes, in turn; the last ones again and again."""

    answers: Sequence[bytes]
    closes: bool = False  # the connection, after each answer
    requests: list[bytes] = field(default_factory=list)
    connections: int = 0
    open: set[asyncio.StreamWriter] = field(default_factory=set)
    port: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open.add(writer)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
                self.requests.append(head + await reader.readexactly(int(length or 0)))
                writer.write(self.answers[min(len(self.requests), len(self.answers)) - 1])
                if self.closes:
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.open.discard(writer)
            writer.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/api/"


@asynccontextmanager
async def serving(
    *answers: bytes, closes: bool = False, tls: ssl.SSLContext | None = None
) -> AsyncIterator[ByteServer]:
    server = ByteServer(answers or (OK,), closes)
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0, ssl=tls)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listening.close()
        for writer in list(server.open):
            writer.close()
        await until(lambda: not server.open)


@asynccontextmanager
async def endpoint_of(server: ByteServer, seconds: float = SECONDS, idle_max: int = 20) -> AsyncIterator[Endpoint]:
    endpoint = Endpoint(server.url, seconds, {"authorization": "Bearer key"}, idle_max)
    try:
        yield endpoint
    finally:
        await endpoint.close()


async def until(reached: Callable[[], bool]) -> None:
    async with asyncio.timeout(SECONDS):
        while not reached():
            await asyncio.sleep(0.001)


# --- requests ---------------------------------------------------------------------------------------------------------


async def test_request_names_its_host_path_and_length() -> None:
    async with serving() as server, endpoint_of(server) as endpoint:
        answer = await endpoint.post_json("chat.postMessage", b'{"a":1}')
    assert (answer.status, answer.body) == (200, b"{}")
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    start, *lines = head.decode().split("\r\n")
    fields = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    assert start == "POST /api/chat.postMessage HTTP/1.1"
    assert len(fields) == len(lines)
    assert fields | {"user-agent": ""} == {
        "host": f"127.0.0.1:{server.port}",
        "accept": "application/json",
        "accept-encoding": "identity",
        "connection": "keep-alive",
        "user-agent": "",
        "authorization": "Bearer key",
        "content-type": "application/json; charset=utf-8",
        "content-length": "7",
    }
    assert body == b'{"a":1}'


async def test_form_and_get_are_sent_as_such() -> None:
    async with serving() as server, endpoint_of(server) as endpoint:
        await endpoint.post_form("form", {"a": "b c"})
        await endpoint.get("look?x=1")
    assert server.requests[0].endswith(b"\r\n\r\na=b+c")
    assert b"application/x-www-form-urlencoded" in server.requests[0]
    assert server.requests[1].startswith(b"GET /api/look?x=1 HTTP/1.1\r\n")
    assert b"content-length" not in server.requests[1].lower()


async def test_header_with_a_line_break_is_not_sent() -> None:
    async with serving() as server:
        endpoint = Endpoint(server.url, SECONDS, {"authorization": "Bearer a\r\nX-Other: b"})
        with pytest.raises(NoAnswerError, match="line break"):
            await endpoint.get("")
    assert server.requests == []


async def test_whole_url_goes_to_its_own_host_over_a_connection_that_is_not_kept() -> None:
    async with serving() as server, serving() as other, endpoint_of(server) as endpoint:
        for _ in range(2):
            await endpoint.post_json(f"{other.url}response/1", b"{}")
            await endpoint.post_json("own", b"{}")
    assert [server.connections, other.connections] == [1, 2]
    assert other.requests[0].startswith(b"POST /api/response/1 HTTP/1.1\r\n")


# --- connections ------------------------------------------------------------------------------------------------------


async def test_connection_is_kept_and_closed_with_the_endpoint() -> None:
    async with serving() as server:
        async with endpoint_of(server) as endpoint:
            for _ in range(5):
                await endpoint.get("")
            assert server.connections == 1
        await until(lambda: not server.open)


async def test_connection_is_not_kept_if_none_is_wanted() -> None:
    async with serving() as server, endpoint_of(server, idle_max=0) as endpoint:
        await endpoint.get("")
        await endpoint.get("")
        assert server.connections == 2


@pytest.mark.parametrize("answer", [OK, OK.replace(b"OK\r\n", b"OK\r\nconnection: close\r\n")])
async def test_connection_that_the_server_closes_is_not_used_again(answer: bytes) -> None:
    async with serving(answer, closes=True) as server, endpoint_of(server) as endpoint:
        for _ in range(5):
            assert (await endpoint.get("")).status == 200
    assert server.connections == 5


async def test_connection_that_the_server_has_just_closed_is_not_used() -> None:
    async with serving() as server, endpoint_of(server) as endpoint:
        await endpoint.get("")
        (writer,) = server.open
        writer.get_extra_info("socket").shutdown(socket.SHUT_RDWR)  # the loop has not noticed it yet
        assert (await endpoint.get("")).status == 200
    assert server.connections == 2


async def test_connection_that_was_idle_for_long_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "IDLE_SECONDS_MAX", -1.0)
    async with serving() as server, endpoint_of(server) as endpoint:
        await endpoint.get("")
        await endpoint.get("")
        assert server.connections == 2


@pytest.mark.parametrize("more", [OK, b"HTTP/1.1 200", b"?"])
async def test_answer_that_was_not_asked_for_is_never_that_of_the_next_request(more: bytes) -> None:
    foreign = more.replace(b"{}", b"[]")
    async with serving(OK + foreign, OK) as server, endpoint_of(server) as endpoint:
        assert [(await endpoint.get("")).body for _ in range(2)] == [b"{}", b"{}"]
    assert server.connections == 2


async def test_call_that_is_cut_off_closes_its_connection() -> None:
    async with serving(b"", OK) as server, endpoint_of(server, 0.05) as endpoint:
        with pytest.raises(NoAnswerError, match=r"no answer within 0\.05 s"):
            await endpoint.get("")
        await until(lambda: not server.open)


async def test_cancelled_call_closes_its_connection() -> None:
    async with serving(b"") as server, endpoint_of(server) as endpoint:
        call = asyncio.create_task(endpoint.get(""))
        await until(lambda: bool(server.requests))
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        assert call.cancelled()
        await until(lambda: not server.open)


# --- answers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer",
    [
        CHUNKED + b"3\r\nabc\r\n4;x=y\r\ndefg\r\n0\r\ntrailer: 1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nabcdefg",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\nabcdefg",
    ],
)
async def test_body_is_read_in_every_framing(answer: bytes) -> None:
    async with serving(answer) as server, endpoint_of(server) as endpoint:
        for _ in range(2):
            got = await endpoint.get("")
            assert (got.status, got.body) == (200, b"abcdefg")
            assert {"link", "trailer"}.isdisjoint(got.headers)
    assert server.connections == 1


async def test_answer_without_a_length_ends_with_the_connection() -> None:
    async with serving(b"HTTP/1.1 200 OK\r\n\r\nabcdefg", closes=True) as server, endpoint_of(server) as endpoint:
        assert (await endpoint.get("")).body == b"abcdefg"


async def test_headers_have_lower_case_names_and_repeated_ones_are_joined() -> None:
    answer = b"HTTP/1.1 429 Slow Down\r\nRetry-After:  3 \r\nX-A: 1\r\nx-a: 2\r\nContent-Length: 0\r\n\r\n"
    async with serving(answer) as server, endpoint_of(server) as endpoint:
        got = await endpoint.get("")
    assert (got.status, got.body) == (429, b"")
    assert got.headers == {"retry-after": "3", "x-a": "1, 2", "content-length": "0"}


async def test_redirect_is_not_followed() -> None:
    async with serving() as other:
        answer = f"HTTP/1.1 302 Found\r\nlocation: {other.url}\r\ncontent-length: 0\r\n\r\n".encode()
        async with serving(answer) as server, endpoint_of(server) as endpoint:
            assert (await endpoint.post_json("", b"{}")).status == 302
    assert other.requests == []


@pytest.mark.parametrize("size", [ANSWER_BYTES_MAX, ANSWER_BYTES_MAX + 1])
@pytest.mark.parametrize(
    "framing", [b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b", CHUNKED + b"%x\r\n%b\r\n0\r\n\r\n"]
)
async def test_answer_is_bounded_in_size(framing: bytes, size: int) -> None:
    async with serving(framing % (size, b"x" * size)) as server, endpoint_of(server) as endpoint:
        if size <= ANSWER_BYTES_MAX:
            assert len((await endpoint.get("")).body) == size
        else:
            with pytest.raises(NoAnswerError, match="more than 65536 bytes"):
                await endpoint.get("")
            await until(lambda: not server.open)


async def test_head_of_an_answer_is_bounded() -> None:
    answer = b"HTTP/1.1 200 OK\r\n" + b"x-filler: " + b"y" * 2 * HEAD_BYTES_MAX
    async with serving(answer) as server, endpoint_of(server) as endpoint:
        with pytest.raises(NoAnswerError, match="a head of more than 65536 bytes"):
            await endpoint.get("")


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc",
        CHUNKED + b"9\r\nabc",
        b"HTTP/1.1 200 OK\r\ncontent-le",
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}",
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
    ],
)
async def test_answer_that_is_cut_off_or_no_http_is_no_answer(answer: bytes) -> None:
    async with serving(answer, closes=True) as server, endpoint_of(server) as endpoint:
        with pytest.raises(NoAnswerError):
            await endpoint.get("")


# --- hosts ------------------------------------------------------------------------------------------------------------


async def test_host_is_reached_by_the_address_that_answers() -> None:
    async with serving() as server:
        endpoint = Endpoint(f"http://localhost:{server.port}/", SECONDS, idle_max=0)  # ::1 is refused, where it exists
        assert (await endpoint.get("")).status == 200


async def test_host_that_refuses_is_no_answer() -> None:
    async with serving() as server:
        url = server.url
    with pytest.raises(NoAnswerError, match="ConnectionRefusedError"):
        await Endpoint(url, SECONDS, idle_max=0).get("")


@pytest.mark.parametrize(("certified", "trusted"), [("IP:127.0.0.1", True), ("DNS:other.example", False)])
async def test_certificate_must_be_that_of_the_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, certified: str, trusted: bool
) -> None:
    authority = Authority(tmp_path)
    server_side = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server_side.load_cert_chain(*authority.issue("server", certified))
    trusting = ssl.create_default_context(cafile=str(authority.file))
    monkeypatch.setattr(client, "_authorities", lambda: trusting)
    async with serving(tls=server_side) as server:
        endpoint = Endpoint(f"https://127.0.0.1:{server.port}/", SECONDS)
        if trusted:
            for _ in range(3):
                assert (await endpoint.get("")).status == 200
            await endpoint.close()
            assert server.connections == 1
        else:
            with pytest.raises(NoAnswerError, match="SSLCertVerificationError"):
                await endpoint.get("")
            assert server.requests == []


async def test_proxy_of_the_environment_applies_except_to_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving() as proxy, serving() as server:
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy.port}")
        monkeypatch.setenv("NO_PROXY", "")
        far = Endpoint("http://slack.example/api/", SECONDS, {"authorization": "Bearer key"})
        for _ in range(2):
            assert (await far.post_json("chat.postMessage", b"{}")).body == b"{}"
        await far.close()
        async with endpoint_of(server) as near:
            await near.get("")
    assert proxy.requests[0].startswith(b"POST http://slack.example/api/chat.postMessage HTTP/1.1\r\n")
    assert (len(proxy.requests), proxy.connections, len(server.requests)) == (2, 1, 1)
