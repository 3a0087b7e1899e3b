"""`/console/operations/doctor`: the lines of `firsthour doctor`, examined when a person asks for it."""

from typing import Final

from fastapi import APIRouter, Request, Response

from firsthour.runtime.http.auth import require
from firsthour.runtime.processing.service import Resources
from services.console.console import Console
from services.console.last_known import PagePart
from services.console.routes.operations import PATH as OPERATIONS
from services.console.viewer import problem_of

PATH: Final = f"{OPERATIONS}/doctor"


def add_routes(api: APIRouter, resources: Resources, console: Console) -> None:
    """Add the routes. The last examination of this process is shown until the next one."""
    viewers, pages = console.viewers, console.pages
    last: PagePart | None = None

    @api.get(PATH)
    async def shown(request: Request) -> Response:
        """The lines of the last examination."""
        viewer = await viewers.find(request)
        require(viewer.principal, "admin")
        return pages.page(viewer, "doctor.html", path=OPERATIONS, tab=PATH, part=last)

    @api.post(PATH)
    async def examine(request: Request) -> Response:
        """Examine the installation, and show the lines. If it fails, the lines of before stay."""
        nonlocal last
        viewer, _ = await viewers.acting(request)
        require(viewer.principal, "admin")
        answer, now = await viewer.send("POST", "/v1/doctor"), resources.clock.real()
        if answer.ok:
            last = part = PagePart(answer.json(), now)
        else:
            part = PagePart(last.content if last else None, last.as_of if last else now, problem_of(answer))
        return pages.page(viewer, "doctor.html", path=OPERATIONS, tab=PATH, part=part)
