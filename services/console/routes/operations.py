"""`/console/operations`: the state of the installation, what the audit found, and the sources."""

from fastapi import APIRouter, Request, Response

from firsthour.runtime.http.auth import require
from firsthour.runtime.processing.service import Resources
from services.console.console import Console

PATH = "/console/operations"


def add_routes(api: APIRouter, resources: Resources, console: Console) -> None:
    """Add the route."""
    viewers, pages = console.viewers, console.pages

    @api.get(PATH)
    async def state(request: Request) -> Response:
        """The state. A part that cannot be loaded says why; the others are shown."""
        viewer = await viewers.find(request)
        require(viewer.principal, "marketing")
        load = console.known.load
        return pages.page(
            viewer,
            "operations.html",
            path=PATH,
            tab=PATH,
            state=await load(viewer, "/v1/state") if viewer.may("admin") else None,
            findings=await load(viewer, "/v1/findings") if viewer.may("manager") else None,
            sources=await load(viewer, "/v1/sources"),
        )
