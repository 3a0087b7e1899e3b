"""The routes of pages: the list, with recipient, channel, text and outcome; and trying one again at once."""

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query
from sqlalchemy.engine import Connection

from firsthour.kernel.config import Config
from firsthour.runtime.http import page_cursors
from firsthour.runtime.http.auth import needs
from firsthour.runtime.http.principal import Principal
from firsthour.runtime.http.problem import Problem
from firsthour.runtime.processing.service import Resources
from firsthour.runtime.storage.unit import Unit
from services.notifier.context import DELIVERY, NotifierContext
from services.notifier.domain.clock import ResponseClock
from services.notifier.domain.message import message_of
from services.notifier.domain.message_text import words
from services.notifier.domain.page import Page, index_of, tried_now
from services.notifier.domain.page_words import content_of
from services.notifier.domain.terms import Terms
from services.notifier.store.clocks import find_clocks
from services.notifier.store.pages import change_pages, list_pages, list_waiting_pages, lock_pages

_CURSOR = re.compile(r"(\d{1,18})-([0-9a-f-]{36})", re.ASCII)


def router(resources: Resources) -> APIRouter:
    """Return the routes of the notifier."""
    api = APIRouter(tags=["pages"])

    @api.get("/v1/pages")
    async def pages(
        principal: Annotated[Principal, Depends(needs("sales"))],
        lead: Annotated[str | None, Query(description="Only pages about this lead.")] = None,
        state: Annotated[
            Literal["waiting"] | None,
            Query(
                description="`waiting`: pages that no channel has accepted yet, the next try first; not with `lead`."
            ),
        ] = None,
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
        cursor: Annotated[str | None, Query(description="`next` of the previous answer.")] = None,
    ) -> dict[str, Any]:
        """Pages, newest first. `state` is pending, sending, sent, failed or cancelled; `error` says why.

        `next_at`: the next try. With `state=waiting` the list ends at `limit`.
        """
        before = _before(cursor)
        config = resources.config.current
        if state is not None:
            if lead is not None or before is not None:
                raise Problem(422, "", "`state` cannot be combined with `lead` or `cursor`; leave one of them out.")
            return await resources.reads(lambda connection: _waiting(connection, config, limit))
        return await resources.reads(lambda connection: _listing(connection, config, lead, before, limit))

    @api.post("/v1/pages/{id}/resend", status_code=202)
    async def resend(id: str, principal: Annotated[Principal, Depends(needs("manager"))]) -> dict[str, Any]:
        """Try a page that waits at once. One that is on its way, was accepted or is cancelled stays as it is: 409."""
        await resources.units.run(lambda unit: _resend(unit, id))
        return {"id": id}

    return api


def _resend(unit: Unit, id: str) -> None:
    found = lock_pages(unit, [id])
    if not found:
        raise Problem(404, "Unknown page", f"There is no page {id!r}: GET /v1/pages lists them.")
    page = found[0][0]
    if page.state != "pending":
        detail = f"The page is {page.state}; only a page that waits can be tried at once."
        raise Problem(409, "Invalid state", detail)
    change_pages(unit, [tried_now(page, unit.clock.real())])
    unit.wake(DELIVERY)


def _before(cursor: str | None) -> tuple[int, str] | None:
    match = page_cursors.read(cursor, _CURSOR)
    return (int(match[0]), match[1]) if match else None


def _listing(
    connection: Connection, config: Config, lead: str | None, before: tuple[int, str] | None, limit: int
) -> dict[str, Any]:
    rows = list_pages(connection, lead, before, limit + 1)
    items = _items(connection, config, [page for page, _ in rows[:limit]])
    last = rows[limit - 1] if len(rows) > limit else None
    return {"items": items, "next": f"{last[1]}-{last[0].id}" if last else None}


def _waiting(connection: Connection, config: Config, limit: int) -> dict[str, Any]:
    return {"items": _items(connection, config, list_waiting_pages(connection, limit)), "next": None}


def _items(connection: Connection, config: Config, pages: Sequence[Page]) -> list[dict[str, Any]]:
    clocks = find_clocks(connection, {page.lead_id for page in pages})
    terms = NotifierContext(()).terms_of(config)
    return [_item(page, clocks.get(page.lead_id), terms) for page in pages]


def _item(page: Page, clock: ResponseClock | None, terms: Terms) -> dict[str, Any]:
    return {
        "id": page.id,
        "lead": page.lead_id,
        "epoch": page.epoch,
        "rung": index_of(page.rung),
        "kind": page.kind,
        "person": page.person or None,
        "channel": page.channel,
        "state": page.state,
        "due_at": page.due_at,
        "sent_at": page.sent_at,
        "next_at": page.next_at,
        "tries": page.deliveries,
        "carried_by": page.carrier,
        "error": page.error,
        **_content(page, clock, terms, page.sent_at or page.due_at),
    }


def _content(page: Page, clock: ResponseClock | None, terms: Terms, written_at: datetime) -> dict[str, Any]:
    """Return the subject, the facts and the sections of a page. A test page, and one of a deleted lead, has none."""
    if clock is None:
        return {"text": None, "facts": {}, "sections": {}}
    page_words = words(message_of(page, clock, terms, written_at, None))
    return {"text": page_words.subject, **content_of(page_words)}
