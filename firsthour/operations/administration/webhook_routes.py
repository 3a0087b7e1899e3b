"""The routes of webhooks: what was sent to each endpoint and how it answered, resend, and enable."""

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final, Literal

import msgspec
from fastapi import APIRouter, Query
from sqlalchemy.engine import Connection

from firsthour.kernel.time_units import micros
from firsthour.operations.administration.roles import Admin, Manager
from firsthour.runtime.http import page_cursors
from firsthour.runtime.http.problem import Problem
from firsthour.runtime.processing.service import Resources
from firsthour.runtime.storage.unit import Unit
from schemas.agreement.ways_out import WebhookWay
from services.notifier.context import DISPATCHER
from services.notifier.domain.dispatch import KEPT, Dispatch, resent
from services.notifier.store.dispatches import (
    attempts_of,
    change_dispatches,
    count_waiting,
    disabled_endpoints,
    enable_endpoint,
    failed_dispatches,
    find_dispatch,
    list_dispatches,
    lock_dispatches,
)

RESENT_AT_ONCE: Final = 500
_CURSOR: Final = re.compile(r"(\d{1,18})-([0-9a-f-]{36})", re.ASCII)


def add_webhook_routes(api: APIRouter, resources: Resources) -> None:
    """Add the routes of webhooks. An endpoint is a channel of `kind: webhook` of the agreement in force."""

    @api.get("/v1/webhooks")
    async def endpoints(principal: Manager) -> dict[str, Any]:
        """List the webhooks: their events, how many deliveries wait (10,000 at most), and whether one is switched off."""
        ways = _ways(resources)
        return {"items": await resources.reads(lambda connection: _endpoints(connection, ways)), "next": None}

    @api.get("/v1/webhooks/{name}/deliveries")
    async def deliveries(
        name: str,
        principal: Manager,
        state: Literal["all", "failed", "waiting"] = "all",
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
        cursor: Annotated[str | None, Query(description="`next` of the previous answer.")] = None,
    ) -> dict[str, Any]:
        """List the deliveries to a webhook in the last 30 days, newest first."""
        _known(resources, name)
        position = page_cursors.read(cursor, _CURSOR)
        before = (int(position[0]), position[1]) if position else None
        found = await resources.reads(lambda connection: list_dispatches(connection, name, state, before, limit + 1))
        last = found[limit - 1] if len(found) > limit else None
        return {
            "items": [_summary(dispatch) for dispatch in found[:limit]],
            "next": f"{micros(last.created_at)}-{last.id}" if last else None,
        }

    @api.get("/v1/webhooks/{name}/deliveries/{id}")
    async def delivery(name: str, id: str, principal: Manager) -> dict[str, Any]:
        """Show a delivery: its body, and the answer to each attempt."""
        _known(resources, name)
        return await resources.reads(lambda connection: _shown(connection, name, id))

    @api.post("/v1/webhooks/{name}/deliveries/{id}/resend", status_code=202)
    async def resend(name: str, id: str, principal: Admin) -> dict[str, Any]:
        """Send a delivery again, at once and with a new schedule. Its id stays the same."""
        _known(resources, name)
        if not await resources.units.run(lambda unit: _resend(unit, name, [id])):
            raise _no_delivery(name)
        return {"resent": 1}

    @api.post("/v1/webhooks/{name}/resend", status_code=202)
    async def resend_failed(
        name: str,
        principal: Admin,
        since: Annotated[datetime | None, Query(description="Created at this time or later.")] = None,
    ) -> dict[str, Any]:
        """Send failed deliveries again, 500 at most, the oldest first. `more`: repeat for the others."""
        _known(resources, name)
        count = await resources.units.run(lambda unit: _resend_failed(unit, name, since))
        return {"resent": count, "more": count == RESENT_AT_ONCE}

    @api.post("/v1/webhooks/{name}/enable")
    async def enable(name: str, principal: Admin) -> dict[str, Any]:
        """Switch a webhook on that was switched off by the answer 410. Its waiting deliveries are sent."""
        _known(resources, name)
        return {"name": name, "enabled": await resources.units.run(lambda unit: _enable(unit, name))}


def _ways(resources: Resources) -> dict[str, WebhookWay]:
    channels = resources.config.current.agreement.channels
    return {name: way for name, way in channels.items() if isinstance(way, WebhookWay)}


def _known(resources: Resources, name: str) -> None:
    if name not in _ways(resources):
        raise Problem(404, "Unknown webhook", f"The agreement has no webhook {name!r}: `firsthour webhooks list`.")


def _no_delivery(name: str) -> Problem:
    return Problem(404, "Unknown delivery", f"There is no such delivery: `firsthour webhooks log {name}`.")


def _endpoints(connection: Connection, ways: dict[str, WebhookWay]) -> list[dict[str, Any]]:
    disabled = disabled_endpoints(connection)
    items = []
    for name, way in ways.items():
        waiting, oldest = count_waiting(connection, name)
        off = disabled.get(name)
        items.append(
            {
                "name": name,
                "url": way.url if isinstance(way.url, str) else None,
                "events": way.events,
                "waiting": waiting,
                "oldest_waiting": oldest,
                "disabled": {"since": off.disabled_at, "why": off.why} if off else None,
            }
        )
    return items


def _summary(dispatch: Dispatch) -> dict[str, Any]:
    return {
        "id": dispatch.id,
        "type": dispatch.type,
        "lead": dispatch.lead_id,
        "state": dispatch.state,
        "tries": dispatch.tries,
        "next_at": dispatch.next_at,
        "created_at": dispatch.created_at,
        "ended_at": dispatch.ended_at,
        "error": dispatch.error,
    }


def _shown(connection: Connection, name: str, id: str) -> dict[str, Any]:
    dispatch = find_dispatch(connection, id)
    if dispatch is None or dispatch.channel != name:
        raise _no_delivery(name)
    attempts = [
        {
            "n": attempt.n,
            "at": attempt.at,
            "ms": attempt.milliseconds,
            "outcome": attempt.outcome,
            "detail": attempt.detail,
        }
        for attempt in attempts_of(connection, id)
    ]
    return {**_summary(dispatch), "body": msgspec.json.decode(dispatch.body), "attempts": attempts}


def _resend(unit: Unit, name: str, ids: list[str]) -> int:
    """Make these deliveries due now. Return their number. One that is on its way is left to end."""
    real = unit.clock.real()
    found = [dispatch for dispatch in lock_dispatches(unit, ids) if dispatch.channel == name]
    change_dispatches(unit, [resent(dispatch, real) for dispatch in found if dispatch.state != "sending"])
    unit.wake(DISPATCHER)
    return len(found)


def _resend_failed(unit: Unit, name: str, since: datetime | None) -> int:
    oldest = unit.clock.real() - KEPT - timedelta(days=1)
    start = oldest if since is None else max(oldest, since if since.tzinfo else since.replace(tzinfo=UTC))
    return _resend(unit, name, failed_dispatches(unit, name, start, RESENT_AT_ONCE))


def _enable(unit: Unit, name: str) -> bool:
    unit.wake(DISPATCHER)
    return enable_endpoint(unit, name)
