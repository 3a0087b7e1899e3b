"""Compiles conditions (`schemas.conditions`) into Python functions, and traces their tests.

A set of rules becomes *one* function. It reads each field once and folds the case of its text once, so that each test
compares two local names.

A test is false for a missing field, and for a value of a type that it does not compare. Only `exists: false` is true for
a missing field. `gt`, `gte`, `lt`, `lte` and `between` also compare a number that was sent as text. Texts are equal
regardless of case and of the Unicode form of their characters. True is not equal to 1, and False is not equal to 0. A
compiled condition never raises, whatever the facts are.
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
    """The result of one test. `wanted`: the value in the rule. `had`: the value of the field; None: the field was missing."""

    field: str
    op: str
    wanted: object
    had: Value | None
    held: bool


class ConditionTrace(msgspec.Struct, frozen=True):
    """Whether a condition held, and the results of its tests in the order of the file.

    The result of a test under `not` is the one before the inversion.
    """

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
    """Return a function from facts to the traces of `nodes`. It runs every test: it is slower than that of `compile_set`."""
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
    """Return the trace of `node` for `facts`. Each call compiles the condition."""
    return tracer(node)(facts)


def _function(lines: Iterable[str], names: dict[str, Any]) -> Callable[..., Any]:
    """Compile the function of `facts` with the body `lines`."""
    body = "\n ".join(lines)
    # No text in `lines` comes from outside: see `firsthour.kernel.conditions.source`.
    exec(compile(f"def condition(facts):\n {body}\n", "<conditions>", "exec"), names)  # noqa: S102
    return cast("Callable[..., Any]", names["condition"])
