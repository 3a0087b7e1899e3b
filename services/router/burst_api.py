"""The routes of bursts that are held back: list, release, drop."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends

from firsthour.kernel.time_units import moment
from firsthour.runtime.http.auth import needs
from firsthour.runtime.http.principal import READ, Principal
from firsthour.runtime.http.problem import FieldFault, Problem
from firsthour.runtime.processing.service import Resources
from firsthour.runtime.storage.unit import Unit
from schemas.http import DropBody
from services.router.domain.dropping import way_out
from services.router.domain.lead import at
from services.router.domain.lifecycle import Refused
from services.router.domain.rules import rules_of
from services.router.held import BurstEnd, HeldBack
from services.router.store.bursts import change_bursts, find_burst, list_bursts

Manager = Annotated[Principal, Depends(needs("manager"))]
Anyone = Annotated[Principal, Depends(needs(READ))]


def add_burst_routes(api: APIRouter, resources: Resources) -> None:
    """Add the routes."""

    @api.get("/v1/bursts", tags=["sources"])
    async def bursts(principal: Anyone) -> dict[str, Any]:
        """The bursts of forms from one client or for one mail domain, the newest first, 200 at most.

        `leads`: how many leads were held back; others pass them in the queue. They still are while `released_at` and `dropped_at` are null.
        """
        rows = await resources.reads(list_bursts)
        return {"items": [_view(row) for row in rows], "next": None}

    @api.post("/v1/bursts/{id}/release", tags=["sources"])
    async def release(id: str, principal: Anyone) -> dict[str, Any]:
        """Release the leads of a burst: each gets an owner, or its place in the queue. To release it twice changes nothing."""

        def work(unit: Unit) -> None:
            held = HeldBack(unit)
            _check(unit, id, held.end(id), "dropped")
            held.release(id, principal.actor)
            unit.store(change_bursts(held.changes))

        await resources.units.run(work)
        return _view(await resources.reads(lambda connection: find_burst(connection, id)))

    @api.post("/v1/bursts/{id}/drop", tags=["sources"])
    async def drop(id: str, body: DropBody, principal: Manager) -> dict[str, Any]:
        """Drop the leads of a burst: each leaves Sales by a transition of the agreement from `qualified` to Marketing.

        Later leads of the burst follow. The timeline of each lead names the author and the reason. To drop it twice changes
        nothing, but tries leads again that the agreement did not let go.
        """

        def work(unit: Unit) -> None:
            held = HeldBack(unit)
            _check(unit, id, held.end(id), "released")
            refused = way_out(rules_of(unit.config), principal.actor, body.reason)
            if isinstance(refused, Refused):
                raise _refusal(refused)
            held.drop(id, principal.actor, body.reason)
            unit.store(change_bursts(held.changes))

        await resources.units.run(work)
        return _view(await resources.reads(lambda connection: find_burst(connection, id)))


def _check(unit: Unit, id: str, end: BurstEnd | None, other: str) -> None:
    """Raise `Problem` if the burst is unknown, or has ended in the other way."""
    if find_burst(unit.connection, id) is None:
        raise Problem(404, "Unknown burst", "GET /v1/bursts lists them.")
    if end is not None and end.kind == other:
        raise Problem(409, "Already resolved", f"The burst was {other}. GET /v1/bursts names the author.")


def _refusal(refused: Refused) -> Problem:
    if refused.kind == "reason":
        fault = FieldFault(pointer="#/reason", detail=refused.remedy)
        return Problem(422, "Unknown reason", f"{refused.why[0].upper()}{refused.why[1:]}; {refused.remedy}.", [fault])
    return Problem(409, "Invalid state", f"{refused.why[0].upper()}{refused.why[1:]}; {refused.remedy}.")


def _view(row: Any) -> dict[str, Any]:
    return {
        "id": row.id,
        "of": row.label,
        "source": row.source,
        "since": moment(row.since),
        "last_at": moment(row.last_at),
        "leads": row.leads,
        "released_at": at(row.released_at),
        "released_by": row.released_by,
        "dropped_at": at(row.dropped_at),
        "dropped_by": row.dropped_by,
        "drop_reason": row.drop_reason,
    }
