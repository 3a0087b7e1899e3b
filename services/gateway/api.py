"""The gateway's paths as the documentation shows them. They are answered in front of the framework, by `app.Gateway`."""

from typing import Any, Final

from fastapi import APIRouter

from schemas.events import OUTSIDE_TYPES
from schemas.http import Answer
from services.runtime.problem import Problem
from services.runtime.service import Resources

_TEXT: Final = {"type": "string"}
_EVENT: Final[dict[str, Any]] = {
    "type": "object",
    "title": "Event",
    "required": ["id", "type"],
    "additionalProperties": False,
    "properties": {
        "id": {**_TEXT, "description": "Yours; the same again when you retry, which makes a retry harmless."},
        "type": {
            **_TEXT,
            "description": "One of the types below, or `custom.<name>`.",
            "examples": list(OUTSIDE_TYPES),
        },
        "time": {**_TEXT, "format": "date-time", "description": "When it happened; now, when left out."},
        "email": {**_TEXT, "description": "Whose event it is: this, or one of the next three."},
        "phone": {**_TEXT, "description": "E.164, or national beside a `country` in `data`."},
        "crm_id": _TEXT,
        "anonymous_id": _TEXT,
        "source": {**_TEXT, "description": "Tells apart senders that share a key and number their events alike."},
        "data": {
            "type": "object",
            "description": "The person (name, title, company, utm ...) and the event's own fields.",
        },
    },
}
_FORM: Final[dict[str, Any]] = {
    "type": "object",
    "description": "`email` or `phone`; name, title, company, employees, utm_source ...; other fields are kept as custom ones.",
    "properties": {"email": _TEXT, "phone": _TEXT, "_id": _TEXT, "_redirect": _TEXT},
    "additionalProperties": True,
}
_IDEMPOTENCY: Final = {
    "in": "header",
    "name": "Idempotency-Key",
    "required": False,
    "schema": _TEXT,
    "description": "At most 255 characters. The same request under it is answered again for 24 hours, not done again.",
}
_ONE_OR_MORE: Final = {"oneOf": [_EVENT, {"type": "array", "items": _EVENT}]}


class Mistake(Answer):
    """Where an item could not be mapped, and why."""

    pointer: str
    detail: str


class Accepted(Answer):
    """Kept durably. `ids` are your own where you gave them.

    The other members are there when items of a webhook's list could not be mapped: how many were taken and how many
    kept, under which dead letters, and what is wrong with them.
    """

    ids: list[str]
    taken: int | None = None
    kept: int | None = None
    dead_letters: list[str] | None = None
    errors: list[Mistake] | None = None


def router(resources: Resources) -> APIRouter:
    """The routes, for `/docs` and for 405 on other methods."""
    api = APIRouter(tags=["events in"])
    _show(
        api,
        "/v1/events",
        "Events: our short form (one, or a list), or CloudEvents (structured, binary or batch). Needs a key; "
        "its role or its source decides which types it may send.",
        {
            "application/json": {"schema": _ONE_OR_MORE},
            "application/cloudevents+json": {"schema": {"type": "object"}},
            "application/cloudevents-batch+json": {"schema": {"type": "array", "items": {"type": "object"}}},
        },
        [_IDEMPOTENCY],
    )
    _show(
        api,
        "/v1/forms/{form}",
        "A submitted web form of a `kind: form` source. Needs no key.",
        {
            media: {"schema": _FORM}
            for media in ("application/x-www-form-urlencoded", "multipart/form-data", "application/json")
        },
        [_path("form"), _IDEMPOTENCY],
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


def _show(api: APIRouter, path: str, summary: str, content: dict[str, Any], parameters: list[dict[str, Any]]) -> None:
    api.add_api_route(
        path,
        _not_here,
        methods=["POST"],
        status_code=202,
        response_model=Accepted,
        summary=summary,
        operation_id=f"post{path.replace('/', '_').replace('{', '').replace('}', '')}",
        openapi_extra={"requestBody": {"required": True, "content": content}, "parameters": parameters},
    )


async def _not_here() -> Accepted:
    raise Problem(503, "Gateway not in front", "This process answers no events; send them to a gateway.")
