"""`/console/operations/pages`: the pages, those that wait first of all, and trying one again at once."""

from typing import Final

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from firsthour.runtime.http.auth import require
from firsthour.runtime.http.in_process import path_of
from firsthour.runtime.http.problem import Problem
from firsthour.runtime.processing.service import Resources
from services.console.console import Console
from services.console.markup import PAGE_HEADERS
from services.console.routes.operations import PATH as OPERATIONS
from services.console.viewer import Viewer, problem_of

PATH: Final = f"{OPERATIONS}/pages"
LISTED: Final = 50
CURSOR_CHARS_MAX: Final = 100


def add_routes(api: APIRouter, resources: Resources, console: Console) -> None:
    """Add the routes."""
    viewers, pages = console.viewers, console.pages

    async def listed(viewer: Viewer, cursor: str, done: str = "", problem: Problem | None = None) -> Response:
        require(viewer.principal, "manager")
        waiting = await console.known.load(viewer, "/v1/pages/waiting", {"limit": LISTED})
        newest = await console.known.load(viewer, "/v1/pages", {"limit": LISTED, "cursor": cursor or None})
        return pages.page(
            viewer,
            "sent_pages.html",
            code=problem.status if problem is not None else 200,
            path=OPERATIONS,
            tab=PATH,
            waiting=waiting,
            newest=newest,
            listed_max=LISTED,
            done=done,
            problem=problem,
        )

    @api.get(PATH)
    async def listing(request: Request, cursor: str = "", done: str = "") -> Response:
        """The pages that wait, and the newest of all."""
        viewer = await viewers.find(request)
        return await listed(viewer, cursor[:CURSOR_CHARS_MAX], "page-resend" if done == "resend" else "")

    @api.post(PATH + "/{id}/resend")
    async def resend(id: str, request: Request) -> Response:
        """Try a page that waits at once."""
        viewer, _ = await viewers.acting(request)
        answer = await viewer.send("POST", path_of("/v1/pages/{id}/resend", id=id))
        if not answer.ok:
            return await listed(viewer, "", problem=problem_of(answer))
        return RedirectResponse(f"{PATH}?done=resend", 303, PAGE_HEADERS)
