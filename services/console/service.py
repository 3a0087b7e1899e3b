"""The console as routes. The gateway serves them beside the routes of the services."""

from typing import Final

from fastapi import APIRouter, Request

from firsthour.runtime.clock import Clock
from firsthour.runtime.http.auth import Keys
from firsthour.runtime.http.middleware import ProblemPage, Reply, Scope
from firsthour.runtime.http.problem import Problem
from firsthour.runtime.processing.service import Resources
from services.console.console import Console
from services.console.last_known import LastKnown
from services.console.live import Changes, LiveRegions
from services.console.markup import Pages
from services.console.page_route import SignInGate, page_route, problem_page
from services.console.routes import (
    agreement,
    audit_log,
    dead_letters,
    doctor,
    home,
    keys_page,
    leads,
    mine,
    now,
    openid,
    operations,
    quarantine,
    reports,
    sent_pages,
    session_list,
    sign_in,
    style_page,
    team,
    unknown,
    webhooks,
)
from services.console.session_api import session_router
from services.console.viewer import Viewers

ROOT: Final = "/console"
DRAFT: Final = agreement.DRAFT
DRAFT_BYTES_MAX: Final = agreement.DRAFT_BYTES_MAX
MODULES = (
    home,
    sign_in,
    openid,
    now,
    mine,
    leads,
    reports,
    team,
    agreement,
    operations,
    dead_letters,
    sent_pages,
    webhooks,
    quarantine,
    doctor,
    keys_page,
    audit_log,
    session_list,
    style_page,
    unknown,
)


def routers(resources: Resources, keys: Keys, changes: Changes) -> list[APIRouter]:
    """Return the routes of the pages, and those of sessions in the HTTP interface. `changes`: of leads."""
    viewers, pages = Viewers(resources, keys), Pages(resources.clock)
    console = Console(viewers, pages, LiveRegions(changes, viewers), LastKnown(resources.clock))
    form = sign_in.Entrance(resources, viewers, pages).form
    api = APIRouter(route_class=page_route(pages, SignInGate(viewers, form)), include_in_schema=False)
    for module in MODULES:
        module.add_routes(api, resources, console)
    return [api, session_router(resources, viewers)]


def problem_page_for(clock: Clock) -> ProblemPage:
    """Return what shows the problems that no route of the console handles, such as a body that is too large, as pages."""
    pages = Pages(clock)

    def page(scope: Scope, problem: Problem) -> Reply | None:
        if scope["path"] != ROOT and not scope["path"].startswith(f"{ROOT}/"):
            return None
        response = problem_page(pages, Request(scope), problem)
        headers = {name: value for name, value in response.headers.items() if name != "content-length"}
        return response.status_code, headers, bytes(response.body)

    return page
