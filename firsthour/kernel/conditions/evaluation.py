"""Compiles conditions (`schemas.conditions`) into Python functions, and traces their tests.

A set of rules becomes *one* function: every field is read and folded once, and each test compares two local names.

A test is false for a missing field, and for a value of another type than its own. `exists: false` is true for a missing
field. A number that was sent as text is ordered among numbers. Texts are equal regardless of case and of the Unicode form of
their characters. True and False are not 1 and 0. A compiled condition raises for no facts.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, cast

import msgspec

from firsthour.kernel.conditions.source import ConditionSource
from schemas.conditions.tree import Node
from schemas.events.base import Value

Holds = Callable[[Mapping[str, Value]], bool]
Matched = Callable[[Mapping[str, Value]], tuple[int, ...]]


class ComparisonTrace(msgspec.Struct, frozen=True):
    """The result of one test. `had`: the value of the field. None: the field was missing."""

    field: str
    op: str
    wanted: object
    had: Value | None
    held: bool


class ConditionTrace(msgspec.Struct, frozen=True):
    """Whether a condition held, with every test in the order of the file (tests under a `not` are not inverted)."""

    held: bool
    tests: tuple[ComparisonTrace, ...]


Tracer = Callable[[Mapping[str, Value]], ConditionTrace]
TracerOfSet = Callable[[Mapping[str, Value]], tuple[ConditionTrace, ...]]


def compile_set(nodes: Sequence[Node]) -> Matched:
    """Return a function from facts to the indexes of the `nodes` that hold, ascending. Raises `UnknownOpError`."""
    source = ConditionSource()
    for index, node in enumerate(nodes):
        source.line(f"if {source.node(node)}: hit({index})")
    lines = [*source.prologue(), "hits = []", "hit = hits.append", *source.lines, "return (*hits,)"]
    return cast("Matched", _function(lines, source.names))


def matches(node: Node) -> Holds:
    """Return a condition as a function of facts. Raises `UnknownOpError`."""
    source = ConditionSource()
    expression = source.node(node)
    return cast("Holds", _function([*source.prologue(), *source.lines, f"return {expression}"], source.names))


def trace_set(nodes: Sequence[Node]) -> TracerOfSet:
    """Return a function from facts to the trace of each of `nodes`. It is slower than `compile_set`: it runs every test."""
    source = ConditionSource(traced=True)
    source.names |= {"ComparisonTrace": ComparisonTrace, "ConditionTrace": ConditionTrace}
    traces = []
    for node in nodes:
        first = len(source.traces)
        held = source.node(node)
        traces.append(f"ConditionTrace({held}, ({''.join(source.traces[first:])}))")
    lines = [*source.prologue(), *source.lines, f"return ({''.join(f'{expression}, ' for expression in traces)})"]
    return cast("TracerOfSet", _function(lines, source.names))


def tracer(node: Node) -> Tracer:
    """Return a function from facts to the trace of a condition. Reuse the function: each call of `tracer` compiles."""
    traced = trace_set((node,))
    return lambda facts: traced(facts)[0]


def trace(node: Node, facts: Mapping[str, Value]) -> ConditionTrace:
    """Return the trace of `node` for `facts`; compiles the condition at each call."""
    return tracer(node)(facts)


def _function(lines: Iterable[str], names: dict[str, Any]) -> Callable[..., Any]:
    """Return the function with the body `lines`."""
    body = "\n ".join(lines)
    # No text in `lines` comes from outside: see `firsthour.kernel.conditions.source`.
    exec(compile(f"def condition(facts):\n {body}\n", "<conditions>", "exec"), names)  # noqa: S102
    return cast("Callable[..., Any]", names["condition"])
