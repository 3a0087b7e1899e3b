"""`/console/operations/keys`: the API keys, without their secrets, and revoking one."""

from typing import Final

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from firsthour.runtime.http.auth import require
from firsthour.runtime.http.in_process import path_of
from firsthour.runtime.processing.service import Resources
from services.console.console import Console
from services.console.markup import PAGE_HEADERS
from services.console.routes.operations import PATH as OPERATIONS
from services.console.viewer import problem_of

PATH: Final = f"{OPERATIONS}/keys"


def add_routes(api: APIRouter, resources: Resources, console: Console) -> None:
    """Add the routes."""
    viewers, pages = console.viewers, console.pages

    @api.get(PATH)
    async def listing(request: Request, done: str = "") -> Response:
        """The keys, the oldest first."""
        viewer = await viewers.find(request)
        require(viewer.principal, "admin")
        keys = await console.known.load(viewer, "/v1/keys")
        done = "key-revoke" if done == "revoke" else ""
        return pages.page(viewer, "keys.html", path=OPERATIONS, tab=PATH, keys=keys, done=done)

    @api.post(PATH + "/{id}/revoke")
    async def revoke(id: str, request: Request) -> Response:
        """Revoke a key."""
        viewer, _ = await viewers.acting(request)
        answer = await viewer.send("DELETE", path_of("/v1/keys/{id}", id=id))
        if not answer.ok:
            raise problem_of(answer)
        return RedirectResponse(f"{PATH}?done=revoke", 303, PAGE_HEADERS)
