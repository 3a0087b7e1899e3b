"""Converts a vendor's body to the short form, by the JMESPath expressions of `sources.yaml`, which are compiled once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, cast

import jmespath

from schemas.sources import EventMapping
from services.gateway.domain.coerce import Json, UnmappableError

_FRAME: Final = ("time", "id", "email", "phone", "crm_id", "anonymous_id")


class Expression(Protocol):
    """Selects a value in a body."""

    def search(self, value: Any) -> Any: ...


@dataclass(frozen=True, slots=True)
class _Path:
    """A path of fields (`company.name`), as most expressions are. The JMESPath interpreter takes ten times as long."""

    names: tuple[str, ...]

    def search(self, value: Any) -> Any:
        for name in self.names:
            if type(value) is not dict:
                return None
            value = value.get(name)
        return value


@dataclass(frozen=True)
class CompiledMapping:
    """One entry of `events:`, compiled. `when`: None: the entry applies to every item."""

    type: str
    when: Expression | None
    frame: Mapping[str, Expression]
    data: Mapping[str, Expression]


def compile_mapping(mapping: EventMapping) -> CompiledMapping:
    """Compile `mapping`. Its expressions were checked when the configuration was read."""
    return CompiledMapping(
        mapping.type,
        _expression(mapping.when) if mapping.when else None,
        {name: _expression(text) for name in _FRAME if (text := getattr(mapping, name))},
        {name: _expression(text) for name, text in mapping.data.items()},
    )


def _expression(text: str) -> Expression:
    parsed = jmespath.compile(text)
    names = _names(parsed.parsed)
    return _Path(names) if names else cast(Expression, parsed)


def _names(node: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of the path that a node of the syntax tree is. Empty: the node is not a path."""
    if node["type"] == "field":
        return (node["value"],)
    if node["type"] != "subexpression":
        return ()
    parts = [_names(child) for child in node["children"]]
    return tuple(name for names in parts for name in names) if all(parts) else ()


class EventIds:
    """Numbers the events of one body that have the same id."""

    def __init__(self) -> None:
        self._taken: set[tuple[str, str]] = set()
        self._numbers: dict[tuple[str, str], int] = {}

    def unused(self, type: str, id: str) -> str:
        """Return `id`, or `id#2` for the second event of this type with that id. No number is tried twice."""
        unused, number = id, self._numbers.get((type, id), 1)
        while (type, unused) in self._taken:
            number += 1
            unused = f"{id}#{number}"
        self._numbers[type, id] = number
        self._taken.add((type, unused))
        return unused


def short_forms(entries: Sequence[CompiledMapping], item: Json, delivery: str, ids: EventIds) -> list[dict[str, Json]]:
    """Return an event for each entry whose `when` is true for the item. Raises `UnmappableError`.

    `delivery`, the id of the item, becomes the id of an event that has none.
    """
    return [
        _event(entry, item, delivery, ids)
        for entry in entries
        if entry.when is None or _truthy(_search(entry.when, item, "when"))
    ]


def _event(entry: CompiledMapping, item: Json, delivery: str, ids: EventIds) -> dict[str, Json]:
    frame = {name: _search(expression, item, name) for name, expression in entry.frame.items()}
    event: dict[str, Json] = {name: value for name, value in frame.items() if value is not None}
    event["type"] = entry.type
    event["data"] = {name: _search(expression, item, name) for name, expression in entry.data.items()}
    id = event.get("id")
    if id is None or id == "":
        id = delivery
    if isinstance(id, str | int) and not isinstance(id, bool):
        event["id"] = ids.unused(entry.type, str(id))
    return event


def _search(expression: Expression, item: Json, field: str) -> Any:
    try:
        return expression.search(item)
    except Exception as error:  # noqa: BLE001  # functions of JMESPath raise several errors for values of other types
        fault = f"the expression of `{field}` fails on this body ({type(error).__name__})"
        raise UnmappableError(
            f"sources.yaml:{field}", fault, "correct the mapping or the body, then retry the dead letter"
        ) from None


def _truthy(value: Any) -> bool:
    """Tell whether JMESPath counts the value as true: 0 is true; null, false and empty values are not."""
    return not (value is None or value is False or value == "" or value == [] or value == {})


def standard_form(body: Json, delivery: str) -> dict[str, Json]:
    """Return the short form of `{type, timestamp, data}`, the body that Standard Webhooks recommends.

    Such a body needs no mapping. Raises `UnmappableError`.
    """
    if not isinstance(body, dict):
        raise UnmappableError("#", "is not an object", 'send {"type": ..., "timestamp": ..., "data": {...}}')
    return {"id": delivery, "type": body.get("type"), "time": body.get("timestamp"), "data": body.get("data")}
