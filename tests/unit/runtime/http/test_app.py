"""The application factory: every answer has an id and its headers, every error is a problem that tells nothing private."""

import asyncio
import io
import json
import re
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
import structlog
from fastapi import APIRouter, FastAPI, HTTPException, Request
from fastapi.responses import HTMLResponse, StreamingResponse
from hypothesis import given
from hypothesis import strategies as st

from firsthour.runtime.http import middleware, throttle
from firsthour.runtime.http.app import Readiness, create_app
from firsthour.runtime.http.auth import Keys
from firsthour.runtime.http.problem import Problem, problem_response
from firsthour.runtime.observability import logging
from firsthour.runtime.observability.metrics import Telemetry
from firsthour.runtime.storage.unit import StorageError
from schemas.http import AssignBody, Listing, Moment, ProblemResponse, ReasonBody, RequestModel, TouchBody
from tests.hand_clock import HandClock

CANARY = "Kanarienvogel"
ADMIN = "a" * 40
WITH_KEY = {"authorization": f"Bearer {ADMIN}"}
LIMIT = 1000


def routes() -> APIRouter:
    router = APIRouter(prefix="/v1")

    @router.get("/leads/{id}")
    async def lead(id: str, limit: int = 10) -> dict[str, Any]:
        return {"id": id, "limit": limit}

    @router.put("/leads/{id}")
    async def change(id: str) -> None:
        """Second route of the same path."""

    @router.post("/leads/{id}/assign")
    async def assign(id: str, body: AssignBody) -> AssignBody:
        """Give <script>alert(1)</script> the lead."""
        return body

    @router.post("/leads/{id}/touch")
    async def touch(id: str, body: TouchBody) -> TouchBody:
        return body

    @router.post("/raw")
    async def raw(request: Request) -> int:
        return len(await request.body())

    @router.get("/fails/{how}")
    async def fails(how: str) -> None:
        raise {
            "bug": ValueError(CANARY),
            "disk": StorageError(CANARY),
            "conflict": Problem(409, "Not the owner", "Ask ana.", extensions={"owner": "ana", "status": 200}),
            "framework": HTTPException(404, "No lead l1", headers={"X-Why": "y"}),
            "base": KeyError(CANARY),
        }[how]

    @router.get("/broken-off")
    async def broken_off() -> StreamingResponse:
        async def parts() -> AsyncIterator[bytes]:
            yield b"half"
            raise ValueError(CANARY)

        return StreamingResponse(parts())

    @router.get("/html")
    async def html() -> HTMLResponse:
        return HTMLResponse("<p>hello", headers={"cache-control": "private"})

    return router


class Site:
    """An application, its metrics, its log, and somebody who asks."""

    def __init__(self) -> None:
        self.telemetry = Telemetry()
        self.log = io.StringIO()
        self.readiness = Readiness(True, {"database": "ok"}, ("agreement.yaml:3:1: x",))
        self.app: FastAPI = create_app(
            title="FirstHour <b>",
            routers=[routes()],
            telemetry=self.telemetry,
            ready=lambda: self.readiness,
            clock=HandClock(),
            body_limit=LIMIT,
        )
        self.keys = Keys(HandClock(), admin_key=ADMIN)
        self.app.state.keys = self.keys
        structlog.configure(
            processors=[*logging.PROCESSORS, structlog.processors.JSONRenderer()],
            logger_factory=structlog.WriteLoggerFactory(file=self.log),
        )

    async def ask(self, method: str, path: str, **more: Any) -> httpx.Response:
        transport = httpx.ASGITransport(self.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://site") as client:
            return await client.request(method, path, **more)


@pytest.fixture
def site() -> Any:
    yield Site()
    structlog.reset_defaults()


def problem(answer: httpx.Response, status: int) -> dict[str, Any]:
    """The members of a problem, checked for what every problem has."""
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    said: dict[str, Any] = answer.json()
    assert ProblemResponse.model_validate(said).status == status
    assert said["instance"] == f"urn:firsthour:request:{answer.headers['x-request-id']}"
    assert said["type"].startswith("urn:firsthour:problem:")
    assert CANARY not in answer.text
    return said


# --- problems --------------------------------------------------------------------------------------------------


async def test_an_unknown_path_is_a_problem(site: Site) -> None:
    assert problem(await site.ask("GET", f"/{CANARY}"), 404)["title"] == "Not Found"


async def test_a_trailing_slash_is_not_redirected(site: Site) -> None:
    problem(await site.ask("GET", "/v1/leads/l1/"), 404)


async def test_a_wrong_method_names_every_right_one(site: Site) -> None:
    answer = await site.ask("DELETE", "/v1/leads/l1")
    problem(answer, 405)
    assert answer.headers["allow"] == "GET, PUT"
    assert (await site.ask("POST", "/healthz")).headers["allow"] == "GET, HEAD"


async def test_an_unhandled_error_tells_nothing_and_is_logged_by_type(site: Site) -> None:
    answer = await site.ask("GET", "/v1/fails/bug")
    assert problem(answer, 500)["type"] == "urn:firsthour:problem:internal-server-error"
    assert "ValueError" not in answer.text
    line = json.loads(site.log.getvalue())
    assert line["error"] == "ValueError"
    assert line["request_id"] == answer.headers["x-request-id"]
    assert line["route"] == "/v1/fails/{how}"
    assert CANARY not in site.log.getvalue()


async def test_a_database_that_cannot_commit_is_503_with_when_to_come_back(site: Site) -> None:
    answer = await site.ask("GET", "/v1/fails/disk")
    problem(answer, 503)
    assert answer.headers["retry-after"] == "2"


async def test_a_problem_raised_in_an_endpoint_is_the_answer(site: Site) -> None:
    said = problem(await site.ask("GET", "/v1/fails/conflict"), 409)
    assert (said["title"], said["detail"], said["owner"]) == ("Not the owner", "Ask ana.", "ana")
    assert said["type"] == "urn:firsthour:problem:conflict"


async def test_the_frameworks_own_errors_are_problems_with_their_headers(site: Site) -> None:
    answer = await site.ask("GET", "/v1/fails/framework")
    assert problem(answer, 404)["detail"] == "No lead l1"
    assert answer.headers["x-why"] == "y"


async def test_an_answer_that_breaks_off_is_not_finished(site: Site) -> None:
    with pytest.raises(ValueError, match=CANARY):
        await site.ask("GET", "/v1/broken-off")
    assert "answer aborted" in site.log.getvalue()
    assert CANARY not in site.log.getvalue()


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "#/rep"),
        ({"rep": 7}, "#/rep"),
        ({"rep": "  "}, "#/rep"),
        ({"rep": "\u3164"}, "#/rep"),
        ({"rep": "ana", "reason": "\u200b"}, "#/reason"),
        ({"rep": "ana", "force": "yes"}, "#/force"),
        ({"rep": "ana", "a/b~c": CANARY}, "#/a~1b~0c"),
        ([CANARY], "#"),
    ],
)
async def test_a_body_that_cannot_be_taken_is_told_by_place(site: Site, body: Any, pointer: str) -> None:
    said = problem(await site.ask("POST", "/v1/leads/l1/assign", json=body), 422)
    assert [fault["pointer"] for fault in said["errors"]] == [pointer]


async def test_a_bad_parameter_is_told_by_name(site: Site) -> None:
    said = problem(await site.ask("GET", f"/v1/leads/l1?limit={CANARY}"), 422)
    assert said["errors"][0]["pointer"] == "query:limit"


@pytest.mark.parametrize("body", [b'{"rep": Kanarienvogel}', b"{", b""])
async def test_what_is_not_json_is_told_so(site: Site, body: bytes) -> None:
    said = problem(await site.ask("POST", "/v1/leads/l1/assign", content=body, headers=JSON), 422)
    assert said["errors"][0]["pointer"] == "#"


@pytest.mark.parametrize("body", [b"[" * 900, b'{"rep": ' + b"1" * 900 + b"}", b'"\xff\xfe"'])
async def test_hostile_json_is_a_clients_error(site: Site, body: bytes) -> None:
    answer = await site.ask("POST", "/v1/leads/l1/assign", content=body, headers=JSON)
    problem(answer, answer.status_code)
    assert answer.status_code in (400, 422)


async def test_json_that_cannot_be_read_is_told_with_the_remedy(site: Site) -> None:
    said = problem(await site.ask("POST", "/v1/leads/l1/assign", content=b'"\xff\xfe"', headers=JSON), 400)
    assert said["detail"].endswith("Send a JSON object in UTF-8.")


async def test_another_media_type_is_415(site: Site) -> None:
    headers = {"content-type": "text/plain"}
    problem(await site.ask("POST", "/v1/leads/l1/assign", content=b'{"rep": "ana"}', headers=headers), 415)


JSON = {"content-type": "application/json"}


@given(text=st.text(alphabet=st.characters(codec=None), max_size=20))
def test_a_problem_can_always_be_written(text: str) -> None:
    status, headers, body = problem_response(
        Problem(422, "Bad", text, [{"pointer": text, "detail": text}], extensions={"owner": [text]}), "r-12345678"
    )
    said = json.loads(body)
    assert (status, said["status"], headers["content-type"]) == (422, 422, "application/problem+json")


def test_extensions_cannot_replace_what_every_problem_has() -> None:
    assert Problem(409, "X", extensions={"status": 200, "owner": "ana"}).members("r")["status"] == 409


# --- bodies within bounds --------------------------------------------------------------------------------------


async def in_parts(size: int, parts: int) -> AsyncIterator[bytes]:
    for _ in range(parts):
        yield b"x" * size


async def test_a_body_at_the_limit_is_taken_and_one_byte_more_is_not(site: Site) -> None:
    assert (await site.ask("POST", "/v1/raw", content=b"x" * LIMIT)).json() == LIMIT
    answer = await site.ask("POST", "/v1/raw", content=b"x" * (LIMIT + 1))
    assert problem(answer, 413)["limit"] == LIMIT
    assert answer.headers["connection"] == "close"


async def test_chunks_are_counted_too(site: Site) -> None:
    assert (await site.ask("POST", "/v1/raw", content=in_parts(100, 10))).json() == LIMIT
    problem(await site.ask("POST", "/v1/raw", content=in_parts(100, 11)), 413)


class ScriptedConnection:
    """A connection by hand: what was sent to us, and how much of it was taken."""

    def __init__(self, *messages: dict[str, Any]) -> None:
        self.messages = list(messages)
        self.taken = 0

    async def receive(self) -> dict[str, Any]:
        if not self.messages:
            await asyncio.get_running_loop().create_future()  # silence
        self.taken += 1
        return self.messages.pop(0)


def part(size: int, *, more: bool) -> dict[str, Any]:
    return {"type": "http.request", "body": b"x" * size, "more_body": more}


async def test_what_is_too_large_is_read_to_its_end_before_the_answer() -> None:
    sender = ScriptedConnection(*[part(600, more=True) for _ in range(50)], part(1, more=False))
    with pytest.raises(Problem) as caught:
        await middleware.read_body(sender.receive, LIMIT)
    assert caught.value.status == 413
    assert sender.taken == 51


async def test_reading_on_has_an_end() -> None:
    huge = middleware.DRAIN_BYTES_MAX // 2
    sender = ScriptedConnection(*[part(huge, more=True) for _ in range(50)])
    with pytest.raises(Problem):
        await middleware.read_body(sender.receive, LIMIT)
    assert sender.taken == 3


async def test_a_sender_who_stalls_gets_408() -> None:
    with pytest.raises(Problem) as caught:
        await middleware.read_body(ScriptedConnection(part(1, more=True)).receive, LIMIT, seconds=0.001)
    assert caught.value.status == 408


async def test_a_sender_who_goes_away_leaves_no_body() -> None:
    with pytest.raises(Problem) as caught:
        await middleware.read_body(ScriptedConnection(part(1, more=True), {"type": "http.disconnect"}).receive, LIMIT)
    assert caught.value.status == 400


async def refusal(app: Callable[..., Any], headers: list[tuple[bytes, bytes]], sender: ScriptedConnection) -> int:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/v1/raw", "headers": headers, "query_string": b""}
    await app(scope, sender.receive, send)
    status: int = sent[0]["status"]
    return status


async def test_who_waits_for_a_go_ahead_is_refused_before_sending(site: Site) -> None:
    sender = ScriptedConnection()
    headers = [(b"content-length", b"5000"), (b"expect", b"100-continue")]
    assert await refusal(site.app, headers, sender) == 413
    assert sender.taken == 0


@pytest.mark.parametrize("length", [b"-1", b"1e3", b"9" * 5000, "\u0661".encode()])
async def test_a_length_that_is_no_number_is_400(site: Site, length: bytes) -> None:
    assert await refusal(site.app, [(b"content-length", length)], ScriptedConnection()) == 400


# --- ids, headers, counting ------------------------------------------------------------------------------------


@pytest.mark.parametrize("given_id", ["abcdefgh", "A-b_" * 16])
async def test_a_sane_request_id_is_kept(site: Site, given_id: str) -> None:
    answer = await site.ask("GET", "/v1/leads/l1", headers={"x-request-id": given_id})
    assert answer.headers["x-request-id"] == given_id


@pytest.mark.parametrize("given_id", ["short", "x" * 65, "ann@example.com", "abcdefgh\n", ""])
async def test_any_other_is_replaced(site: Site, given_id: str) -> None:
    answer = await site.ask("GET", "/v1/leads/l1", headers={"x-request-id": given_id})
    assert re.fullmatch(r"[0-9a-f-]{36}", answer.headers["x-request-id"])


async def test_every_answer_has_the_headers_that_keep_browsers_in_check(site: Site) -> None:
    for path in ("/v1/leads/l1", "/nowhere", "/v1/fails/bug", "/metrics", "/readyz"):
        headers = (await site.ask("GET", path)).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"
        assert "frame-ancestors 'none'" in headers["content-security-policy"]


async def test_html_has_a_policy_and_what_an_endpoint_set_stays(site: Site) -> None:
    headers = (await site.ask("GET", "/v1/html")).headers
    assert "default-src 'none'" in headers["content-security-policy"]
    assert headers["cache-control"] == "private"


async def test_requests_are_counted_under_the_template_of_their_route(site: Site) -> None:
    for path in ("/v1/leads/l1", "/v1/leads/l2", f"/{CANARY}", "/v1/fails/bug"):
        await site.ask("GET", path)
    await site.ask("DELETE", "/v1/leads/l3")
    said = (await site.ask("GET", "/metrics", headers=WITH_KEY)).text
    assert 'http_requests_total{method="GET",route="/v1/leads/{id}",status="200"} 2.0' in said
    assert 'http_requests_total{method="DELETE",route="/v1/leads/{id}",status="405"} 1.0' in said
    assert 'http_requests_total{method="GET",route="unmatched",status="404"} 1.0' in said
    assert 'http_requests_total{method="GET",route="/v1/fails/{how}",status="500"} 1.0' in said
    assert CANARY not in said
    assert "l2" not in said


# --- health, description ---------------------------------------------------------------------------------------


async def test_a_process_that_lives_says_so(site: Site) -> None:
    assert (await site.ask("GET", "/healthz")).json() == {"status": "ok"}


async def test_readiness_tells_what_was_checked(site: Site) -> None:
    answer = await site.ask("GET", "/readyz", headers=WITH_KEY)
    assert answer.status_code == 200
    assert answer.json() == {"status": "ready", "checks": {"database": "ok"}, "warnings": ["agreement.yaml:3:1: x"]}
    site.readiness = Readiness(False, {"database": "the disk is full"})
    answer = await site.ask("GET", "/readyz")
    assert answer.status_code == 503
    assert answer.json()["status"] == "not ready"


async def test_without_a_key_readiness_is_the_state_alone(site: Site) -> None:
    answer = await site.ask("GET", "/readyz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ready"})
    site.readiness = Readiness(False, {"database": CANARY})
    answer = await site.ask("GET", "/readyz")
    assert (answer.status_code, answer.json()) == (503, {"status": "not ready"})
    problem(await site.ask("GET", "/readyz", headers={"authorization": "Bearer wrong"}), 401)


async def test_metrics_need_a_key(site: Site) -> None:
    problem(await site.ask("GET", "/metrics"), 401)
    assert (await site.ask("GET", "/metrics", headers=WITH_KEY)).status_code == 200


async def test_wrong_keys_are_throttled_by_address_and_a_right_one_is_not(site: Site) -> None:
    wrong = {"authorization": "Bearer wrong"}
    for _ in range(throttle.ATTEMPTS_MAX):
        problem(await site.ask("GET", "/metrics", headers=wrong), 401)
    answer = await site.ask("GET", "/metrics", headers=wrong)
    problem(answer, 429)
    assert answer.headers["retry-after"] == "60"
    assert (await site.ask("GET", "/metrics", headers=WITH_KEY)).status_code == 200
    problem(await site.ask("GET", "/metrics"), 401)


async def test_nul_in_a_path_or_query_becomes_a_character_that_can_be_stored(site: Site) -> None:
    assert (await site.ask("GET", "/v1/leads/a%00b")).json()["id"] == "a\ufffdb"
    said = problem(await site.ask("GET", "/v1/leads/l1?limit=%00"), 422)
    assert said["errors"][0]["pointer"] == "query:limit"


async def test_the_description_promises_problems_and_nothing_of_the_frameworks_own(site: Site) -> None:
    described = (await site.ask("GET", "/openapi.json")).json()
    assign = described["paths"]["/v1/leads/{id}/assign"]["post"]
    for status in ("422", "default"):
        assert assign["responses"][status]["content"].keys() == {"application/problem+json"}
    assert "Problem" in described["components"]["schemas"]
    assert "HTTPValidationError" not in json.dumps(described)


async def test_the_description_is_written_once(site: Site) -> None:
    first = await site.ask("GET", "/openapi.json")
    assert (first.headers["content-type"], first.json()) == ("application/json", site.app.openapi())
    site.app.openapi = dict  # type: ignore[method-assign]
    assert (await site.ask("GET", "/openapi.json")).content == first.content


async def test_the_page_of_operations_is_escaped_and_loads_nothing(site: Site) -> None:
    answer = await site.ask("GET", "/docs")
    assert "/v1/leads/{id}/assign" in answer.text
    assert "<code>rep</code> (required)" in answer.text
    assert "<script" not in answer.text
    assert "FirstHour &lt;b&gt;" in answer.text
    assert "://" not in answer.text
    assert "style-src 'sha256-" in answer.headers["content-security-policy"]


async def test_documents_can_be_left_out() -> None:
    app = create_app(title="x", routers=[], telemetry=Telemetry(), ready=lambda: Readiness(True), docs=False)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://site") as client:
        assert (await client.get("/docs")).status_code == 404
        assert (await client.get("/openapi.json")).status_code == 404


# --- the bodies of the contract --------------------------------------------------------------------------------


class Timed(RequestModel):
    until: Moment


def test_times_must_have_an_offset_and_become_utc() -> None:
    body = Timed.model_validate({"until": "2026-12-01T10:00:00+01:00"})
    assert body.until == datetime(2026, 12, 1, 9, tzinfo=UTC)
    assert body.until.tzinfo is UTC


@pytest.mark.parametrize("until", ["2026-12-01T10:00:00", 1764579600, "9999-12-31T23:59:59-01:00", None, "soon", True])
def test_other_times_are_refused(until: object) -> None:
    with pytest.raises(ValueError, match="until"):
        Timed.model_validate({"until": until})


def test_text_from_outside_can_be_stored_anywhere() -> None:
    body = ReasonBody.model_validate({"reason": " a\0b\ud800c\n"})
    assert body.reason == "a\ufffdb\ufffdc"


def test_a_list_ends_with_null() -> None:
    assert Listing[int](items=[1]).model_dump() == {"items": [1], "next": None}
