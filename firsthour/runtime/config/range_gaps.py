"""Finds gaps between the ranges of rules that stand side by side: numbers that none of them covers."""

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise

from firsthour.runtime.config import ranges
from firsthour.runtime.config.ranges import NumberRange
from schemas.conditions.tree import AllOf, Node, Test, tests
from schemas.values import Loc

Rules = Sequence[tuple[Loc, Node]]
"""The conditions of one list, each with its location."""


def warnings(rules: Rules) -> Iterator[tuple[Loc, str]]:
    """Yield the whole numbers between two ranges of a field that no rule of the list covers."""
    by_field: dict[str, list[tuple[NumberRange, Loc]]] = {}
    for loc, node in rules:
        named = _range(node)
        if named is not None:
            by_field.setdefault(named[0], []).append((named[1], loc))
    for field, spans in by_field.items():
        others = [span for _, node in rules if _range(node) is None for span in _spans(node, field)]
        covered = sorted([*spans, *((span, ()) for span in others)], key=lambda one: (one[0].low, one[0].low_open))
        for gap, loc in _gaps(covered):
            if loc:
                numbers = f"{gap[0]}" if gap[0] == gap[1] else f"from {gap[0]} to {gap[1]}"
                yield (
                    loc,
                    f"no rule covers `{field}` {numbers}, between this range and the one below; extend one of them",
                )


def _range(node: Node) -> tuple[str, NumberRange] | None:
    """Return the field and the range of a condition that tests the order of one field and nothing else."""
    parts = node.parts if isinstance(node, AllOf) else (node,)
    span = NumberRange()
    for part in parts:
        own = ranges.span_of(part) if isinstance(part, Test) and isinstance(parts[0], Test) else None
        if own is None or not isinstance(part, Test) or part.op == "eq" or part.field != parts[0].field:  # type: ignore[union-attr]
            return None
        span = span.within(own)
    first = parts[0] if parts else None
    return (first.field, span) if isinstance(first, Test) and not span.empty else None


def _spans(node: Node, field: str) -> Iterator[NumberRange]:
    """Yield the ranges that a condition names for a field, among other tests. It may cover them in part."""
    for test in tests(node):
        if test.field == field:
            yield ranges.span_of(test) or NumberRange()


def _gaps(covered: Sequence[tuple[NumberRange, Loc]]) -> Iterator[tuple[tuple[int, int], Loc]]:
    """Yield the whole numbers between each range and those below it, with the location of the upper range."""
    reach = covered[0][0] if covered else NumberRange()
    for _, (span, loc) in pairwise(covered):
        if reach.high < span.low and math.isfinite(reach.high) and math.isfinite(span.low):
            first = math.ceil(reach.high) if reach.high_open else math.floor(reach.high) + 1
            last = math.floor(span.low) if span.low_open else math.ceil(span.low) - 1
            if first <= last:
                yield (first, last), loc
        if (span.high, not span.high_open) > (reach.high, not reach.high_open):
            reach = span
