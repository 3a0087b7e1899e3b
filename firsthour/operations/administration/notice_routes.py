"""The routes of notices to teams: tell a team, and what teams were told."""

import re
from typing import Annotated, Any, Final, Literal

import msgspec
from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from firsthour.kernel.time_units import micros
from firsthour.operations.administration.roles import Manager
from firsthour.runtime.clock import new_id
from firsthour.runtime.http import page_cursors
from firsthour.runtime.http.problem import Problem
from firsthour.runtime.processing.service import Resources
from services.notifier.domain.notice import LINE_CHARS_MAX, NoticeText
from services.notifier.store.dispatches import list_notices
from services.notifier.telling import tell

_CURSOR: Final = re.compile(r"(\d{1,18})-([0-9a-f-]{36})", re.ASCII)


class NoticeRequest(BaseModel):
    """A notice to a team, by a person."""

    model_config = ConfigDict(extra="forbid")

    text: Annotated[str, Field(min_length=1, max_length=LINE_CHARS_MAX)]


def add_notice_routes(api: APIRouter, resources: Resources) -> None:
    """Add the routes of notices."""

    @api.post("/v1/tell/{team}", status_code=202)
    async def tell_team(
        team: Literal["marketing", "sales", "operator"], request: NoticeRequest, principal: Manager
    ) -> dict[str, Any]:
        """Tell a team. It is sent to the recipient under `tell` of the agreement, and tried again until it is accepted."""
        told = await resources.units.run(
            lambda unit: tell(unit, team, key=new_id(), subject=f"Notice to {team}", lines=(request.text,))
        )
        if not told:
            raise Problem(409, "Conflict", f"The agreement names no recipient for {team}; add it under `tell`.")
        return {"team": team}

    @api.get("/v1/notices")
    async def notices(
        principal: Manager,
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
        cursor: Annotated[str | None, Query(description="`next` of the previous answer.")] = None,
    ) -> dict[str, Any]:
        """List what teams were told in the last 30 days, newest first. `error` says why a notice was not accepted yet."""
        position = page_cursors.read(cursor, _CURSOR)
        before = (int(position[0]), position[1]) if position else None
        found = await resources.reads(lambda connection: list_notices(connection, before, limit + 1))
        last = found[limit - 1] if len(found) > limit else None
        items = [
            {
                "id": one.id,
                "team": one.type,
                "lead": one.lead_id or None,
                "channel": one.channel,
                "state": one.state,
                "created_at": one.created_at,
                "ended_at": one.ended_at,
                "tries": one.tries,
                "error": one.error,
                **msgspec.structs.asdict(msgspec.json.decode(one.body, type=NoticeText)),
            }
            for one in found[:limit]
        ]
        return {"items": items, "next": f"{micros(last.created_at)}-{last.id}" if last else None}
