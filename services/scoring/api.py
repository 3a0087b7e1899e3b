"""The routes of scoring: the current score and its parts, the facts of a person, and the facts that rules lack."""

from typing import Annotated, Any, Final

import msgspec
from fastapi import APIRouter, Depends, Query

from firsthour.kernel.time_units import moment
from firsthour.runtime.http.auth import needs
from firsthour.runtime.http.principal import READ, Principal
from firsthour.runtime.http.visibility import unknown_lead
from firsthour.runtime.processing.service import Resources
from services.scoring import store
from services.scoring.domain.custom_facts import PREFIX
from services.scoring.domain.missing_facts import gaps, rule_facts
from services.scoring.domain.profile import dated_facts, retention_of
from services.scoring.domain.qualify import suppression
from services.scoring.domain.rules import rules_of
from services.scoring.domain.score import parts_of, score_of

LEADS_MAX: Final = 5_000


def router(resources: Resources) -> APIRouter:
    """Return the routes of scoring."""
    api = APIRouter(tags=["leads"])

    @api.get("/v1/leads/{lead}/score")
    async def score(lead: str, principal: Annotated[Principal, Depends(needs(READ))]) -> dict[str, Any]:
        """Fit, engagement, total and grade as of now, with every part: its points, their worth now, the reason,
        and the type and time of its event.

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

    _add_missing_facts(api, resources)
    return api


def _add_missing_facts(api: APIRouter, resources: Resources) -> None:
    @api.get("/v1/agreement/missing-facts", tags=["agreement"])
    async def missing_facts(
        principal: Annotated[Principal, Depends(needs(READ))],
        leads: Annotated[int, Query(ge=1, le=LEADS_MAX, description="Newest leads that are counted.")] = 1_000,
    ) -> dict[str, Any]:
        """Count the leads that lack a fact, for each rule that tests it: such a test is false. Most leads first.

        `leads`: the leads that were counted, the newest; of a rule, those that lack at least one of its facts. Rules of all sections
        are listed, 500 at most, without those for which no lead lacks a fact. Tests of `exists`, of fields of the event, and of values
        that FirstHour computes are not counted.
        """
        config = resources.config.current
        profiles = await resources.reads(lambda connection: store.newest_profiles(connection, leads))
        rules = gaps(rule_facts(config), (profile.flat_facts() for profile in profiles))
        items = [{**rule._asdict(), "fields": [field._asdict() for field in rule.fields]} for rule in rules]
        return {"agreement": config.version, "leads": len(profiles), "items": items, "next": None}
