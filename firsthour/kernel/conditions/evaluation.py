"""Compiles conditions (`schemas.conditions`) into Python functions, and explains what they saw.

A set of rules becomes *one* function: every field is fetched and folded once, and each test is a comparison of two
local names. No text of the agreement, not even a field's name, ever becomes source: field names and values are bound
as names of the function's namespace, and the source is built from our own words and numbers alone.

What a test means: a missing field, and a value of another type than the test speaks of, make it false (`exists: false`
apart, which is true of a missing field); but a number that came as text is ordered among numbers. Texts are compared without regard to case or to the ways Unicode has of
writing one character. True and False are never 1 and 0. No facts make a compiled condition raise.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, cast

import msgspec

from firsthour.kernel.conditions import operands
from schemas.conditions import AllOf, AnyOf, Node, Not, Test
from schemas.errors import FirstHourError
from schemas.events.base import Value

Holds = Callable[[Mapping[str, Value]], bool]
Matched = Callable[[Mapping[str, Value]], tuple[int, ...]]

_ORDER: Final = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}
_ASCII_WORD = re.compile(r"\w+").findall
_NUMBER = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,9})?").fullmatch


class ComparisonTrace(msgspec.Struct, frozen=True):
    """The result of one test. `had`: the value of the field; None: it was missing."""

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


class UnknownOpError(FirstHourError, ValueError):
    """Raised for a test with an unknown operator: the configuration was not checked."""


def compile_set(nodes: Sequence[Node]) -> Matched:
    """Return a function from facts to the indexes of the `nodes` that hold, ascending. Raises `UnknownOpError`."""
    source = _Source()
    for index, node in enumerate(nodes):
        source.line(f"if {source.node(node)}: hit({index})")
    lines = [*source.prologue(), "hits = []", "hit = hits.append", *source.lines, "return (*hits,)"]
    return cast("Matched", _function(lines, source.names))


def matches(node: Node) -> Holds:
    """Return a condition as a function of facts. Raises `UnknownOpError`."""
    source = _Source()
    answer = source.node(node)
    return cast("Holds", _function([*source.prologue(), *source.lines, f"return {answer}"], source.names))


def trace_set(nodes: Sequence[Node]) -> TracerOfSet:
    """Return a function from facts to the trace of each of `nodes`. It runs every test, so it is slower than
    `compile_set`."""
    source = _Source(traced=True)
    source.names |= {"ComparisonTrace": ComparisonTrace, "ConditionTrace": ConditionTrace}
    answers = []
    for node in nodes:
        first = len(source.tried)
        held = source.node(node)
        answers.append(f"ConditionTrace({held}, ({''.join(source.tried[first:])}))")
    lines = [*source.prologue(), *source.lines, f"return ({''.join(f'{answer}, ' for answer in answers)})"]
    return cast("TracerOfSet", _function(lines, source.names))


def tracer(node: Node) -> Tracer:
    """Return a condition as a function from facts to its trace. Keep the function if it is used often."""
    traced = trace_set((node,))
    return lambda facts: traced(facts)[0]


def trace(node: Node, facts: Mapping[str, Value]) -> ConditionTrace:
    """Return the trace of `node` for `facts`; compiles the condition at each call."""
    return tracer(node)(facts)


# --- how texts are compared -------------------------------------------------------------------------------------


def fold(text: str) -> str:
    """Return the text in the form in which it is compared: NFKC, without case."""
    if text.isascii():
        return text.lower()
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


@lru_cache(maxsize=1024)
def measured(text: str) -> float | None:
    """Return the number of a text in plain digits (`-12`, `15000`, `0.5`); None: another text."""
    return float(text) if _NUMBER(text) else None


@lru_cache(maxsize=1024)
def sentence(folded: str) -> str:
    """Return the words of a folded text between single spaces: `" head of r d "`. A phrase is found in it as whole words.

    A word is a run of letters, digits, marks and underscores, in any script.
    """
    if folded.isascii():
        found = _ASCII_WORD(folded)
    else:
        found = "".join(character if _in_word(character) else " " for character in folded).split()
    return f" {' '.join(found)} " if found else ""


def _in_word(character: str) -> bool:
    return character.isalnum() or character == "_" or unicodedata.category(character)[0] == "M"


# --- source -----------------------------------------------------------------------------------------------------


class _Source:
    """The source of one function under construction, and the names bound in its namespace."""

    def __init__(self, *, traced: bool = False) -> None:
        self.names: dict[str, Any] = {"__builtins__": {}, "type": type, "str": str, "int": int, "float": float}
        self.names |= {"fold": fold, "sentence": sentence, "measured": measured}
        self.lines: list[str] = []
        self.tried: list[str] = []
        self._traced = traced
        self._constants: dict[tuple[type, tuple[type, ...], object], str] = {}
        self._fields: dict[str, int] = {}
        self._forms: dict[str, str] = {}

    def line(self, text: str) -> None:
        self.lines.append(text)

    def prologue(self) -> list[str]:
        """Return the lines that fetch every field once, and compute the forms that tests need."""
        fetch = [f"v{number} = get({self.constant(field)})" for field, number in self._fields.items()]
        return ["get = facts.get", *fetch, *self._forms.values()]

    def constant(self, value: object) -> str:
        """Return the name that is bound to `value`."""
        # 0 and False are equal, also in a tuple, but differ here: a trace shows the value in the rule.
        kinds = tuple(map(type, value)) if isinstance(value, tuple) else ()
        key = (type(value), kinds, value)
        if key not in self._constants:
            self._constants[key] = f"k{len(self._constants)}"
            self.names[self._constants[key]] = value
        return self._constants[key]

    def raw(self, field: str) -> str:
        """Return the name of the field's raw value, which is None when missing."""
        return f"v{self._fields.setdefault(field, len(self._fields))}"

    def _form(self, letter: str, raw: str, made: str) -> str:
        name = f"{letter}{raw[1:]}"
        self._forms.setdefault(name, f"{name} = {made}")
        return name

    def text(self, field: str) -> str:
        """Return the name of the folded text, which is None for other values."""
        raw = self.raw(field)
        folded = f"({raw}.lower() if {raw}.isascii() else fold({raw}))"
        return self._form("t", raw, f"{folded} if type({raw}) is str else None")

    def words(self, field: str) -> str:
        """Return the name of the text's `sentence`, which is empty for other values."""
        text = self.text(field)
        return self._form("w", text, f"sentence({text}) if {text} else ''")

    def number(self, field: str) -> str:
        """Return the name of the number, which is None for other values (True is not a number)."""
        raw = self.raw(field)
        return self._form("n", raw, f"{raw} if type({raw}) is int or type({raw}) is float else None")

    def measure(self, field: str) -> str:
        """Return the name of the number, also from a text (plain forms send texts), which is None for other values."""
        raw, number = self.raw(field), self.number(field)
        made = f"{number} if {number} is not None else measured({raw}) if type({raw}) is str else None"
        return self._form("m", raw, made)

    def node(self, node: Node) -> str:
        """Return an expression that is True or False. `schemas.conditions` bounds its depth, far below the parser's bound."""
        match node:
            case Test():
                made = _expression(self, node)
                return self._tried(node, made) if self._traced else made
            case Not(part):
                return f"(not {self.node(part)})"
            case AllOf(parts):
                return _joined(" and ", [self.node(part) for part in parts], "True")
            case AnyOf(parts):
                return _joined(" or ", [self.node(part) for part in parts], "False")

    def _tried(self, test: Test, made: str) -> str:
        held = f"h{len(self.lines)}"
        self.line(f"{held} = {made}")
        asked = ", ".join(self.constant(part) for part in (test.field, test.op, test.value))
        self.tried.append(f"ComparisonTrace({asked}, {self.raw(test.field)}, {held}), ")
        return held


def _function(lines: Iterable[str], names: dict[str, Any]) -> Callable[..., Any]:
    """The function with the body `lines`."""
    body = "\n ".join(lines)
    # No text in `lines` comes from outside: see the docstring of this module.
    exec(compile(f"def condition(facts):\n {body}\n", "<conditions>", "exec"), names)  # noqa: S102
    return cast("Callable[..., Any]", names["condition"])


# --- one test ---------------------------------------------------------------------------------------------------


def _expression(source: _Source, test: Test) -> str:
    field = test.field
    values = tuple(operands.normalised(field, test.op, value) for value in _listed(test.value))
    match test.op:
        case "eq" | "in":
            return _among(source, field, values)
        case "ne" | "not_in":
            return _not_among(source, field, values)
        case "gt" | "gte" | "lt" | "lte":
            return _ordered(source, field, f"{{}} {_ORDER[test.op]} {{}}", values, 1)
        case "between":
            return _ordered(source, field, "{1} <= {0} <= {2}", values, 2)
        case "has_word":
            return _any_within(source, source.words(field), list(filter(None, map(sentence, _folded(values)))))
        case "contains":
            text = source.text(field)
            return f"({text} is not None and {_any_within(source, text, _folded(values))})"
        case "starts_with" | "ends_with":
            text, affixes = source.text(field), source.constant(tuple(_folded(values)))
            return f"({text} is not None and {text}.{test.op.replace('_', '')}({affixes}))"
        case "exists":
            return f"({source.raw(field)} is {'not ' if test.value else ''}None)"
    raise UnknownOpError(f"condition on {field}: unknown operator {test.op!r}")


def _listed(value: object) -> tuple[object, ...]:
    return value if isinstance(value, tuple) else (value,)


def _folded(values: Iterable[object]) -> list[str]:
    return [fold(value) for value in values if isinstance(value, str)]


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _among(source: _Source, field: str, values: Sequence[object]) -> str:
    """The field is one of `values`; each is compared with the form of the field that has its type."""
    tests = [f"{form} in {source.constant(known)}" for form, known in _by_type(source, field, values)]
    tests += [f"{source.raw(field)} is {truth}" for truth in _truths(values)]
    return _joined(" or ", tests, "False")


def _not_among(source: _Source, field: str, values: Sequence[object]) -> str:
    """The field has the type of one of `values`, but equals none of them."""
    tests = [
        f"({form} is not None and {form} not in {source.constant(known)})"
        for form, known in _by_type(source, field, values)
    ]
    truths = _truths(values)
    if len(truths) == 1:
        tests.append(f"{source.raw(field)} is {'False' if truths == ['True'] else 'True'}")
    return _joined(" or ", tests, "False")


def _by_type(source: _Source, field: str, values: Sequence[object]) -> list[tuple[str, frozenset[object]]]:
    """Each form of the field that can equal some of `values`, with these values."""
    texts = frozenset(_folded(values))
    numbers = frozenset(value for value in values if _is_number(value))
    found: list[tuple[str, frozenset[object]]] = []
    if texts:
        found.append((source.text(field), texts))
    if numbers:
        found.append((source.number(field), numbers))
    return found


def _truths(values: Sequence[object]) -> list[str]:
    return [str(truth) for truth in (True, False) if any(value is truth for value in values)]


def _ordered(source: _Source, field: str, comparison: str, limits: Sequence[object], wanted: int) -> str:
    """Numbers only, against `wanted` limits."""
    if len(limits) != wanted or not all(map(_is_number, limits)):
        return "False"
    form = source.measure(field)
    return f"({form} is not None and {comparison.format(form, *map(source.constant, limits))})"


def _any_within(source: _Source, form: str, texts: Sequence[str]) -> str:
    return _joined(" or ", [f"{source.constant(text)} in {form}" for text in texts], "False")


def _joined(word: str, parts: Sequence[str], empty: str) -> str:
    return f"({word.join(parts)})" if parts else empty
