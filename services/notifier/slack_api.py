"""`POST /slack/interactions` and `POST /slack/commands`: requests of people in Slack, verified over the raw bytes."""

from typing import Any, Final

from fastapi import APIRouter, Request, Response

from firsthour.runtime.http.problem import Problem
from firsthour.runtime.http.signatures import SlackSignature
from firsthour.runtime.processing.service import Resources
from firsthour.runtime.settings import PREFIX
from services.notifier.context import NotifierContext
from services.notifier.domain.slack_request import UnreadableRequestError
from services.notifier.slack_desk import desk_of

_UNSET = f"Slack is not set up here; set {PREFIX}SLACK_BOT_TOKEN and {PREFIX}SLACK_SIGNING_SECRET."
_FORGED = "The signature does not hold, or the request is older than five minutes; check the signing secret of the app."

NOT_SET_UP: Final[dict[int | str, dict[str, Any]]] = {503: {"description": "Slack is not set up here"}}


def slack_router(resources: Resources, context: NotifierContext) -> APIRouter:
    """Return the routes that Slack calls."""
    api = APIRouter(tags=["slack"])
    desk = desk_of(resources, context)

    @api.post("/slack/interactions", responses=NOT_SET_UP)
    async def interactions(request: Request) -> Response:
        """A click or a dialog in Slack, as Slack sends it. The answer is for Slack."""
        body = await _verified(request, resources)
        try:
            return _answer(await desk.interaction(body))
        except UnreadableRequestError as error:
            raise Problem(400, "Invalid request", f"This is no request of Slack: {error}.") from None

    @api.post("/slack/commands", responses=NOT_SET_UP)
    async def commands(request: Request) -> Response:
        """A slash command in Slack, as Slack sends it: `/away [until]`, `/back` or `/leads`."""
        body = await _verified(request, resources)
        try:
            return _answer(await desk.command(body))
        except UnreadableRequestError as error:
            raise Problem(400, "Invalid request", f"This is no request of Slack: {error}.") from None

    return api


def _answer(body: bytes) -> Response:
    return Response(body, 200, media_type="application/json" if body else None)


async def _verified(request: Request, resources: Resources) -> bytes:
    """Return the raw body of a request that Slack signed. Raises `Problem`: 401, 503."""
    secret = resources.settings.slack_signing_secret
    if secret is None:
        raise Problem(503, "", _UNSET)
    body = await request.body()
    headers = dict(request.scope["headers"])
    if not SlackSignature(secret.get_secret_value().strip().encode()).holds(headers, body, resources.clock.real()):
        raise Problem(401, "", _FORGED)
    return body
