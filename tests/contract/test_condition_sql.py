"""The SQL of a condition selects exactly the facts for which the compiled condition holds, on both databases."""

import json
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection

from firsthour.kernel.conditions.comparable import comparable, number_form
from firsthour.kernel.conditions.evaluation import matches, trace_set
from firsthour.runtime.storage import statements
from firsthour.runtime.storage.condition_sql import ConditionSql
from firsthour.runtime.storage.statements import Sql
from schemas.conditions.fields import NOW
from schemas.conditions.parser import parse
from schemas.conditions.tree import AnyOf, Node, Not, Test
from schemas.events.base import Facts
from tests.contract.conftest import Backend
from tests.examples import examples
from tests.unit.kernel.test_conditions import TODAY, facts_of_all_kinds, nodes

PEOPLE = 60
NEEDLE = Test("custom.a", "contains", "%")
SLY: list[tuple[Node, Facts]] = [
    (NEEDLE, {"custom.a": "100 %"}),
    (NEEDLE, {"custom.a": "100"}),
    (Test("custom.a", "starts_with", "a_c"), {"custom.a": "abc"}),
    (Test("custom.a", "ends_with", "\\"), {"custom.a": "C:\\"}),
    (Test("custom.a\"'$.[0]", "eq", "x' OR 1=1 --"), {"custom.a\"'$.[0]": "x' or 1=1 --"}),
    (Test("custom.a", "eq", "STRASSE"), {"custom.a": "stra\u00dfe"}),
    (Test("custom.a", "ne", "x"), {}),
    (Not(Test("custom.a", "ne", "x")), {}),
    (Test("custom.a", "not_in", (10**400, 2**53 + 1)), {"custom.a": 2**53}),
    (Test("custom.a", "lt", 2**53 + 1), {"custom.a": 2**53}),
    (Test("custom.a", "gt", -(10**400)), {"custom.a": -1e308}),
    (Test("custom.a", "gte", 0), {"custom.a": -0.0}),
    (AnyOf(tuple(Test("custom.a", "contains", f"{n}") for n in range(1_000))), {"custom.a": "999"}),
    (parse({"custom.a": {"in": [f"v{n}" for n in range(40_000)]}}), {"custom.a": "V39999"}),
]


def storable(facts: dict[str, Any]) -> Facts:
    """Return the facts that the product can have: texts without NUL and surrogates, whole numbers up to 2**53."""
    return {
        name: value
        for name, value in facts.items()
        if name != NOW
        and not (isinstance(value, str) and any(char == "\0" or "\ud800" <= char <= "\udfff" for char in value))
        and not (isinstance(value, int) and abs(value) > 2**53)
        and value == value
    }


def samples() -> tuple[list[Node], list[Facts]]:
    """Return conditions and facts of all kinds, the same in every run."""
    rules, people = [rule for rule, _ in SLY], [facts for _, facts in SLY]

    @settings(
        max_examples=examples(200),
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(nodes, facts_of_all_kinds.map(storable))
    def collect(node: Node, facts: Facts) -> None:
        rules.append(node)
        people.append(facts)

    collect()
    return rules, people[: len(SLY)] + people[len(SLY) :][:PEOPLE]


def _rows(name: str, people: list[Facts]) -> sa.Subquery:
    """Return the documents as rows with their numbers."""
    texts = [json.dumps([number, json.dumps(comparable(facts))]) for number, facts in enumerate(people)]
    source = sa.bindparam(None, "[" + ",".join(texts) + "]", type_=sa.Text, unique=True)
    first: Any
    second: Any
    if name == "sqlite":
        rows = sa.func.json_each(source).table_valued("value")
        first, second = (sa.func.json_extract(rows.c.value, f"$[{n}]") for n in (0, 1))
    else:
        value = sa.func.jsonb_array_elements(sa.cast(source, postgresql.JSONB)).column_valued("value")
        first, second = (value.op("->>")(sa.cast(n, sa.Integer)) for n in (0, 1))
    return sa.select(sa.cast(first, sa.Integer).label("number"), second.label("document")).subquery()


def selected(connection: Connection, rule: Node, people: list[Facts]) -> set[int]:
    """Return the numbers of the people whom the SQL selects."""

    def build(dialect: statements.SqlDialect) -> Any:
        rows = _rows(dialect.name, people)
        return sa.select(rows.c.number).where(ConditionSql(rows.c.document, dialect.name, TODAY).where(rule))

    return {row[0] for row in Sql(build).all(connection)}


async def test_sql_selects_the_facts_for_which_the_condition_holds(backend: Backend) -> None:
    rules, people = samples()
    found = await backend.reads(lambda connection: [selected(connection, rule, people) for rule in rules])

    held = 0
    for rule, numbers in zip(rules, found, strict=True):
        holds, traced = matches(rule), trace_set([rule])
        dated = [{**facts, NOW: TODAY} for facts in people]
        assert numbers == {number for number, facts in enumerate(dated) if holds(facts)}, rule
        assert numbers == {number for number, facts in enumerate(dated) if traced(facts)[0].held}, rule
        held += len(numbers)
    assert 0 < held < len(rules) * len(people)


@pytest.mark.parametrize("dialect", ["sqlite", "postgresql"])
def test_no_text_of_a_condition_becomes_sql(dialect: str) -> None:
    sly = "x'); DROP TABLE leads; --"
    rule = AnyOf(tuple(Test(sly, op, (sly,)) for op in ("in", "has_word", "starts_with", "ends_with", "contains")))
    made = {"sqlite": sqlite, "postgresql": postgresql}[dialect].dialect()
    clause = ConditionSql(sa.column("document", sa.Text), dialect).where(rule)
    assert "DROP" not in str(clause.compile(dialect=made))


@given(st.lists(st.integers() | st.floats(allow_nan=False), min_size=2, max_size=2))
def test_form_of_numbers_keeps_their_order(numbers: list[float]) -> None:
    low, high = sorted(min(max(number, -(2.0**1000)), 2.0**1000) for number in numbers)
    assert number_form(low) <= number_form(high)
    assert (number_form(low) == number_form(high)) == (float(low) == float(high))
