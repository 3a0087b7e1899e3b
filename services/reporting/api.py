"""Reading leads: the list, one, its timeline, and how many stand where."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from msgspec import json

from schemas.envelope import UnknownEventError, decode, event_of
from schemas.http import Lead, Listing
from services.reporting import domain, leads, store
from services.runtime.auth import READ, Principal, needs
from services.runtime.clock import moment
from services.runtime.problem import Problem
from services.runtime.service import Resources

TIMELINE_MAX = 1_000


def router(resources: Resources) -> APIRouter:
    """The routes of reporting."""
    api = APIRouter(tags=["leads"])

    @api.get("/v1/leads")
    async def list_leads(
        who: Annotated[Principal, Depends(needs(READ))],
        email: str | None = None,
        status: str | None = None,
        owner: str | None = None,
        limit: Annotated[int, Query(ge=1, le=500)] = 50,
        cursor: str | None = None,
    ) -> Listing[Lead]:
        """Leads, newest first; `next` continues the list."""
        asked = leads.Asked(email=email, status=status, owner=owner, limit=limit, cursor=cursor)
        config = resources.config.current
        return await resources.reads(lambda connection: leads.page(connection, asked, config))

    @api.get("/v1/leads/{lead}")
    async def one_lead(lead: str, who: Annotated[Principal, Depends(needs(READ))]) -> Lead:
        """One lead; `clock` may follow `owner` by a moment."""
        config = resources.config.current
        found = await resources.reads(lambda connection: leads.one(connection, lead, config))
        if found is None:
            raise Problem(404, "Unknown lead", f"There is no lead {lead!r}.")
        return found

    @api.get("/v1/leads/{lead}/timeline")
    async def timeline(
        lead: str,
        who: Annotated[Principal, Depends(needs(READ))],
        limit: Annotated[int, Query(ge=1, le=TIMELINE_MAX)] = 200,
    ) -> dict[str, Any]:
        """Everything that happened to a lead, oldest first: events, scores, owners, pages, touches."""
        rows = await resources.reads(lambda connection: store.timeline(connection, lead, limit))
        if not rows:
            raise Problem(404, "Unknown lead", f"There is no lead {lead!r}.")
        return {"items": [_moment(row) for row in rows], "next": None}

    @api.get("/v1/reports/statuses")
    async def statuses(who: Annotated[Principal, Depends(needs("marketing"))]) -> dict[str, Any]:
        """How many leads stand in each status, and whose it is."""
        found = await resources.reads(store.counts)
        teams = resources.config.current.agreement.lifecycle.statuses
        names = [*teams, *(name for name in found if name not in teams)]
        items = [{"status": n, "team": teams.get(n), "leads": found.get(n, 0)} for n in names]
        return {"items": items, "total": sum(found.values()), "next": None}

    return api


def _moment(row: Any) -> dict[str, Any]:
    item = {"id": row.id, "at": moment(row.at), "topic": row.topic, "type": row.type}
    try:
        envelope = decode(bytes(row.body))
        return {**item, "line": domain.line(row.type, event_of(envelope)), "data": _plain(bytes(envelope.data))}
    except UnknownEventError:  # written by a later version
        return {**item, "line": row.type, "data": None}


def _plain(data: bytes) -> Any:
    return json.decode(data)
