"""The paths of the gateway for `/docs`. `asgi.Gateway` answers their requests in front of the framework."""

from typing import Any, Final

from fastapi import APIRouter

from firsthour.runtime.http.problem import Problem
from firsthour.runtime.processing.service import Resources
from schemas.http import ProblemItem, ResponseModel
from services.gateway import shapes
from services.gateway.domain.segment import CALLS
from services.gateway.quarantine_api import add_quarantine_routes
from services.gateway.source_api import TrialEffects, add_source_routes, no_effects

_TEXT: Final = {"type": "string", "minLength": 1}
_IDEMPOTENCY: Final = {
    "in": "header",
    "name": "Idempotency-Key",
    "required": False,
    "schema": shapes.IDEMPOTENCY_KEY,
    "description": "At most 255 characters. For 24 hours, the same request with this key gets the stored answer.",
}


_WAIT: Final = {
    "in": "query",
    "name": "wait",
    "required": False,
    "schema": {"type": "string", "pattern": r"^([0-9](\.[0-9]{1,3})?|10)s?$"},
    "description": "Seconds, 10 at most: the answer waits for the effect of one event, and is 200 if it is known by then. For "
    "keys of marketing, sales, manager and admin, and for webhooks of a source with `answers: true`, where a value that is no "
    "time does not wait.",
}
_FORM_RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    202: {"content": {"text/html": {"schema": _TEXT}}, "description": "Accepted. A browser sees a page."},
    303: {"description": "Accepted. A browser is redirected to `_redirect` or to the page of the source."},
}


class AcceptedResponse(ResponseModel):
    """The events are stored durably. `ids` are the sender's own ids where it sent any.

    The other members are present if some items of a webhook's list could not be mapped. `taken`: the number of events.
    `kept`: the number of rejected items, which are kept under `dead_letters`. `errors`: the faults in them.
    """

    ids: list[str]
    taken: int | None = None
    kept: int | None = None
    dead_letters: list[str] | None = None
    errors: list[ProblemItem] | None = None


class EffectOwner(ResponseModel):
    """The owner of the lead."""

    id: str
    name: str
    email: str | None


class EffectResponse(ResponseModel):
    """The effect of one event, if it is known within the time of `wait`. `owner`: null: none yet. `score`: the total."""

    ids: list[str]
    lead_id: str
    status: str
    score: float
    grade: str | None
    owner: EffectOwner | None


class CallAccepted(ResponseModel):
    """Every call is stored, or kept as a dead letter."""

    success: bool


class CallRefused(ResponseModel):
    """An error as the libraries of Segment and RudderStack read it."""

    success: bool
    code: str
    message: str


_EFFECT: Final[dict[int | str, dict[str, Any]]] = {
    200: {"model": EffectResponse, "description": "The effect of the event is known (`wait`)."}
}


def router(resources: Resources, effects: TrialEffects = no_effects) -> APIRouter:
    """Return the routes. They document the paths, and answer 405 to other methods."""
    api = APIRouter(tags=["events in"])
    _add_route(
        api,
        "/v1/events",
        "Events: the short form (one, or a list), or CloudEvents (structured, binary or batch). Needs an API key, "
        "whose role or source defines the types that it may send.",
        {
            "application/json": {"schema": shapes.ONE_OR_MORE},
            "application/cloudevents+json": {"schema": shapes.CLOUDEVENT},
            "application/cloudevents-batch+json": {"schema": shapes.CLOUDEVENTS},
        },
        [_IDEMPOTENCY, _WAIT],
        _EFFECT,
    )
    _add_route(
        api,
        "/v1/forms/{form}",
        "A submitted web form of a `kind: form` source. Needs no key.",
        {
            media: {"schema": shapes.FORM}
            for media in ("application/x-www-form-urlencoded", "multipart/form-data", "application/json")
        },
        [_path("form"), _IDEMPOTENCY],
        _FORM_RESPONSES,
    )
    _add_route(
        api,
        "/hooks/{source}",
        "A vendor's webhook. `sources.yaml` defines its signature and its mapping.",
        {"application/json": {"schema": {}}},
        [_path("source"), _WAIT],
        _EFFECT,
    )
    for name in CALLS:
        _add_call(api, f"/v1/{name}", shapes.call(name))
    _add_call(api, "/v1/batch", shapes.CALL_BATCH)
    add_source_routes(api, resources, effects)
    add_quarantine_routes(api, resources)
    return api


def _add_call(api: APIRouter, path: str, shape: dict[str, Any]) -> None:
    """Document a path of the tracking API, whose errors have a form of their own."""
    api.add_api_route(
        path,
        _no_gateway,
        methods=["POST"],
        response_model=CallAccepted,
        responses={"default": {"model": CallRefused, "description": "Refused"}},
        summary="A call of Segment's or RudderStack's libraries. The write key is an API key, by HTTP Basic or in `writeKey`.",
        operation_id=f"post{path.replace('/', '_')}",
        openapi_extra={"requestBody": {"required": True, "content": {"application/json": {"schema": shape}}}},
    )


def _path(name: str) -> dict[str, Any]:
    return {"in": "path", "name": name, "required": True, "schema": _TEXT}


def _add_route(
    api: APIRouter,
    path: str,
    summary: str,
    content: dict[str, Any],
    parameters: list[dict[str, Any]],
    responses: dict[int | str, dict[str, Any]] | None = None,
) -> None:
    api.add_api_route(
        path,
        _no_gateway,
        methods=["POST"],
        status_code=202,
        response_model=AcceptedResponse,
        responses=responses,
        summary=summary,
        operation_id=f"post{path.replace('/', '_').replace('{', '').replace('}', '')}",
        openapi_extra={"requestBody": {"required": True, "content": content}, "parameters": parameters},
    )


async def _no_gateway() -> AcceptedResponse:
    raise Problem(503, "No gateway", "This process does not accept events. Send them to a gateway.")
