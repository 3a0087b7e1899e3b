"""The report on the first hour: the share of requests with a touch within it, and how long the first touch took."""

from datetime import date, datetime, timedelta
from typing import Annotated, Any, Final, Literal
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Depends, Query
from pydantic import TypeAdapter, ValidationError
from pydantic_core import PydanticCustomError
from sqlalchemy.engine import Connection

from firsthour.kernel.time_zones import known_zone
from firsthour.runtime.http.auth import needs
from firsthour.runtime.http.principal import Principal
from firsthour.runtime.http.problem import FieldFault, Problem
from firsthour.runtime.http.turn_queue import TurnQueue
from firsthour.runtime.http.visibility import visible_leads
from firsthour.runtime.processing.service import Resources
from schemas.agreement.calendars import DAYS
from schemas.http import Moment
from schemas.values import positive_duration
from services.reporting import rebuilding
from services.reporting.figures import Figures, figures
from services.reporting.handlers import HISTORY_DAYS
from services.reporting.hop_reading import read_hops
from services.reporting.response_model import MODEL, MODEL_VERSION

SINCE: Final = "30d"
UTC_ZONE: Final = "UTC"
REPORTS_MAX: Final = 5
_DAY: Final = timedelta(days=1)
_EPOCH: Final = date(1970, 1, 1)
_moment: Final = TypeAdapter(Moment)
Since = Annotated[str, Query(max_length=64, description="A span such as `30d`, or a time. At most 400 days ago.")]
GroupKey = Literal["source", "rep", "urgency", "day", "weekday", "hour"]


class ReportQueue(TurnQueue):
    """Lets one report read at a time, because a report over a year occupies a connection for seconds."""

    def __init__(self) -> None:
        super().__init__(REPORTS_MAX, "Other reports are being computed; try again in a few seconds.")


def add_response_routes(api: APIRouter, resources: Resources, queue: ReportQueue) -> None:
    """Add the route of the response report. `queue`: of all reports."""

    @api.get("/v1/reports/response", tags=["reports"])
    async def response(
        principal: Annotated[Principal, Depends(needs("sales"))],
        since: Since = SINCE,
        by: Annotated[GroupKey | None, Query(description="One line for each of these; absent: the total only.")] = None,
        calendar: Annotated[
            str | None,
            Query(max_length=100, description="Day, weekday and hour in the time zone of this calendar; absent: UTC."),
        ] = None,
        timezone: Annotated[
            str | None, Query(max_length=64, description="Day, weekday and hour in this zone, such as Europe/Berlin.")
        ] = None,
    ) -> dict[str, Any]:
        """The first hour: requests touched within it, in raw and in working time; how long the first touch took.

        A request is a submit that handed the lead over to Sales. It is `pending` while its hour runs. `share` leaves these
        out. `working` counts in the calendar of the urgency, else in that of the rep. `held_back` requests came with a burst:
        `raw` counts from the submit, `working` from the release of the burst. A rep who does not see all leads gets the requests
        of the reps whose leads they see.
        """
        now, reps = resources.clock.business(), _visible_reps(resources, principal)
        start, zone = _since(since, now), _zone(resources, calendar, timezone)

        def read(connection: Connection) -> tuple[list[Figures], list[Figures], bool]:
            total = figures(connection, "all", start, now, ZoneInfo(zone), reps=reps)
            groups = figures(connection, by, start, now, ZoneInfo(zone), reps=reps) if by else []
            return total, groups, rebuilding.is_complete(connection, MODEL, MODEL_VERSION)

        async with queue.turn():
            total, groups, complete = await resources.reads(read)
        return {
            "since": start,
            "until": now,
            "by": by,
            "timezone": zone,
            "complete": complete,
            "total": figures_view(total[0] if total else NO_REQUESTS),
            "items": [{"key": _key(by or "", row.key), **figures_view(row)} for row in groups],
            "next": None,
        }


def add_hop_route(api: APIRouter, resources: Resources, queue: ReportQueue) -> None:
    """Add the route of the use of the hour. `queue`: of all reports."""

    @api.get("/v1/reports/response/hops", tags=["reports"])
    async def use_of_the_hour(
        principal: Annotated[Principal, Depends(needs("sales"))],
        since: Since = SINCE,
    ) -> dict[str, Any]:
        """The use of the hour, hop by hop, over the newest 300 requests of the period.

        A hop leads from one step to the next: `submit`, `received` by the gateway, `scored`, `routed` to an owner, `told`: a
        channel has accepted a page about it, `accepted` by the owner, `touched`. A request counts for a hop if it has both
        steps. The last two are `told` to `touched`, since not every rep accepts, and `submit` to `touched`. A rep who does
        not see all leads gets the requests of the reps whose leads they see.
        """
        start, reps = _since(since, resources.clock.business()), _visible_reps(resources, principal)
        async with queue.turn():
            requests, found = await resources.reads(lambda connection: read_hops(connection, start, reps))
        items = [
            {
                "from": hop.start,
                "to": hop.end,
                "requests": hop.requests,
                "median_seconds": hop.median,
                "p90_seconds": hop.p90,
            }
            for hop in found
        ]
        return {"since": start, "requests": requests, "items": items, "next": None}


def _visible_reps(resources: Resources, principal: Principal) -> frozenset[str] | None:
    """Return the reps whose leads a principal sees. None: all."""
    visible = visible_leads(resources.config.current, principal)
    return None if visible is None else visible.owners


def _since(text: str, now: datetime) -> datetime:
    """Return the begin of the report, from a span or a time. Raises `Problem` 422."""
    try:
        start = now - positive_duration(text)
    except PydanticCustomError:
        try:
            start = _moment.validate_python(text)
        except ValidationError:
            raise _refusal(
                "Invalid period", "since", "is neither a span such as 30d nor a time such as 2026-12-01T09:00:00Z"
            ) from None
    if start > now:
        raise _refusal("Invalid period", "since", "is in the future; give a time in the past")
    if start < now - HISTORY_DAYS * _DAY:
        raise _refusal("Invalid period", "since", f"is too long ago; reports cover the last {HISTORY_DAYS} days")
    return start


def _zone(resources: Resources, calendar: str | None, timezone: str | None) -> str:
    if calendar is None:
        zone = known_zone(timezone or UTC_ZONE)
        if zone is None:
            detail = "is not a time zone of the IANA database; write it as Europe/Berlin"
            raise _refusal("Unknown time zone", "timezone", detail)
        return zone
    if timezone is not None:
        raise _refusal("Invalid request", "timezone", "is that of the calendar; give one of the two")
    calendars = resources.config.current.agreement.calendars
    if calendar not in calendars:
        known = f"use one of: {', '.join(list(calendars)[:20])}" if calendars else "it has none, so leave this out"
        raise _refusal("Unknown calendar", "calendar", f"is not in the agreement; {known}")
    return calendars[calendar].timezone


def _refusal(title: str, field: str, detail: str) -> Problem:
    return Problem(422, title, f"`{field}` {detail}.", [FieldFault(pointer=f"query:{field}", detail=detail)])


def _key(by: str, key: Any) -> Any:
    """Return the key of a line: a day as a date, a weekday as its name, an hour as a number. None: unknown."""
    if key is None:
        return None
    if by == "day":
        return (_EPOCH + timedelta(days=int(key))).isoformat()
    return DAYS[int(key)] if by == "weekday" else int(key) if by == "hour" else key


NO_REQUESTS: Final = Figures("", 0, 0, 0, 0, 0, 0, 0, 0, 0, None, None, None, 0, 0, None, None, None)


def figures_view(row: Figures) -> dict[str, Any]:
    """Return the figures of one line, with times in seconds."""
    return {
        "requests": row.requests,
        "pending": row.pending,
        "touched": row.touched,
        "never_touched": row.requests - row.touched - row.pending,
        "left_untouched": row.left,
        "attempts": row.attempts,
        "conversations": row.conversations,
        "reached": row.reached,
        "held_back": row.held,
        "raw": {
            "within_hour": row.within,
            "share": _share(row.within, row.requests - row.pending),
            "average_seconds": _seconds(row.average),
            "median_seconds": _seconds(row.median),
            "p90_seconds": _seconds(row.p90),
        },
        "working": {
            "within_hour": row.working_within,
            "share": _share(row.working_within, row.requests - row.working_pending),
            "average_seconds": _seconds(row.working_average),
            "median_seconds": _seconds(row.working_median),
            "p90_seconds": _seconds(row.working_p90),
        },
    }


def _share(part: int, whole: int) -> float | None:
    return round(part / whole, 4) if whole else None


def _seconds(us: float | None) -> float | None:
    return None if us is None else round(us / 1_000_000, 3)
