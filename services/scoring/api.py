"""The routes of scoring: the current score and its parts with their reasons, and the facts of a person."""

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends

from firsthour.kernel.time_units import moment
from firsthour.runtime.http.auth import needs
from firsthour.runtime.http.principal import READ, Principal
from firsthour.runtime.http.visibility import unknown_lead
from firsthour.runtime.processing.service import Resources
from services.scoring import store
from services.scoring.domain.custom_facts import PREFIX
from services.scoring.domain.profile import dated_facts, retention_of
from services.scoring.domain.qualify import suppression
from services.scoring.domain.rules import rules_of
from services.scoring.domain.score import parts_of, score_of


def router(resources: Resources) -> APIRouter:
    """Return the routes of scoring."""
    api = APIRouter(tags=["leads"])

    @api.get("/v1/leads/{lead}/score")
    async def score(lead: str, principal: Annotated[Principal, Depends(needs(READ))]) -> dict[str, Any]:
        """Fit, engagement, total and grade as of now, with every part: its points, their worth now, and the reason.

        `kept`: how much of the person is stored, and up to when facts or hits beyond the bounds were dropped."""
        profile = await resources.reads(lambda connection: store.find_profile(connection, lead))
        if profile is None:
            raise unknown_lead(lead)
        rules, now = rules_of(resources.config.current), resources.clock.business()
        return {
            "id": lead,
            "at": now,
            **msgspec.structs.asdict(score_of(profile, rules, now)),
            "suppressed": suppression(rules, profile.flat_facts(), now),
            "agreement": resources.config.current.version,
            "kept": retention_of(profile, rules, now),
            "parts": [msgspec.structs.asdict(part) for part in parts_of(profile, rules, now)],
        }

    @api.get("/v1/leads/{lead}/facts")
    async def facts(lead: str, principal: Annotated[Principal, Depends(needs(READ))]) -> dict[str, Any]:
        """The facts of the person, by field, each with the time of the event that stated it.

        `at` null: the fact follows from the address. `type`: of a custom field that the agreement declares; null: of all others. The timeline has the event of that time, with its source.
        """
        profile = await resources.reads(lambda connection: store.find_profile(connection, lead))
        if profile is None:
            raise unknown_lead(lead)
        declared = resources.config.current.agreement.custom_fields
        types = {f"{PREFIX}{name}": field.type for name, field in declared.items()}
        items = [
            {
                "field": fact.field,
                "type": types.get(fact.field),
                "value": fact.value,
                "at": None if fact.at is None else moment(fact.at),
            }
            for fact in dated_facts(profile)
        ]
        return {"id": lead, "items": items, "next": None}

    return api
