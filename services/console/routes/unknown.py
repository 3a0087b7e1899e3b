"""Addresses below `/console` that are no page. That of a form, as after a reload of its answer, leads to the page it is on."""

from collections.abc import Sequence

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse
from starlette.routing import BaseRoute, Match

from firsthour.runtime.http.problem import Problem
from firsthour.runtime.processing.service import Resources
from services.console.console import Console
from services.console.markup import PAGE_HEADERS


def add_routes(api: APIRouter, resources: Resources, console: Console) -> None:
    """Add the route, behind all others."""
    known = list(api.routes)

    @api.get("/console/{path:path}")
    async def unknown(path: str, request: Request) -> Response:
        """Say that there is no such page, or lead to the page of a form."""
        await console.viewers.find(request)
        page = page_of(known, f"/console/{path}".rstrip("/"))
        if page is None:
            raise Problem(404, "", "There is no page at this address. It may be mistyped.")
        return RedirectResponse(page, 303, PAGE_HEADERS)


def page_of(routes: Sequence[BaseRoute], path: str) -> str | None:
    """Return the page at this path, or above it if forms are sent there. None: there is nothing at this path."""
    if _matches(routes, path, "GET"):
        return path
    if not _matches(routes, path, "POST"):
        return None
    while not _matches(routes, path, "GET"):
        path = path.rpartition("/")[0]
    return path


def _matches(routes: Sequence[BaseRoute], path: str, method: str) -> bool:
    scope = {"type": "http", "path": path, "root_path": "", "method": method, "headers": []}
    return any(route.matches(scope)[0] is Match.FULL for route in routes)
