"""From a vendor's verified body to our short form, by the JMESPath expressions of `sources.yaml`, compiled once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, cast

import jmespath

from schemas.sources import EventMapping
from services.gateway.domain.coerce import Json, UnmappableError

_FRAME: Final = ("time", "id", "email", "phone", "crm_id", "anonymous_id")


class Expression(Protocol):
    """What finds a value in a body."""

    def search(self, value: Any) -> Any: ...


@dataclass(frozen=True, slots=True)
class _Path:
    """Fields within fields (`company.name`), as most expressions are: the interpreter takes ten times as long."""

    names: tuple[str, ...]

    def search(self, value: Any) -> Any:
        for name in self.names:
            if type(value) is not dict:
                return None
            value = value.get(name)
        return value


@dataclass(frozen=True)
class CompiledMapping:
    """One entry of `events:`, compiled."""

    type: str
    when: Expression | None
    frame: Mapping[str, Expression]
    data: Mapping[str, Expression]


def compile_mapping(mapping: EventMapping) -> CompiledMapping:
    """`mapping`, whose expressions were checked when it was read."""
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
    """The names a node of the syntax tree is a path of; none when it is more than that."""
    if node["type"] == "field":
        return (node["value"],)
    if node["type"] != "subexpression":
        return ()
    parts = [_names(child) for child in node["children"]]
    return tuple(name for names in parts for name in names) if all(parts) else ()


class EventIds:
    """Tells apart the events of one body that go by the same id."""

    def __init__(self) -> None:
        self._taken: set[tuple[str, str]] = set()
        self._numbers: dict[tuple[str, str], int] = {}

    def unused(self, type: str, id: str) -> str:
        """Return `id`, or `id#2` for the second event of this type that goes by it. No number is tried twice."""
        found, number = id, self._numbers.get((type, id), 1)
        while (type, found) in self._taken:
            number += 1
            found = f"{id}#{number}"
        self._numbers[type, id] = number
        self._taken.add((type, found))
        return found


def short_forms(entries: Sequence[CompiledMapping], item: Json, delivery: str, ids: EventIds) -> list[dict[str, Json]]:
    """An event for each entry whose `when` holds of the item. Raises `UnmappableError`.

    An event without an id of its own goes by `delivery`, the item's.
    """
    return [
        _event(entry, item, delivery, ids)
        for entry in entries
        if entry.when is None or _truthy(_search(entry.when, item, "when"))
    ]


def _event(entry: CompiledMapping, item: Json, delivery: str, ids: EventIds) -> dict[str, Json]:
    found = {name: _search(expression, item, name) for name, expression in entry.frame.items()}
    event: dict[str, Json] = {name: value for name, value in found.items() if value is not None}
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
    except Exception as wrong:  # noqa: BLE001  # functions of the language meet values of any type
        what = f"the expression of `{field}` fails on this body ({type(wrong).__name__})"
        raise UnmappableError(
            f"sources.yaml:{field}", what, "correct the mapping or the body, then retry the dead letter"
        ) from None


def _truthy(found: Any) -> bool:
    """As JMESPath has it: 0 is true; null, false and everything empty are not."""
    return not (found is None or found is False or found == "" or found == [] or found == {})


def standard_form(body: Json, delivery: str) -> dict[str, Json]:
    """The body Standard Webhooks advises, `{type, timestamp, data}`, which needs no mapping. Raises `UnmappableError`."""
    if not isinstance(body, dict):
        raise UnmappableError("#", "is not an object", 'send {"type": ..., "timestamp": ..., "data": {...}}')
    return {"id": delivery, "type": body.get("type"), "time": body.get("timestamp"), "data": body.get("data")}
