"""The routes of the quarantine: list, release, drop."""

import re
from collections.abc import Callable
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Query

from firsthour.kernel.time_units import moment
from firsthour.runtime.http import page_cursors
from firsthour.runtime.http.auth import needs
from firsthour.runtime.http.principal import Principal
from firsthour.runtime.processing.service import Resources
from firsthour.runtime.storage.unit import Lane, Unit
from services.gateway import quarantine
from services.gateway.quarantine import FIRST, QuarantinePlace
from services.gateway.retry import received_at
from services.gateway.source_counts import count_later

_CURSOR: Final = re.compile(rf"([a-z0-9_-]{{1,100}})/{page_cursors.COUNT}/{page_cursors.UUID}", re.ASCII)
Marketing = Annotated[Principal, Depends(needs("marketing"))]


def add_quarantine_routes(api: APIRouter, resources: Resources) -> None:
    """Add the routes."""

    @api.get("/v1/quarantine", tags=["sources"])
    async def listed(
        principal: Marketing,
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
        cursor: Annotated[str | None, Query(description="`next` of the previous answer.")] = None,
    ) -> dict[str, Any]:
        """The events that are in quarantine because their source is beyond its quota, by source, the oldest first.

        `sources`: the number of each source. An event is kept for 30 days. It has had no effect so far; released, it counts as
        of the time at which it arrived.
        """
        after = _place(cursor)
        numbers = await resources.reads(quarantine.numbers)
        rows = await resources.reads(lambda connection: quarantine.page(connection, after, limit + 1))
        items = [
            {"id": row.event_id, "source": row.source, "type": row.type, "person": row.key, "at": moment(row.at)}
            for row in rows[:limit]
        ]
        last = rows[limit - 1] if len(rows) > limit else None
        following = f"{last.source}/{last.at}/{last.event_id}" if last else None
        sources = {source: {"events": number, "since": moment(at)} for source, (number, at) in sorted(numbers.items())}
        return {"items": items, "sources": sources, "next": following}

    @api.post("/v1/quarantine/{source}/release", tags=["sources"])
    async def release(source: str, principal: Marketing) -> dict[str, Any]:
        """Release the events of a source. Each takes effect as of the time at which it arrived. An unknown source has none."""
        return {"source": source, "released": await _repeated(source, _release)}

    @api.post("/v1/quarantine/{source}/drop", tags=["sources"])
    async def drop(source: str, principal: Marketing) -> dict[str, Any]:
        """Drop the events of a source for good. An unknown source has none."""
        return {"source": source, "dropped": await _repeated(source, quarantine.drop)}

    async def _repeated(source: str, step: Callable[[Unit, str], int]) -> int:
        """Repeat the step until no event is left, at most as often as a full quarantine needs."""
        total = 0
        for _ in range(quarantine.ROWS_MAX // quarantine.RELEASED_AT_ONCE + 1):
            number = await resources.units.run(lambda unit: step(unit, source), Lane.BATCH)
            total += number
            if number < quarantine.RELEASED_AT_ONCE:
                break
        return total


def _release(unit: Unit, source: str) -> int:
    arrivals = quarantine.release(unit, source)
    if arrivals:
        count_later(unit, source, len(arrivals), received_at(unit, arrivals[-1]))
    return len(arrivals)


def _place(cursor: str | None) -> QuarantinePlace:
    parts = page_cursors.read(cursor, _CURSOR)
    return FIRST if parts is None else (parts[0], int(parts[1]), parts[2])
