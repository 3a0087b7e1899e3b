"""Compiled conditions have the result of a plain interpreter, for every tree and all facts."""

import math
from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firsthour.kernel.conditions.evaluation import ComparisonTrace, compile_set, matches, trace, trace_set
from firsthour.kernel.conditions.source import UnknownOpError
from schemas.conditions.fields import NOW, OPS
from schemas.conditions.parser import parse
from schemas.conditions.tree import ALWAYS, AllOf, AnyOf, Node, Not, Test
from schemas.events.base import Value
from tests.examples import examples
from tests.unit.kernel.reference_conditions import compare, reference

ADA: dict[str, Value] = {
    "title": "Head of R&D, Élysée",
    "company.employees": 400,
    "company.country": "DE",
    "email.kind": "business",
    "consent": True,
    "custom.one": 1,
    "fit": 70.5,
}


def holds(raw: object, facts: Mapping[str, Value] = ADA) -> bool:
    return matches(parse(raw, of_event=True))(facts)


@pytest.mark.parametrize(
    "raw",
    [
        {},
        {"company.country": "de"},
        {"company.country": {"in": ["AT", "De"]}},
        {"company.country": {"not_in": ["AT", "CH"]}},
        {"company.employees": {"between": [400, 2000]}},
        {"company.employees": {"between": [50, 400]}},
        {"company.employees": {"gte": 400, "lte": 400.0}},
        {"company.employees": 400.0},
        {"title": {"has_word": ["vp", "head"]}},
        {"title": {"has_word": "r&d"}},
        {"title": {"has_word": "E\u0301LYSÉE"}},
        {"title": {"has_word": "head of"}},
        {"title": {"starts_with": ["chief", "HEAD "]}},
        {"title": {"ends_with": "élysée"}},
        {"title": {"contains": "of r"}},
        {"consent": True},
        {"account.owner": {"exists": False}},
        {"title": {"exists": True}},
        {"not": {"email.kind": "free"}},
        {"any": [{"email.kind": "free"}, {"fit": {"gt": 70}}]},
        {"company.country": {"ne": "AT"}},
        {"custom.one": {"in": ["x", 1]}},
        {"custom.one": {"not_in": ["x", 2]}},
    ],
    ids=str,
)
def test_condition_holds_for_matching_facts(raw: object) -> None:
    assert holds(raw)


@pytest.mark.parametrize(
    "raw",
    [
        {"company.employees": {"lt": 400}},
        {"title": {"has_word": "hea"}},
        {"title": {"has_word": "of head"}},
        {"title": {"has_word": "&"}},
        {"consent": False},
        {"custom.one": True},
        {"custom.one": "1"},
        {"custom.one": {"ne": "1"}},
        {"custom.one": {"not_in": ["x", "y"]}},
        {"custom.none": {"ne": "x"}},
        {"custom.none": {"not_in": ["x"]}},
        {"account.owner": {"exists": True}},
        {"email.kind": "business", "company.country": "AT"},
        {"custom.one": {"has_word": "1"}},
    ],
    ids=str,
)
def test_condition_does_not_hold_for_other_facts(raw: object) -> None:
    assert not holds(raw)


def test_booleans_are_not_numbers() -> None:
    assert not holds({"custom.x": 1}, {"custom.x": True})
    assert not holds({"custom.x": {"in": [0, 1]}}, {"custom.x": False})
    assert not holds({"custom.x": {"gte": 0}}, {"custom.x": True})
    assert not holds({"custom.x": True}, {"custom.x": 1})
    assert not holds({"custom.x": False}, {"custom.x": 0.0})


def test_compiled_set_returns_indexes_of_holding_rules_in_order() -> None:
    rules = [parse(raw) for raw in ({"consent": True}, {"consent": False}, {}, {"fit": {"lt": 1}}, {"fit": {"gt": 1}})]

    assert compile_set(rules)(ADA) == (0, 2, 4)
    assert compile_set([])(ADA) == ()


def test_trace_has_every_test_with_value_and_result() -> None:
    node = parse({"any": [{"fit": {"gte": 90}}, {"title": {"has_word": ["vp"]}}], "account.owner": "ana"})

    traced = trace(node, ADA)

    assert traced.held is False
    assert traced.tests == (
        ComparisonTrace("fit", "gte", 90, 70.5, False),
        ComparisonTrace("title", "has_word", ("vp",), "Head of R&D, Élysée", False),
        ComparisonTrace("account.owner", "eq", "ana", None, False),
    )


def test_text_of_a_condition_is_not_executed() -> None:
    sly = "x'] or __import__('os').abort() or ['"
    node = AllOf((Test(sly, "eq", sly), Test(sly, "has_word", sly), Test(sly, "starts_with", (sly, "{}"))))

    assert matches(node)({sly: sly})
    assert trace(node, {sly: sly}).held


def test_unknown_operator_is_refused() -> None:
    with pytest.raises(UnknownOpError, match="fit"):
        matches(Test("fit", "matches", ".*"))


def test_condition_of_maximum_depth_compiles() -> None:
    raw: object = {"fit": {"gt": 1}}
    for _ in range(19):
        raw = {"any": [{"not": raw, "consent": True}, {"consent": False}]}
    node = parse_deep(raw)

    assert matches(node)(ADA) == reference(node, ADA)


def parse_deep(raw: object) -> Node:
    """Return the tree of a condition of any depth."""
    assert isinstance(raw, dict)
    parts: list[Node] = []
    for key, value in raw.items():
        match key, value:
            case "any", list():
                parts.append(AnyOf(tuple(parse_deep(part) for part in value)))
            case "not", _:
                parts.append(Not(parse_deep(value)))
            case _:
                op, operand = next(iter(value.items())) if isinstance(value, dict) else ("eq", value)
                parts.append(Test(key, op, operand))
    return AllOf(tuple(parts))


FIELDS = ["title", "fit", "custom.a", "custom.b"]
DAYS = ["2026-01-01", "2026-01-02T12:00:00Z", "2026-01-03 01:00+01:00", "2026-02-30", "2025-12-30"]
HOSTS = ["acme.co.uk", "eu.acme.co.uk", "notacme.co.uk", "co.uk", "ann@acme.co.uk", "https://eu.acme.co.uk/x", ".co.uk"]
TODAY = 1_767_312_000_000_000  # 2026-01-02
ALPHABET = "aB ß&ſİ\u0301éÉ1Ǆ①_ﬁकि"
texts = st.text(ALPHABET, max_size=6) | st.sampled_from(["Head of Sales", "HEAD", "of sales", "R&D", "1", "true"])
numbers = st.sampled_from([0, 1, -1, 2, 0.0, 1.0, 0.5, 10**30, 1e300]) | st.integers() | st.floats(allow_nan=False)
values = texts | st.sampled_from(DAYS + HOSTS) | numbers | st.booleans()


def test_of(op: str) -> st.SearchStrategy[Test]:
    operand: st.SearchStrategy[object]
    if op == "exists":
        operand = st.booleans()
    elif op == "between":
        operand = st.tuples(numbers, numbers)
    elif op == "within":
        operand = st.sampled_from(["1d", "2d", "next 12h", "next 1d"])
    elif op == "matches_domain":
        operand = st.lists(st.sampled_from(["acme.co.uk", "eu.acme.co.uk", "co.uk"]), min_size=1, max_size=2).map(tuple)
    elif op in ("gt", "gte", "lt", "lte"):
        operand = numbers
    elif op in ("in", "not_in"):
        operand = st.lists(values, min_size=1, max_size=4).map(tuple)
    elif op in ("eq", "ne"):
        operand = values
    else:
        operand = texts | st.lists(texts, min_size=1, max_size=3).map(tuple)
    return st.builds(Test, st.sampled_from(FIELDS), st.just(op), operand)


test_of.__test__ = False  # type: ignore[attr-defined]  # pytest collects functions of this name
leaves: st.SearchStrategy[Node] = st.sampled_from(OPS).flatmap(test_of)
nodes = st.recursive(
    leaves | st.sampled_from([ALWAYS, AnyOf(())]),
    lambda inner: st.one_of(
        st.builds(AllOf, st.lists(inner, max_size=3).map(tuple)),
        st.builds(AnyOf, st.lists(inner, max_size=3).map(tuple)),
        st.builds(Not, inner),
    ),
    max_leaves=8,
)
facts_of_all_kinds = st.builds(
    lambda facts, now: {**facts, **now},
    st.dictionaries(st.sampled_from(FIELDS), values | st.floats() | st.text(max_size=5)),
    st.sampled_from([{}, {NOW: TODAY}, {NOW: TODAY}, {NOW: "2026-01-02"}]),
)


@settings(max_examples=examples(300))
@given(st.lists(nodes, max_size=5), facts_of_all_kinds)
def test_compiled_conditions_equal_the_reference(rules: list[Node], facts: dict[str, Value]) -> None:
    expected = [reference(rule, facts) for rule in rules]
    traced = trace_set(rules)(facts)

    assert compile_set(rules)(facts) == tuple(index for index, held in enumerate(expected) if held)
    assert [matches(rule)(facts) for rule in rules] == expected
    assert [rule.held for rule in traced] == expected
    for test in (test for rule in traced for test in rule.tests):
        had = facts.get(test.field)
        assert test.had is had or test.had == had
        assert test.held == compare(test.op, test.wanted, had, facts.get(NOW))


def test_trace_distinguishes_zero_from_false() -> None:
    of_number, of_truth = Test("title", "in", (1, 0)), Test("title", "in", (1, False))
    traced = trace_set([of_number, of_truth])({"title": 0})
    assert [[type(test.wanted[1]) for test in rule.tests] for rule in traced] == [[int], [bool]]  # type: ignore[index]
    assert [rule.held for rule in traced] == [True, False]


@given(
    st.lists(nodes, max_size=3),
    st.dictionaries(st.sampled_from(FIELDS), st.sampled_from([[], {}, None, b"x", object(), math.nan])),
)
def test_compiled_conditions_never_raise_for_any_facts(rules: list[Node], facts: dict[str, Value]) -> None:
    compile_set(rules)(facts)
    trace_set(rules)(facts)


@pytest.mark.parametrize(("had", "held"), [("15000", True), ("15000.5", True), ("14999", False), ("a lot", False)])
def test_number_as_text_is_ordered_among_numbers(had: str, held: bool) -> None:
    assert matches(parse({"custom.amount": {"gte": 15000}}))({"custom.amount": had}) is held


@pytest.mark.parametrize(
    ("had", "held"),
    [
        ("acme.com", True),
        ("EU.Acme.com", True),
        ("ann@eu.acme.com", True),
        ("https://shop.acme.com:8080/x?y", True),
        ("acme.com.evil.example", False),
        ("notacme.com", False),
        ("com", False),
        ("acme", False),
        ("192.168.1.1", False),
    ],
)
def test_domain_matches_itself_and_what_is_below(had: str, held: bool) -> None:
    assert matches(parse({"url": {"matches_domain": "acme.com"}}))({"url": had}) is held


def test_domain_does_not_match_other_registrants_below_a_public_suffix() -> None:
    node = parse({"url": {"matches_domain": ["amazonaws.com", "bücher.example"]}})

    assert matches(node)({"url": "console.amazonaws.com"})
    assert not matches(node)({"url": "firm.s3.amazonaws.com"})
    assert matches(node)({"url": "www.xn--bcher-kva.example"})


@pytest.mark.parametrize(
    ("span", "had", "held"),
    [
        ("1d", "2026-01-02", True),
        ("1d", "2026-01-01", True),
        ("1d", "2025-12-31T23:59:59.999999Z", False),
        ("1d", "2026-01-02T00:00:01Z", False),
        ("next 1d", "2026-01-02T00:00:01Z", True),
        ("next 1d", "2026-01-03T01:00:00+01:00", True),
        ("next 1d", "2026-01-01", False),
        ("next 1d", "tomorrow", False),
    ],
)
def test_span_covers_the_time_from_now(span: str, had: str, held: bool) -> None:
    holds = matches(parse({"starts_at": {"within": span}}))

    assert holds({"starts_at": had, NOW: TODAY}) is held
    assert not holds({"starts_at": had})
