"""The routes of the team: reps with availability, load and hours, pools, and what each member of a pool got and is owed."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Query
from sqlalchemy.engine import Connection

from firsthour.kernel.config import Config
from firsthour.kernel.time_units import micros
from firsthour.runtime.http.auth import needs
from firsthour.runtime.http.principal import Principal
from firsthour.runtime.http.problem import Problem
from firsthour.runtime.processing.service import Resources
from schemas.team import Away, Pool, Rep
from services.router.domain.eligibility import LEFT, absence
from services.router.domain.lead import at
from services.router.domain.rules import RoutingRules, rules_of
from services.router.domain.team_state import INITIAL_ROTATION, Presence, RotationState
from services.router.domain.turns import SCALE, settle
from services.router.store.decisions import assignments_by_rep
from services.router.store.team import presences, read_rotations
from services.router.store.waiting import waiting_by_pool

SalesRole = Annotated[Principal, Depends(needs("sales"))]
DAYS_MAX: Final = 366
SHOWN_DIGITS: Final = 4


def add_team_routes(api: APIRouter, resources: Resources) -> None:
    """Add the routes."""

    @api.get("/v1/reps", tags=["team"])
    async def reps(principal: SalesRole) -> dict[str, Any]:
        """List every rep with availability, load, hours and absences.

        `by_file`: team.yaml names the absence of now, so it ends there. `leave`: the absences of team.yaml that have not ended. `hours`: of the rep's calendar, by weekdays, in `timezone`; null:
        at any time. `place`: the line and column of the entry.
        """
        config, now = resources.config.current, resources.clock.business()
        rules = rules_of(config)
        by_rep = await resources.reads(presences)
        pools = _pools_by_rep(rules)
        items = [
            {**_rep_view(rules, by_rep, rep, now), "pools": pools.get(rep.id, []), **_rep_terms(config, rep, now)}
            for rep in rules.team.reps
        ]
        return {"items": items, "next": None}

    @api.get("/v1/pools", tags=["team"])
    async def pools(principal: SalesRole) -> dict[str, Any]:
        """List every pool with its members, their shares, and the number of waiting leads."""
        waiting = await resources.reads(waiting_by_pool)
        config = resources.config.current
        return {
            "items": [_pool_view(config, pool, waiting.get(pool.id, 0)) for pool in config.team.pools],
            "next": None,
        }

    @api.get("/v1/pools/{pool}/shares", tags=["team"])
    async def shares(
        pool: str, principal: SalesRole, days: Annotated[int, Query(ge=1, le=DAYS_MAX)] = 30
    ) -> dict[str, Any]:
        """Compare what each member of a pool got in the last `days` with the share by weight.

        `got`: the leads that the pool gave the member; the share in them is `share_got`. `owed`: the leads that the rotation owes
        the member now; negative: the member is ahead. A lead that a member could not take, as on leave, is not owed.
        """
        rules, now = rules_of(resources.config.current), resources.clock.business()
        row = rules.team.pool_by_id.get(pool)
        if row is None:
            raise Problem(404, "Unknown pool", f"There is no pool {pool!r}: GET /v1/pools lists them.")
        since = now - timedelta(days=days)

        def read(connection: Connection) -> tuple[dict[str, int], RotationState, Mapping[str, Presence]]:
            got = assignments_by_rep(connection, pool, micros(since))
            return got, read_rotations(connection, [pool]).get(pool, INITIAL_ROTATION), presences(connection)

        got, rotation, by_rep = await resources.reads(read)
        return {
            "pool": pool,
            "from": since,
            "to": now,
            "assigned": sum(got.values()),
            "items": list(_share_views(rules, row, got, rotation, by_rep, micros(now))),
            "next": None,
        }


def _pools_by_rep(rules: RoutingRules) -> Mapping[str, list[str]]:
    pools: dict[str, list[str]] = {}
    for pool in rules.team.pools:
        for member in pool.members:
            pools.setdefault(member.rep, []).append(pool.id)
    return pools


def _rep_view(rules: RoutingRules, by_rep: Mapping[str, Presence], rep: Rep, now: datetime) -> dict[str, Any]:
    at_us, presence = micros(now), by_rep.get(rep.id, Presence())
    absent = absence(rules, by_rep, rep.id, at_us)
    return {
        "id": rep.id,
        "name": rep.name,
        "email": rep.email,
        "manager": rep.manager,
        "state": absent.partition(":")[0] if absent else "available",
        "until": at(presence.until) if presence.as_of(at_us) == "away" else rep.away_until(now),
        "reason": presence.reason if presence.as_of(at_us) == presence.state else None,
        "open": presence.open,
        "capacity": rep.capacity.open,
    }


def _rep_terms(config: Config, rep: Rep, now: datetime) -> dict[str, Any]:
    """Return what the files say of a rep. `by_file`: the absence of now stands there, so that no command ends it."""
    calendar = config.agreement.calendars.get(rep.calendar or "")
    return {
        "active": rep.active,
        "by_file": not rep.active or rep.away_until(now) is not None,
        "languages": list(rep.languages),
        "calendar": rep.calendar,
        "timezone": calendar.timezone if calendar else None,
        "hours": {days: list(spans) for days, spans in calendar.hours.items()} if calendar else None,
        "holidays": calendar.holidays if calendar else None,
        "leave": [_leave_view(config, rep, number, away) for number, away in enumerate(rep.away) if away.ends > now],
        "place": config.team_places.get(("reps", rep.id)),
    }


def _leave_view(config: Config, rep: Rep, number: int, away: Away) -> dict[str, Any]:
    return {
        "from": str(away.from_),
        "to": str(away.to),
        "starts": away.starts.astimezone(UTC),
        "ends": away.ends.astimezone(UTC),
        "cover": away.cover,
        "place": config.team_places.get(("reps", rep.id, number)),
    }


def _pool_view(config: Config, pool: Pool, waiting: int) -> dict[str, Any]:
    total = sum(member.weight for member in pool.members)
    return {
        "id": pool.id,
        "manager": pool.manager,
        "members": [
            {"rep": member.rep, "weight": member.weight, "share": round(member.weight / total, SHOWN_DIGITS)}
            for member in pool.members
        ],
        "waiting": waiting,
        "place": config.team_places.get(("pools", pool.id)),
    }


def _share_views(
    rules: RoutingRules,
    pool: Pool,
    got: Mapping[str, int],
    rotation: RotationState,
    by_rep: Mapping[str, Presence],
    now: int,
) -> Iterator[dict[str, Any]]:
    """Yield each member of a pool, and each rep who got leads of it before leaving it."""
    assigned, weights = sum(got.values()), {member.rep: member.weight for member in pool.members}
    total = sum(weights.values())
    there = {rep: weight for rep, weight in weights.items() if absence(rules, by_rep, rep, now) not in LEFT}
    lags = settle(rotation.lags, there)
    for rep in (*weights, *sorted(got.keys() - weights.keys())):
        number, weight = got.get(rep, 0), weights.get(rep, 0)
        yield {
            "rep": rep,
            "weight": weight,
            "share": round(weight / total, SHOWN_DIGITS),
            "got": number,
            "share_got": round(number / assigned, SHOWN_DIGITS) if assigned else None,
            "owed": round(lags.get(rep, 0) / SCALE, 2),
        }
