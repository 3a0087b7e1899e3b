"""`/console/team`: reps with load, hours and leave, pools with what each member got and is owed, and going away and back."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urlencode

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse
from msgspec import json

from firsthour.runtime.clock import new_id
from firsthour.runtime.http.event_streams import EventStreamResponse
from firsthour.runtime.http.in_process import path_of
from firsthour.runtime.http.problem import Problem
from firsthour.runtime.processing.service import Resources
from services.console import wording
from services.console.catalogue import locale_of
from services.console.console import Console
from services.console.live import LivePage, Regions, rendered, sight_of
from services.console.markup import PAGE_HEADERS
from services.console.viewer import Viewer, problem_of

PATH: Final = "/console/team"
REPS_AT_ONCE: Final = 25
POOLS_MAX: Final = 6
MEMBERS_MAX: Final = 12  # of each pool; of a pool that is chosen, `MEMBERS_OF_ONE`
MEMBERS_OF_ONE: Final = 50
DAYS: Final = (7, 30, 90)
STATES: Final = ("available", "away", "deactivated")
SEARCH_CHARS_MAX: Final = 100
PAGES_MAX: Final = 100_000
REGIONS: Final = ("pools", "reps")


class TeamQuery:
    """The filters that a viewer has chosen. A choice that does not exist counts as none."""

    def __init__(self, request: Request) -> None:
        chosen = request.query_params
        self.search = chosen.get("q", "").strip()[:SEARCH_CHARS_MAX]
        self.pool = chosen.get("pool", "")[:SEARCH_CHARS_MAX]
        self.state = chosen.get("state", "") if chosen.get("state", "") in STATES else ""
        self.change = chosen.get("change", "")[:SEARCH_CHARS_MAX]
        self.days = next((days for days in DAYS if str(days) == chosen.get("days")), 30)
        page = chosen.get("page", "1")
        self.page = min(max(int(page), 1), PAGES_MAX) if page.isascii() and page.isdecimal() and len(page) < 7 else 1

    def url(self, path: str = PATH, **changes: str | int) -> str:
        """Return the address of the page with this choice and these changes."""
        chosen = {"q": self.search, "pool": self.pool, "state": self.state, "days": self.days, "page": self.page}
        kept = {name: value for name, value in {**chosen, **changes}.items() if value not in ("", None)}
        return f"{path}?{urlencode(kept)}"

    def keeps(self, rep: Mapping[str, Any]) -> bool:
        """Return whether a rep is among those to see."""
        wanted = self.search.casefold()
        found = not wanted or wanted in f"{rep['name']} {rep['id']} {rep['email']}".casefold()
        return found and self.state in ("", rep["state"]) and (not self.pool or self.pool in rep["pools"])


def add_routes(api: APIRouter, resources: Resources, console: Console) -> None:
    """Add the routes."""
    viewers, pages = console.viewers, console.pages

    @api.get(PATH)
    async def team(request: Request, done: str = "") -> Response:
        """The team."""
        viewer, query = await viewers.find(request), TeamQuery(request)
        shown = await team_of(viewer, query)
        known = done if done in ("rep-away", "rep-back") else ""
        return pages.page(viewer, "team.html", path=PATH, done=known, problem=None, once=new_id, **shown)

    @api.get(PATH + "/stream")
    async def stream(request: Request) -> Response:
        """The parts of the page, whenever they change."""
        viewer, query = await viewers.find(request), TeamQuery(request)

        async def render() -> Regions:
            shown = await team_of(viewer, query)
            return await rendered(REGIONS, lambda name: pages.pieces(viewer, f"team_{name}.html", **shown))

        shared = ("team", sight_of(viewer), query.url())
        return EventStreamResponse(console.live.stream(viewer, LivePage(shared, render)), viewer.session.id)

    @api.post(PATH + "/{rep}/availability")
    async def availability(rep: str, request: Request) -> Response:
        """Say that a rep is away, or back."""
        viewer, fields = await viewers.acting(request)
        query = TeamQuery(request)
        available = fields.get("available") == "yes"
        try:
            body = _body(viewer, fields, available=available)
            path = path_of("/v1/reps/{rep}/availability", rep=rep)
            answer = await viewer.send("POST", path, body=json.encode(body), once=fields.get("once") or None)
            problem = None if answer.ok else problem_of(answer)
        except Problem as wrong:
            problem = wrong
        if problem is not None:
            shown = await team_of(viewer, query)
            code, more = problem.status, {"done": "", "problem": problem, "once": new_id}
            return pages.page(viewer, "team.html", code=code, path=PATH, **more, **shown)
        return RedirectResponse(query.url(done="rep-back" if available else "rep-away"), 303, PAGE_HEADERS)


def _body(viewer: Viewer, fields: Mapping[str, str], *, available: bool) -> dict[str, Any]:
    body: dict[str, Any] = {"available": available}
    if fields.get("reason", "").strip():
        body["reason"] = fields["reason"]
    if not available and fields.get("until", "").strip():
        body["until"] = _moment(viewer, fields["until"].strip())
    return body


def _moment(viewer: Viewer, text: str) -> datetime:
    """Return a time of a form (`2026-12-31T14:00`), which is one in the zone of the viewer. Raises `Problem` 422."""
    try:
        return datetime.fromisoformat(text).replace(tzinfo=viewer.zone).astimezone(UTC)
    except (ValueError, OverflowError):
        raise Problem(422, "", "The end of an absence is a day and a time, such as 2026-12-31T14:00.") from None


async def team_of(viewer: Viewer, query: TeamQuery) -> dict[str, Any]:
    """Return what the pages show of the team."""
    everyone: Sequence[dict[str, Any]] = (await viewer.get("/v1/reps"))["items"]
    pools: Sequence[dict[str, Any]] = (await viewer.get("/v1/pools"))["items"]
    names = {rep["id"]: rep["name"] for rep in everyone}
    found = sorted(filter(query.keeps, everyone), key=lambda rep: (rep["name"].casefold(), rep["id"]))
    last = max(1, -(-len(found) // REPS_AT_ONCE))
    page = min(query.page, last)
    chosen = [pool for pool in pools if query.pool in ("", pool["id"])]
    may_change = {rep["id"] for rep in everyone if _is_changed_here(viewer, rep)}
    return {
        "live": query.url(PATH + "/stream"),
        "query": query,
        "reps": found[(page - 1) * REPS_AT_ONCE : page * REPS_AT_ONCE],
        "page": page,
        "last": last,
        "number": len(found),
        "total": len(everyone),
        "figures": _figures(everyone),
        "pool_ids": [pool["id"] for pool in pools],
        "pools": [await _shares(viewer, pool, query, names) for pool in chosen[:POOLS_MAX]],
        "pools_left_out": max(0, len(chosen) - POOLS_MAX),
        "names": names,
        "days": DAYS,
        "states": STATES,
        "languages": lambda codes: wording.languages(codes, locale_of(viewer.language)),
        "may_change": may_change,
        "changing": next((rep for rep in everyone if rep["id"] == query.change and rep["id"] in may_change), None),
    }


async def _shares(
    viewer: Viewer, pool: Mapping[str, Any], query: TeamQuery, names: Mapping[str, str]
) -> dict[str, Any]:
    """Return a pool with what its members got; of a large one the members whose balance is furthest from zero."""
    shares = await viewer.get(path_of("/v1/pools/{pool}/shares", pool=pool["id"]), {"days": query.days})
    wanted = query.search.casefold()
    members = [
        {**item, "name": names.get(item["rep"], item["rep"])}
        for item in shares["items"]
        if not wanted or wanted in f"{names.get(item['rep'], '')} {item['rep']}".casefold()
    ]
    at_most = MEMBERS_OF_ONE if query.pool else MEMBERS_MAX
    if len(members) > at_most:
        members.sort(key=lambda item: (-abs(item["owed"]), item["name"].casefold()))
    return {
        **pool,
        "assigned": shares["assigned"],
        "shown": members[:at_most],
        "left_out": max(0, len(members) - at_most),
    }


def _is_changed_here(viewer: Viewer, rep: Mapping[str, Any]) -> bool:
    """Return whether the viewer may set a rep away or back: an absence that the team file names ends there."""
    in_file = rep["by_file"] and rep["state"] != "available"
    return bool(rep["active"]) and not in_file and viewer.principal.may_act_for(rep["id"])


def _figures(everyone: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Return how many reps are on duty, have no room, and are away."""
    free = [rep for rep in everyone if rep["state"] == "available"]
    full = sum(rep["capacity"] is not None and rep["open"] >= rep["capacity"] for rep in free)
    away = sum(rep["state"] == "away" for rep in everyone)
    return {"free": len(free) - full, "full": full, "away": away, "open": sum(rep["open"] for rep in everyone)}
