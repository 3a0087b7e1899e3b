"""Decides whether a condition can hold at all. It errs to one side: a condition that it calls impossible holds for no facts.

A condition is brought into disjunctive form. Each conjunction is judged field by field, and for each kind of value that the field
may have. For numbers, every test is constant between the constants of the tests, so one number of each cell stands for all.
For texts, only the tests that compare the folded text are judged; any other test of a text may hold or not.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import pairwise, product
from typing import Final, NamedTuple

from firsthour.kernel.conditions.evaluation import matches
from firsthour.kernel.conditions.operands import normalised
from firsthour.kernel.conditions.text_forms import fold
from schemas.conditions.fields import DOMAIN, ORDER_OPS, WITHIN
from schemas.conditions.moments import instant
from schemas.conditions.tree import AllOf, Node, Not, Test
from schemas.errors import FirstHourError

CONJUNCTIONS_MAX: Final = 200
_EXACT_MAX: Final = 2**53
_BEYOND: Final = 2.0**60
_EQUALITY: Final = frozenset({"eq", "in"})
_PREFIX_CHOICES_MAX: Final = 64


class Literal(NamedTuple):
    """A test, or its inversion."""

    test: Test
    holds: bool


_Conjunction = tuple[Literal, ...]


class ConditionTooLargeError(FirstHourError):
    """Raised for a condition with too many conjunctions. It is then called possible."""


def impossible(node: Node) -> bool:
    """Return whether the condition holds for no facts. False: it may hold."""
    try:
        return all(_excluded(conjunction) is not None for conjunction in _conjunctions(node, holds=True))
    except ConditionTooLargeError:
        return False


def excluded_field(node: Node) -> str | None:
    """Return the one field whose tests make the condition impossible. None: it is possible, or several fields do."""
    try:
        fields = {_excluded(conjunction) for conjunction in _conjunctions(node, holds=True)}
    except ConditionTooLargeError:
        return None
    return fields.pop() if len(fields) == 1 else None


def implied(node: Node, *others: Node) -> bool:
    """Return whether one of the others holds for all facts for which the condition holds. False: this is not certain."""
    return impossible(AllOf((node, *(Not(other) for other in others))))


def _conjunctions(node: Node, *, holds: bool) -> list[_Conjunction]:
    """Return the conjunctions of which at least one must hold. Raises `ConditionTooLargeError`."""
    match node:
        case Test():
            return [(Literal(node, holds),)]
        case Not(part):
            return _conjunctions(part, holds=not holds)
    alternatives = [_conjunctions(part, holds=holds) for part in node.parts]
    if isinstance(node, AllOf) != holds:
        return _few([conjunction for conjunctions in alternatives for conjunction in conjunctions])
    joined: list[_Conjunction] = [()]
    for conjunctions in alternatives:
        joined = _few([left + right for left in joined for right in conjunctions])
    return joined


def _few(conjunctions: list[_Conjunction]) -> list[_Conjunction]:
    if len(conjunctions) > CONJUNCTIONS_MAX:
        raise ConditionTooLargeError
    return conjunctions


def _excluded(conjunction: _Conjunction) -> str | None:
    """Return a field of which no value meets its literals. None: there may be a value for each field."""
    by_field: dict[str, list[Literal]] = {}
    for literal in conjunction:
        by_field.setdefault(literal.test.field, []).append(literal)
    return next((field for field, literals in by_field.items() if not _has_value(literals)), None)


def _has_value(literals: Sequence[Literal]) -> bool:
    field = literals[0].test.field
    wanted, barred = ({(test, _types(test)) for test, holds in literals if holds == sign} for sign in (True, False))
    if wanted & barred:
        return False
    simple: list[Mapping[str, bool]] = [{}, {field: True}, {field: False}]
    if any(_meets(literals, facts) for facts in simple):
        return True
    return _has_number(literals) or _has_text(literals)


@lru_cache(maxsize=2_048)
def _compiled(test: Test, _: tuple[type, ...]) -> Callable[[Mapping[str, object]], bool]:
    return matches(test)  # type: ignore[return-value]


def _types(test: Test) -> tuple[type, ...]:
    """Return the types of the values of a test: True and 1 are equal, and so are tests for them."""
    return tuple(map(type, _listed(test.value)))


def _meets(literals: Sequence[Literal], facts: Mapping[str, object]) -> bool:
    return all(_compiled(test, _types(test))(facts) == holds for test, holds in literals)


def _listed(value: object) -> tuple[object, ...]:
    return value if isinstance(value, tuple) else (value,)


def _has_number(literals: Sequence[Literal]) -> bool:
    field = literals[0].test.field
    constants = {
        value
        for test, _ in literals
        for value in _listed(test.value)
        if isinstance(value, (int, float)) and not isinstance(value, bool)
    }
    if any(abs(value) > _EXACT_MAX for value in constants):
        return True
    return any(_meets(literals, {field: number}) for number in _cells(sorted(constants)))


def _cells(constants: Sequence[float]) -> Iterator[float]:
    """Yield the constants, a number between each two of them, and one beyond each end."""
    if not constants:
        yield 0
        return
    yield from constants
    yield from (low + (high - low) / 2 for low, high in pairwise(constants))
    yield from (-_BEYOND, _BEYOND)


# --- texts ---------------------------------------------------------------------------------------------------------


def _has_text(literals: Sequence[Literal]) -> bool:
    equal = [_texts(test) for test, holds in literals if holds and test.op in _EQUALITY]
    if equal:
        return any(_may_be(literals, text) for text in frozenset.intersection(*equal))
    for test, holds in literals:
        if test.op == "exists" and bool(test.value) != holds:
            return False
        if holds and test.op in ("ne", "not_in") and not _texts(test):
            return False  # it holds for other types alone
    return _fits_ends(literals) and _fits_kind(literals)


def _texts(test: Test) -> frozenset[str]:
    values = (normalised(test.field, test.op, value) for value in _listed(test.value))
    return frozenset(fold(value) for value in values if isinstance(value, str))


def _may_be(literals: Sequence[Literal], folded: str) -> bool:
    return all(_holds_for(test, folded) in (holds, None) for test, holds in literals)


def _holds_for(test: Test, folded: str) -> bool | None:
    """Return the result of a test for the texts of this folded form. None: it depends on the text."""
    texts = _texts(test)
    match test.op:
        case "eq" | "in":
            return folded in texts
        case "ne" | "not_in":
            return bool(texts) and folded not in texts
        case "exists":
            return bool(test.value)
        case "starts_with":
            return folded.startswith(tuple(texts))
        case "ends_with":
            return folded.endswith(tuple(texts))
        case "contains":
            return any(text in folded for text in texts)
    return None


def _fits_ends(literals: Sequence[Literal]) -> bool:
    """Return whether a text can have the beginnings, and whether one can have the endings, that the literals want."""
    return _fits_end(literals, "starts_with", str.startswith) and _fits_end(literals, "ends_with", str.endswith)


def _fits_end(literals: Sequence[Literal], op: str, is_end: Callable[[str, str], bool]) -> bool:
    wanted = [_texts(test) for test, holds in literals if holds and test.op == op]
    barred = [text for test, holds in literals if not holds and test.op == op for text in _texts(test)]
    absent = [text for test, holds in literals if not holds and test.op == "contains" for text in _texts(test)]
    choices = 1
    for texts in wanted:
        choices *= len(texts)
    if choices > _PREFIX_CHOICES_MAX:
        return True
    for chosen in product(*wanted):
        longest = max(chosen, key=len, default="")
        if (
            all(is_end(longest, text) for text in chosen)
            and not any(is_end(longest, text) for text in barred)
            and not any(text in longest for text in absent)
        ):
            return True
    return False


def _fits_kind(literals: Sequence[Literal]) -> bool:
    """Return whether a text can spell a number or name a day, as far as the literals want it. It cannot do both."""
    numbers = [literal for literal in literals if literal.test.op in ORDER_OPS and not _of_dates(literal.test)]
    days = [
        literal
        for literal in literals
        if literal.test.op == WITHIN or (literal.test.op in ORDER_OPS and _of_dates(literal.test))
    ]
    wants_number = any(holds for _, holds in numbers)
    wants_day = any(holds for _, holds in days)
    if wants_number and (wants_day or any(holds and test.op == DOMAIN for test, holds in literals)):
        return False
    return (not wants_number or _has_number(numbers)) and _has_moment(days)


def _has_moment(days: Sequence[Literal]) -> bool:
    """Return whether a moment lies within the dates. Spans around now are not judged."""
    dated = [literal for literal in days if literal.test.op != WITHIN]
    moments = {literal: [instant(str(value)) or 0 for value in _listed(literal.test.value)] for literal in dated}
    first = min((at for all in moments.values() for at in all), default=0)
    return (
        _has_number(
            [
                Literal(
                    Test(test.field, test.op, tuple(at - first for at in all) if len(all) > 1 else all[0] - first),
                    holds,
                )
                for (test, holds), all in moments.items()
            ]
        )
        if any(holds for _, holds in dated)
        else True
    )


def _of_dates(test: Test) -> bool:
    return any(isinstance(value, str) for value in _listed(test.value))
