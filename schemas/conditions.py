"""Conditions: YAML such as `{title: {has_word: [vp, head]}, not: {email.kind: free}}` as a typed tree.

`{field: value}` tests for equality, `{field: {op: value}}` applies an operator. Several keys must all hold; `all:`, `any:`
and `not:` combine conditions. An empty mapping always holds. The compiler is `firsthour.kernel.conditions.evaluation`.
"""

import difflib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final

from pydantic import PlainSerializer, PlainValidator, ValidationInfo, WithJsonSchema
from pydantic_core import PydanticCustomError

from schemas.values import Loc, all_wrong, did_you_mean, quoted, shown, wrong

DEPTH_MAX: Final = 20
TESTS_MAX: Final = 1_000
PROBLEMS_MAX: Final = 100


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

TEXT, NUMBER, BOOL, ANY = "text", "number", "bool", "any"

PERSON_FIELDS: Final[Mapping[str, str]] = {
    **dict.fromkeys(("name", "first_name", "last_name", "title", "phone", "language", "country", "email"), TEXT),
    "consent": BOOL,
    **dict.fromkeys(("company.name", "company.domain", "company.industry", "company.country"), TEXT),
    **dict.fromkeys(("company.employees", "company.revenue"), NUMBER),
    **dict.fromkeys(("utm.source", "utm.medium", "utm.campaign", "utm.term", "utm.content"), TEXT),
}
"""Facts about a person, with their types. There are also `custom.<name>`."""

DERIVED_FIELDS: Final[Mapping[str, str]] = {
    **dict.fromkeys(("email.domain", "email.kind", "crm_id", "anonymous_id"), TEXT),
    **dict.fromkeys(("fit", "engagement", "total"), NUMBER),
    **dict.fromkeys(("grade", "status", "account.owner", "previous_owner"), TEXT),
    **dict.fromkeys(("segment", "persona", "recycled.reason", "urgency"), TEXT),
    **dict.fromkeys(("attempts.unanswered", "attempts.total", "opportunity.amount"), NUMBER),
    **dict.fromkeys(("opportunity.stage", "opportunity.currency"), TEXT),
}
"""Values that FirstHour computes, with their types."""

EVENT_FIELDS: Final[Mapping[str, str]] = dict.fromkeys(
    (
        *("form", "path", "url", "referrer", "content", "link", "subject", "message", "webinar", "minutes", "plan"),
        *(
            "meeting",
            "channel",
            "answered",
            "duration",
            "rep_email",
            "campaign",
            "source",
            "stage",
            "amount",
            "currency",
        ),
        *("reason", "note", "cost", "starts_at", "opportunity_id"),
    ),
    ANY,
)
"""Usual fields of events. A rule with `on:` may name others too."""

FIELDS: Final[Mapping[str, str]] = {**EVENT_FIELDS, **PERSON_FIELDS, **DERIVED_FIELDS}

_LISTED = frozenset({"in", "not_in"})
_WORDED = frozenset({"has_word", "starts_with", "ends_with", "contains"})
_ORDERED = frozenset({"gt", "gte", "lt", "lte", "between"})
OPS: Final = ("eq", "ne", "in", "not_in", "gt", "gte", "lt", "lte", "between", *sorted(_WORDED), "exists")
_OPS_OF: Final[Mapping[str, frozenset[str]]] = {
    TEXT: frozenset(OPS) - _ORDERED,
    NUMBER: frozenset(OPS) - _WORDED,
    BOOL: frozenset({"eq", "ne", "exists"}),
    ANY: frozenset(OPS),
}
_NOUN: Final = {TEXT: "text", NUMBER: "a number", BOOL: "true or false"}


class _Parser:
    """Reads one condition, and collects all its mistakes."""

    def __init__(self, *, of_event: bool) -> None:
        self.of_event = of_event
        self.found: list[tuple[Loc, PydanticCustomError]] = []
        self.tests = 0

    def wrong(self, loc: Loc, what: str, remedy: str) -> None:
        self.found.append((loc, wrong(what, remedy)))

    def node(self, raw: object, loc: Loc) -> Node:
        if isinstance(raw, (Test, AllOf, AnyOf, Not)):
            return raw
        if not isinstance(raw, Mapping):
            self.wrong(loc, f"{shown(raw)} is not a condition", "write `{field: value}` or `{field: {op: value}}`")
            return ALWAYS
        if len(loc) > 2 * DEPTH_MAX:
            self.wrong(loc, "the condition is nested too deep", f"keep it within {DEPTH_MAX} levels")
            return ALWAYS
        parts = tuple(part for key, value in raw.items() for part in self.entry(str(key), value, (*loc, str(key))))
        return parts[0] if len(parts) == 1 else AllOf(parts)

    def entry(self, key: str, value: object, loc: Loc) -> Iterator[Node]:
        if key in ("all", "any"):
            if not isinstance(value, (list, tuple)) or not value:
                self.wrong(loc, f"`{key}:` holds no list of conditions", f"write `{key}: [{{...}}, {{...}}]`")
                return
            parts = tuple(self.node(part, (*loc, index)) for index, part in enumerate(value))
            yield AllOf(parts) if key == "all" else AnyOf(parts)
        elif key == "not":
            yield Not(self.node(value, loc))
        elif self.known(key, loc):
            yield from self.field(key, value, loc)

    def known(self, field: str, loc: Loc) -> bool:
        if len(self.found) >= PROBLEMS_MAX:
            return False
        if field in FIELDS or (field.startswith("custom.") and len(field) > len("custom.")):
            return True
        near = difflib.get_close_matches(field, FIELDS, n=1, cutoff=0.75)
        if self.of_event and "." not in field and field and not near:
            return True
        remedy = did_you_mean(field, near) if near else "fields of your own are written `custom.<name>`"
        self.wrong((*loc, "[key]"), f"{shown(field)} is not a field of leads or events", remedy)
        return False

    def field(self, field: str, value: object, loc: Loc) -> Iterator[Node]:
        if isinstance(value, (list, tuple)):
            self.wrong(loc, f"`{field}` is compared with a list", f"write `{field}: {{in: [...]}}`")
        elif not isinstance(value, Mapping):
            yield from self.test(field, "eq", value, loc)
        elif not value:
            self.wrong(loc, f"`{field}` is asked nothing", f"write `{field}: value` or `{field}: {{op: value}}`")
        else:
            for op, wanted in value.items():
                yield from self.test(field, str(op), wanted, (*loc, str(op)))

    def test(self, field: str, op: str, value: object, loc: Loc) -> Iterator[Node]:
        kind = FIELDS.get(field, ANY)
        if op not in OPS:
            self.wrong((*loc, "[key]"), f"{shown(op)} is not an operator", did_you_mean(op, OPS))
        elif op not in _OPS_OF[kind]:
            remedy = "use one of: " + ", ".join(known for known in OPS if known in _OPS_OF[kind])
            self.wrong((*loc, "[key]"), f"`{op}` does not work on `{field}`, which is {_NOUN[kind]}", remedy)
        elif (fitting := self.value(field, op, kind, value, loc)) is not None:
            self.tests += 1
            if self.tests == TESTS_MAX + 1:
                self.wrong((), f"the condition asks more than {TESTS_MAX} questions", "split it into several rules")
            yield Test(field, op, fitting)

    def value(self, field: str, op: str, kind: str, value: object, loc: Loc) -> object | None:
        """The value as the operator needs it; None after a mistake was added."""
        if op == "exists":
            return self.scalar(field, BOOL, value, loc, f"`exists` of `{field}`")
        if op == "between":
            return self.between(field, value, loc)
        if op in _ORDERED:
            return self.scalar(field, NUMBER, value, loc)
        if op in _WORDED and not isinstance(value, (list, tuple)):
            return self.scalar(field, TEXT, value, loc)
        if op not in _LISTED | _WORDED:
            return self.scalar(field, kind, value, loc)
        if not isinstance(value, (list, tuple)) or not value:
            self.wrong(
                loc,
                f"`{op}` of `{field}` holds {shown(value) if value else 'nothing'}, not a list of values",
                f"write `{op}: [...]`, with at least one value",
            )
            return None
        each = [self.scalar(field, TEXT if op in _WORDED else kind, one, (*loc, i)) for i, one in enumerate(value)]
        return None if None in each else tuple(each)

    def between(self, field: str, value: object, loc: Loc) -> object | None:
        if not isinstance(value, (list, tuple)) or len(value) != 2:
            self.wrong(loc, f"`between` of `{field}` is not two numbers", "write `between: [low, high]`")
            return None
        low, high = (self.scalar(field, NUMBER, one, (*loc, index)) for index, one in enumerate(value))
        if not isinstance(low, (int, float)) or not isinstance(high, (int, float)):
            return None
        if low > high:
            self.wrong(loc, f"`between` of `{field}` ends below its start", f"write `between: [{high}, {low}]`")
            return None
        return low, high

    def scalar(self, field: str, kind: str, value: object, loc: Loc, name: str = "") -> object | None:
        fits = {
            TEXT: isinstance(value, str),
            NUMBER: isinstance(value, (int, float)) and not isinstance(value, bool),
            BOOL: isinstance(value, bool),
            ANY: isinstance(value, (str, int, float, bool)),
        }
        if not fits[kind]:
            noun = _NOUN.get(kind, "a single value")
            self.wrong(loc, f"{name or f'`{field}`'} takes {noun}, and {shown(value)} is not", _remedy(kind, value))
            return None
        if isinstance(value, float) and not math.isfinite(value):
            self.wrong(loc, f"{shown(value)} is not a finite number", "write digits, such as `40` or `0.5`")
            return None
        return value


def _remedy(kind: str, value: object) -> str:
    if value is None:
        return "to ask for a missing value write `{exists: false}`"
    if isinstance(value, (list, tuple)):
        return "to give several write `{in: [...]}`"
    if kind in (NUMBER, BOOL) and quoted(value):
        return "take away the quotes"
    return {TEXT: "put it in quotes", NUMBER: "write digits", BOOL: "write true or false"}.get(kind, "write one value")


def parse(raw: object, *, of_event: bool = False) -> Node:
    """Return the tree of a condition. `of_event`: it belongs to a rule with `on:`, so it may name fields of the event.

    Raises:
        pydantic_core.ValidationError: with every mistake at its place.
    """
    parser = _Parser(of_event=of_event)
    node = parser.node(raw, ())
    if parser.found:
        raise all_wrong("condition", parser.found)
    return node


def tests(node: Node) -> Iterator[Test]:
    """Return every test of the tree, in the order of the file."""
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


def _validate(raw: object, info: ValidationInfo) -> Node:
    return parse(raw, of_event=bool((info.data or {}).get("on")))


_SCALAR = {"type": ["string", "number", "boolean"]}
_ASKED = {
    "anyOf": [
        _SCALAR,
        {"type": "object", "properties": {op: {} for op in OPS}, "additionalProperties": False, "minProperties": 1},
    ]
}
_SCHEMA = {
    "type": "object",
    "description": "Conditions on fields, all of which must hold: {field: value} or {field: {op: value}}; all, any, not.",
    "properties": {
        "all": {"type": "array", "items": {"type": "object"}, "minItems": 1},
        "any": {"type": "array", "items": {"type": "object"}, "minItems": 1},
        "not": {"type": "object"},
        **{field: {} for field in FIELDS},
    },
    "patternProperties": {"^(?!(all|any|not)$)": _ASKED},
}

Condition = Annotated[
    Node, PlainValidator(_validate), PlainSerializer(plain, return_type=dict[str, Any]), WithJsonSchema(_SCHEMA)
]
"""A field with a condition. If the model also has the field `on`, the condition may name fields of the event."""
