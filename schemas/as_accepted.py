"""Reads a stored configuration as it was accepted, also if a later release refuses a part of it in a new file.

What is valid today is read as usual. A mapping that is not is read field by field, and the checks that it fails are left
out: the values keep their types.
"""

import json
from collections.abc import Mapping
from datetime import timedelta
from types import NoneType, UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel, TypeAdapter, ValidationError

from schemas.values import duration

S = TypeVar("S", bound=BaseModel)
_NO_EXTRA: Mapping[str, Any] = {}


def read_as_accepted(shape: type[S], text: str) -> S:
    """Return the configuration in this JSON. Raises `ValueError` if it has another form than the shape."""
    try:
        return shape.model_validate_json(text)
    except ValidationError:
        read: S = _part(shape, json.loads(text))
        return read


def _part(wanted: Any, value: Any) -> Any:
    """Return the value as the type that is wanted. Raises `ValueError` if it has another form."""
    try:
        return TypeAdapter(wanted).validate_python(value)
    except ValidationError as failure:
        return _unchecked(wanted, value, failure)


def _unchecked(wanted: Any, value: Any, failure: ValidationError) -> Any:
    origin, arguments = get_origin(wanted), get_args(wanted)
    if origin is Annotated:
        return _part(arguments[0], value)
    if origin in (Union, UnionType):
        return _first_fitting([one for one in arguments if one is not NoneType], value, failure)
    if isinstance(value, list) and origin in (tuple, list):
        return origin(_part(arguments[0], one) for one in value)
    if isinstance(value, dict) and origin in (dict, Mapping):
        return {key: _part(arguments[1], one) for key, one in value.items()}
    if isinstance(wanted, type) and issubclass(wanted, BaseModel) and isinstance(value, dict):
        return _shape(wanted, value)
    if wanted is timedelta:
        return duration(value)
    raise failure


def _first_fitting(wanted: list[Any], value: Any, failure: ValidationError) -> Any:
    for one in wanted:
        try:
            return _part(one, value)
        except ValueError:
            continue
    raise failure


def _shape(shape: type[BaseModel], value: Mapping[str, Any]) -> BaseModel:
    """Return the mapping, field by field. A field that the shape does not name is read as its other fields are."""
    fields: dict[str, Any] = {}
    rest = dict(value)
    for name, field in shape.model_fields.items():
        for key in (field.alias, name):
            if key is not None and key in rest:
                wanted = Annotated[(field.annotation, *field.metadata)] if field.metadata else field.annotation
                fields[name] = _part(wanted, rest.pop(key))
                break
        else:
            if field.is_required():
                raise ValueError(f"{shape.__name__} lacks {name}")
    if shape.model_config.get("extra") == "allow":
        extra = get_args(get_type_hints(shape).get("__pydantic_extra__", _NO_EXTRA))
        fields |= {key: _part(extra[1], one) if len(extra) > 1 else one for key, one in rest.items()}
    return shape.model_construct(**fields)
