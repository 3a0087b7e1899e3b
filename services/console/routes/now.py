"""`/console/now`: the clocks that run, the queue, the reps on duty; also for a display on a wall."""

from collections import Counter
from typing import Any

from fastapi import APIRouter, Request, Response

from firsthour.runtime.http.event_streams import EventStreamResponse
from firsthour.runtime.processing.service import Resources
from services.console.console import Console
from services.console.live import LivePage, sight_of
from services.console.viewer import Viewer

PATH = "/console/now"
CLOCKS_MAX = 50
NEWEST_MAX = 15
QUEUED_MAX = 100
REGIONS = ("figures", "clocks", "queue", "newest", "reps")


def add_routes(api: APIRouter, resources: Resources, console: Console) -> None:
    """Add the routes."""
    viewers, pages = console.viewers, console.pages

    @api.get(PATH)
    async def now(request: Request, wall: bool = False) -> Response:
        """The state of this moment. `wall`: large, without navigation."""
        viewer = await viewers.find(request)
        return pages.page(viewer, "now.html", path=PATH, wall=wall, **await state_of(viewer))

    @api.get(PATH + "/stream")
    async def stream(request: Request) -> Response:
        """The parts of the page."""
        viewer = await viewers.find(request)

        async def render() -> dict[str, str]:
            state = await state_of(viewer)
            return {name: pages.text(viewer, f"now_{name}.html", **state) for name in REGIONS}

        return EventStreamResponse(console.live.stream(viewer, LivePage(("now", sight_of(viewer)), render)))


async def state_of(viewer: Viewer) -> dict[str, Any]:
    """Return what the viewer sees of this moment."""
    clocks = (await viewer.get("/v1/clocks", {"limit": CLOCKS_MAX}))["items"]
    queued = (await viewer.get("/v1/queue", {"limit": QUEUED_MAX}))["items"]
    newest = (await viewer.get("/v1/leads", {"limit": NEWEST_MAX}))["items"]
    reps = (await viewer.get("/v1/reps"))["items"] if viewer.may("sales") else []
    missed = sum(lead["clock"]["state"] == "missed" for lead in clocks if lead["clock"])
    return {
        "clocks": clocks,
        "clocks_max": CLOCKS_MAX,
        "queued": queued,
        "queued_max": QUEUED_MAX,
        "reasons": Counter(
            (lead["queue"]["pool"], lead["queue"]["reason"]) for lead in queued if lead["queue"]
        ).most_common(),
        "newest": newest,
        "reps": sorted(reps, key=lambda rep: (rep["state"] != "available", rep["name"])),
        "missed": missed,
    }
