"""The HTTP application of a process."""

from collections.abc import Callable, Sequence

from fastapi import APIRouter, Depends, FastAPI
from sqlalchemy.engine import Connection
from starlette.types import ASGIApp

from firsthour.operations import schema_export
from firsthour.operations.administration import agreement_routes
from firsthour.operations.administration.routes import administration_router
from firsthour.operations.administration.state_routes import state_router
from firsthour.operations.profile_checks import ProfileChecks
from firsthour.runtime.http import auth
from firsthour.runtime.http.app import Readiness, create_app
from firsthour.runtime.http.middleware import ProblemPage
from firsthour.runtime.http.visibility import hidden_leads
from firsthour.runtime.processing.service import Resources, Service
from schemas.http import LeadView
from services.console import service as console
from services.gateway.asgi import Gateway
from services.gateway.waiting import LeadLookups
from services.reporting import lead_events, lead_view
from services.reporting.stream import ChangeFeed, stream_router

TITLE = "FirstHour"
BODY_LIMITS = {console.DRAFT: console.DRAFT_BYTES_MAX, agreement_routes.CHECK: agreement_routes.CHECK_BYTES_MAX}


def gateway_app(
    resources: Resources,
    keys: auth.Keys,
    services: Sequence[Service],
    ready: Callable[[], Readiness],
    profile: ProfileChecks,
) -> Gateway:
    """Return the application of a gateway: the lean path of events first, then the routes of these services."""
    routers = [service.api(resources) for service in services if service.api]
    routers += [administration_router(resources, keys, services, profile), state_router(resources, profile, ready)]
    routers.append(schema_export.router())
    feed = ChangeFeed(resources)
    routers.append(stream_router(feed))
    api = APIRouter(dependencies=[Depends(hidden_leads(resources.config, resources.reads))])
    for router in routers:
        api.include_router(router)
    routers = [api, *console.routers(resources, keys, feed)]
    app = _app(resources, keys, routers, ready, docs=True, problem_page=console.problem_page_for(resources.clock))
    gateway = Gateway(resources, keys, app, _lookups(resources))
    gateway.runners = (*gateway.runners, feed)
    return gateway


def _lookups(resources: Resources) -> LeadLookups:
    """Return what requests that wait for a lead read."""

    def find(connection: Connection, email: str) -> LeadView | None:
        criteria = lead_view.LeadFilter(email=email, limit=1)
        items = lead_view.page(connection, criteria, resources.config.current, resources.clock.business()).items
        return items[0] if items else None

    return LeadLookups(find, lead_events.first_arrival)


def health_app(resources: Resources, keys: auth.Keys, ready: Callable[[], Readiness]) -> ASGIApp:
    """Return the application of a process without a gateway: health, readiness and metrics."""
    return _app(resources, keys, (), ready, docs=False)


def _app(
    resources: Resources,
    keys: auth.Keys,
    routers: Sequence[APIRouter],
    ready: Callable[[], Readiness],
    *,
    docs: bool,
    problem_page: ProblemPage | None = None,
) -> FastAPI:
    app = create_app(
        title=TITLE,
        routers=routers,
        telemetry=resources.telemetry,
        ready=ready,
        clock=resources.clock,
        docs=docs,
        body_limits=BODY_LIMITS,
        problem_page=problem_page,
        audited_by=resources.units if docs else None,
    )
    app.state.keys = keys
    return app
