"""`/console/operations/webhooks`: the endpoints, their deliveries with resend, and what teams were told."""

from typing import Any, Final

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from firsthour.runtime.http.auth import require
from firsthour.runtime.http.in_process import path_of
from firsthour.runtime.processing.service import Resources
from services.console.console import Console
from services.console.markup import PAGE_HEADERS
from services.console.routes.operations import PATH as OPERATIONS
from services.console.viewer import Viewer, problem_of

PATH: Final = f"{OPERATIONS}/webhooks"
STATES: Final = ("all", "failed", "waiting")
LISTED: Final = 50
CURSOR_CHARS_MAX: Final = 100
DONE: Final = ("resend", "enable")


def add_routes(api: APIRouter, resources: Resources, console: Console) -> None:
    """Add the routes."""
    _add_lists(api, console)
    _add_actions(api, console)


def _add_lists(api: APIRouter, console: Console) -> None:
    viewers, pages = console.viewers, console.pages

    @api.get(PATH)
    async def endpoints(request: Request, done: str = "") -> Response:
        """The endpoints, and the notices to teams."""
        viewer = await viewers.find(request)
        require(viewer.principal, "manager")
        load = console.known.load
        return pages.page(
            viewer,
            "webhooks.html",
            path=OPERATIONS,
            tab=PATH,
            endpoints=await load(viewer, "/v1/webhooks"),
            notices=await load(viewer, "/v1/notices", {"limit": LISTED}),
            done=f"hook-{done}" if done in DONE else "",
        )

    @api.get(PATH + "/{name}")
    async def deliveries(name: str, request: Request, state: str = "all", cursor: str = "", done: str = "") -> Response:
        """The deliveries to one endpoint, the newest first."""
        viewer = await viewers.find(request)
        state = state if state in STATES else "all"
        query: dict[str, str | int | None] = {
            "state": state,
            "limit": LISTED,
            "cursor": cursor[:CURSOR_CHARS_MAX] or None,
        }
        listed = await viewer.get(path_of("/v1/webhooks/{name}/deliveries", name=name), query)
        return pages.page(
            viewer,
            "webhook_deliveries.html",
            path=OPERATIONS,
            tab=PATH,
            name=name,
            listed=listed,
            states=STATES,
            state=state,
            done="hook-resend" if done == "resend" else "",
        )

    @api.get(PATH + "/{name}/{id}")
    async def delivery(name: str, id: str, request: Request) -> Response:
        """One delivery with its body and the answer to each attempt."""
        viewer = await viewers.find(request)
        shown: dict[str, Any] = await viewer.get(path_of("/v1/webhooks/{name}/deliveries/{id}", name=name, id=id))
        return pages.page(viewer, "webhook_delivery.html", path=OPERATIONS, tab=PATH, name=name, delivery=shown)


def _add_actions(api: APIRouter, console: Console) -> None:
    viewers = console.viewers

    @api.post(PATH + "/{name}/resend")
    async def resend_failed(name: str, request: Request) -> Response:
        """Send the failed deliveries of an endpoint again."""
        viewer, _ = await viewers.acting(request)
        return await _act(viewer, path_of("/v1/webhooks/{name}/resend", name=name), f"{PATH}?done=resend")

    @api.post(PATH + "/{name}/enable")
    async def enable(name: str, request: Request) -> Response:
        """Switch an endpoint on that its answer switched off."""
        viewer, _ = await viewers.acting(request)
        return await _act(viewer, path_of("/v1/webhooks/{name}/enable", name=name), f"{PATH}?done=enable")

    @api.post(PATH + "/{name}/{id}/resend")
    async def resend(name: str, id: str, request: Request) -> Response:
        """Send one delivery again."""
        viewer, _ = await viewers.acting(request)
        path = path_of("/v1/webhooks/{name}/deliveries/{id}/resend", name=name, id=id)
        return await _act(viewer, path, f"{path_of(PATH + '/{name}', name=name)}?done=resend")


async def _act(viewer: Viewer, path: str, after: str) -> Response:
    """Send a request, and lead to the page after it. Raises `Problem` as it is answered."""
    answer = await viewer.send("POST", path)
    if not answer.ok:
        raise problem_of(answer)
    return RedirectResponse(after, 303, PAGE_HEADERS)
