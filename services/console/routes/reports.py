"""`/console/funnel` and `/console/response`: the two reports as pages, with the leads behind each figure."""

from datetime import datetime
from typing import Any, Final
from urllib.parse import urlsplit

from babel.dates import get_day_names
from fastapi import APIRouter, Request, Response

from firsthour.runtime.http.in_process import path_of
from firsthour.runtime.http.problem import Problem
from firsthour.runtime.processing.service import Resources
from schemas.agreement.calendars import DAYS
from services.console.catalogue import locale_of
from services.console.charts import lines, marks, shades
from services.console.console import Console
from services.console.markup import PAGE_HEADERS
from services.console.viewer import Viewer, problem_of

FUNNEL: Final = "/console/funnel"
RESPONSE: Final = "/console/response"
SPANS: Final = ("7d", "30d", "90d", "365d")
FUNNEL_GROUPS: Final = ("source", "campaign", "form", "persona", "grade", "rep", "team", "cohort")
RESPONSE_GROUPS: Final = ("source", "rep", "urgency", "day", "weekday", "hour")
TREND_LINES_MAX: Final = 12
LEADS_MAX: Final = 25
QUERY_CHARS_MAX: Final = 2_000


def add_routes(api: APIRouter, resources: Resources, console: Console) -> None:
    """Add the routes."""
    _add_funnel(api, console)
    _add_behind_funnel(api, console)
    _add_response(api, console)


def _add_funnel(api: APIRouter, console: Console) -> None:
    viewers, pages = console.viewers, console.pages

    @api.get(FUNNEL)
    async def funnel(
        request: Request, since: str = "90d", by: str = "", basis: str = "cohort", per: str = "week"
    ) -> Response:
        """Conversion, time and losses between every two neighbouring steps."""
        viewer = await viewers.find(request)
        report = await viewer.get("/v1/reports/funnel", {"from": since, "by": by or None, "basis": basis, "per": per})
        names = {step["key"]: step["name"] for step in report["steps"]}
        reached = [key for key in names if any(row["reached"][key] for row in report["trend"])]
        drawn = reached if len(reached) <= TREND_LINES_MAX else [*reached[: TREND_LINES_MAX - 1], reached[-1]]
        trend = [(names[key], [float(row["reached"][key]) for row in report["trend"]]) for key in drawn]
        chart, top = lines(trend)
        begins = [datetime.fromisoformat(row["from"]) for row in report["trend"]]
        changed = [datetime.fromisoformat(version["at"]) for version in report["versions"]]
        return pages.page(
            viewer,
            "funnel.html",
            path=FUNNEL,
            report=report,
            names=names,
            chart=chart,
            top=top,
            marks=marks(changed, begins, datetime.fromisoformat(report["to"])) if begins else [],
            shown=reached,
            unsettled=shades([row["partial"] or row["young"] for row in report["trend"]]),
            behind=behind,
            labels=await _labels(viewer, by),
            chosen={"since": since, "by": by, "basis": basis, "per": per},
            spans=SPANS,
            groups=FUNNEL_GROUPS,
        )


def _add_behind_funnel(api: APIRouter, console: Console) -> None:
    viewers, pages = console.viewers, console.pages

    @api.get(FUNNEL + ".csv")
    async def table(request: Request) -> Response:
        """The figures of the page as CSV."""
        viewer = await viewers.find(request)
        query = {name: request.query_params.get(name) or None for name in ("by", "basis", "per")}
        since = request.query_params.get("since") or "90d"
        answer = await viewer.send("GET", "/v1/reports/funnel.csv", {"from": since, **query})
        if not answer.ok:
            raise problem_of(answer)
        headers = {**PAGE_HEADERS, "content-disposition": 'attachment; filename="funnel.csv"'}
        return Response(answer.body, media_type="text/csv; charset=utf-8", headers=headers)

    @api.get(FUNNEL + "/leads")
    async def leads(request: Request) -> Response:
        """The leads behind a figure of the funnel."""
        viewer = await viewers.find(request)
        if len(request.url.query) > QUERY_CHARS_MAX:
            raise Problem(422, "", "The address is too long. Open the list from the funnel.")
        query = [(name, value) for name, value in request.query_params.multi_items() if name != "limit"]
        listed = await viewer.get("/v1/reports/funnel/leads", [*query, ("limit", str(LEADS_MAX))])
        views = [await _view(viewer, item["lead"]) for item in listed["items"]]
        following = str(request.url.include_query_params(cursor=listed["next"]).query) if listed["next"] else ""
        items = list(zip(listed["items"], views, strict=True))
        return pages.page(viewer, "funnel_leads.html", path=FUNNEL, items=items, following=following)


def _add_response(api: APIRouter, console: Console) -> None:
    viewers, pages = console.viewers, console.pages

    @api.get(RESPONSE)
    async def response(request: Request, since: str = "30d", by: str = "rep") -> Response:
        """The share of the requests that were contacted within the first hour."""
        viewer = await viewers.find(request)
        asked = {"since": since, "by": by or None, "timezone": str(viewer.zone)}
        report = await viewer.get("/v1/reports/response", asked)
        hops = await console.known.load(viewer, "/v1/reports/response/hops", {"since": since})
        found = hops.content["items"] if hops.content else []
        chosen = {"since": since, "by": by}
        return pages.page(
            viewer,
            "response.html",
            path=RESPONSE,
            report=report,
            hops=hops,
            labels=await _labels(viewer, by),
            longest=max((hop["p90_seconds"] or 0 for hop in found), default=0),
            chosen=chosen,
            spans=SPANS,
            groups=RESPONSE_GROUPS,
        )


async def _labels(viewer: Viewer, by: str) -> dict[str, str]:
    """Return the names of the groups that people know by another name than the key. A viewer who may not see it gets none."""
    if by == "weekday":
        days = get_day_names("wide", locale=locale_of(viewer.language))
        return {key: days[number] for number, key in enumerate(DAYS)}
    if by == "hour":
        return {str(hour): f"{hour}:00 – {hour}:59" for hour in range(24)}
    if by != "rep" or not viewer.may("sales"):
        return {}
    return {rep["id"]: rep["name"] for rep in (await viewer.get("/v1/reps"))["items"]}


async def _view(viewer: Viewer, lead: str) -> dict[str, Any]:
    """Return a lead; of one that has gone, its id."""
    answer = await viewer.send("GET", path_of("/v1/leads/{lead}", lead=lead))
    return dict(answer.json()) if answer.ok else {"id": lead, "name": None, "email": None, "company": None}


def behind(link: str | None, **more: str) -> str:
    """Return the page of the leads behind a figure. Empty: no list has them."""
    if link is None:
        return ""
    rest = "".join(f"&{name}={value}" for name, value in more.items())
    return f"{FUNNEL}/leads?{urlsplit(link).query}{rest}"
