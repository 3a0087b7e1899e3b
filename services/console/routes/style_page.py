"""`/console/style`: every token and component of the design on one page."""

from fastapi import APIRouter, Request, Response

from firsthour.runtime.processing.service import Resources
from services.console.console import Console

PATH = "/console/style"
TOKENS = ("ink", "soft", "line", "edge", "ground", "card", "accent", "good", "warn", "bad")


def add_routes(api: APIRouter, resources: Resources, console: Console) -> None:
    """Add the route."""
    viewers, pages = console.viewers, console.pages

    @api.get(PATH)
    async def style(request: Request) -> Response:
        """The design, for the developers of pages."""
        viewer = await viewers.find(request)
        return pages.page(viewer, "style.html", path=PATH, tokens=TOKENS)
