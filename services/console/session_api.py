"""The routes of sessions in the HTTP interface: one-time links, and the list of sessions."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse

from firsthour.runtime.http.audit_trail import name_target
from firsthour.runtime.http.auth import needs
from firsthour.runtime.http.principal import Principal
from firsthour.runtime.http.problem import FieldFault, Problem
from firsthour.runtime.processing.service import Resources
from schemas.http import Name, RequestModel
from services.console import sessions
from services.console.sessions import LINK_LASTS, Session, SignInLink
from services.console.viewer import Viewers, holder_of

Admin = Annotated[Principal, Depends(needs("admin"))]


class LinkBody(RequestModel):
    """A one-time link to the console."""

    role: Literal["marketing", "sales", "manager", "admin"]
    rep: Name | None = None
    """The session acts as this rep, an id of team.yaml."""


def session_router(resources: Resources, viewers: Viewers) -> APIRouter:
    """Return the routes."""
    api = APIRouter(tags=["console"])

    @api.post("/v1/console-links", status_code=201)
    async def create_link(body: LinkBody, request: Request, principal: Admin) -> JSONResponse:
        """Create a one-time link that signs a person in to the console. It is shown once, and lasts for 15 minutes.

        The link and its session end when the key that made it is revoked or expires.
        """
        reps = resources.config.current.team.rep_by_id
        if body.rep is not None and body.rep not in reps:
            fault = FieldFault(
                pointer="#/rep", detail=f"there is no rep {body.rep!r} in team.yaml; use an id of that file"
            )
            raise Problem(422, "Unknown rep", f"`rep`: {fault['detail']}.", [fault])
        name = reps[body.rep].name if body.rep is not None else holder_of(principal)
        name_target(request, body.rep or body.role)
        now = resources.clock.real()
        granted = SignInLink(name, body.role, body.rep, principal.id)
        token = await resources.units.run(lambda unit: sessions.create_link(unit.connection, granted, now))
        url = f"{resources.settings.public_url.rstrip('/')}/console/enter/{token}"
        return JSONResponse(
            {"url": url, "expires_at": (now + LINK_LASTS).isoformat(), "role": body.role, "rep": body.rep}, 201
        )

    @api.get("/v1/sessions")
    async def list_sessions(principal: Admin) -> dict[str, Any]:
        """List the sessions of the console, the last used first."""
        return {"items": [shown(session) for session in await viewers.valid_sessions()], "next": None}

    @api.delete("/v1/sessions/{id}")
    async def end_session(id: str, principal: Admin) -> dict[str, Any]:
        """End a session: its browser has to sign in again."""
        if not await resources.units.run(lambda unit: sessions.end(unit.connection, id)):
            raise Problem(404, "Unknown session", f"There is no session with the id {id!r}; it may have ended.")
        return {"id": id, "ended": True}

    return api


def shown(session: Session) -> dict[str, Any]:
    """Return a session as the interface shows it: without its token."""
    return {
        "id": session.id,
        "name": session.name,
        "role": session.role,
        "rep": session.rep,
        "agent": session.agent,
        "created_at": session.created_at.isoformat(),
        "expires_at": session.expires_at.isoformat(),
        "used_at": session.used_at.isoformat(),
    }
