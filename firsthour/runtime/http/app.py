"""Builds HTTP applications from routers. Every error is answered as problem+json.

An application has the request middleware around it (`firsthour.runtime.http.middleware`). It also answers `/healthz`,
`/readyz`, `/metrics`, `/openapi.json` and `/docs`. Its pages load nothing from other servers.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final

from fastapi import APIRouter, Depends, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from fastapi.responses import HTMLResponse, JSONResponse
from starlette.exceptions import HTTPException
from starlette.routing import Match
from starlette.types import Lifespan

from firsthour.runtime.clock import Clock, HostClock
from firsthour.runtime.http import api_docs, middleware
from firsthour.runtime.http.audit_trail import AuditTrail
from firsthour.runtime.http.auth import needs, principal_of
from firsthour.runtime.http.middleware import BODY_LIMIT, ProblemPage, request_id_of
from firsthour.runtime.http.principal import READ
from firsthour.runtime.http.problem import CONTENT_TYPE, FieldFault, Problem, phrase, pointer, problem_response
from firsthour.runtime.observability import metrics
from firsthour.runtime.observability.metrics import Telemetry
from firsthour.runtime.storage.unit import Units
from firsthour.runtime.value_faults import value_fault
from firsthour.runtime.version import VERSION
from schemas.http import ProblemResponse

METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_UNREADABLE: Final = "There was an error parsing the body"
"""The message of FastAPI for JSON that is not UTF-8, is nested too deeply, or has a number that is too long."""
_NOT_JSON: Final = "The body is not valid JSON. Send a JSON object in UTF-8."
_PROBLEM_SCHEMA: Final = {"$ref": "#/components/schemas/Problem"}


@dataclass(frozen=True)
class Readiness:
    """The state of a process. `ready`: it can answer requests. `checks`: `ok` or the problem, by name."""

    ready: bool
    checks: dict[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()  # they do not affect `ready`
    spooled: int | None = None  # events in the spool of this process; None: it has none


def create_app(
    *,
    title: str,
    routers: Sequence[APIRouter],
    telemetry: Telemetry,
    ready: Callable[[], Readiness],
    lifespan: Lifespan[FastAPI] | Callable[[FastAPI], AbstractAsyncContextManager[None]] | None = None,
    clock: Clock | None = None,
    body_limit: int = BODY_LIMIT,
    body_limits: Mapping[str, int] | None = None,
    problem_page: ProblemPage | None = None,
    docs: bool = True,
    audited_by: Units | None = None,
) -> FastAPI:
    """Return an application of these routers.

    Set `app.state.keys` before the first request with a key. `body_limit`: in bytes; `body_limits`: those of single
    paths. `problem_page`: shows problems to people. `audited_by`: store the audit log; None:
    there is none.
    """
    app = FastAPI(
        title=title,
        version=VERSION,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,  # the framework would build the description for each request
        redirect_slashes=False,  # a redirect would contain the header Host, which the client sets
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},  # spans contain values
        responses={422: {"description": "The body or a parameter is invalid", **_problem_content()}},
    )
    if audited_by is not None:
        app.add_middleware(AuditTrail, units=audited_by, clock=clock or HostClock())
    app.add_middleware(
        middleware.RequestMiddleware,
        telemetry=telemetry,
        clock=clock or HostClock(),
        body_limit=body_limit,
        body_limits=body_limits,
        problem_page=problem_page,
    )
    _answer_errors(app, problem_page)
    app.include_router(_system_routes(app, telemetry, ready, docs))
    for router in routers:
        app.include_router(router)
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]  # FastAPI's documented way to amend its schema
    return app


# --- health, metrics, documentation ----------------------------------------------------------------------------


def _system_routes(app: FastAPI, telemetry: Telemetry, ready: Callable[[], Readiness], docs: bool) -> APIRouter:
    router = APIRouter(include_in_schema=False)
    methods = ["GET", "HEAD"]

    async def healthz() -> Response:
        return JSONResponse({"status": "ok"})

    async def readyz(request: Request) -> Response:
        """Answer the state. A key that may read also gets the checks and the warnings."""
        readiness = ready()
        state: dict[str, Any] = {"status": "ready" if readiness.ready else "not ready"}
        if "authorization" in request.headers and principal_of(request).allows(READ):
            state |= {"checks": readiness.checks, "warnings": list(readiness.warnings)}
        return JSONResponse(state, 200 if readiness.ready else 503)

    async def exposition() -> Response:
        return Response(telemetry.text(), headers={"content-type": metrics.CONTENT_TYPE})

    @cache
    def openapi_json() -> bytes:
        return bytes(JSONResponse(app.openapi()).body)

    async def description() -> Response:
        return Response(openapi_json(), media_type="application/json")

    async def documents() -> Response:
        policy = f"default-src 'none'; style-src '{api_docs.STYLE_HASH}'; base-uri 'none'; frame-ancestors 'none'"
        return HTMLResponse(api_docs.page(app.openapi()), headers={"content-security-policy": policy})

    router.add_api_route("/healthz", healthz, methods=methods)
    router.add_api_route("/readyz", readyz, methods=methods)
    router.add_api_route("/metrics", exposition, methods=methods, dependencies=[Depends(needs(READ))])
    if docs:
        router.add_api_route("/openapi.json", description, methods=methods)
        router.add_api_route("/docs", documents, methods=methods)
    return router


def _problem_content() -> dict[str, Any]:
    return {"content": {CONTENT_TYPE: {"schema": _PROBLEM_SCHEMA}}}


def _openapi(app: FastAPI) -> dict[str, Any]:
    """Return the description of the interface. Every operation may answer with a problem."""
    if app.openapi_schema is None:
        schema = get_openapi(title=app.title, version=app.version, routes=app.routes)
        components = schema.setdefault("components", {}).setdefault("schemas", {})
        problem_schema = ProblemResponse.model_json_schema(ref_template="#/components/schemas/{model}")
        components.update(problem_schema.pop("$defs", {}))
        components["Problem"] = problem_schema
        for operations in schema.get("paths", {}).values():
            for operation in operations.values():
                operation["responses"].setdefault("default", {"description": "A problem", **_problem_content()})
        app.openapi_schema = schema
    return app.openapi_schema


# --- errors ----------------------------------------------------------------------------------------------------


def _answer_errors(app: FastAPI, page: ProblemPage | None) -> None:
    """Answer the errors that the framework catches as problems. The middleware does the same for all others."""

    def handle(problem_of: Callable[[Request, Any], Problem]) -> Callable[[Request, Any], Awaitable[Response]]:
        async def handler(request: Request, error: Any) -> Response:
            problem, shown = problem_of(request, error), None
            if page is not None:
                shown = page(request.scope, problem)
            status, headers, body = shown or problem_response(problem, request_id_of(request.scope))
            return Response(body, status, headers)

        return handler

    app.add_exception_handler(Problem, handle(lambda _, error: error))
    app.add_exception_handler(HTTPException, handle(_http))
    app.add_exception_handler(RequestValidationError, handle(_invalid))


def _http(request: Request, error: HTTPException) -> Problem:
    headers = dict(error.headers or {})
    if error.status_code == 404 and request.scope.get("route") is None:
        return Problem(404, "", "This path does not exist; `/docs` lists all paths.", headers=headers)
    if error.status_code == 405:
        allowed = ", ".join(_methods(request))
        headers = {name: value for name, value in headers.items() if name.lower() != "allow"} | {"Allow": allowed}
        return Problem(405, "", f"This path answers {allowed}.", headers=headers)
    detail = str(error.detail or "")
    if detail == _UNREADABLE:
        return Problem(400, "Invalid JSON", _NOT_JSON)
    return Problem(error.status_code, "", "" if detail == phrase(error.status_code) else detail, headers=headers)


def _methods(request: Request) -> list[str]:
    """Return the methods of this path. The framework returns only those of the first route that matches it."""
    scope = {key: request.scope[key] for key in ("type", "path", "headers", "root_path") if key in request.scope}
    routes = request.app.router.routes
    return [
        method
        for method in METHODS
        if any(route.matches({**scope, "method": method})[0] is Match.FULL for route in routes)
    ]


def _invalid(request: Request, error: RequestValidationError) -> Problem:
    """Return the place and kind of each mistake. Values are left out: they may be personal data."""
    media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    details = error.errors()
    if media != "application/json" and any(tuple(detail["loc"]) == ("body",) for detail in details):
        return Problem(415, "", "Send a JSON object with `Content-Type: application/json`.")
    faults = [_fault(detail) for detail in details]
    if any(detail["type"] == "json_invalid" for detail in details):
        return Problem(400, "Invalid JSON", _NOT_JSON, faults)
    return Problem(
        422, "Invalid request", f"{len(faults)} mistake(s): see `errors`; `/docs` describes the request.", faults
    )


def _fault(detail: dict[str, Any]) -> FieldFault:
    if detail["type"] == "json_invalid":
        reason = str(detail.get("ctx", {}).get("error", "")).removesuffix(".")
        return {"pointer": "#", "detail": f"is not JSON ({reason} at character {detail['loc'][-1]}); send valid JSON"}
    if detail["type"] == "missing" and tuple(detail["loc"]) == ("body",):
        return {"pointer": "#", "detail": "is missing; send a JSON object"}
    return {"pointer": pointer(detail["loc"]), "detail": str(value_fault(detail))}
