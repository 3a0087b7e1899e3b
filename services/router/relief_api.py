"""The route of the changes that would free the queue."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends
from sqlalchemy.engine import Connection

from firsthour.kernel.time_units import micros
from firsthour.runtime.http.auth import needs
from firsthour.runtime.http.principal import Principal
from firsthour.runtime.processing.service import Resources
from schemas.events.routes import HELD_BACK
from services.router.domain.lead import at
from services.router.domain.relief import Relief, reliefs
from services.router.domain.rules import RoutingRules, rules_of
from services.router.domain.team_state import Presence
from services.router.store.team import presences
from services.router.store.waiting import waiting_by_pool

REPS_NAMED_MAX = 10


def add_relief_route(api: APIRouter, resources: Resources) -> None:
    """Add the route."""

    @api.get("/v1/queue/relief", tags=["team"])
    async def relief(principal: Annotated[Principal, Depends(needs("sales"))]) -> dict[str, Any]:
        """List the pools with waiting leads, and the changes that would free some of these leads, the soonest first.

        `kind`: `return`: reps come back, `at` this time (null: it is unknown). `capacity`: each of these reps is at capacity
        and gets one more open lead. `rules`: these reps have room, but the agreement excludes them. `members`: the pool
        has no active rep. `frees`: how many leads get an owner by it, at most. `reps`: 10 of them at most, of `number`.
        """
        rules, now = rules_of(resources.config.current), micros(resources.clock.business())

        def read(connection: Connection) -> tuple[dict[str, int], dict[str, Presence]]:
            return waiting_by_pool(connection), dict(presences(connection))

        waiting, by_rep = await resources.reads(read)
        held = waiting.pop(HELD_BACK, 0)
        items = [
            {
                "pool": pool,
                "waiting": number,
                "changes": [_view(rules, one) for one in reliefs(rules, by_rep, pool, number, now)],
            }
            for pool, number in sorted(waiting.items())
        ]
        return {"items": items, "held_back": held, "next": None}


def _view(rules: RoutingRules, one: Relief) -> dict[str, Any]:
    people = [rules.rep(rep) for rep in one.reps[:REPS_NAMED_MAX]]
    return {
        "kind": one.kind,
        "at": at(one.at),
        "frees": one.frees,
        "number": len(one.reps),
        "reps": [{"id": person.id, "name": person.name} for person in people if person is not None],
    }
