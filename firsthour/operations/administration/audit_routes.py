"""`GET /v1/audit`: what people did, with their key or session, the target and the result."""

import re
from datetime import datetime, timedelta
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query
from pydantic import TypeAdapter, ValidationError
from pydantic_core import PydanticCustomError

from firsthour.kernel.time_units import micros, moment
from firsthour.operations.administration.roles import Manager
from firsthour.runtime.http import page_cursors
from firsthour.runtime.http.problem import FieldFault, Problem
from firsthour.runtime.processing.service import Resources
from firsthour.runtime.storage import audit_log
from firsthour.runtime.storage.audit_log import AuditPosition
from schemas.http import Moment
from schemas.values import positive_duration

_CURSOR: Final = re.compile(rf"{page_cursors.MICROSECONDS}\.{page_cursors.UUID}", re.ASCII)
_DAY: Final = timedelta(days=1)
_moment: Final = TypeAdapter(Moment)


def add_audit_routes(api: APIRouter, resources: Resources) -> None:
    """Add the route of the audit log."""

    @api.get("/v1/audit")
    async def audit(
        principal: Manager,
        actor: Annotated[str | None, Query(max_length=200, description="Such as `rep:ana` or `key:crm`.")] = None,
        target: Annotated[
            str | None, Query(max_length=200, description="The id of a lead, rep, key or other target.")
        ] = None,
        action: Annotated[str | None, Query(max_length=200, description="Such as `leads.accept`.")] = None,
        since: Annotated[str | None, Query(max_length=64, description="A span such as `7d`, or a time.")] = None,
        until: Annotated[str | None, Query(max_length=64, description="As `since`; not included.")] = None,
        limit: Annotated[int, Query(ge=1, le=500)] = 50,
        cursor: Annotated[str | None, Query(description="`next` of the previous answer.")] = None,
    ) -> dict[str, Any]:
        """List what people did, newest first; it is kept for 400 days.

        `actor` acted with `role`, by the key or session `via` (or by `slack`, `email`, `page`, `files`, `cli`). `outcome`: `done`,
        `requested` (the router decides), `refused` or `failed`, as `status` says. Reads are not listed unless they were
        forbidden.
        """
        now = resources.clock.business()
        start = micros(now - audit_log.KEPT - _DAY) if since is None else _time(since, "since", now)
        position = _position(cursor) or audit_log.NEWEST
        if until is not None:
            position = min(position, (_time(until, "until", now), ""))
        given = {"actor": actor, "target": target, "action": action}
        filters = {name: value for name, value in given.items() if value is not None}
        rows = await resources.reads(lambda connection: audit_log.page(connection, filters, start, position, limit + 1))
        last = rows[limit - 1] if len(rows) > limit else None
        return {"items": [_item(row) for row in rows[:limit]], "next": f"{last.at}.{last.id}" if last else None}


def _item(row: Any) -> dict[str, Any]:
    return {
        "id": row.id,
        "at": moment(row.at),
        "actor": row.actor,
        "role": row.role or None,
        "via": row.via,
        "action": row.action,
        "target": row.target or None,
        "outcome": audit_log.outcome(row.status),
        "status": row.status,
        "request_id": row.request_id or None,
    }


def _position(cursor: str | None) -> AuditPosition | None:
    match = page_cursors.read(cursor, _CURSOR)
    return None if match is None else (int(match[0]), match[1])


def _time(text: str, field: str, now: datetime) -> int:
    """Return a time in microseconds, from a span before now or a time. Raises `Problem` 422."""
    try:
        return micros(now - positive_duration(text))
    except PydanticCustomError:
        pass
    try:
        return micros(_moment.validate_python(text))
    except ValidationError:
        detail = "is neither a span such as 7d nor a time such as 2026-12-01T09:00:00Z"
        fault = FieldFault(pointer=f"query:{field}", detail=detail)
        raise Problem(422, "Invalid period", f"`{field}` {detail}.", [fault]) from None
