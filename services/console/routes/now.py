"""`/console/now`: the clocks that run, breaches about to happen, the queue and its relief, the reps; also for a wall."""

from collections import Counter
from datetime import datetime, timedelta
from typing import Any

from fastapi import APIRouter, Request, Response

from firsthour.runtime.http.event_streams import EventStreamResponse
from firsthour.runtime.processing.service import Resources
from services.console.charts import columns
from services.console.console import Console
from services.console.live import LivePage, Regions, rendered, sight_of
from services.console.viewer import Viewer

PATH = "/console/now"
CLOCKS_MAX = 50
NEWEST_MAX = 15
QUEUED_MAX = 100
SOON_MINUTES = 15
REGIONS = ("figures", "soon", "clocks", "queue", "newest", "reps", "hours")


def add_routes(api: APIRouter, resources: Resources, console: Console) -> None:
    """Add the routes."""
    viewers, pages = console.viewers, console.pages

    @api.get(PATH)
    async def now(request: Request, wall: bool = False) -> Response:
        """The state of this moment. `wall`: large, without navigation."""
        viewer = await viewers.find(request)
        return pages.page(
            viewer, "now.html", path=PATH, wall=wall, **await state_of(viewer, resources.clock.business())
        )

    @api.get(PATH + "/stream")
    async def stream(request: Request) -> Response:
        """The parts of the page."""
        viewer = await viewers.find(request)

        async def render() -> Regions:
            state = await state_of(viewer, resources.clock.business())
            return await rendered(REGIONS, lambda name: pages.pieces(viewer, f"now_{name}.html", **state))

        return EventStreamResponse(
            console.live.stream(viewer, LivePage(("now", sight_of(viewer)), render)), viewer.session.id
        )


async def state_of(viewer: Viewer, now: datetime) -> dict[str, Any]:
    """Return what the viewer sees of this moment. `now`: business time."""
    clocks = (await viewer.get("/v1/clocks", {"limit": CLOCKS_MAX}))["items"]
    queued = (await viewer.get("/v1/queue", {"limit": QUEUED_MAX}))["items"]
    soon = await _soon(viewer, clocks, now)
    relief = await viewer.get("/v1/queue/relief") if queued and viewer.may("sales") else {"items": []}
    hours = await viewer.get("/v1/reports/hours", {"timezone": str(viewer.zone)})
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
        "soon": soon,
        "soon_minutes": SOON_MINUTES,
        "relief": {item["pool"]: item["changes"] for item in relief["items"]},
        "hours": _hours(hours["items"], hours["days"]),
    }


async def _soon(viewer: Viewer, clocks: list[dict[str, Any]], now: datetime) -> list[dict[str, Any]]:
    """Return the leads whose promise ends soon, the next one first. With many missed promises, `clocks` does not reach them."""
    if len(clocks) == CLOCKS_MAX and clocks[-1]["clock"]["state"] == "missed":
        query: dict[str, str | int | None] = {"limit": CLOCKS_MAX, "within": SOON_MINUTES}
        clocks = (await viewer.get("/v1/clocks", query))["items"]
    end = now + timedelta(minutes=SOON_MINUTES)
    return [lead for lead in clocks if _ends_before(lead["clock"], end)]


def _ends_before(clock: dict[str, Any], end: datetime) -> bool:
    runs = clock["state"] == "live" and clock["due_at"] and not clock["paused_until"]
    return bool(runs) and datetime.fromisoformat(clock["due_at"]) <= end


def _hours(items: list[dict[str, Any]], days: int) -> dict[str, Any]:
    """Return the chart of the leads by hour of the day: the usual day behind today. `days`: those the usual day is of."""
    usual, today = [item["average"] for item in items], [float(item["today"]) for item in items]
    top = max(*usual, *today)
    busiest = max(items, key=lambda item: item["leads"])
    return {
        "items": items,
        "usual": columns(usual, top, share=0.8, offset=0.1),
        "today": columns(today, top, share=0.3, offset=0.35),
        "top": top,
        "days": days,
        "busiest": busiest["hour"] if busiest["leads"] else None,
        "today_count": int(sum(today)),
        "usual_count": sum(usual),
    }
