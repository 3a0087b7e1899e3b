"""The routes of bursts that are held back: list, release."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends

from firsthour.kernel.time_units import moment
from firsthour.runtime.http.auth import needs
from firsthour.runtime.http.principal import READ, Principal
from firsthour.runtime.http.problem import Problem
from firsthour.runtime.processing.service import Resources
from firsthour.runtime.storage.unit import Unit
from services.router.domain.lead import at
from services.router.held import HeldBack
from services.router.store.bursts import change_bursts, find_burst, list_bursts

Anyone = Annotated[Principal, Depends(needs(READ))]


def add_burst_routes(api: APIRouter, resources: Resources) -> None:
    """Add the routes."""

    @api.get("/v1/bursts", tags=["sources"])
    async def bursts(principal: Anyone) -> dict[str, Any]:
        """The bursts of forms from one client or for one mail domain, the newest first, 200 at most.

        `leads`: how many leads were held back; others pass them in the queue. `released_at` null: they still are.
        """
        rows = await resources.reads(list_bursts)
        return {"items": [_view(row) for row in rows], "next": None}

    @api.post("/v1/bursts/{id}/release", tags=["sources"])
    async def release(id: str, principal: Anyone) -> dict[str, Any]:
        """Release the leads of a burst: each gets an owner, or its place in the queue. To release it twice changes nothing."""

        def work(unit: Unit) -> Any:
            if find_burst(unit.connection, id) is None:
                raise Problem(404, "Unknown burst", "GET /v1/bursts lists them.")
            held = HeldBack(unit)
            held.release(id, f"key:{principal.name}")
            unit.store(change_bursts(held.changes))

        await resources.units.run(work)
        return _view(await resources.reads(lambda connection: find_burst(connection, id)))


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
    }
