"""The bodies that the gateway takes, as JSON Schema.

The gateway takes more: a malformed identifier beside one that can be used is kept under another name. `format: phone`
is a possible number in E.164.
"""

from typing import Any, Final

from firsthour.runtime.http.idempotency import KEY_SHAPE
from schemas.events import ABOUT_NO_LEAD, OUTSIDE_TYPES
from schemas.http import NOT_BLANK
from services.gateway.domain.coerce import INT_MAX
from services.gateway.domain.facts import FIELDS_MAX, NAME_MAX
from services.gateway.domain.mapping import ID_MAX

Shape = dict[str, Any]

TEXT: Final[Shape] = {"type": "string", "maxLength": ID_MAX}
EMAIL: Final[Shape] = {"type": "string", "format": "email", "maxLength": 254}
PHONE: Final[Shape] = {"type": "string", "format": "phone"}
OWN_ID: Final[Shape] = {"type": "string", "pattern": NOT_BLANK, "maxLength": ID_MAX}
SCALAR: Final[list[Shape]] = [
    {"type": "string"},
    {"type": "boolean"},
    {"type": "null"},
    {"type": "number", "minimum": -INT_MAX, "maximum": INT_MAX},
]


def _nested(depth: int) -> Shape:
    """A value of a field: a scalar, a list of them, or an object of fields."""
    if not depth:
        return {"anyOf": SCALAR}
    lists = {"type": "array", "items": {"anyOf": SCALAR}}
    return {"anyOf": [*SCALAR, lists, {"type": "object", "additionalProperties": _nested(depth - 1)}]}


DATA: Final[Shape] = {
    "type": "object",
    "description": "The person (name, title, company, utm ...) and the event's own fields: at most 200 in all.",
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


def _one_of_them(*identifiers: tuple[str, Shape]) -> list[Shape]:
    """At least one identifier that can be used."""
    return [{"required": [name], "properties": {name: shape}} for name, shape in identifiers]


_ANY: Final = (("email", EMAIL), ("phone", PHONE), ("crm_id", OWN_ID), ("anonymous_id", OWN_ID))
EVENT: Final[Shape] = {
    "type": "object",
    "title": "Event",
    "required": ["id", "type"],
    "additionalProperties": False,
    "properties": {
        "id": {
            **TEXT,
            "minLength": 1,
            "description": "Yours; the same again when you retry, which makes a retry harmless.",
        },
        "type": TYPE,
        "time": {
            "type": "string",
            "format": "date-time",
            "description": "When it happened; now, when left out. A date alone is taken as the end of that day.",
        },
        "email": {**TEXT, "description": "Whose event it is: this, or one of the next three."},
        "phone": {**TEXT, "description": "E.164, or national beside a `country` in `data`."},
        "crm_id": TEXT,
        "anonymous_id": TEXT,
        "source": {**TEXT, "description": "Tells apart senders that share a key and number their events alike."},
        "data": DATA,
    },
    "anyOf": [*_one_of_them(*_ANY), {"properties": {"type": {"enum": sorted(ABOUT_NO_LEAD)}}}],
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
        "data": {**DATA, "anyOf": _one_of_them(*_ANY)},
    },
    "additionalProperties": {"anyOf": SCALAR},
    "not": {"required": ["data_base64"]},
}
CLOUDEVENTS: Final[Shape] = {"type": "array", "items": CLOUDEVENT, "maxItems": 100}
FORM: Final[Shape] = {
    "type": "object",
    "description": "`email` or `phone`; name, title, company, employees, utm_source ...; other fields are kept as custom ones.",
    "properties": {"email": TEXT, "phone": TEXT, "_id": TEXT, "_redirect": {"type": "string"}},
    "additionalProperties": _nested(2),
    "maxProperties": FIELDS_MAX,
    "anyOf": _one_of_them(("email", EMAIL), ("phone", PHONE)),
}
IDEMPOTENCY_KEY: Final[Shape] = {"type": "string", **KEY_SHAPE}
