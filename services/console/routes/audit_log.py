"""`/console/operations/audit`: what people did: the actor, the target and the result of each action."""

from typing import Final

from fastapi import APIRouter, Request, Response

from firsthour.runtime.http.auth import require
from firsthour.runtime.processing.service import Resources
from services.console.console import Console
from services.console.routes.operations import PATH as OPERATIONS

PATH: Final = f"{OPERATIONS}/audit"
FILTERS: Final = ("actor", "action", "target", "since")
TEXT_CHARS_MAX: Final = 200
LISTED: Final = 100


def add_routes(api: APIRouter, resources: Resources, console: Console) -> None:
    """Add the route."""
    viewers, pages = console.viewers, console.pages

    @api.get(PATH)
    async def listing(request: Request) -> Response:
        """The actions, the newest first."""
        viewer = await viewers.find(request)
        require(viewer.principal, "manager")
        asked = {name: value.strip()[:TEXT_CHARS_MAX] for name, value in request.query_params.items()}
        chosen = {name: asked.get(name, "") for name in FILTERS}
        query: dict[str, str | int | None] = {
            name: value or None for name, value in {**chosen, "cursor": asked.get("cursor", "")}.items()
        }
        actions = await console.known.load(viewer, "/v1/audit", {**query, "limit": LISTED})
        return pages.page(viewer, "audit_log.html", path=OPERATIONS, tab=PATH, actions=actions, chosen=chosen)
