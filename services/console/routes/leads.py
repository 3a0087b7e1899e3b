"""`/console/leads`: the list of leads, and one lead with everything that is known of it and may be done."""

from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from firsthour.runtime.clock import new_id
from firsthour.runtime.http.event_streams import EventStreamResponse
from firsthour.runtime.http.in_process import path_of
from firsthour.runtime.http.problem import Problem
from firsthour.runtime.processing.service import Resources
from services.console.actions import CHANNELS, act, permitted, snoozes
from services.console.console import Console
from services.console.live import LivePage, Regions, rendered, sight_of
from services.console.markup import PAGE_HEADERS, Pages
from services.console.viewer import Viewer, problem_of

PATH = "/console/leads"
MINE = "/console/mine"
QUERY_CHARS_MAX = 200
DONE = ("accept", "touch", "snooze", "reject", "recycle", "status", "assign", "opt-out")
TIMELINE_MAX = 100
FACTS_MAX = 100
REGIONS = ("standing", "facts", "score", "history", "decisions")
EVENTS = "events"  # the topic of outside events


def add_routes(api: APIRouter, resources: Resources, console: Console) -> None:
    """Add the routes."""
    viewers, pages = console.viewers, console.pages

    @api.get(PATH)
    async def listing(request: Request, q: str = "", status: str = "", cursor: str | None = None) -> Response:
        """The leads, newest first; of a search, those that it finds."""
        viewer = await viewers.find(request)
        query = {
            "q": q.strip()[:QUERY_CHARS_MAX] or None,
            "status": status[:QUERY_CHARS_MAX] or None,
            "cursor": cursor,
        }
        leads = await viewer.get("/v1/leads", query)
        statuses = list(resources.config.current.agreement.lifecycle.statuses)
        return pages.page(
            viewer, "leads.html", path=PATH, leads=leads, q=q[:QUERY_CHARS_MAX], status=status, statuses=statuses
        )

    @api.get(PATH + "/{lead}")
    async def one(lead: str, request: Request, done: str = "") -> Response:
        """One lead."""
        viewer = await viewers.find(request)
        return await lead_page(pages, viewer, lead, done=done if done in DONE else "")

    @api.get(PATH + "/{lead}/stream")
    async def stream(lead: str, request: Request) -> Response:
        """The parts of the page that change, without its forms."""
        viewer = await viewers.find(request)

        async def render() -> Regions:
            facts = await facts_of(viewer, lead)
            return await rendered(REGIONS, lambda name: pages.pieces(viewer, f"lead_{name}.html", **facts))

        return EventStreamResponse(
            console.live.stream(viewer, LivePage(("lead", lead, sight_of(viewer)), render)), viewer.session.id
        )

    @api.post(PATH + "/{lead}/{action}")
    async def do(lead: str, action: str, request: Request) -> Response:
        """Take an action, and show the lead again; if it was refused, with the reason."""
        viewer, fields = await viewers.acting(request)
        answer = await act(viewer, lead, action, fields, resources.clock.business())
        if answer.ok:
            to_mine = fields.get("back") == "mine" or not await is_visible(viewer, lead)
            back = MINE if to_mine else path_of(PATH + "/{lead}", lead=lead)
            return RedirectResponse(f"{back}?done={action}", 303, PAGE_HEADERS)
        problem = problem_of(answer)
        if problem.status == 404:
            raise problem
        return await lead_page(pages, viewer, lead, problem=problem)


async def is_visible(viewer: Viewer, lead: str) -> bool:
    """Return whether the viewer sees a lead. The agreement may hide it from a rep who has just given it away."""
    return viewer.session.rep is None or (await viewer.send("GET", path_of("/v1/leads/{lead}", lead=lead))).ok


async def lead_page(
    pages: Pages, viewer: Viewer, lead: str, *, done: str = "", problem: Problem | None = None
) -> Response:
    """Return the page of a lead. `done`: the action that was taken. `problem`: why one was refused."""
    facts = await facts_of(viewer, lead)
    actions = await permitted(viewer, lead)
    return pages.page(
        viewer,
        "lead.html",
        code=problem.status if problem is not None else 200,
        path=PATH,
        actions=actions,
        channels=CHANNELS,
        snoozes=snoozes(actions["snooze"]) if "snooze" in actions else [],
        done=done,
        problem=problem,
        once=new_id,
        **facts,
    )


async def facts_of(viewer: Viewer, lead: str) -> dict[str, Any]:
    """Return what is known of a lead and what the viewer may see of it. Raises `Problem` 404 for an unknown lead."""
    view = await viewer.get(path_of("/v1/leads/{lead}", lead=lead))
    timeline = await viewer.get(path_of("/v1/leads/{lead}/timeline", lead=lead), {"limit": TIMELINE_MAX})
    decisions = await viewer.get(path_of("/v1/leads/{lead}/decisions", lead=lead), {"limit": 20})
    score = await viewer.get(path_of("/v1/leads/{lead}/score", lead=lead))
    facts = await viewer.get(path_of("/v1/leads/{lead}/facts", lead=lead))
    asked: dict[str, str | int | None] = {"lead": lead, "limit": 100, "attempts": "true"}
    sent = await viewer.get("/v1/pages", asked) if viewer.may("sales") else {"items": []}
    return {
        "lead": view,
        "timeline": timeline["items"],
        "decisions": decisions["items"],
        "score": score,
        "sent": sent["items"],
        "facts": with_sources(facts["items"], timeline["items"])[:FACTS_MAX],
    }


def with_sources(facts: list[dict[str, Any]], timeline: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the facts, each with the source of the event that stated it; None: the timeline no longer shows that event."""
    sources = {item["at"]: item["data"].get("source") for item in timeline if item["topic"] == EVENTS and item["data"]}
    return [{**fact, "source": sources.get(fact["at"])} for fact in facts]
