"""`GET /v1/leads/{id}/score`: the score as of now, and every part of it with its reason."""

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends

from firsthour.runtime.http.auth import READ, Principal, needs
from firsthour.runtime.http.problem import Problem
from firsthour.runtime.processing.service import Resources
from services.scoring import domain, store


def router(resources: Resources) -> APIRouter:
    """The routes of scoring."""
    api = APIRouter(tags=["leads"])

    @api.get("/v1/leads/{lead}/score")
    async def score(lead: str, who: Annotated[Principal, Depends(needs(READ))]) -> dict[str, Any]:
        """Fit, engagement, total and grade as of now, with every part: its points, what they are worth now, and why.

        `kept` says how much of the person is kept, and up to when facts or hits beyond the bounds were dropped."""
        profile = await resources.reads(lambda connection: store.find(connection, lead))
        if profile is None:
            raise Problem(404, "Unknown lead", f"There is no lead {lead!r}.")
        rules, now = domain.rules_of(resources.config.current), resources.clock.business()
        return {
            "id": lead,
            "at": now,
            **msgspec.structs.asdict(domain.score(profile, rules, now)),
            "suppressed": domain.suppressed(rules, profile.known()),
            "agreement": resources.config.current.version,
            "kept": domain.kept(profile, rules, now),
            "parts": [msgspec.structs.asdict(part) for part in domain.parts(profile, rules, now)],
        }

    return api
