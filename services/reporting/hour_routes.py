"""The route of the leads by hour of the day."""

from typing import Annotated, Any
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Depends, Query

from firsthour.kernel.time_zones import known_zone
from firsthour.runtime.http.auth import needs
from firsthour.runtime.http.principal import READ, Principal
from firsthour.runtime.http.problem import FieldFault, Problem
from firsthour.runtime.processing.service import Resources
from services.reporting.lead_hours import LeadHours, by_hour_of_day


def add_hour_route(api: APIRouter, resources: Resources) -> None:
    """Add the route."""
    hours = LeadHours(resources)

    @api.get("/v1/reports/hours", tags=["reports"])
    async def leads_by_hour(
        principal: Annotated[Principal, Depends(needs(READ))],
        timezone: Annotated[str, Query(max_length=64, description="The zone of the hours: Europe/Berlin.")] = "UTC",
    ) -> dict[str, Any]:
        """Count the leads of the last 28 days by the hour of the day at which they first entered.

        `average`: leads per day, over the `days` before today, which begin with the first lead of the 28 days. `today`: of the
        running day. Counts of quarters of an hour that are over are 15 minutes old at most.
        """
        zone = known_zone(timezone)
        if zone is None:
            detail = "is not a time zone of the IANA database; write it as Europe/Berlin"
            fault = FieldFault(pointer="query:timezone", detail=detail)
            raise Problem(422, "Unknown time zone", f"`timezone` {detail}.", [fault])
        now = resources.clock.business()
        rows, days = by_hour_of_day(await hours.counts(), now, ZoneInfo(zone))
        items = [
            {"hour": hour, "leads": before, "average": round(before / max(days, 1), 3), "today": today}
            for hour, (before, today) in enumerate(rows)
        ]
        return {"timezone": zone, "days": days, "items": items, "next": None}
