"""The page of a lead behind a signed link: `GET /a/{token}` shows the lead and the effect, `POST /a/{token}` acts once.

Mail scanners open every link of a mail, so a GET never acts. The token is the only authority: there is no cookie, so
another site cannot make a browser act for a rep. A request that a browser marks as sent by another site is refused.
"""

from collections.abc import Awaitable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Final, NamedTuple

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse

from firsthour.runtime.http.form_fields import form_fields
from firsthour.runtime.http.problem import RETRY_SECONDS
from firsthour.runtime.processing.service import Resources
from firsthour.runtime.storage.unit import StorageError
from services.notifier.clicks import apply_click
from services.notifier.context import NotifierContext
from services.notifier.domain.click import LEAVING, NOTHING, Action, ClickAnswer
from services.notifier.domain.lead_actions import FIELD_CHARS_MAX, OfferedAction, click_of, label_of, offered
from services.notifier.domain.lead_page import OWNER
from services.notifier.domain.link import Link
from services.notifier.domain.link_standing import INVALID, Refusal
from services.notifier.lead_views import History, LeadLoader, OpenedLead
from services.notifier.link_keys import LinkKeys
from services.notifier.markup import PAGE_HEADERS, render
from services.notifier.page_links import new_token

PATH: Final = "/a/{token}"
ANSWERS: Final[dict[int | str, dict[str, Any]]] = {
    status: {"description": description, "content": {"text/html": {}}}
    for status, description in (
        (403, "The person is not in the team any more, or another site sent the request"),
        (404, "The link is not valid"),
        (405, "The link only shows the lead"),
        (409, "Nothing was changed; the page says why"),
        (410, "The link has ended"),
        (413, "The note is too long"),
        (503, "The database does not answer"),
    )
}
"""The pages for people that are no success."""
FIELDS_MAX: Final = 10
BODY_BYTES_MAX: Final = 32 * 1024
_LOOKS_ONLY: Final = Refusal(405, "This link only shows the lead", "Open it, and use the buttons on its page.")
_OTHER_SITE: Final = Refusal(
    403, "Nothing was changed", "Another site sent this. Open the link from the message yourself."
)
_LATER: Final = Refusal(
    503, "Please try again in a moment", "Nothing was changed. The database does not answer right now."
)
_TOO_LARGE: Final = Refusal(413, "Nothing was changed", "The note is too long. Shorten it, and send it again.")


class ActionForm(NamedTuple):
    """A form with the token that it is sent to. `chosen`: the link was made for this action."""

    action: OfferedAction
    token: str
    chosen: bool


def lead_router(resources: Resources, context: NotifierContext, history: History) -> APIRouter:
    """Return the routes of signed links."""
    api = APIRouter(tags=["links"])
    pages = LeadPages(resources, context, history)

    @api.head(PATH, include_in_schema=False)
    @api.get(PATH, response_class=HTMLResponse, responses=ANSWERS)
    async def show(token: str) -> Response:
        """The lead of a signed link, and the effect of its action, as a page for people. Nothing is changed."""
        return await answered(pages.show(token))

    @api.post(PATH, response_class=HTMLResponse, responses=ANSWERS)
    async def act(token: str, request: Request) -> Response:
        """Do the one thing that a signed link is for, once. The page says what happened, or why nothing did.

        A form may have `reason`, `note`, `minutes` (of a snooze) and `rep` (to hand over)."""
        if request.headers.get("sec-fetch-site") == "cross-site":
            return notice(_OTHER_SITE)
        body = await request.body()
        if len(body) > BODY_BYTES_MAX:
            return notice(_TOO_LARGE)
        return await answered(pages.act(token, form_fields(body, FIELD_CHARS_MAX, FIELDS_MAX)))

    return api


async def answered(page: Awaitable[Response]) -> Response:
    """Return the page, or one that asks to try again if the database does not answer."""
    try:
        return await page
    except StorageError:  # logged by the storage
        return notice(_LATER, {"retry-after": str(RETRY_SECONDS)})


class LeadPages:
    """The pages of signed links."""

    def __init__(self, resources: Resources, context: NotifierContext, history: History) -> None:
        self._resources, self._context, self._history = resources, context, history
        self._keys = LinkKeys(resources)

    async def show(self, token: str) -> Response:
        """Return the page of a link, or why the link does nothing."""
        link = await self._keys.link(token)
        if link is None:
            return notice(INVALID)
        found = await self._find(link, token)
        if isinstance(found, Refusal):
            return notice(found)
        answer = None
        if found.used and link.action != "open":
            answer = ClickAnswer(True, used_before(link.action))
        elif link.action != "open" and link.action not in {action.action for action in offered(found.facts)}:
            answer = found.facts.answer(link.action)  # the reason why the action does nothing now
        return await self._page(link, found, answer, 200)

    async def act(self, token: str, fields: Mapping[str, str]) -> Response:
        """Act, and return the page that says what happened."""
        link = await self._keys.link(token)
        if link is None:
            return notice(INVALID)
        found = await self._find(link, token)
        if isinstance(found, Refusal):
            return notice(found)
        if link.action == "open":
            return notice(_LOOKS_ONLY, {"allow": "GET, HEAD"})
        answer = await self._apply(link, link.action, found, token, fields)
        if found.used and not answer.applied:
            answer = ClickAnswer(False, f"{used_before(link.action)} {NOTHING}")
        status = 200 if answer.applied else 409
        if answer.applied and link.action in LEAVING:
            return notice(Refusal(status, label_of(link.action), answer.text))
        took_over = answer.applied and link.action == "accept" and found.facts.takes_over
        found = await self._find(link, token)
        if isinstance(found, Refusal):
            return notice(found)
        return await self._page(link, taken_over(found) if took_over else found, answer, status)

    async def _find(self, link: Link, token: str) -> OpenedLead | Refusal:
        resources = self._resources
        now, real = resources.clock.business(), resources.clock.real()
        loader = LeadLoader(self._context, self._history, resources.config.current, now, real)
        return await resources.reads(lambda connection: loader.load(connection, link, token))

    async def _apply(
        self, link: Link, action: Action, found: OpenedLead, token: str, fields: Mapping[str, str]
    ) -> ClickAnswer:
        click = click_of(found.facts.page, action, self._resources.clock.business(), token, fields)
        return await self._resources.units.run(partial(apply_click, context=self._context, click=click))

    async def _page(self, link: Link, found: OpenedLead, answer: ClickAnswer | None, status: int) -> Response:
        acted = found.used or (answer is not None and answer.applied)
        actions = offered(found.facts)
        if link.action == "accept" and answer is not None and answer.applied:
            actions = tuple(action for action in actions if action.action != "accept")  # the router has still to do it
        forms = await self._forms(link, actions, acted=acted)
        if found.lead is None:
            forms = tuple(form for form in forms if form.chosen)
            template: str = "ended.html"
            content: dict[str, object] = {"ended": found.ended}
        else:
            template, content = "lead.html", {"page": found.lead}
        facts = found.facts
        text = render(template, answer=answer, forms=forms, reader=facts.reader, heading=facts.heading, **content)
        return Response(text, status, PAGE_HEADERS)

    async def _forms(self, link: Link, actions: tuple[OfferedAction, ...], *, acted: bool) -> tuple[ActionForm, ...]:
        """Return the forms, that of the link first. Each has a token of its own, which expires with the link."""
        key = await self._keys.signing()
        forms = [
            ActionForm(
                action,
                new_token(action.action, link.page_id, link.expires_at, key),
                action.action == link.action and not acted,
            )
            for action in actions
        ]
        return tuple(sorted(forms, key=lambda form: not form.chosen))


def taken_over(found: OpenedLead) -> OpenedLead:
    """Return the lead of a person who takes it over, before the router has made it theirs: without its former owner."""
    if found.lead is None:
        return found
    facts = tuple(fact for fact in found.lead.facts if fact.label != OWNER)
    return replace(found, lead=replace(found.lead, facts=facts))


def used_before(action: Action) -> str:
    """Return what is said of a link that was used before."""
    return f"You have used this link already: {label_of(action)}."


def notice(refusal: Refusal, headers: Mapping[str, str] | None = None) -> Response:
    """Return the page that says why a link does nothing, or what it did."""
    text = render("notice.html", title=refusal.title, text=refusal.text)
    return Response(text, refusal.status, {**PAGE_HEADERS, **(headers or {})})
