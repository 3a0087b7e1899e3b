"""The router over HTTP: what people do to a lead, who is here, which pools there are, and why a lead went where it did."""

import re
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Response

from firsthour.kernel.time_units import micros
from firsthour.runtime.http import page_cursors
from firsthour.runtime.http.auth import READ, Principal, needs
from firsthour.runtime.http.idempotency import Once, idempotent
from firsthour.runtime.http.problem import Problem
from firsthour.runtime.processing.service import Resources
from schemas.http import ActionResult, AssignBody, AvailabilityBody, ReasonBody, ReturnBody, TouchBody
from services.router import commands, store
from services.router.domain.eligibility import not_here
from services.router.domain.lead import at
from services.router.domain.rules import rules_of
from services.router.domain.team_state import Presence, RepState

Sales = Annotated[Principal, Depends(needs("sales"))]
Anyone = Annotated[Principal, Depends(needs(READ))]
_DECIDED = re.compile(rf"{page_cursors.COUNT}\.{page_cursors.MICROSECONDS}\.{page_cursors.ID}", re.ASCII)


def router(resources: Resources) -> APIRouter:
    """The routes of the router."""
    api = APIRouter(tags=["leads"])
    _owning(api, resources)
    _moving(api, resources)
    _looking(api, resources)
    return api


def _owning(api: APIRouter, resources: Resources) -> None:
    Action = Annotated[Once, Depends(idempotent(resources.units))]  # noqa: N806  # a type, of these resources

    skew_us = resources.settings.clock_skew_seconds * 1_000_000

    @api.post("/v1/leads/{lead}/accept", response_model=ActionResult)
    async def accept(lead: str, who: Sales, once: Action) -> Response:
        """The owner says yes: reminders end, the response clock goes on."""
        return await once(lambda unit: commands.accept(unit, lead, who))

    @api.post("/v1/leads/{lead}/reject", response_model=ActionResult)
    async def reject(lead: str, body: ReturnBody, who: Sales, once: Action) -> Response:
        """The owner says no. The reason chooses: back to Marketing, or on to the next rep, never the same."""
        return await once(lambda unit: commands.reject(unit, lead, body.reason, who, body.until))

    @api.post("/v1/leads/{lead}/touch", response_model=ActionResult)
    async def touch(lead: str, body: TouchBody, who: Sales, once: Action) -> Response:
        """Somebody was in touch with the lead, or tried: this keeps the promise and ends the ladder.

        `effect` says what it did, or why it did nothing: a touch from before the submit counts for nothing."""
        return await once(
            lambda unit: commands.touch(unit, lead, body.channel, body.answered, body.at, who, skew_us, body.note)
        )


def _moving(api: APIRouter, resources: Resources) -> None:
    Action = Annotated[Once, Depends(idempotent(resources.units))]  # noqa: N806  # a type, of these resources

    @api.post("/v1/leads/{lead}/opt-out", response_model=ActionResult)
    async def opt_out(lead: str, body: ReasonBody, who: Anyone, once: Action) -> Response:
        """The person wants to hear nothing more: no owner, no page, no list."""
        return await once(lambda unit: commands.opt_out(unit, lead, body.reason, who))

    @api.post("/v1/leads/{lead}/recycle", response_model=ActionResult)
    async def recycle(lead: str, body: ReturnBody, who: Sales, once: Action) -> Response:
        """Back to Marketing, to start again."""
        return await once(lambda unit: commands.recycle(unit, lead, body.reason, who, body.until))

    @api.post("/v1/leads/{lead}/assign", response_model=ActionResult)
    async def assign(lead: str, body: AssignBody, who: Sales, once: Action) -> Response:
        """Hand the lead to this rep: an owner their own, a manager any, also one that waits."""
        return await once(lambda unit: commands.assign(unit, lead, body.rep, body.reason, body.force, who))

    @api.post("/v1/reps/{rep}/availability", tags=["team"])
    async def availability(rep: str, body: AvailabilityBody, who: Sales, once: Action) -> Response:
        """Whether a rep takes new leads. Open ones stay theirs."""
        state: RepState = "available" if body.available else "away"
        return await once(lambda unit: commands.availability(unit, rep, state, body.until, who, body.reason))


def _looking(api: APIRouter, resources: Resources) -> None:
    @api.get("/v1/reps", tags=["team"])
    async def reps(who: Sales) -> dict[str, Any]:
        """Every rep: whether they are here, and how much they have."""
        rules, now = rules_of(resources.config.current), micros(resources.clock.business())
        presences = await resources.reads(store.presences)
        items = []
        for rep in rules.team.reps:
            presence = presences.get(rep.id, Presence())
            absent = not_here(rules, presences, rep.id, now)
            state = absent.partition(":")[0] if absent else "available"
            until = at(presence.until) if presence.as_of(now) == "away" else rep.away_until(resources.clock.business())
            items.append(
                {
                    "id": rep.id,
                    "name": rep.name,
                    "email": rep.email,
                    "manager": rep.manager,
                    "state": state,
                    "until": until,
                    "reason": presence.reason if presence.as_of(now) == presence.state else None,
                    "open": presence.open,
                    "capacity": rep.capacity.open,
                    "pools": [pool.id for pool in rules.team.pools if rep.id in rules.members(pool.id)],
                }
            )
        return {"items": items, "next": None}

    @api.get("/v1/pools", tags=["team"])
    async def pools(who: Sales) -> dict[str, Any]:
        """Every pool: its members with their shares, and how many leads wait for it."""
        waiting = await resources.reads(store.waiting_by_pool)
        items = [
            {
                "id": pool.id,
                "members": [
                    {
                        "rep": member.rep,
                        "weight": member.weight,
                        "share": round(member.weight / sum(other.weight for other in pool.members), 4),
                    }
                    for member in pool.members
                ],
                "waiting": waiting.get(pool.id, 0),
            }
            for pool in resources.config.current.team.pools
        ]
        return {"items": items, "next": None}

    @api.get("/v1/leads/{lead}/decisions")
    async def decisions(
        lead: str,
        who: Anyone,
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
        cursor: Annotated[str | None, Query(description="`next` of the answer before.")] = None,
    ) -> dict[str, Any]:
        """Every decision about this lead, newest first: the rep chosen or why none, each rep considered, and the inputs."""
        before = _decided(cursor)
        known = await resources.reads(lambda connection: store.find(connection, lead))
        if known is None:
            raise Problem(404, "Unknown lead", f"There is no lead {lead!r}.")
        found = await resources.reads(lambda connection: store.decisions_of(connection, lead, before, limit + 1))
        last = found[limit - 1][0] if len(found) > limit else None
        return {
            "items": [item for _, item in found[:limit]],
            "next": ".".join(str(part) for part in last) if last else None,
        }


def _decided(cursor: str | None) -> store.DecidedAt | None:
    found = page_cursors.read(cursor, _DECIDED)
    return None if found is None else (int(found[0]), int(found[1]), found[2])
