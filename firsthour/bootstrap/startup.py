"""The HTTP answers of a distributed process before it can work, and the obstacles that it waits for."""

from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from firsthour.runtime.connectivity import postgres
from firsthour.runtime.connectivity.diagnosis import Diagnosis
from firsthour.runtime.eventlog import kafka_diagnosis
from firsthour.runtime.http import auth
from firsthour.runtime.http.app import Readiness, create_app
from firsthour.runtime.http.middleware import header
from firsthour.runtime.http.problem import Problem
from firsthour.runtime.observability.metrics import Telemetry
from firsthour.runtime.settings import Settings
from services.gateway import pages, replies
from services.gateway.intake.request import FORMS_PATH

OPEN: Final = frozenset({"/healthz", "/readyz", "/metrics"})
RETRY_SECONDS: Final = 5


class StartupGate:
    """Answers health and readiness from the start, and 503 to other requests until `inner` is set."""

    def __init__(self, keys: auth.Keys) -> None:
        self.inner: ASGIApp | None = None
        self.waits_for: tuple[str, ...] = ("starting",)
        self._waiting = create_app(title="FirstHour", routers=[], telemetry=Telemetry(), ready=self._ready, docs=False)
        self._waiting.state.keys = keys

    def _ready(self) -> Readiness:
        return Readiness(False, {f"start {n}": reason for n, reason in enumerate(self.waits_for, 1)})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.inner is not None:
            await self.inner(scope, receive, send)
        elif scope["type"] == "http" and scope["path"] not in OPEN:
            await _refuse(scope, send)
        else:
            await self._waiting(scope, receive, send)


async def _refuse(scope: Scope, send: Send) -> None:
    problem = Problem(
        503,
        "Starting",
        "Not ready yet. The log of the process and `/readyz` (with a key) name the reason.",
        headers={"Retry-After": str(RETRY_SECONDS)},
    )
    as_page = scope["path"].startswith(FORMS_PATH) and pages.wants_page(header(scope, b"accept") or b"")
    reply = replies.failed(problem, "", scope["method"], scope["path"], as_page)
    headers = [*reply.headers, (b"cache-control", b"no-store")]
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.body})


async def obstacles(settings: Settings) -> list[Diagnosis]:
    """Return the diagnosed problems that keep the services from working."""
    diagnoses = [*await postgres.examine_database(settings), *await kafka_diagnosis.examine(settings)]
    return [diagnosis for diagnosis in diagnoses if diagnosis.stops]
