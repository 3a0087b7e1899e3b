"""`/console/sessions`: the sessions of the viewer, or all of them for an admin, and ending one."""

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from firsthour.runtime.http.problem import Problem
from firsthour.runtime.processing.service import Resources
from services.console import sessions
from services.console.console import Console
from services.console.markup import PAGE_HEADERS
from services.console.session_api import shown
from services.console.viewer import Viewer, end_session

PATH = "/console/sessions"


def add_routes(api: APIRouter, resources: Resources, console: Console) -> None:
    """Add the routes."""
    viewers, pages = console.viewers, console.pages

    async def visible(viewer: Viewer) -> list[dict[str, object]]:
        listed = await viewers.valid_sessions()
        return [shown(session) for session in listed if viewer.may("admin") or is_same_person(viewer, session)]

    @api.get(PATH)
    async def listing(request: Request) -> Response:
        """The sessions that the viewer may end."""
        viewer = await viewers.find(request)
        return pages.page(viewer, "sessions.html", path=PATH, sessions=await visible(viewer))

    @api.post(PATH + "/{id}/end")
    async def end(id: str, request: Request) -> Response:
        """End a session."""
        viewer, _ = await viewers.acting(request)
        if id not in {str(session["id"]) for session in await visible(viewer)}:
            raise Problem(404, "Unknown session", "This session has ended, or it is not yours.")
        await resources.units.run(lambda unit: end_session(unit, viewer, id))
        return RedirectResponse(PATH, 303, PAGE_HEADERS)


def is_same_person(viewer: Viewer, session: sessions.Session) -> bool:
    """Return whether a session is of the viewer: of the same rep, or begun with the same key."""
    own = viewer.session
    if own.rep is not None:
        return session.rep == own.rep and session.role == own.role
    return session.id == own.id or (own.key_id is not None and session.key_id == own.key_id)
