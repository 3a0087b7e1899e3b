"""The tree of a condition."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final


@dataclass(frozen=True, slots=True)
class Test:
    """One test of one field.

    `value` is a str, int, float or bool; for `in`, `not_in` a tuple of them; for `between` a tuple (low, high); for
    `has_word`, `starts_with`, `ends_with`, `contains` a str or a tuple of str, one of which must match; for `exists` a bool.
    """

    __test__ = False  # pytest collects classes of this name

    field: str
    op: str
    value: object


@dataclass(frozen=True, slots=True)
class AllOf:
    """Holds if every part holds, or without parts."""

    parts: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    """Holds if at least one part holds; never without parts."""

    parts: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Not:
    """Holds if the part does not hold."""

    part: "Node"


Node = Test | AllOf | AnyOf | Not
ALWAYS: Final = AllOf(())


def tests(node: Node) -> Iterator[Test]:
    """Yield every test of the tree, in the order of the file."""
    if isinstance(node, Test):
        yield node
    elif isinstance(node, Not):
        yield from tests(node.part)
    else:
        for part in node.parts:
            yield from tests(part)


def plain(node: Node) -> dict[str, Any]:
    """Return the tree as a mapping, from which `parse` makes an equal tree."""
    if isinstance(node, Test):
        value = list(node.value) if isinstance(node.value, tuple) else node.value
        return {node.field: {node.op: value}}
    if isinstance(node, Not):
        return {"not": plain(node.part)}
    if node == ALWAYS:
        return {}
    return {"all" if isinstance(node, AllOf) else "any": [plain(part) for part in node.parts]}
