"""`GET /a/{token}`: the page of a lead behind a signed link. It shows and never acts, because mail scanners open links."""

from typing import Final

from fastapi import APIRouter, Response
from fastapi.responses import HTMLResponse

from firsthour.runtime.processing.service import Resources
from services.notifier.context import NotifierContext
from services.notifier.domain.link_standing import INVALID, Refusal
from services.notifier.lead_views import History, OpenedLead, view
from services.notifier.link_keys import LinkKeys
from services.notifier.markup import PAGE_HEADERS, render

PATH: Final = "/a/{token}"


def lead_router(resources: Resources, context: NotifierContext, history: History) -> APIRouter:
    """Return the routes of signed links."""
    api = APIRouter(tags=["links"])
    pages = LeadPages(resources, context, history)

    @api.head(PATH, include_in_schema=False)
    @api.get(PATH, response_class=HTMLResponse)
    async def show(token: str) -> Response:
        """The lead of a signed link, as a page for people. Nothing is changed."""
        return await pages.show(token)

    return api


class LeadPages:
    """The pages of signed links."""

    def __init__(self, resources: Resources, context: NotifierContext, history: History) -> None:
        self._resources, self._context, self._history = resources, context, history
        self._keys = LinkKeys(resources)

    async def show(self, token: str) -> Response:
        """Return the page of a link, or why it does nothing."""
        found = await self._find(token)
        return notice(found) if isinstance(found, Refusal) else self._page(found)

    async def _find(self, token: str) -> OpenedLead | Refusal:
        link = await self._keys.link(token)
        if link is None:
            return INVALID
        config, clock = self._resources.config.current, self._resources.clock
        now, real = clock.business(), clock.real()
        return await self._resources.reads(lambda c: view(c, link, self._context, config, self._history, now, real))

    def _page(self, found: OpenedLead) -> Response:
        if found.lead is None:
            return notice(found.ended or INVALID)
        return Response(render("lead.html", page=found.lead, answer=None, forms=()), 200, PAGE_HEADERS)


def notice(refusal: Refusal) -> Response:
    """Return the page that says why a link does nothing."""
    return Response(render("notice.html", title=refusal.title, text=refusal.text), refusal.status, PAGE_HEADERS)
