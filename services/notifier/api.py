"""The routes of pages: the list, with recipient, channel, text and outcome; and trying one again at once."""

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from sqlalchemy.engine import Connection

from firsthour.kernel.config import Config
from firsthour.kernel.visibility import VisibleLeads
from firsthour.runtime.http import page_cursors
from firsthour.runtime.http.auth import needs
from firsthour.runtime.http.principal import Principal
from firsthour.runtime.http.problem import Problem
from firsthour.runtime.http.visibility import visible_leads
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
from services.notifier.store.page_lists import attempts_by_page, list_waiting_pages
from services.notifier.store.pages import Attempt, change_pages, list_pages, lock_pages

_CURSOR = re.compile(r"(\d{1,18})-([0-9a-f-]{36})", re.ASCII)


def router(resources: Resources) -> APIRouter:
    """Return the routes of the notifier."""
    api = APIRouter(tags=["pages"])

    @api.get("/v1/pages")
    async def pages(
        principal: Annotated[Principal, Depends(needs("sales"))],
        lead: Annotated[str | None, Query(description="Only pages about this lead.")] = None,
        attempts: Annotated[bool, Query(description="Each page with the attempts to send it.")] = False,
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
        cursor: Annotated[str | None, Query(description="`next` of the previous answer.")] = None,
    ) -> dict[str, Any]:
        """Pages, newest first. `state` is pending, sending, sent, failed or cancelled; `error` says why.

        `next_at`: the next try. `attempts`: with the outcome of each, if asked for.
        """
        before = _before(cursor)
        config = resources.config.current
        visible = visible_leads(config, principal)
        listed = await resources.reads(lambda connection: _listing(connection, config, lead, before, limit, visible))
        if attempts:
            ids = [item["id"] for item in listed["items"]]
            by_page = await resources.reads(lambda connection: attempts_by_page(connection, ids))
            for item in listed["items"]:
                item["attempts"] = [_attempt(one) for one in by_page.get(item["id"], ())]
        return listed

    @api.get("/v1/pages/waiting")
    async def waiting(
        principal: Annotated[Principal, Depends(needs("manager"))], limit: Annotated[int, Query(ge=1, le=200)] = 50
    ) -> dict[str, Any]:
        """Pages that no channel has accepted yet, the most urgent and the next try first. The list ends at `limit`."""
        config = resources.config.current
        return await resources.reads(lambda connection: _waiting(connection, config, limit))

    @api.post("/v1/pages/{id}/resend", status_code=202)
    async def resend(id: str, principal: Annotated[Principal, Depends(needs("manager"))]) -> dict[str, Any]:
        """Try a page that waits at once. One that is on its way, was accepted or is cancelled stays as it is: 409."""
        await resources.units.run(lambda unit: _resend(unit, id))
        return {"id": id}

    return api


def _attempt(one: Attempt) -> dict[str, Any]:
    return {"n": one.n, "at": one.at, "channel": one.channel, "outcome": one.outcome, "detail": one.detail}


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
    connection: Connection,
    config: Config,
    lead: str | None,
    before: tuple[int, str] | None,
    limit: int,
    visible: VisibleLeads | None,
) -> dict[str, Any]:
    rows = list_pages(connection, lead, before, limit + 1, visible)
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
