"""The request middleware: bounded bodies, request ids, headers and counts of every answer."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from firsthour.runtime.http import middleware
from firsthour.runtime.http.problem import Problem
from tests.unit.runtime.http.site import CANARY, LIMIT, WITH_KEY, Site, problem

# --- bodies ----------------------------------------------------------------------------------------------------


async def in_parts(size: int, parts: int) -> AsyncIterator[bytes]:
    for _ in range(parts):
        yield b"x" * size


async def test_body_is_bounded_at_the_limit(site: Site) -> None:
    assert (await site.request("POST", "/v1/raw", content=b"x" * LIMIT)).json() == LIMIT
    answer = await site.request("POST", "/v1/raw", content=b"x" * (LIMIT + 1))
    assert problem(answer, 413)["limit"] == LIMIT
    assert answer.headers["connection"] == "close"


async def test_chunked_body_is_bounded_at_the_limit(site: Site) -> None:
    assert (await site.request("POST", "/v1/raw", content=in_parts(100, 10))).json() == LIMIT
    problem(await site.request("POST", "/v1/raw", content=in_parts(100, 11)), 413)


class ScriptedConnection:
    """A client that sends these messages, and then nothing. `received`: the number of messages that were received."""

    def __init__(self, *messages: dict[str, Any]) -> None:
        self.messages = list(messages)
        self.received = 0

    async def receive(self) -> dict[str, Any]:
        if not self.messages:
            await asyncio.get_running_loop().create_future()  # never ends
        self.received += 1
        return self.messages.pop(0)


def part(size: int, *, more: bool) -> dict[str, Any]:
    return {"type": "http.request", "body": b"x" * size, "more_body": more}


async def test_large_body_is_read_to_its_end_before_the_answer() -> None:
    sender = ScriptedConnection(*[part(600, more=True) for _ in range(50)], part(1, more=False))
    with pytest.raises(Problem) as caught:
        await middleware.read_body(sender.receive, LIMIT)
    assert caught.value.status == 413
    assert sender.received == 51


async def test_reading_of_a_large_body_is_bounded() -> None:
    huge = middleware.DRAIN_BYTES_MAX // 2
    sender = ScriptedConnection(*[part(huge, more=True) for _ in range(50)])
    with pytest.raises(Problem):
        await middleware.read_body(sender.receive, LIMIT)
    assert sender.received == 3


async def test_stalled_body_is_answered_408() -> None:
    with pytest.raises(Problem) as caught:
        await middleware.read_body(ScriptedConnection(part(1, more=True)).receive, LIMIT, seconds=0.001)
    assert caught.value.status == 408


async def test_disconnect_during_the_body_is_answered_400() -> None:
    with pytest.raises(Problem) as caught:
        await middleware.read_body(ScriptedConnection(part(1, more=True), {"type": "http.disconnect"}).receive, LIMIT)
    assert caught.value.status == 400


async def status_of(app: Callable[..., Any], headers: list[tuple[bytes, bytes]], sender: ScriptedConnection) -> int:
    """Post these headers. Return the status of the answer."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/v1/raw", "headers": headers, "query_string": b""}
    await app(scope, sender.receive, send)
    status: int = sent[0]["status"]
    return status


async def test_large_body_with_expect_is_refused_before_it_is_sent(site: Site) -> None:
    sender = ScriptedConnection()
    headers = [(b"content-length", b"5000"), (b"expect", b"100-continue")]
    assert await status_of(site.app, headers, sender) == 413
    assert sender.received == 0


@pytest.mark.parametrize("length", [b"-1", b"1e3", b"9" * 5000, "\u0661".encode()])
async def test_invalid_content_length_is_answered_400(site: Site, length: bytes) -> None:
    assert await status_of(site.app, [(b"content-length", length)], ScriptedConnection()) == 400


# --- ids, headers, counts --------------------------------------------------------------------------------------


@pytest.mark.parametrize("request_id", ["abcdefgh", "A-b_" * 16])
async def test_valid_request_id_is_returned(site: Site, request_id: str) -> None:
    answer = await site.request("GET", "/v1/leads/l1", headers={"x-request-id": request_id})
    assert answer.headers["x-request-id"] == request_id


@pytest.mark.parametrize("request_id", ["short", "x" * 65, "ann@example.com", "abcdefgh\n", ""])
async def test_invalid_request_id_is_replaced(site: Site, request_id: str) -> None:
    answer = await site.request("GET", "/v1/leads/l1", headers={"x-request-id": request_id})
    assert re.fullmatch(r"[0-9a-f-]{36}", answer.headers["x-request-id"])


async def test_every_answer_has_the_security_headers(site: Site) -> None:
    for path in ("/v1/leads/l1", "/nowhere", "/v1/fails/bug", "/metrics", "/readyz"):
        headers = (await site.request("GET", path)).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"
        assert "frame-ancestors 'none'" in headers["content-security-policy"]


async def test_headers_set_by_an_endpoint_are_not_replaced(site: Site) -> None:
    headers = (await site.request("GET", "/v1/html")).headers
    assert "default-src 'none'" in headers["content-security-policy"]
    assert headers["cache-control"] == "private"


async def test_requests_are_counted_by_the_template_of_their_route(site: Site) -> None:
    for path in ("/v1/leads/l1", "/v1/leads/l2", f"/{CANARY}", "/v1/fails/bug"):
        await site.request("GET", path)
    await site.request("DELETE", "/v1/leads/l3")
    text = (await site.request("GET", "/metrics", headers=WITH_KEY)).text
    assert 'http_requests_total{method="GET",route="/v1/leads/{id}",status="200"} 2.0' in text
    assert 'http_requests_total{method="DELETE",route="/v1/leads/{id}",status="405"} 1.0' in text
    assert 'http_requests_total{method="GET",route="unmatched",status="404"} 1.0' in text
    assert 'http_requests_total{method="GET",route="/v1/fails/{kind}",status="500"} 1.0' in text
    assert CANARY not in text
    assert "l2" not in text


async def test_nul_in_a_path_or_query_is_replaced(site: Site) -> None:
    assert (await site.request("GET", "/v1/leads/a%00b")).json()["id"] == "a\ufffdb"
    members = problem(await site.request("GET", "/v1/leads/l1?limit=%00"), 422)
    assert members["errors"][0]["pointer"] == "query:limit"


async def test_error_in_a_started_answer_aborts_it(site: Site) -> None:
    with pytest.raises(ValueError, match=CANARY):
        await site.request("GET", "/v1/broken-off")
    assert "answer aborted" in site.log.getvalue()
    assert CANARY not in site.log.getvalue()
