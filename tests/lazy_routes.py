"""FastAPI builds a route, and the validators of its parameters and answers, when a request or `/openapi.json` first needs it.

A whole system has more than fifty routes. Hundreds of tests open one or several systems, and most of them use a few routes.
Real processes build everything at their start, as do the tests of `/openapi.json`.
"""

from collections.abc import Callable
from functools import cache, cached_property
from typing import Any, Final

from fastapi import routing
from fastapi._compat.v2 import ModelField
from fastapi.routing import APIRoute
from pydantic import TypeAdapter
from starlette._utils import get_route_path
from starlette.routing import Match, compile_path, get_name
from starlette.types import Scope

_ATTRIBUTE: Final = "_type_adapter"
_OPTIONS: Final = "_options"
_build_field = ModelField.__post_init__
_build_route = APIRoute.__init__
_build_context = routing._EffectiveRouteContext.from_api_route
_path_regex = cache(lambda path: compile_path(path)[0])


def _adapter(field: ModelField) -> TypeAdapter[Any]:
    _build_field(field)
    adapter: TypeAdapter[Any] = vars(field)[_ATTRIBUTE]
    return adapter


def _remember(route: APIRoute, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
    route.path, route.name = path, options.get("name") or get_name(endpoint)  # read when it is added to an application
    vars(route)[_OPTIONS] = (path, endpoint, options)


def _attribute(route: APIRoute, name: str) -> Any:
    """Build the route, and return an attribute that it did not have before."""
    built_from = vars(route).pop(_OPTIONS, None)
    if built_from is None:
        raise AttributeError(name)
    path, endpoint, options = built_from
    _build_route(route, path, endpoint, **options)
    return getattr(route, name)


class LazyContext:
    """A route inside an application. It is built when a request has its path."""

    def __init__(self, original_route: APIRoute, include_context: Any) -> None:
        self.original_route, self._include = original_route, include_context
        self._regex = _path_regex(include_context.path_for(original_route))

    @cached_property
    def _context(self) -> Any:
        return _build_context(original_route=self.original_route, include_context=self._include)

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        if scope["type"] == "http" and not self._regex.match(get_route_path(scope)):
            return Match.NONE, {}
        match: tuple[Match, Scope] = self._context.matches(scope)
        return match

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)


def install() -> None:
    """Change FastAPI in this process."""
    attribute = cached_property(_adapter)
    attribute.__set_name__(ModelField, _ATTRIBUTE)
    setattr(ModelField, _ATTRIBUTE, attribute)
    ModelField.__post_init__ = lambda self: None  # type: ignore[method-assign]
    APIRoute.__init__ = _remember  # type: ignore[method-assign,assignment]
    APIRoute.__getattr__ = _attribute  # type: ignore[attr-defined]
    routing._EffectiveRouteContext.from_api_route = LazyContext  # type: ignore[assignment]
