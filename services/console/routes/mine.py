"""`/console/mine`: the leads of a rep, the next promise first, each with the actions of one tap; away and back."""

from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse
from msgspec import json

from firsthour.runtime.clock import new_id
from firsthour.runtime.http.event_streams import EventStreamResponse
from firsthour.runtime.http.in_process import path_of
from firsthour.runtime.http.problem import Problem
from firsthour.runtime.processing.service import Resources
from services.console.actions import permitted_on
from services.console.console import Console
from services.console.live import LivePage
from services.console.markup import PAGE_HEADERS
from services.console.routes.leads import DONE
from services.console.viewer import Viewer, problem_of

PATH = "/console/mine"
LEADS_MAX = 50  # with their actions; the list of all leads has the others


def add_routes(api: APIRouter, resources: Resources, console: Console) -> None:
    """Add the routes."""
    viewers, pages = console.viewers, console.pages

    @api.get(PATH)
    async def mine(request: Request, done: str = "") -> Response:
        """The leads of the viewer."""
        viewer = await viewers.find(request)
        facts = await own_leads(viewer)
        return pages.page(viewer, "mine.html", path=PATH, done=done if done in (*DONE, "away", "back") else "", **facts)

    @api.get(PATH + "/stream")
    async def stream(request: Request) -> Response:
        """The list, whenever it changes."""
        viewer = await viewers.find(request)

        async def render() -> dict[str, str]:
            return {"mine": pages.text(viewer, "mine_list.html", **await own_leads(viewer))}

        return EventStreamResponse(
            console.live.stream(viewer, LivePage(("mine", viewer.session.id), render)), viewer.session.id
        )

    @api.post(PATH + "/availability")
    async def availability(request: Request) -> Response:
        """Say that the viewer is away, or back."""
        viewer, fields = await viewers.acting(request)
        available = fields.get("available") == "yes"
        path = path_of("/v1/reps/{rep}/availability", rep=rep_of(viewer))
        answer = await viewer.send(
            "POST", path, body=json.encode({"available": available}), once=fields.get("once") or None
        )
        if not answer.ok:
            raise problem_of(answer)
        return RedirectResponse(f"{PATH}?done={'back' if available else 'away'}", 303, PAGE_HEADERS)


def rep_of(viewer: Viewer) -> str:
    """Return the rep of the viewer. Raises `Problem` 403: the session is of no rep."""
    if viewer.session.rep is None:
        raise Problem(403, "", "This page is for reps. Sign in with a key or a link that acts as a rep.")
    return viewer.session.rep


async def own_leads(viewer: Viewer) -> dict[str, Any]:
    """Return the open leads of the viewer, the next promise first, with their actions."""
    rep = rep_of(viewer)
    listed = (await viewer.get("/v1/leads", {"owner": rep, "limit": 500}))["items"]
    leads = sorted(listed, key=lambda lead: (_promise(lead), lead["id"]))
    actions = await permitted_on(viewer, [lead["id"] for lead in leads[:LEADS_MAX]])
    reps = (await viewer.get("/v1/reps"))["items"] if viewer.may("sales") else []
    me = next((item for item in reps if item["id"] == rep), None)
    return {"leads": leads, "actions": actions, "me": me, "once": new_id}


def _promise(lead: dict[str, Any]) -> str:
    """Return the end of the promise as a text that sorts by time; leads without a running clock come last."""
    clock = lead["clock"]
    running = clock is not None and clock["state"] in ("live", "missed") and clock["due_at"]
    return str(clock["due_at"]) if running else "~"
