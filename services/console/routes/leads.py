"""`/console/leads`: the list of leads, and one lead."""

from fastapi import APIRouter, Request, Response

from firsthour.runtime.http.in_process import path_of
from firsthour.runtime.processing.service import Resources
from services.console.markup import Pages
from services.console.viewer import Viewers

PATH = "/console/leads"
QUERY_CHARS_MAX = 200


def add_routes(console: APIRouter, resources: Resources, viewers: Viewers, pages: Pages) -> None:
    """Add the routes."""

    @console.get(PATH)
    async def listing(request: Request, email: str = "", status: str = "", cursor: str | None = None) -> Response:
        """The leads, newest first."""
        viewer = await viewers.find(request)
        query = {
            "email": email.strip()[:QUERY_CHARS_MAX] or None,
            "status": status[:QUERY_CHARS_MAX] or None,
            "cursor": cursor,
        }
        leads = await viewer.get("/v1/leads", query)
        return pages.page(viewer, "leads.html", path=PATH, leads=leads, email=email, status=status)

    @console.get(PATH + "/{lead}")
    async def one(lead: str, request: Request) -> Response:
        """One lead with its timeline."""
        viewer = await viewers.find(request)
        view = await viewer.get(path_of("/v1/leads/{lead}", lead=lead))
        timeline = await viewer.get(path_of("/v1/leads/{lead}/timeline", lead=lead))
        return pages.page(viewer, "lead.html", path=PATH, lead=view, timeline=timeline["items"])
