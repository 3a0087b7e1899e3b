"""Compiles the expressions of `sources.yaml`: JMESPath, with the functions of `schemas/mapping_functions.py`."""

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

import jmespath
import msgspec
from jmespath import functions

from services.gateway.domain import coerce
from services.gateway.domain.coerce import Json

_PAIRS_MAX: Final = 1_000
_COMPARABLE: Final = frozenset({int, float, str})
_ORDERS: Final[Mapping[str, Callable[[Any, float], bool]]] = {
    "lt": operator.lt,
    "lte": operator.le,
    "gt": operator.gt,
    "gte": operator.ge,
}


class Expression(Protocol):
    """Selects a value in a body."""

    def search(self, value: Any) -> Any: ...


@dataclass(frozen=True, slots=True)
class FieldPath:
    """A path of fields (`company.name`), as most expressions are. The JMESPath interpreter takes ten times as long."""

    names: tuple[str, ...]

    def search(self, value: Any) -> Any:
        for name in self.names:
            if type(value) is not dict:
                return None
            value = value.get(name)
        return value


@dataclass(frozen=True, slots=True)
class FieldName:
    """A field of the body itself, the most frequent path."""

    name: str

    def search(self, value: Any) -> Any:
        return value.get(self.name) if type(value) is dict else None


@dataclass(frozen=True, slots=True)
class Constant:
    """A literal."""

    value: Any

    def search(self, value: Any) -> Any:
        return self.value


@dataclass(frozen=True, slots=True)
class IsText:
    """A comparison with a text, as most conditions are."""

    part: Expression
    text: str
    equal: bool

    def search(self, value: Any) -> Any:
        return (self.part.search(value) == self.text) is self.equal


@dataclass(frozen=True, slots=True)
class IsOrdered:
    """A comparison of sizes with a number. It raises `TypeError` for a text, and is null for other values."""

    part: Expression
    number: float
    compare: Callable[[Any, float], bool]

    def search(self, value: Any) -> Any:
        size = self.part.search(value)
        return self.compare(size, self.number) if type(size) in _COMPARABLE else None


@dataclass(frozen=True, slots=True)
class Both:
    """`&&`: the first value if it is false, otherwise the second one."""

    first: Expression
    second: Expression

    def search(self, value: Any) -> Any:
        first = self.first.search(value)
        return self.second.search(value) if is_true(first) else first


@dataclass(frozen=True, slots=True)
class Either:
    """`||`: the first value if it is true, otherwise the second one."""

    first: Expression
    second: Expression

    def search(self, value: Any) -> Any:
        first = self.first.search(value)
        return first if is_true(first) else self.second.search(value)


class ProductFunctions(functions.Functions):
    """The functions of the product. Values of another type than the wanted one are no error: they give null."""

    @functions.signature({"types": [], "variadic": True})
    def _func_first_filled(self, *values: Json) -> Json:
        return next((value for value in values if _is_filled(value)), None)

    @functions.signature({"types": []}, {"types": []})
    def _func_join_filled(self, glue: Json, items: Json) -> Json:
        listed = items if isinstance(items, list) else [items]
        texts = [str(coerce.text(item)) for item in listed if coerce.text(item) is not None]
        return str(glue).join(texts) if texts else None

    @functions.signature({"types": []})
    def _func_lower(self, value: Json) -> Json:
        return value.lower() if isinstance(value, str) else None

    @functions.signature({"types": []})
    def _func_number(self, value: Json) -> Json:
        return coerce.number(value)

    @functions.signature({"types": []})
    def _func_from_json(self, value: Json) -> Json:
        if not isinstance(value, str):
            return None
        try:
            parsed: Json = msgspec.json.decode(value)
        except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
            return None
        return parsed

    @functions.signature({"types": []}, {"types": []}, {"types": []})
    def _func_object_of(self, items: Json, key: Json, value: Json) -> Json:
        return {str(row[str(key)]): row.get(str(value)) for row in _rows(items) if str(key) in row}

    @functions.signature({"types": []}, {"types": []})
    def _func_after_last(self, value: Json, separator: Json) -> Json:
        if not (isinstance(value, str) and isinstance(separator, str) and separator):
            return None
        return value.rpartition(separator)[2]

    @functions.signature({"types": []}, {"types": []}, {"types": []})
    def _func_merged_by(self, key: Json, items: Json, others: Json) -> Json:
        name = str(key)
        by_key = {str(row[name]): row for row in _rows(others) if name in row}
        return [{**by_key.get(str(row.get(name)), {}), **row} for row in _rows(items)]

    @functions.signature({"types": []})
    def _func_option_texts(self, items: Json) -> Json:
        return [{**row, "value": _chosen(row.get("value"), row.get("options"))} for row in _rows(items)]


_OPTIONS: Final = jmespath.Options(custom_functions=ProductFunctions())


@dataclass(frozen=True, slots=True)
class JmesPath:
    """A parsed expression of JMESPath."""

    parsed: Any

    def search(self, value: Any) -> Any:
        return self.parsed.search(value, options=_OPTIONS)


def compile_expression(text: str) -> Expression:
    """Compile an expression, which was checked when the configuration was read."""
    parsed = jmespath.compile(text)
    return _compiled(parsed.parsed) or JmesPath(parsed)


def _compiled(node: Mapping[str, Any]) -> Expression | None:
    """Return the expression of a node without the interpreter. None: only the interpreter knows this kind of node."""
    names = _names(node)
    if names:
        return FieldName(names[0]) if len(names) == 1 else FieldPath(names)
    if node["type"] == "literal":
        return Constant(node["value"]) if type(node["value"]) in _COMPARABLE else None
    if node["type"] not in ("comparator", "and_expression", "or_expression"):
        return None
    first, second = (_compiled(child) for child in node["children"])
    if first is None or second is None:
        return None
    if node["type"] == "and_expression":
        return Both(first, second)
    if node["type"] == "or_expression":
        return Either(first, second)
    if not isinstance(second, Constant):
        return None
    if isinstance(second.value, str):
        return IsText(first, second.value, node["value"] == "eq") if node["value"] in ("eq", "ne") else None
    return IsOrdered(first, second.value, _ORDERS[node["value"]]) if node["value"] in _ORDERS else None


def is_true(value: Any) -> bool:
    """Tell whether JMESPath counts the value as true: 0 is true; null, false and empty values are not."""
    return not (value is None or value is False or value == "" or value == [] or value == {})


def _is_filled(value: Json) -> bool:
    return bool(value.strip()) if isinstance(value, str) else value is not None and value not in ([], {})


def _rows(items: Json) -> list[dict[str, Json]]:
    listed = items[:_PAIRS_MAX] if isinstance(items, list) else []
    return [item for item in listed if isinstance(item, dict)]


def _chosen(value: Json, options: Json) -> Json:
    """Return the value with the texts of these options in place of their ids. One of them is a text, several are a list."""
    texts = {id: row.get("text") for row in _rows(options) if isinstance(id := row.get("id"), str)}
    if not texts:
        return value
    chosen = [
        texts.get(id, id) if isinstance(id, str) else id for id in (value if isinstance(value, list) else [value])
    ]
    return chosen[0] if len(chosen) == 1 else chosen


def _names(node: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of the path that a node of the syntax tree is. Empty: the node is not a path."""
    if node["type"] == "field":
        return (node["value"],)
    if node["type"] != "subexpression":
        return ()
    parts = [_names(child) for child in node["children"]]
    return tuple(name for names in parts for name in names) if all(parts) else ()
