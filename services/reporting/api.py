"""The read API of leads: the list, one lead, its timeline, and the number of leads per status."""

import re
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from msgspec import json

from firsthour.kernel.time_units import moment
from firsthour.runtime.http import page_cursors
from firsthour.runtime.http.auth import needs
from firsthour.runtime.http.principal import READ, Principal
from firsthour.runtime.http.visibility import unknown_lead, visible_leads
from firsthour.runtime.processing.service import Resources
from firsthour.runtime.storage.packing import unpacked
from schemas.envelope import UnknownEventError, decode, event_of
from schemas.http import LeadView, Listing
from services.reporting import lead_view, store
from services.reporting.domain.timeline import line
from services.reporting.hour_routes import add_hour_route
from services.reporting.rebuild_routes import add_rebuild_route
from services.reporting.reports.funnel_routes import add_funnel_routes
from services.reporting.response_routes import ReportQueue, add_hop_route, add_response_routes
from services.reporting.search import search
from services.reporting.source_routes import add_source_routes

TIMELINE_MAX = 1_000
QUERY_MAX = 1_000  # characters
_POSITION = re.compile(rf"{page_cursors.MICROSECONDS}\.{page_cursors.COUNT}\.{page_cursors.ID}", re.ASCII)
_LEAD = re.compile(page_cursors.UUID, re.ASCII)


def router(resources: Resources) -> APIRouter:
    """Return the routes of reporting."""
    api = APIRouter(tags=["leads"])

    @api.get("/v1/leads")
    async def list_leads(
        principal: Annotated[Principal, Depends(needs(READ))],
        email: str | None = None,
        status: str | None = None,
        owner: str | None = None,
        limit: Annotated[int, Query(ge=1, le=500)] = 50,
        cursor: str | None = None,
        q: Annotated[
            str | None,
            Query(
                max_length=QUERY_MAX,
                description="Beginnings of words of the mail address, name or company, in any order; of a phone number; or of an id.",
            ),
        ] = None,
    ) -> Listing[LeadView]:
        """Leads, newest first; `next` continues the list. `q` searches without regard to case and accents. Of a text that
        more than a thousand leads begin with, it finds some.
        """
        page_cursors.read(cursor, _LEAD)
        criteria = lead_view.LeadFilter(email=email, status=status, owner=owner, limit=limit, cursor=cursor)
        config, now = resources.config.current, resources.clock.business()
        visible = visible_leads(config, principal)
        if q is not None and q.strip():
            return await resources.reads(lambda connection: search(connection, q, criteria, config, now, visible))
        return await resources.reads(lambda connection: lead_view.page(connection, criteria, config, now, visible))

    @api.get("/v1/leads/{lead}")
    async def get_lead(lead: str, principal: Annotated[Principal, Depends(needs(READ))]) -> LeadView:
        """One lead. `clock` may be a moment older than `owner`."""
        config, now = resources.config.current, resources.clock.business()
        view = await resources.reads(lambda connection: lead_view.find(connection, lead, config, now))
        if view is None:
            raise unknown_lead(lead)
        return view

    _add_urgent_lists(api, resources)
    _add_timeline(api, resources)
    _add_statuses(api, resources)
    queue = ReportQueue()
    add_response_routes(api, resources, queue)
    add_hop_route(api, resources, queue)
    add_funnel_routes(api, resources, queue)
    add_source_routes(api, resources)
    add_rebuild_route(api, resources)
    add_hour_route(api, resources)
    return api


def _add_timeline(api: APIRouter, resources: Resources) -> None:
    @api.get("/v1/leads/{lead}/timeline")
    async def timeline(
        lead: str,
        principal: Annotated[Principal, Depends(needs(READ))],
        limit: Annotated[int, Query(ge=1, le=TIMELINE_MAX)] = 200,
        cursor: Annotated[str | None, Query(description="`next` of the previous answer.")] = None,
    ) -> dict[str, Any]:
        """The events, scores, owners, pages and touches of a lead, newest first."""
        before = _position(cursor)
        rows = await resources.reads(lambda connection: store.timeline(connection, lead, before, limit + 1))
        if not rows and before is None:
            raise unknown_lead(lead)
        last = rows[limit - 1] if len(rows) > limit else None
        items = [_item(row) for row in rows[:limit]]
        return {"items": items, "next": f"{last.at}.{last.position}.{last.id}" if last else None}


def _add_statuses(api: APIRouter, resources: Resources) -> None:
    @api.get("/v1/reports/statuses")
    async def statuses(principal: Annotated[Principal, Depends(needs("marketing"))]) -> dict[str, Any]:
        """The number of leads in each status, and the team of the status."""
        counts = await resources.reads(store.counts)
        teams = resources.config.current.agreement.lifecycle.statuses
        names = [*teams, *(name for name in counts if name not in teams)]
        items = [{"status": n, "team": teams.get(n), "leads": counts.get(n, 0)} for n in names]
        return {"items": items, "total": sum(counts.values()), "next": None}


def _add_urgent_lists(api: APIRouter, resources: Resources) -> None:
    @api.get("/v1/clocks")
    async def clocks(
        principal: Annotated[Principal, Depends(needs(READ))],
        limit: Annotated[int, Query(ge=1, le=500)] = 50,
        within: Annotated[
            int | None, Query(ge=1, le=10_080, description="Only promises that end within so many minutes from now.")
        ] = None,
    ) -> Listing[LeadView]:
        """Leads with a running response clock, the next promise first. The list ends at `limit`.

        With `within`, promises that are missed already are left out.
        """
        config, now = resources.config.current, resources.clock.business()
        visible = visible_leads(config, principal)
        return await resources.reads(
            lambda connection: lead_view.running(connection, limit, config, now, visible, within)
        )

    @api.get("/v1/queue")
    async def queue(
        principal: Annotated[Principal, Depends(needs(READ))], limit: Annotated[int, Query(ge=1, le=500)] = 50
    ) -> Listing[LeadView]:
        """Leads that wait for an owner, pool by pool, the longest first. The list ends at `limit`."""
        config, now = resources.config.current, resources.clock.business()
        visible = visible_leads(config, principal)
        return await resources.reads(lambda connection: lead_view.queued(connection, limit, config, now, visible))


def _position(cursor: str | None) -> store.TimelinePosition | None:
    match = page_cursors.read(cursor, _POSITION)
    return None if match is None else (int(match[0]), int(match[1]), match[2])


def _item(row: Any) -> dict[str, Any]:
    item = {"id": row.id, "at": moment(row.at), "topic": row.topic, "type": row.type}
    try:
        envelope = decode(unpacked(row.body))
        return {**item, "line": line(row.type, event_of(envelope)), "data": _plain(bytes(envelope.data))}
    except UnknownEventError:  # written by a later release
        return {**item, "line": row.type, "data": None}


def _plain(data: bytes) -> Any:
    return json.decode(data)
