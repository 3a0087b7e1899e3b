"""The field type of a condition in the models of the configuration files."""

from typing import Annotated, Any

from pydantic import PlainSerializer, PlainValidator, ValidationInfo, WithJsonSchema

from schemas.conditions.fields import FIELDS, OPS
from schemas.conditions.parser import parse
from schemas.conditions.tree import Node, plain


def _validate(raw: object, info: ValidationInfo) -> Node:
    return parse(raw, of_event=bool((info.data or {}).get("on")))


_SCALAR = {"type": ["string", "number", "boolean"]}
_TEST = {
    "anyOf": [
        _SCALAR,
        {"type": "object", "properties": {op: {} for op in OPS}, "additionalProperties": False, "minProperties": 1},
    ]
}
_SCHEMA = {
    "type": "object",
    "description": "Conditions on fields, all of which must hold: {field: value} or {field: {op: value}}; all, any, not.",
    "properties": {
        "all": {"type": "array", "items": {"type": "object"}, "minItems": 1},
        "any": {"type": "array", "items": {"type": "object"}, "minItems": 1},
        "not": {"type": "object"},
        **{field: {} for field in FIELDS},
    },
    "patternProperties": {"^(?!(all|any|not)$)": _TEST},
}

Condition = Annotated[
    Node, PlainValidator(_validate), PlainSerializer(plain, return_type=dict[str, Any]), WithJsonSchema(_SCHEMA)
]
"""A field with a condition. If the model also has the field `on`, the condition may name fields of the event."""
