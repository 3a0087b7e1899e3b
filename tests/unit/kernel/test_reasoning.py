"""A condition that is called impossible holds for no facts, and an implied one for all facts of the other."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firsthour.kernel.conditions.evaluation import matches
from firsthour.kernel.conditions.reasoning import CONJUNCTIONS_MAX, excluded_field, implied, impossible
from schemas.conditions.fields import OPS
from schemas.conditions.parser import parse
from schemas.conditions.tree import AllOf, AnyOf, Node, Not, Test
from schemas.events.base import Value
from tests.examples import examples
from tests.unit.kernel.test_conditions import DAYS, facts_of_all_kinds, nodes, test_of

FIELD = "custom.a"
SMALL: list[Value] = [-1, 0, 1, 2, 0.5, 1.5, 2**53, "a", "A", "ab", "b", "", "1", "1.50", True, False, *DAYS]
NARROW: list[Test] = [
    *(Test(FIELD, op, value) for op in ("eq", "ne") for value in SMALL),
    *(Test(FIELD, op, number) for op in ("gt", "gte", "lt", "lte") for number in (0, 1, 1.5)),
    *(Test(FIELD, op, day) for op in ("gt", "gte", "lt", "lte") for day in DAYS[:2]),
    *(Test(FIELD, op, text) for op in ("starts_with", "ends_with", "contains") for text in ("a", "ab", "b", "")),
    *(Test(FIELD, "in", (one, other)) for one in SMALL[:4] for other in ("a", "b", True)),
    *(Test(FIELD, "exists", there) for there in (True, False)),
    Test(FIELD, "between", (0, 1)),
    Test(FIELD, "has_word", "a"),
    Test(FIELD, "within", "1d"),
]
literals: st.SearchStrategy[Node] = st.sampled_from(NARROW) | st.sampled_from(NARROW).map(Not)
narrow = st.recursive(
    literals,
    lambda inner: (
        st.builds(AllOf, st.lists(inner, max_size=4).map(tuple))
        | st.builds(AnyOf, st.lists(inner, max_size=3).map(tuple))
    ),
    max_leaves=8,
)
facts_of_one: st.SearchStrategy[dict[str, Value]] = (
    st.builds(lambda value: {FIELD: value}, st.sampled_from(SMALL)) | st.just({}) | facts_of_all_kinds
)
any_node = (
    narrow | nodes | st.lists(st.sampled_from(OPS).flatmap(test_of), max_size=4).map(lambda parts: AllOf(tuple(parts)))
)


@settings(max_examples=examples(1_000))
@given(any_node, st.lists(facts_of_one, min_size=5, max_size=20))
def test_impossible_condition_holds_for_no_facts(node: Node, people: list[dict[str, Value]]) -> None:
    if impossible(node):
        holds = matches(node)
        assert not any(holds(facts) for facts in people)


@settings(max_examples=examples(1_000))
@given(any_node, st.lists(any_node, min_size=1, max_size=3), st.lists(facts_of_one, min_size=5, max_size=20))
def test_facts_of_a_swallowed_rule_meet_an_earlier_one(
    node: Node, others: list[Node], people: list[dict[str, Value]]
) -> None:
    if implied(node, *others):
        holds, earlier = matches(node), matches(AnyOf(tuple(others)))
        assert all(earlier(facts) for facts in people if holds(facts))


@pytest.mark.parametrize(
    "raw",
    [
        {"fit": {"gt": 5, "lt": 5}},
        {"fit": {"between": [1, 2]}, "all": [{"fit": 3}]},
        {"all": [{"title": "a"}, {"title": "b"}]},
        {"title": {"in": ["Ceo", "CTO"]}, "not": {"title": {"in": ["cto", "CEO", "cfo"]}}},
        {"path": {"starts_with": "/a"}, "all": [{"path": {"starts_with": ["/b", "/c"]}}]},
        {"path": {"starts_with": "/pricing"}, "not": {"path": {"contains": "PRIC"}}},
        {"path": {"ends_with": "x"}, "not": {"path": {"exists": True}}},
        {"consent": True, "not": {"consent": {"ne": False}}},
        {"starts_at": {"gte": "2027-01-01", "lt": "2026-12-31"}},
        {"starts_at": {"within": "1d", "gt": 5}},
        {"any": [{"fit": {"gt": 5, "lt": 5}}, {"title": {"exists": False, "contains": "a"}}]},
        {"not": {}},
    ],
    ids=str,
)
def test_contradiction_is_found(raw: object) -> None:
    assert impossible(parse(raw, of_event=True))


@pytest.mark.parametrize(
    ("rule", "others"),
    [
        ({"fit": {"gte": 50}}, [{"fit": {"gte": 40}}]),
        ({"fit": 50, "title": "cto"}, [{"fit": {"between": [40, 60]}}]),
        ({"country": "DE"}, [{"country": {"in": ["AT", "DE"]}}]),
        ({"path": {"starts_with": "/pricing/eu"}}, [{"path": {"starts_with": "/PRICING"}}]),
        ({"fit": {"between": [10, 20]}}, [{"fit": {"lt": 15}}, {"fit": {"gte": 15}}]),
        ({"title": "cto"}, [{"not": {"title": {"in": ["ceo", "cfo"]}}}]),
    ],
    ids=str,
)
def test_swallowed_rule_is_found(rule: object, others: list[object]) -> None:
    assert implied(parse(rule), *map(parse, others))
    assert not implied(parse(others[0]), parse(rule))


def test_field_of_a_contradiction_is_named() -> None:
    assert excluded_field(parse({"title": "a", "fit": {"gt": 2, "lt": 1}})) == "fit"


def test_very_large_condition_is_called_possible() -> None:
    parts = AllOf(tuple(AnyOf((Test("fit", "lt", 0), Test("fit", "gt", n))) for n in range(CONJUNCTIONS_MAX)))
    assert not impossible(AllOf((parts, Test("fit", "eq", 0))))


def test_every_pair_of_tests_that_some_fact_meets_is_possible() -> None:
    signed: list[Node] = [*NARROW, *map(Not, NARROW)]
    values: list[Value] = [*SMALL, 0.25, 1.25, 3, -5, "aba", "ba", "xax"]
    people: list[dict[str, Value]] = [{}, *({FIELD: value} for value in values)]
    met = [{number for number, facts in enumerate(people) if holds(facts)} for holds in map(matches, signed)]

    judged = [impossible(AllOf((signed[one], signed[other]))) for one in range(len(signed)) for other in range(one)]
    common = [met[one] & met[other] for one in range(len(signed)) for other in range(one)]
    assert [pair for pair, excluded in zip(common, judged, strict=True) if excluded and pair] == []
    assert sum(judged) > 0.6 * sum(not pair for pair in common)  # most of them; some only lack a fact here
