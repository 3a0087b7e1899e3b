"""Builds the source of a compiled condition, and the namespace in which it is executed.

No text of the agreement becomes source, not even the name of a field: names and values are bound as names of the namespace.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from firsthour.kernel.conditions.domain_forms import domain_pattern, is_below, place_of
from firsthour.kernel.conditions.operands import normalised
from firsthour.kernel.conditions.text_forms import fold, measured, sentence
from schemas.conditions.fields import NOW
from schemas.conditions.moments import instant, span_us
from schemas.conditions.tree import AllOf, AnyOf, Node, Not, Test
from schemas.errors import FirstHourError

_ORDER: Final = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}


class UnknownOpError(FirstHourError, ValueError):
    """Raised for a test with an unknown operator: the configuration was not checked."""


class ConditionSource:
    """The source of one function under construction, and the names bound in its namespace."""

    def __init__(self, *, traced: bool = False) -> None:
        self.names: dict[str, Any] = {"__builtins__": {}, "type": type, "str": str, "int": int, "float": float}
        self.names |= {"fold": fold, "sentence": sentence, "measured": measured}
        self.names |= {"instant": instant, "place_of": place_of, "is_below": is_below}
        self.lines: list[str] = []
        self.traces: list[str] = []
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
        # 0 and False are equal, also in a tuple, but not one constant: a trace shows the value of the rule.
        kinds = tuple(map(type, value)) if isinstance(value, tuple) else ()
        key = (type(value), kinds, value)
        if key not in self._constants:
            self._constants[key] = f"k{len(self._constants)}"
            self.names[self._constants[key]] = value
        return self._constants[key]

    def raw(self, field: str) -> str:
        """Return the name of the field's raw value, which is None when missing."""
        return f"v{self._fields.setdefault(field, len(self._fields))}"

    def _form(self, letter: str, raw: str, expression: str) -> str:
        name = f"{letter}{raw[1:]}"
        self._forms.setdefault(name, f"{name} = {expression}")
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
        expression = f"{number} if {number} is not None else measured({raw}) if type({raw}) is str else None"
        return self._form("m", raw, expression)

    def instant(self, field: str) -> str:
        """Return the name of the moment that a text names (microseconds), which is None for other values."""
        raw = self.raw(field)
        return self._form("i", raw, f"instant({raw}) if type({raw}) is str else None")

    def place(self, field: str) -> str:
        """Return the name of the host and the registrable domain that a text names, which is None for other values."""
        raw = self.raw(field)
        return self._form("d", raw, f"place_of({raw}) if type({raw}) is str else None")

    def node(self, node: Node) -> str:
        """Return an expression that is True or False. `schemas.conditions` bounds its depth, far below the parser's bound."""
        match node:
            case Test():
                expression = _expression(self, node)
                return self._traced_test(node, expression) if self._traced else expression
            case Not(part):
                return f"(not {self.node(part)})"
            case AllOf(parts):
                return _joined(" and ", [self.node(part) for part in parts], "True")
            case AnyOf(parts):
                return _joined(" or ", [self.node(part) for part in parts], "False")

    def _traced_test(self, test: Test, expression: str) -> str:
        held = f"h{len(self.lines)}"
        self.line(f"{held} = {expression}")
        parts = ", ".join(self.constant(part) for part in (test.field, test.op, test.value))
        self.traces.append(f"ComparisonTrace({parts}, {self.raw(test.field)}, {held}), ")
        return held


def _expression(source: ConditionSource, test: Test) -> str:
    field = test.field
    values = tuple(normalised(field, test.op, value) for value in _listed(test.value))
    match test.op:
        case "eq" | "in":
            return _is_any_of(source, field, values)
        case "ne" | "not_in":
            return _is_none_of(source, field, values)
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
        case "matches_domain":
            return _below(source, field, values)
        case "within":
            return _within(source, field, test.value)
        case "exists":
            return f"({source.raw(field)} is {'not ' if test.value else ''}None)"
    raise UnknownOpError(f"condition on {field}: unknown operator {test.op!r}")


def _listed(value: object) -> tuple[object, ...]:
    return value if isinstance(value, tuple) else (value,)


def _folded(values: Iterable[object]) -> list[str]:
    return [fold(value) for value in values if isinstance(value, str)]


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_any_of(source: ConditionSource, field: str, values: Sequence[object]) -> str:
    """Return the test that the field is one of `values`. Each is compared with the form of the field of its type."""
    tests = [f"{form} in {source.constant(operands)}" for form, operands in _by_type(source, field, values)]
    tests += [f"{source.raw(field)} is {truth}" for truth in _truths(values)]
    return _joined(" or ", tests, "False")


def _is_none_of(source: ConditionSource, field: str, values: Sequence[object]) -> str:
    """Return the test that the field has the type of one of `values`, but equals none of them."""
    tests = [
        f"({form} is not None and {form} not in {source.constant(operands)})"
        for form, operands in _by_type(source, field, values)
    ]
    truths = _truths(values)
    if len(truths) == 1:
        tests.append(f"{source.raw(field)} is {'False' if truths == ['True'] else 'True'}")
    return _joined(" or ", tests, "False")


def _by_type(source: ConditionSource, field: str, values: Sequence[object]) -> list[tuple[str, frozenset[object]]]:
    """Return each form of the field that can equal some of `values`, with these values."""
    texts = frozenset(_folded(values))
    numbers = frozenset(value for value in values if _is_number(value))
    forms: list[tuple[str, frozenset[object]]] = []
    if texts:
        forms.append((source.text(field), texts))
    if numbers:
        forms.append((source.number(field), numbers))
    return forms


def _truths(values: Sequence[object]) -> list[str]:
    return [str(truth) for truth in (True, False) if any(value is truth for value in values)]


def _ordered(source: ConditionSource, field: str, comparison: str, limits: Sequence[object], count: int) -> str:
    """Return the comparison of the field with `count` limits, all numbers or all dates."""
    bounds: Sequence[object]
    moments = [instant(limit) for limit in limits if isinstance(limit, str)]
    if len(limits) == len(moments) == count and None not in moments:
        form, bounds = source.instant(field), moments
    elif len(limits) == count and all(map(_is_number, limits)):
        form, bounds = source.measure(field), limits
    else:
        return "False"
    return f"({form} is not None and {comparison.format(form, *map(source.constant, bounds))})"


def _below(source: ConditionSource, field: str, domains: Iterable[object]) -> str:
    """Return the test that the host of the field is one of these domains or below one."""
    patterns = [pattern for name in domains if isinstance(name, str) and (pattern := domain_pattern(name)) is not None]
    if not patterns:
        return "False"
    form = source.place(field)
    return f"({form} is not None and is_below({form}, {source.constant(tuple(patterns))}))"


def _within(source: ConditionSource, field: str, span: object) -> str:
    """Return the test that the moment of the field lies in a span around now. Without a time of judgement it is false."""
    bounds = span_us(span) if isinstance(span, str) else None
    if bounds is None:
        return "False"
    form, now = source.instant(field), source.raw(NOW)
    first, last = map(source.constant, bounds)
    return f"({form} is not None and type({now}) is int and {first} <= {form} - {now} <= {last})"


def _any_within(source: ConditionSource, form: str, texts: Sequence[str]) -> str:
    return _joined(" or ", [f"{source.constant(text)} in {form}" for text in texts], "False")


def _joined(word: str, parts: Sequence[str], empty: str) -> str:
    return f"({word.join(parts)})" if parts else empty
