"""Signing in with an API key or a one-time link, and signing out."""

from datetime import timedelta
from typing import Final

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from firsthour.runtime.http.form_fields import form_fields
from firsthour.runtime.http.middleware import request_id_of
from firsthour.runtime.http.principal import Principal
from firsthour.runtime.http.problem import Problem
from firsthour.runtime.processing.service import Resources
from firsthour.runtime.storage import audit_log
from firsthour.runtime.storage.audit_log import AuditRecord
from firsthour.runtime.storage.unit import Unit
from services.console import sessions
from services.console.console import Console
from services.console.markup import PAGE_HEADERS, Pages
from services.console.page_route import SIGN_IN
from services.console.sessions import SESSION_LASTS, SignInLink
from services.console.viewer import TOKEN_CHARS_MAX, Viewers, end_session, holder_of, may_enter

HOME: Final = "/console"
KEY_CHARS_MAX: Final = 500
PATH_CHARS_MAX: Final = 2_000


def add_routes(api: APIRouter, resources: Resources, console: Console) -> None:
    """Add the routes."""
    viewers, pages = console.viewers, console.pages
    entrance = Entrance(resources, viewers, pages)

    @api.get(SIGN_IN)
    async def sign_in(request: Request, next: str = "") -> Response:
        """The form for an API key."""
        return entrance.form(request, next)

    @api.post(SIGN_IN)
    async def with_key(request: Request) -> Response:
        """Exchange an API key for a session."""
        return await entrance.with_key(request)

    @api.get("/console/enter/{token}")
    async def link(token: str, request: Request) -> Response:
        """Show what a one-time link gives. It is not used up: programs that preview links open it too."""
        return await entrance.show_link(request, token[:TOKEN_CHARS_MAX])

    @api.post("/console/enter/{token}")
    async def enter(token: str, request: Request) -> Response:
        """Begin the session of a one-time link."""
        return await entrance.with_link(request, token[:TOKEN_CHARS_MAX])

    @api.post("/console/sign-out")
    async def sign_out(request: Request) -> Response:
        """End the session of this browser."""
        viewer, _ = await viewers.acting(request)
        await resources.units.run(lambda unit: end_session(unit, viewer, viewer.session.id))
        response = RedirectResponse(SIGN_IN, 303, PAGE_HEADERS)
        viewers.forget(request, response)
        return response


class Entrance:
    """The ways to a session."""

    def __init__(self, resources: Resources, viewers: Viewers, pages: Pages) -> None:
        self._resources, self._viewers, self._pages = resources, viewers, pages

    def form(self, request: Request, target: str, problem: Problem | None = None) -> Response:
        """Return the form for a key, with the problem of the one before."""
        code = problem.status if problem is not None else 200
        provider = self._resources.config.current.team.sign_in
        return self._pages.without_viewer(
            request,
            "sign_in.html",
            code=code,
            target=local_path(target),
            problem=problem,
            provider=provider.name if provider is not None else None,
        )

    async def with_key(self, request: Request) -> Response:
        """Begin the session of a key, or return the form with the reason why not."""
        self._viewers.refuse_other_sites(request)
        fields = form_fields(await request.body(), PATH_CHARS_MAX)
        target = fields.get("next", "")
        address = request.client.host if request.client else ""
        try:
            principal: Principal = request.app.state.keys.identify(
                f"Bearer {fields.get('key', '')[:KEY_CHARS_MAX].strip()}", address
            )
        except Problem as problem:
            return self.form(request, target, problem)
        if not may_enter(principal.role):
            return self.form(request, target, Problem(403, "", "A key with the role ingest only sends events."))
        granted = SignInLink(holder_of(principal), principal.role, principal.rep, principal.id)
        return await self.begin(request, granted, local_path(target), way=principal.id)

    async def show_link(self, request: Request, token: str) -> Response:
        """Return the page with the button that uses a link."""
        now = self._resources.clock.real()
        granted = await self._resources.reads(lambda connection: sessions.find_link(connection, token, now))
        if granted is None or not self._viewers.accepts(granted.key_id, granted.rep):
            raise _ended()
        return self._pages.without_viewer(request, "enter.html", granted=granted)

    async def with_link(self, request: Request, token: str) -> Response:
        """Use up a link, and begin its session."""
        self._viewers.refuse_other_sites(request)
        now = self._resources.clock.real()
        granted = await self._resources.units.run(lambda unit: sessions.take_link(unit.connection, token, now))
        if granted is None or not self._viewers.accepts(granted.key_id, granted.rep):
            raise _ended()
        return await self.begin(request, granted, HOME)

    async def begin(
        self,
        request: Request,
        granted: SignInLink,
        target: str,
        lasts: timedelta = SESSION_LASTS,
        way: str = "link",
    ) -> Response:
        """Begin a session, and lead its browser to a path of the console. `way`: how the person signed in; of a key: its id."""
        now, agent = self._resources.clock.real(), request.headers.get("user-agent", "")

        def work(unit: Unit) -> str:
            session, token = sessions.begin(unit.connection, granted, now, agent=agent, lasts=lasts)
            begun = AuditRecord(
                session.principal.actor,
                session.role,
                way,
                "sessions.begin",
                session.id,
                request_id=request_id_of(request.scope),
            )
            audit_log.note(unit, begun)
            return token

        token = await self._resources.units.run(work)
        response = RedirectResponse(target, 303, PAGE_HEADERS)
        self._viewers.remember(request, response, token, lasts)
        return response


def local_path(target: str) -> str:
    """Return a path of the console; any other address becomes its first page, so that no link leads elsewhere."""
    inside = target == HOME or target.startswith((f"{HOME}/", f"{HOME}?"))
    return target if inside and target.isprintable() and "\\" not in target else HOME


def _ended() -> Problem:
    return Problem(404, "", "This link has been used or has ended. `firsthour console-link` makes a new one.")
