"""The routes of dead letters: list, show, retry, drop."""

import base64
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request

from firsthour.operations import bulk_retry, dead_letters
from firsthour.operations.administration.roles import Admin, Manager
from firsthour.runtime.eventlog.dead_letters import BEGINNING, CURSOR, Cursor, budget_of, find_by_state
from firsthour.runtime.http import page_cursors
from firsthour.runtime.processing.service import Resources, Service

LISTED_MAX = 500
RETRIED_MAX = 500
_CURSOR = Query(description="`next` of the previous answer.")


def add_dead_letter_routes(api: APIRouter, resources: Resources, services: Sequence[Service]) -> None:
    """Add the routes of dead letters."""
    _add_bulk_route(api, resources, services)

    @api.get("/v1/deadletters")
    async def listing(
        principal: Manager,
        state: Literal["waiting", "unmatched", "retried", "dropped"] = "waiting",
        limit: Annotated[int, Query(ge=1, le=LISTED_MAX)] = 100,
        cursor: Annotated[str | None, _CURSOR] = None,
        source: Annotated[str, Query(max_length=200, description="Only the input of this source or API key.")] = "",
    ) -> dict[str, Any]:
        """List dead letters in this state, oldest first, without their bodies.

        `unmatched`: deliveries of webhooks to which no entry of their mapping applies: the newest of each source and type.
        Repeat with `cursor=<next>` until `next` is null.
        """
        after = _position(cursor)
        letters = await resources.reads(lambda connection: find_by_state(connection, state, limit + 1, after, source))
        more = str(letters[limit - 1].cursor) if len(letters) > limit else None
        return {"items": [dead_letters.summary(letter) for letter in letters[:limit]], "next": more}

    @api.get("/v1/deadletters/{id}")
    async def show(id: str, principal: Admin) -> dict[str, Any]:
        """Show a dead letter with its body: `body` is text; a body that is not UTF-8 is in `body_base64`."""
        letter = await resources.reads(lambda connection: dead_letters.find(connection, id))
        try:
            body = {"body": letter.body.decode(), "body_base64": None}
        except UnicodeDecodeError:
            body = {"body": None, "body_base64": base64.b64encode(letter.body).decode()}
        return {**dead_letters.summary(letter), **body}

    @api.post("/v1/deadletters/{id}/retry")
    async def retry(id: str, request: Request, principal: Admin) -> dict[str, Any]:
        """Handle a dead letter again, by its consumer only. A request body replaces the stored body."""
        body = await request.body()
        return await dead_letters.retry(resources.units, resources.clock, services, id, body or None)

    @api.post("/v1/deadletters/{id}/drop")
    async def drop(id: str, principal: Admin) -> dict[str, Any]:
        """Drop a dead letter: its body is erased."""
        return await resources.units.run(lambda unit: dead_letters.drop(unit, id))


def _add_bulk_route(api: APIRouter, resources: Resources, services: Sequence[Service]) -> None:
    @api.post("/v1/deadletters/retry")
    async def retry_all(
        principal: Admin,
        source: Annotated[
            str, Query(min_length=1, max_length=200, description="The source or API key that sent them.")
        ],
        state: Literal["waiting", "unmatched"] = "waiting",
        limit: Annotated[int, Query(ge=1, le=RETRIED_MAX)] = 100,
        cursor: Annotated[str | None, _CURSOR] = None,
    ) -> dict[str, Any]:
        """Handle the oldest dead letters of a source again, with the mapping of now, up to `limit` of them.

        Repeat with `cursor=<next>` until `next` is null. `left` wait after this page. Those that fail again stay, and
        `errors` names up to 10 different reasons. A page that is cut off loses nothing: repeat it. Each dead letter is
        retried in one transaction with its events, so a repeated page repeats no event. Posts of robots are left out.
        """
        return await bulk_retry.retry_page(
            resources.reads,
            resources.units,
            resources.clock,
            services,
            budget_of(source, state),
            limit,
            _position(cursor),
        )


def _position(cursor: str | None) -> Cursor:
    values = page_cursors.read(cursor, CURSOR)
    return Cursor(int(values[0]), values[1]) if values else BEGINNING
