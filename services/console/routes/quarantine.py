"""`/console/operations/quarantine`: events beyond the quota of their source, and bursts of leads; releasing and dropping them."""

from typing import Final

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse
from msgspec import json

from firsthour.runtime.http.auth import require
from firsthour.runtime.http.in_process import path_of
from firsthour.runtime.http.problem import Problem
from firsthour.runtime.processing.service import Resources
from services.console.console import Console
from services.console.markup import PAGE_HEADERS
from services.console.routes.operations import PATH as OPERATIONS
from services.console.viewer import Viewer, problem_of

PATH: Final = f"{OPERATIONS}/quarantine"
LISTED: Final = 50
BURSTS_SHOWN: Final = 50
CURSOR_CHARS_MAX: Final = 200
REASON_CHARS_MAX: Final = 500
DONE: Final = ("release", "drop")


def add_routes(api: APIRouter, resources: Resources, console: Console) -> None:
    """Add the routes."""
    viewers, pages = console.viewers, console.pages

    async def listed(viewer: Viewer, cursor: str, done: str = "", problem: Problem | None = None) -> Response:
        require(viewer.principal, "marketing")
        load = console.known.load
        return pages.page(
            viewer,
            "quarantine.html",
            code=problem.status if problem is not None else 200,
            path=OPERATIONS,
            tab=PATH,
            events=await load(viewer, "/v1/quarantine", {"limit": LISTED, "cursor": cursor or None}),
            bursts=await load(viewer, "/v1/bursts"),
            bursts_shown=BURSTS_SHOWN,
            done=f"held-{done}" if done in DONE else "",
            problem=problem,
        )

    @api.get(PATH)
    async def listing(request: Request, cursor: str = "", done: str = "") -> Response:
        """The deliveries and bursts that are held back."""
        return await listed(await viewers.find(request), cursor[:CURSOR_CHARS_MAX], done)

    @api.post(PATH + "/{kind}/{id}/{action}")
    async def act(kind: str, id: str, action: str, request: Request) -> Response:
        """Release or drop the events of a source, or the leads of a burst."""
        viewer, fields = await viewers.acting(request)
        if action not in DONE or kind not in ("quarantine", "bursts"):
            raise Problem(404, "", "There is no such action.")
        reason = fields.get("reason", "").strip()[:REASON_CHARS_MAX]
        body = json.encode({"reason": reason}) if (kind, action) == ("bursts", "drop") else b""
        path = path_of("/v1/{kind}/{id}/{action}", kind=kind, id=id, action=action)
        answer = await viewer.send("POST", path, body=body)
        if not answer.ok:
            return await listed(viewer, "", problem=problem_of(answer))
        return RedirectResponse(f"{PATH}?done={action}", 303, PAGE_HEADERS)
