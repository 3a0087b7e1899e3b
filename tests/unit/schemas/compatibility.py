"""Incompatible changes between two versions of a JSON Schema."""

from collections.abc import Iterator
from typing import Any


def breaks(old: Any, new: Any, at: str = "#") -> Iterator[str]:
    """Yield one line per incompatible change from `old` to `new`. Optional additions are compatible."""
    if not isinstance(old, dict) or not isinstance(new, dict):
        return
    yield from _types(old, new, at)
    for name, shape in old.get("properties", {}).items():
        if name not in new.get("properties", {}):
            yield f"{at}/{name} is gone"
        else:
            yield from breaks(shape, new["properties"][name], f"{at}/{name}")
    for name in set(new.get("required", [])) - set(old.get("required", [])):
        yield f"{at}/{name} is required now"
    for value in set(_values(old)) - set(_values(new)) if _values(new) else ():
        yield f"{at} no longer allows {value!r}"
    for name, shape in old.get("$defs", {}).items():
        if name not in new.get("$defs", {}):
            yield f"{at}/$defs/{name} is gone"
        else:
            yield from breaks(shape, new["$defs"][name], f"{at}/$defs/{name}")
    if "items" in old and "items" in new:
        yield from breaks(old["items"], new["items"], f"{at}/items")


def _types(old: dict[str, Any], new: dict[str, Any], at: str) -> Iterator[str]:
    for kind in _kinds(old) - _kinds(new) if _kinds(new) else set():
        if not (kind == "integer" and "number" in _kinds(new)):
            yield f"{at} no longer takes {kind}"


def _kinds(schema: dict[str, Any]) -> set[str]:
    kinds = schema.get("type", [])
    names = {kinds} if isinstance(kinds, str) else set(kinds)
    for part in schema.get("anyOf", []):
        names |= _kinds(part)
    if "$ref" in schema:
        names.add(schema["$ref"])
    return names


def _values(schema: dict[str, Any]) -> list[Any]:
    return list(schema.get("enum", [])) + ([schema["const"]] if "const" in schema else [])
