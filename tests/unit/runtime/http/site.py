"""An application with routes that fail in every way, and a client for it."""

import io
from collections.abc import AsyncIterator
from typing import Any

import httpx
import structlog
from fastapi import APIRouter, FastAPI, HTTPException, Request
from fastapi.responses import HTMLResponse, StreamingResponse

from firsthour.runtime.http.app import Readiness, create_app
from firsthour.runtime.http.auth import Keys
from firsthour.runtime.http.problem import Problem
from firsthour.runtime.observability import logging
from firsthour.runtime.observability.metrics import Telemetry
from firsthour.runtime.storage.unit import StorageError
from schemas.http import AssignBody, ProblemResponse, TouchBody
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
        """Answer the second method of the same path."""

    @router.post("/leads/{id}/assign")
    async def assign(id: str, body: AssignBody) -> AssignBody:
        """Assign <script>alert(1)</script> the lead."""
        return body

    @router.post("/leads/{id}/touch")
    async def touch(id: str, body: TouchBody) -> TouchBody:
        return body

    @router.post("/raw")
    async def raw(request: Request) -> int:
        return len(await request.body())

    @router.get("/fails/{kind}")
    async def fails(kind: str) -> None:
        raise {
            "bug": ValueError(CANARY),
            "disk": StorageError(CANARY),
            "conflict": Problem(409, "Not the owner", "Ask ana.", extensions={"owner": "ana", "status": 200}),
            "framework": HTTPException(404, "No lead l1", headers={"X-Why": "y"}),
            "base": KeyError(CANARY),
        }[kind]

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
    """An application, its metrics, its log, and a client."""

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

    async def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        transport = httpx.ASGITransport(self.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://site") as client:
            return await client.request(method, path, **options)


def problem(answer: httpx.Response, status: int) -> dict[str, Any]:
    """Return the members of a problem. Check those that every problem has."""
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    members: dict[str, Any] = answer.json()
    assert ProblemResponse.model_validate(members).status == status
    assert members["instance"] == f"urn:firsthour:request:{answer.headers['x-request-id']}"
    assert members["type"].startswith("urn:firsthour:problem:")
    assert CANARY not in answer.text
    return members
