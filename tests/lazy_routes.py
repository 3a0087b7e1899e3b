"""FastAPI builds the validators of a parameter or an answer at their first use, not when a route is added.

A whole system has more than fifty routes, and hundreds of tests open one or several. Real processes build all validators at
their start, as do the tests of `/openapi.json`.
"""

from functools import cached_property
from typing import Any, Final

from fastapi._compat.v2 import ModelField
from pydantic import TypeAdapter

_ATTRIBUTE: Final = "_type_adapter"
_build = ModelField.__post_init__


def _adapter(field: ModelField) -> TypeAdapter[Any]:
    _build(field)
    adapter: TypeAdapter[Any] = vars(field)[_ATTRIBUTE]
    return adapter


def install() -> None:
    """Change FastAPI in this process."""
    attribute = cached_property(_adapter)
    attribute.__set_name__(ModelField, _ATTRIBUTE)
    setattr(ModelField, _ATTRIBUTE, attribute)
    ModelField.__post_init__ = lambda self: None  # type: ignore[method-assign]
