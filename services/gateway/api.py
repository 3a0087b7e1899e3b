"""The gateway's paths as the documentation shows them. They are answered in front of the framework, by `asgi.Gateway`."""

from typing import Any, Final

from fastapi import APIRouter

from firsthour.runtime.http.problem import Problem
from firsthour.runtime.processing.service import Resources
from schemas.http import ProblemItem, ResponseModel
from services.gateway import shapes

_TEXT: Final = {"type": "string", "minLength": 1}
_IDEMPOTENCY: Final = {
    "in": "header",
    "name": "Idempotency-Key",
    "required": False,
    "schema": shapes.IDEMPOTENCY_KEY,
    "description": "At most 255 characters. The same request under it is answered again for 24 hours, not done again.",
}


_FORM_RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    202: {"content": {"text/html": {"schema": _TEXT}}, "description": "Taken. A browser sees a page."},
    303: {"description": "Taken. A browser goes on to `_redirect` or to the page of the source."},
}


class AcceptedResponse(ResponseModel):
    """Kept durably. `ids` are your own where you gave them.

    The other members are there when items of a webhook's list could not be mapped: how many were taken and how many
    kept, under which dead letters, and the mistakes in them.
    """

    ids: list[str]
    taken: int | None = None
    kept: int | None = None
    dead_letters: list[str] | None = None
    errors: list[ProblemItem] | None = None


def router(resources: Resources) -> APIRouter:
    """The routes, for `/docs` and for 405 on other methods."""
    api = APIRouter(tags=["events in"])
    _show(
        api,
        "/v1/events",
        "Events: our short form (one, or a list), or CloudEvents (structured, binary or batch). Needs a key; "
        "its role or its source decides which types it may send.",
        {
            "application/json": {"schema": shapes.ONE_OR_MORE},
            "application/cloudevents+json": {"schema": shapes.CLOUDEVENT},
            "application/cloudevents-batch+json": {"schema": shapes.CLOUDEVENTS},
        },
        [_IDEMPOTENCY],
    )
    _show(
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
    _show(
        api,
        "/hooks/{source}",
        "A vendor's webhook, signed as `sources.yaml` says, and mapped by it.",
        {"application/json": {"schema": {}}},
        [_path("source")],
    )
    return api


def _path(name: str) -> dict[str, Any]:
    return {"in": "path", "name": name, "required": True, "schema": _TEXT}


def _show(
    api: APIRouter,
    path: str,
    summary: str,
    content: dict[str, Any],
    parameters: list[dict[str, Any]],
    responses: dict[int | str, dict[str, Any]] | None = None,
) -> None:
    api.add_api_route(
        path,
        _not_here,
        methods=["POST"],
        status_code=202,
        response_model=AcceptedResponse,
        responses=responses,
        summary=summary,
        operation_id=f"post{path.replace('/', '_').replace('{', '').replace('}', '')}",
        openapi_extra={"requestBody": {"required": True, "content": content}, "parameters": parameters},
    )


async def _not_here() -> AcceptedResponse:
    raise Problem(503, "Gateway not in front", "This process answers no events; send them to a gateway.")
