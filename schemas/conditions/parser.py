"""Parses a condition as written, and collects all its mistakes."""

import difflib
import math
from collections.abc import Iterator, Mapping
from typing import Final

from pydantic_core import PydanticCustomError

from schemas.conditions.fields import (
    ANY,
    BOOL,
    DATE,
    DOMAIN,
    FIELDS,
    LIST_OPS,
    NOUNS,
    NUMBER,
    OPS,
    OPS_OF,
    ORDER_OPS,
    TEXT,
    WITHIN,
    WORD_OPS,
)
from schemas.conditions.moments import instant, span_us
from schemas.conditions.tree import ALWAYS, AllOf, AnyOf, Node, Not, Test
from schemas.values import Loc, all_wrong, did_you_mean, quoted, shown, wrong

DEPTH_MAX: Final = 20
TESTS_MAX: Final = 1_000
PROBLEMS_MAX: Final = 100
_DATE: Final = "write a day such as `2026-12-31`, or a time such as `2026-12-31T09:00:00Z`"


class _Parser:
    """Parses one condition, and collects all its mistakes."""

    def __init__(self, *, of_event: bool, custom: Mapping[str, str]) -> None:
        self.of_event = of_event
        self.custom = custom
        self.mistakes: list[tuple[Loc, PydanticCustomError]] = []
        self.tests = 0

    def wrong(self, loc: Loc, mistake: str, remedy: str) -> None:
        self.mistakes.append((loc, wrong(mistake, remedy)))

    def node(self, raw: object, loc: Loc) -> Node:
        if isinstance(raw, (Test, AllOf, AnyOf, Not)):
            return raw
        if not isinstance(raw, Mapping):
            self.wrong(loc, f"{shown(raw)} is not a condition", "write `{field: value}` or `{field: {op: value}}`")
            return ALWAYS
        if len(loc) > 2 * DEPTH_MAX:
            self.wrong(loc, "the condition is nested too deeply", f"keep it within {DEPTH_MAX} levels")
            return ALWAYS
        parts = tuple(part for key, value in raw.items() for part in self.entry(str(key), value, (*loc, str(key))))
        return parts[0] if len(parts) == 1 else AllOf(parts)

    def entry(self, key: str, value: object, loc: Loc) -> Iterator[Node]:
        if key in ("all", "any"):
            if not isinstance(value, (list, tuple)) or not value:
                self.wrong(loc, f"`{key}:` is not a list of conditions", f"write `{key}: [{{...}}, {{...}}]`")
                return
            parts = tuple(self.node(part, (*loc, index)) for index, part in enumerate(value))
            yield AllOf(parts) if key == "all" else AnyOf(parts)
        elif key == "not":
            yield Not(self.node(value, loc))
        elif self.is_field(key, loc):
            yield from self.field(key, value, loc)

    def is_field(self, field: str, loc: Loc) -> bool:
        """Return whether the name is a field; add a mistake if it is not."""
        if len(self.mistakes) >= PROBLEMS_MAX:
            return False
        if field.startswith("custom.") and self.custom and field not in self.custom:
            mistake = f"{shown(field)} is not declared in `custom_fields`"
            near = difflib.get_close_matches(field, self.custom, n=1, cutoff=0.75)
            self.wrong(
                (*loc, "[key]"), mistake, did_you_mean(field, near) if near else "declare it there, with its type"
            )
            return False
        if field in FIELDS or (field.startswith("custom.") and len(field) > len("custom.")):
            return True
        matches = difflib.get_close_matches(field, FIELDS, n=1, cutoff=0.75)
        if self.of_event and "." not in field and field and not matches:
            return True
        remedy = did_you_mean(field, matches) if matches else "write a field of your own as `custom.<name>`"
        self.wrong((*loc, "[key]"), f"{shown(field)} is not a field of leads or events", remedy)
        return False

    def field(self, field: str, value: object, loc: Loc) -> Iterator[Node]:
        if isinstance(value, (list, tuple)):
            self.wrong(loc, f"`{field}` is compared with a list", f"write `{field}: {{in: [...]}}`")
        elif not isinstance(value, Mapping):
            yield from self.test(field, "eq", value, loc)
        elif not value:
            self.wrong(loc, f"`{field}` has no test", f"write `{field}: value` or `{field}: {{op: value}}`")
        else:
            for op, operand in value.items():
                yield from self.test(field, str(op), operand, (*loc, str(op)))

    def test(self, field: str, op: str, value: object, loc: Loc) -> Iterator[Node]:
        kind = self.custom.get(field) or FIELDS.get(field, ANY)
        if op not in OPS:
            self.wrong((*loc, "[key]"), f"{shown(op)} is not an operator", did_you_mean(op, OPS))
        elif op not in OPS_OF[kind]:
            remedy = "use one of: " + ", ".join(name for name in OPS if name in OPS_OF[kind])
            self.wrong((*loc, "[key]"), f"`{op}` does not work on `{field}`, which is {NOUNS[kind]}", remedy)
        elif (operand := self.value(field, op, kind, value, loc)) is not None:
            self.tests += 1
            if self.tests == TESTS_MAX + 1:
                self.wrong((), f"the condition has more than {TESTS_MAX} tests", "split it into several rules")
            yield Test(field, op, operand)

    def value(self, field: str, op: str, kind: str, value: object, loc: Loc) -> object | None:
        """Return the value as the operator needs it; None: a mistake was added."""
        if op == "exists":
            return self.scalar(field, BOOL, value, loc, f"`exists` of `{field}`")
        if op == "between":
            return self.between(field, kind, value, loc)
        if op == WITHIN:
            return self.span(value, loc)
        if op in ORDER_OPS:
            return self.scalar(field, _order_kind(kind, value), value, loc)
        if op in WORD_OPS | {DOMAIN} and not isinstance(value, (list, tuple)):
            return self.scalar(field, TEXT, value, loc)
        if op not in LIST_OPS | WORD_OPS | {DOMAIN}:
            return self.scalar(field, kind, value, loc)
        if not isinstance(value, (list, tuple)) or not value:
            self.wrong(
                loc,
                f"`{op}` of `{field}` is {shown(value) if value else 'nothing'}, not a list of values",
                f"write `{op}: [...]`, with at least one value",
            )
            return None
        kind = TEXT if op in WORD_OPS | {DOMAIN} else kind
        values = [self.scalar(field, kind, item, (*loc, index)) for index, item in enumerate(value)]
        return None if None in values else tuple(values)

    def span(self, value: object, loc: Loc) -> object | None:
        if not isinstance(value, str) or span_us(value) is None:
            remedy = "write a duration such as `14d` for the last 14 days, or `next 14d` for the next ones"
            self.wrong(loc, f"{shown(value)} is not a time span", remedy)
            return None
        return value

    def between(self, field: str, kind: str, value: object, loc: Loc) -> object | None:
        first = value[0] if isinstance(value, (list, tuple)) and value else None
        of = _order_kind(kind, first)
        noun = "dates" if of == DATE else "numbers"
        if not isinstance(value, (list, tuple)) or len(value) != 2:
            self.wrong(loc, f"`between` of `{field}` is not two {noun}", "write `between: [low, high]`")
            return None
        low, high = (self.scalar(field, of, bound, (*loc, index)) for index, bound in enumerate(value))
        if low is None or high is None:
            return None
        if _position(low) > _position(high):
            self.wrong(loc, f"`between` of `{field}` ends below its start", f"write `between: [{high}, {low}]`")
            return None
        return low, high

    def scalar(self, field: str, kind: str, value: object, loc: Loc, name: str = "") -> object | None:
        fits = {
            TEXT: isinstance(value, str),
            NUMBER: isinstance(value, (int, float)) and not isinstance(value, bool),
            BOOL: isinstance(value, bool),
            DATE: isinstance(value, str) and instant(value) is not None,
            ANY: isinstance(value, (str, int, float, bool)),
        }
        if not fits[kind]:
            noun = NOUNS.get(kind, "a single value")
            self.wrong(loc, f"{name or f'`{field}`'} takes {noun}, and {shown(value)} is not", _remedy(kind, value))
            return None
        if isinstance(value, float) and not math.isfinite(value):
            self.wrong(loc, f"{shown(value)} is not a finite number", "write digits, such as `40` or `0.5`")
            return None
        return value


def _order_kind(kind: str, bound: object) -> str:
    """Return whether numbers or dates are compared. A field of any type takes both."""
    is_day = kind == ANY and isinstance(bound, str) and instant(bound) is not None
    return DATE if kind == DATE or is_day else NUMBER


def _position(bound: object) -> float:
    """Return the place of a bound among others: a number, or the microseconds of a date."""
    return (instant(bound) or 0) if isinstance(bound, str) else bound if isinstance(bound, (int, float)) else 0


def _remedy(kind: str, value: object) -> str:
    if value is None:
        return "to test for a missing value, write `{exists: false}`"
    if isinstance(value, (list, tuple)):
        return "to compare with several values, write `{in: [...]}`"
    if kind in (NUMBER, BOOL) and quoted(value):
        return "remove the quotes"
    return {TEXT: "put it in quotes", NUMBER: "write digits", BOOL: "write true or false", DATE: _DATE}.get(
        kind, "write one value"
    )


def parse(raw: object, *, of_event: bool = False, custom: Mapping[str, str] | None = None) -> Node:
    """Return the tree of a condition. `of_event`: it belongs to a rule with `on:`, so it may name fields of the event.
    `custom`: the kinds of the declared custom fields by their full names. Empty or None: any custom field may be named.

    Raises:
        pydantic_core.ValidationError: for all mistakes, each with its location.
    """
    parser = _Parser(of_event=of_event, custom=custom or {})
    node = parser.node(raw, ())
    if parser.mistakes:
        raise all_wrong("condition", parser.mistakes)
    return node
