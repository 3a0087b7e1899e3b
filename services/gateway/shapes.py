"""The bodies that the gateway accepts, as JSON Schema.

The gateway accepts more: it keeps a malformed identifier under another name if the body has a valid one too.
`format: phone` is a possible number in E.164.
"""

from collections.abc import Mapping
from typing import Any, Final

from firsthour.runtime.http.idempotency import KEY_SHAPE
from schemas.events.outside import ABOUT_NO_LEAD, OUTSIDE_TYPES
from schemas.http import NOT_BLANK
from services.gateway.domain.coerce import INT_MAX
from services.gateway.domain.facts import FIELDS_MAX, NAME_MAX
from services.gateway.domain.identifiers import ID_MAX, PLACEHOLDER

Shape = dict[str, Any]

TEXT: Final[Shape] = {"type": "string", "maxLength": ID_MAX}
EMAIL: Final[Shape] = {"type": "string", "format": "email", "maxLength": 254}
PHONE: Final[Shape] = {"type": "string", "format": "phone"}
OWN_ID: Final[Shape] = {"type": "string", "pattern": NOT_BLANK, "maxLength": ID_MAX}
PERSON_ID: Final[Shape] = {**OWN_ID, "not": {"pattern": PLACEHOLDER}}
SCALAR: Final[list[Shape]] = [
    {"type": "string"},
    {"type": "boolean"},
    {"type": "null"},
    {"type": "number", "minimum": -INT_MAX, "maximum": INT_MAX},
]


def _nested(depth: int) -> Shape:
    """Return the schema of a field: a scalar, a list of scalars, or an object of fields."""
    if not depth:
        return {"anyOf": SCALAR}
    lists = {"type": "array", "items": {"anyOf": SCALAR}}
    return {"anyOf": [*SCALAR, lists, {"type": "object", "additionalProperties": _nested(depth - 1)}]}


DATA: Final[Shape] = {
    "type": "object",
    "description": "Facts about the person (name, title, company, utm ...) and the event's own fields: at most 200 in all.",
    "additionalProperties": _nested(2),
    "maxProperties": FIELDS_MAX,
}
TYPE: Final[Shape] = {
    "type": "string",
    "anyOf": [
        {"enum": list(OUTSIDE_TYPES)},
        {"pattern": f"^custom\\.[A-Za-z0-9._-]{{0,{NAME_MAX - 1}}}[A-Za-z0-9]$"},
    ],
    "description": "One of the types, or `custom.<name>`.",
}


def _any_identifier(*identifiers: tuple[str, Shape]) -> list[Shape]:
    """Return schemas of which one must hold: at least one identifier is valid."""
    return [{"required": [name], "properties": {name: shape}} for name, shape in identifiers]


_ANY: Final = (("email", EMAIL), ("phone", PHONE), ("crm_id", PERSON_ID), ("anonymous_id", PERSON_ID))
EVENT: Final[Shape] = {
    "type": "object",
    "title": "Event",
    "required": ["id", "type"],
    "additionalProperties": False,
    "properties": {
        "id": {
            **TEXT,
            "minLength": 1,
            "description": "The sender's own id. A retry with the same id has no further effect.",
        },
        "type": TYPE,
        "time": {
            "type": "string",
            "format": "date-time",
            "description": "When the event happened. Default: now. A date without a time means the end of that day.",
        },
        "email": {**TEXT, "description": "The person of the event: this field, or one of the next three."},
        "phone": {**TEXT, "description": "E.164, or national if `data` has a `country`."},
        "crm_id": TEXT,
        "anonymous_id": TEXT,
        "source": {**TEXT, "description": "Distinguishes senders that share a key and use the same ids."},
        "data": DATA,
    },
    "anyOf": [*_any_identifier(*_ANY), {"properties": {"type": {"enum": sorted(ABOUT_NO_LEAD)}}}],
}
ONE_OR_MORE: Final[Shape] = {"oneOf": [EVENT, {"type": "array", "items": EVENT, "maxItems": 100}]}
CLOUDEVENT: Final[Shape] = {
    "type": "object",
    "title": "CloudEvent",
    "required": ["specversion", "id", "source", "type", "data"],
    "properties": {
        "specversion": {"const": "1.0"},
        "id": {**TEXT, "minLength": 1},
        "source": {**TEXT, "minLength": 1},
        "type": TYPE,
        "time": {"type": "string", "format": "date-time"},
        "subject": {"type": "string"},
        "data": {**DATA, "anyOf": _any_identifier(*_ANY)},
    },
    "additionalProperties": {"anyOf": SCALAR},
    "not": {"required": ["data_base64"]},
}
CLOUDEVENTS: Final[Shape] = {"type": "array", "items": CLOUDEVENT, "maxItems": 100}
FORM: Final[Shape] = {
    "type": "object",
    "description": "`email` or `phone`; name, title, company, employees, utm_source ...; other fields become custom facts.",
    "properties": {"email": TEXT, "phone": TEXT, "_id": TEXT, "_redirect": {"type": "string"}},
    "additionalProperties": _nested(2),
    "maxProperties": FIELDS_MAX,
    "anyOf": _any_identifier(("email", EMAIL), ("phone", PHONE)),
}
_CALL: Final[Shape] = {
    "messageId": {**TEXT, "description": "The id of the call. A repeated one has no further effect."},
    "anonymousId": PERSON_ID,
    "userId": {**TEXT, "description": "An address is the person's email address."},
    "timestamp": {"type": "string", "format": "date-time"},
}
_BY_CALL: Final[Mapping[str, tuple[Shape, tuple[str, ...]]]] = {
    "identify": ({"traits": DATA}, ()),
    "track": ({"event": OWN_ID, "properties": DATA}, ("event",)),
    "page": ({"name": TEXT, "properties": DATA}, ()),
    "screen": ({"name": TEXT, "properties": DATA}, ()),
    "group": ({"groupId": TEXT, "traits": DATA}, ()),
    "alias": ({"previousId": PERSON_ID}, ("previousId",)),
}
"""The fields of each call of the tracking API, and those of them that are required."""


def call(name: str, *, typed: bool = False) -> Shape:
    """Return the schema of a call. `typed`: it is an item of a batch, whose `type` names it."""
    fields, required = _BY_CALL[name]
    kind: Shape = {"type": {"const": name}} if typed else {}
    return {
        "type": "object",
        "title": name,
        "required": ["anonymousId", *required, *kind],
        "properties": {**_CALL, **fields, **kind},
    }


CALL_BATCH: Final[Shape] = {
    "type": "object",
    "required": ["batch"],
    "properties": {
        "batch": {"type": "array", "maxItems": 100, "items": {"oneOf": [call(name, typed=True) for name in _BY_CALL]}},
        "sentAt": {"type": "string", "format": "date-time"},
    },
}
IDEMPOTENCY_KEY: Final[Shape] = {"type": "string", **KEY_SHAPE}
