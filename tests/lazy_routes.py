"""FastAPI builds a route, and the validators of its parameters and answers, when a request or `/openapi.json` first needs it.

A whole system has more than fifty routes. Hundreds of tests open one or several systems, and most of them use a few routes.
Real processes build everything at their start, as do the tests of `/openapi.json`.
"""

import inspect
from collections.abc import Callable
from functools import cache, cached_property
from types import CodeType, FunctionType
from typing import Any, Final

from fastapi import routing
from fastapi._compat.v2 import ModelField
from fastapi._form_limits import _validate_form_limits
from fastapi.dependencies import models
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
_DEFAULTS: Final = {
    option.name: option.default
    for option in inspect.signature(_build_route).parameters.values()
    if option.kind is inspect.Parameter.KEYWORD_ONLY
}
_KINDS: Final = ("_is_gen_callable_cached", "_is_async_gen_callable_cached", "_is_coroutine_callable_cached")


def _adapter(field: ModelField) -> TypeAdapter[Any]:
    _build_field(field)
    adapter: TypeAdapter[Any] = vars(field)[_ATTRIBUTE]
    return adapter


def _remember(route: APIRoute, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
    """Keep the options. They suffice to build the route of an application that includes this one."""
    given = {**_DEFAULTS, **options}
    given["name"] = given["name"] or get_name(endpoint)
    given["methods"] = {method.upper() for method in given["methods"] or ("GET",)}
    given["form_limits"] = _validate_form_limits(given["form_limits"])
    for name, type_ in (("tags", list), ("dependencies", list), ("responses", dict)):
        given[name] = type_(given[name] or ())
    vars(route).update(given, path=path, endpoint=endpoint, stream_item_type=None)
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

    starlette_route: Final = None  # it is a route of FastAPI; read at each inclusion, which shall not build it

    def __init__(self, original_route: APIRoute, include_context: Any) -> None:
        self.original_route, self._include = original_route, include_context
        self.path, self.name = include_context.path_for(original_route), original_route.name  # read at each inclusion
        self._regex = _path_regex(self.path)

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


def _by_code(kind_of: Callable[[Any], bool]) -> Callable[[Any], bool]:
    """Return a function that looks at each code once.

    That of the framework keeps thousands of functions, and with each everything of the system that it is part of.
    """
    kinds: dict[CodeType, bool] = {}

    def kind(identity: Any) -> bool:
        call = identity.call
        if type(call) is not FunctionType or hasattr(call, "__wrapped__"):
            return kind_of(identity)
        code = call.__code__
        if code not in kinds:
            kinds[code] = kind_of(identity)
        return kinds[code]

    return kind


def install() -> None:
    """Change FastAPI in this process."""
    attribute = cached_property(_adapter)
    attribute.__set_name__(ModelField, _ATTRIBUTE)
    setattr(ModelField, _ATTRIBUTE, attribute)
    ModelField.__post_init__ = lambda self: None  # type: ignore[method-assign]
    APIRoute.__init__ = _remember  # type: ignore[method-assign,assignment]
    APIRoute.__getattr__ = _attribute  # type: ignore[attr-defined]
    routing._EffectiveRouteContext.from_api_route = LazyContext  # type: ignore[assignment]
    for name in _KINDS:
        setattr(models, name, _by_code(getattr(models, name).__wrapped__))
