"""The HTTP routes of the router: actions on leads, availability of reps, pools, and decisions with their reasons."""

import re
from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Response
from sqlalchemy.engine import Connection

from firsthour.kernel.time_units import micros
from firsthour.runtime.http import page_cursors
from firsthour.runtime.http.auth import needs
from firsthour.runtime.http.idempotency import Once, idempotent
from firsthour.runtime.http.principal import READ, Principal
from firsthour.runtime.http.visibility import unknown_lead, visible_leads
from firsthour.runtime.processing.service import Resources
from firsthour.runtime.storage.visible_leads import visible_ids
from schemas.http import (
    ActionResult,
    AssignBody,
    AvailabilityBody,
    ReasonBody,
    ReturnBody,
    SnoozeBody,
    StatusBody,
    TouchBody,
)
from services.router import commands
from services.router.burst_api import add_burst_routes
from services.router.domain.lead import Lead
from services.router.domain.permitted_actions import permitted_actions
from services.router.domain.rules import rules_of
from services.router.domain.team_state import Presence, RepState
from services.router.relief_api import add_relief_route
from services.router.store.decisions import DecisionPosition, decisions_of
from services.router.store.leads import find_lead, find_leads
from services.router.store.team import presences
from services.router.team_api import add_team_routes

ACTIONS_LEADS_MAX = 100
Sales = Annotated[Principal, Depends(needs("sales"))]
Anyone = Annotated[Principal, Depends(needs(READ))]
_CURSOR = re.compile(rf"{page_cursors.COUNT}\.{page_cursors.MICROSECONDS}\.{page_cursors.ID}", re.ASCII)


def router(resources: Resources, check_snooze: commands.SnoozeCheck = commands.unchecked) -> APIRouter:
    """Return the routes of the router."""
    api = APIRouter(tags=["leads"])
    _add_owner_actions(api, resources, check_snooze)
    _add_other_actions(api, resources)
    add_team_routes(api, resources)
    _add_permitted_actions(api, resources)
    _add_decisions(api, resources)
    add_burst_routes(api, resources)
    add_relief_route(api, resources)
    return api


def _add_owner_actions(api: APIRouter, resources: Resources, check_snooze: commands.SnoozeCheck) -> None:
    Action = Annotated[Once, Depends(idempotent(resources.units))]  # noqa: N806  # a type, of these resources

    skew_us = resources.settings.clock_skew_seconds * 1_000_000

    @api.post("/v1/leads/{lead}/accept", response_model=ActionResult)
    async def accept(lead: str, principal: Sales, once: Action) -> Response:
        """Accept the lead as its owner: reminders end, the response clock goes on."""
        return await once(lambda unit: commands.accept(unit, lead, principal))

    @api.post("/v1/leads/{lead}/reject", response_model=ActionResult)
    async def reject(lead: str, body: ReturnBody, principal: Sales, once: Action) -> Response:
        """Reject the lead as its owner. The reason decides: back to Marketing, or on to another rep."""
        return await once(lambda unit: commands.reject(unit, lead, body.reason, principal, body.until))

    @api.post("/v1/leads/{lead}/snooze", response_model=ActionResult)
    async def snooze(lead: str, body: SnoozeBody, principal: Sales, once: Action) -> Response:
        """Postpone the reminders of a lead as its owner or their manager.

        If the agreement has `response.pauses.snooze`, the response clock does not count until then.

        A snooze ends early where the agreement bounds it; `effect` says until when it lasts. One without any time left is
        refused."""
        return await once(lambda unit: commands.snooze(unit, lead, body.until, principal, check_snooze))

    @api.post("/v1/leads/{lead}/touch", response_model=ActionResult)
    async def touch(lead: str, body: TouchBody, principal: Sales, once: Action) -> Response:
        """Record a conversation with the lead, or an attempt: this keeps the promise and ends the ladder.

        If only a conversation does by the agreement (`stopped_by`), an attempt postpones the next step of the ladder.

        `effect` is the effect of the touch, or why it was ignored: a touch from before the submit does not count."""
        return await once(
            lambda unit: commands.touch(unit, lead, body.channel, body.answered, body.at, principal, skew_us, body.note)
        )


def _add_other_actions(api: APIRouter, resources: Resources) -> None:
    Action = Annotated[Once, Depends(idempotent(resources.units))]  # noqa: N806  # a type, of these resources

    @api.post("/v1/leads/{lead}/opt-out", response_model=ActionResult)
    async def opt_out(lead: str, body: ReasonBody, principal: Anyone, once: Action) -> Response:
        """Record that the person opted out. The lead gets no owner, no page and no list."""
        return await once(lambda unit: commands.opt_out(unit, lead, body.reason, principal))

    @api.post("/v1/leads/{lead}/status", response_model=ActionResult)
    async def status(lead: str, body: StatusBody, principal: Anyone, once: Action) -> Response:
        """Set the status of the lead by a transition of the agreement, which says by whom and with which reason.

        A transition that rejects, recycles or reassigns has the effect of that action: the lead goes back to Marketing, or to
        the next rep. A lead that leaves Sales has no owner. The answer to another change says which ones are possible."""
        return await once(
            lambda unit: commands.change_status(unit, lead, body.status, body.reason, principal, body.until)
        )

    @api.post("/v1/leads/{lead}/recycle", response_model=ActionResult)
    async def recycle(lead: str, body: ReturnBody, principal: Sales, once: Action) -> Response:
        """Return the lead to Marketing. Its score starts again."""
        return await once(lambda unit: commands.recycle(unit, lead, body.reason, principal, body.until))

    @api.post("/v1/leads/{lead}/assign", response_model=ActionResult)
    async def assign(lead: str, body: AssignBody, principal: Sales, once: Action) -> Response:
        """Assign the lead to this rep. An owner may assign their own leads; a manager any lead, also one that waits."""
        return await once(lambda unit: commands.assign(unit, lead, body.rep, body.reason, body.force, principal))

    @api.post("/v1/reps/{rep}/availability", tags=["team"])
    async def availability(rep: str, body: AvailabilityBody, principal: Sales, once: Action) -> Response:
        """Set whether a rep gets new leads. Open leads stay with the rep."""
        state: RepState = "available" if body.available else "away"
        return await once(lambda unit: commands.availability(unit, rep, state, body.until, principal, body.reason))


def _add_permitted_actions(api: APIRouter, resources: Resources) -> None:
    @api.get("/v1/leads/{lead}/actions")
    async def actions(lead: str, principal: Anyone) -> dict[str, Any]:
        """List the actions that this key may take on the lead now, with the reasons and reps to choose from.

        `blocked`: the rep gets the lead only with `force`. `seconds_max`: of the longest snooze. `statuses`: those to set by
        `POST .../status`, each with its reasons."""
        rules, now = rules_of(resources.config.current), micros(resources.clock.business())
        row = await resources.reads(lambda connection: find_lead(connection, lead))
        if row is None:
            raise unknown_lead(lead)
        by_rep = await resources.reads(presences)
        items = permitted_actions(row, commands.actor_for(principal, row), rules, now, by_rep)
        return {"items": [asdict(item) for item in items], "next": None}

    @api.get("/v1/permitted-actions")
    async def actions_of_leads(
        principal: Anyone,
        lead: Annotated[list[str], Query(max_length=ACTIONS_LEADS_MAX, description="Repeated: each lead.")],
    ) -> dict[str, Any]:
        """List the actions that this key may take on each of these leads now, as for one lead. Unknown leads are left out."""
        rules, now = rules_of(resources.config.current), micros(resources.clock.business())
        visible = visible_leads(resources.config.current, principal)

        def read(connection: Connection) -> tuple[Mapping[str, Lead], Mapping[str, Presence]]:
            ids = set(lead) if visible is None else visible_ids(connection, visible, set(lead))
            return find_leads(connection, ids), presences(connection)

        found, by_rep = await resources.reads(read)
        items = [
            {
                "lead": row.id,
                "actions": [
                    asdict(item)
                    for item in permitted_actions(row, commands.actor_for(principal, row), rules, now, by_rep)
                ],
            }
            for row in found.values()
        ]
        return {"items": items, "next": None}


def _add_decisions(api: APIRouter, resources: Resources) -> None:
    @api.get("/v1/leads/{lead}/decisions")
    async def decisions(
        lead: str,
        principal: Anyone,
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
        cursor: Annotated[str | None, Query(description="`next` of the previous answer.")] = None,
    ) -> dict[str, Any]:
        """List every decision about this lead, newest first: the chosen rep, each rep considered, the reasons, the inputs."""
        before = _position_of(cursor)
        row = await resources.reads(lambda connection: find_lead(connection, lead))
        if row is None:
            raise unknown_lead(lead)
        page = await resources.reads(lambda connection: decisions_of(connection, lead, before, limit + 1))
        last = page[limit - 1][0] if len(page) > limit else None
        return {
            "items": [item for _, item in page[:limit]],
            "next": ".".join(str(part) for part in last) if last else None,
        }


def _position_of(cursor: str | None) -> DecisionPosition | None:
    parts = page_cursors.read(cursor, _CURSOR)
    return None if parts is None else (int(parts[0]), int(parts[1]), parts[2])
