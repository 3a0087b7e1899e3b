"""The route that rebuilds the models of reporting from the history, part by part."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Query

from firsthour.runtime.http.auth import needs
from firsthour.runtime.http.principal import Principal
from firsthour.runtime.processing.service import Resources
from firsthour.runtime.storage.unit import Unit
from services.reporting import rebuilding
from services.reporting.funnel_model import FUNNEL, FUNNEL_VERSION, rebuild_funnel
from services.reporting.response_model import MODEL, MODEL_VERSION, rebuild
from services.reporting.search_model import SEARCH, SEARCH_VERSION, rebuild_search

PART_SECONDS: Final = 2.0
MODELS: Final[Mapping[str, tuple[int, Callable[[Unit], datetime | None]]]] = {
    MODEL: (MODEL_VERSION, rebuild),
    FUNNEL: (FUNNEL_VERSION, rebuild_funnel),
    SEARCH: (SEARCH_VERSION, rebuild_search),
}
"""The version of each model, and the tick that rebuilds it."""


def add_rebuild_route(api: APIRouter, resources: Resources) -> None:
    """Add the route."""

    @api.post("/v1/reports/rebuild", tags=["reports"])
    async def rebuild_models(
        principal: Annotated[Principal, Depends(needs("admin"))],
        restart: Annotated[bool, Query(description="Begin anew; else go on.")] = False,
    ) -> dict[str, Any]:
        """Rebuild the models of the reports from the stored history. Each call works for about two seconds: call it until all
        models are complete. New records are counted meanwhile.
        """
        if restart:
            await resources.units.run(lambda unit: _restart(unit))
        end = resources.clock.monotonic() + PART_SECONDS
        for _, step in MODELS.values():
            while resources.clock.monotonic() < end and await resources.units.run(step) is not None:
                pass
        items = await resources.reads(
            lambda connection: [
                {"model": name, **rebuilding.progress_of(connection, name, version)._asdict()}
                for name, (version, _) in MODELS.items()
            ]
        )
        return {"complete": all(item["complete"] for item in items), "items": items, "next": None}


def _restart(unit: Unit) -> None:
    for name, (version, _) in MODELS.items():
        rebuilding.restart(unit, name, version)
