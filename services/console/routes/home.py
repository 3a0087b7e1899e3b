"""`/` and `/console`: the first page of a viewer. The style and the script of all pages."""

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from firsthour.runtime.http.problem import Problem
from firsthour.runtime.processing.service import Resources
from services.console import static_files
from services.console.console import Console
from services.console.navigation import entries


def add_routes(api: APIRouter, resources: Resources, console: Console) -> None:
    """Add the routes."""
    viewers = console.viewers

    @api.get("/")
    async def root() -> Response:
        """Lead to the console."""
        return RedirectResponse("/console", 303)

    @api.get("/console")
    async def home(request: Request) -> Response:
        """Lead a viewer to the first page of their navigation."""
        viewer = await viewers.find(request)
        return RedirectResponse(entries(viewer)[0].path, 303)

    @api.get(static_files.PATH)
    async def static(name: str) -> Response:
        """The style or the script. Their names change with their content, so that browsers may keep them."""
        file = static_files.by_name().get(name)
        if file is None:
            raise Problem(404, "", "This file does not exist. Load the page again.")
        headers = {"cache-control": "public, max-age=31536000, immutable", "content-type": file.content_type}
        return Response(file.content, headers=headers)
