"""`/console/style`: every token and component of the design on one page."""

from fastapi import APIRouter, Request, Response

from firsthour.runtime.processing.service import Resources
from services.console.markup import Pages
from services.console.viewer import Viewers

PATH = "/console/style"
TOKENS = ("ink", "soft", "line", "edge", "ground", "card", "accent", "good", "warn", "bad")


def add_routes(console: APIRouter, resources: Resources, viewers: Viewers, pages: Pages) -> None:
    """Add the route."""

    @console.get(PATH)
    async def style(request: Request) -> Response:
        """The design, for the developers of pages."""
        viewer = await viewers.find(request)
        return pages.page(viewer, "style.html", path=PATH, tokens=TOKENS)
