"""Strict JSON: refused and replaced values. The fast path and the exact path give the same result for every body."""

import json
from collections.abc import Callable

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from firsthour.runtime.http.exact_json import DEPTH_MAX, NODES_MAX, Json, StrictError, parse_exactly
from firsthour.runtime.http.strict_json import parse
from tests.examples import examples


def result(parser: Callable[[bytes], object], body: bytes) -> str:
    """Return the value or the error as text. As text, 1, 1.0 and True differ."""
    try:
        return repr(parser(body))
    except StrictError as error:
        return f"{error.status} {error}"


def error_of(body: bytes) -> StrictError:
    with pytest.raises(StrictError) as caught:
        parse(body)
    return caught.value


def test_ordinary_event_is_parsed_unchanged() -> None:
    body = '{"email": "ada@example.com", "company": {"employees": 400}, "tags": ["a", "ü"], "ok": true, "n": null}'

    parsed = parse(body.encode())

    assert parsed.value == json.loads(body)
    assert parsed.altered is False


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"[" * 100_000, 422),
        (b'{"a":' * 50_000, 422),
        (b"9" * 5_000, 422),
        (b'"\xff"', 400),
        (b'"\xc0\x80"', 400),
        (b"NaN", 400),
        (b'{"a":[-Infinity]}', 400),
        (b"1e999", 422),
        (b'{"a":1,"a":1}', 422),
        (b'{"a":{"b":1,"b":{"c":2}}}', 422),
        (b'{"x:":":::","x:":""}', 422),
        (b'{"a":1,"\\u0061":1}', 422),
        (b'{"a":1,"a":2,"b":"\\u003a"}', 422),
        (b'{"a":1,"a":2,"b":"\\u003A"}', 422),
        ('{"a":1}'.encode("utf-16"), 400),
        ('{"a":1}'.encode("utf-16-le"), 400),
        ('{"a":1}'.encode("utf-16-be"), 400),
        ('{"a":1}'.encode("utf-32-le"), 400),
        (b"", 400),
        (b" \n", 400),
        (b"{} {}", 400),
        (b"[1,]", 400),
        (b'"\\\x00"', 400),
        (b'\x00{"a":1}', 400),
        (b'"' + b"x" * 65_537 + b'"', 422),
        (('"' + "ü" * 32_769 + '"').encode(), 422),
        (b"[" + b"0," * NODES_MAX + b"0]", 422),
        (b"[" + b"[]," * NODES_MAX + b"0]", 422),
        (b" " * 262_145, 413),
    ],
    ids=lambda value: repr(value)[:24],
)
def test_body_that_breaks_a_rule_is_refused_with_its_status(body: bytes, status: int) -> None:
    error = error_of(body)

    assert error.status == status
    assert error.fault
    assert error.remedy


@pytest.mark.parametrize(
    "body",
    [b'"a\\u0000b"', b'"a\x00b"', b'"a\\ud800b"', b'"a\\uDFFFb"', b'"a\xed\xa0\x80b"', b'"a\\udc00b"'],
)
def test_nul_and_lone_surrogates_are_replaced_and_flagged(body: bytes) -> None:
    parsed = parse(body)

    assert parsed.value == "a\ufffdb"
    assert parsed.altered is True


def test_keys_that_replacement_makes_equal_are_refused() -> None:
    assert parse(b'{"a\\u0000":1}').value == {"a\ufffd": 1}
    assert error_of(b'{"a\\u0000":1,"a\\ud800":2}').status == 422


def test_surrogate_pair_becomes_one_character() -> None:
    assert parse(b'"\\ud83d\\ude00"') == parse('"\U0001f600"'.encode())


@pytest.mark.parametrize("number", [2**53, -(2**53), 0])
def test_integers_up_to_two_to_the_53_pass(number: int) -> None:
    assert parse(str(number).encode()).value == number


@pytest.mark.parametrize("number", [2**53 + 1, -(2**53) - 1, 2**64, 10**30])
def test_integers_beyond_two_to_the_53_are_refused_with_their_pointer(number: int) -> None:
    assert "/data/1/n" in error_of(b'{"data":[0,{"n":%d}]}' % number).fault


def test_repeated_key_is_refused_with_its_pointer() -> None:
    assert "/a/1/b~1c" in error_of(b'{"a":[0,{"b/c":1,"d":2,"b/c":3}]}').fault
    assert str(error_of(b'{"\\ud800":1,"\\ud800":2}')).encode()


def test_long_pointer_is_shortened_in_the_message() -> None:
    assert len(str(error_of(b'{"%s":{"a":1,"a":2}}' % (b"k" * 50_000)))) < 300


def test_depth_counts_containers_but_no_brackets_in_strings() -> None:
    assert not parse(b"[" * DEPTH_MAX + b"]" * DEPTH_MAX).altered
    assert error_of(b"[" * (DEPTH_MAX + 1) + b"]" * (DEPTH_MAX + 1)).status == 422
    assert parse(b'["' + b"[{" * 100 + b'\\"[\\\\"]').altered is False
    # brackets in strings close no container
    assert error_of(b'["]",' * 40 + b"0" + b"]" * 40).status == 422
    assert error_of(b'["\\\\]",' * 40 + b"0" + b"]" * 40).status == 422
    assert error_of(b'["\\"]",' * 40 + b"0" + b"]" * 40).status == 422
    # escapes in strings hide no container between them
    deep = b"[" * 40 + b"]" * 40
    assert error_of(b'["\\"",' + deep + b',"\\""]').status == 422
    assert error_of(b'["\\\\",' + deep + b',"\\\\"]').status == 422


def test_batch_of_many_objects_is_accepted() -> None:
    events = [{"id": str(number), "data": {"tags": [number]}} for number in range(200)]

    assert parse(json.dumps(events).encode()).value == events


def test_number_of_values_is_bounded_at_the_limit() -> None:
    assert parse(b"[" + b"0," * (NODES_MAX - 2) + b"0]").value == [0] * (NODES_MAX - 1)
    assert error_of(b"[" + b"0," * (NODES_MAX - 1) + b"0]").status == 422


def test_caller_sets_the_limit_of_bytes() -> None:
    assert parse(b"[1,2]", size_max=5).value == [1, 2]
    with pytest.raises(StrictError, match="5 bytes"):
        parse(b"[1,2]", size_max=4)


texts = st.text(st.characters(), max_size=8) | st.sampled_from(
    ["a", "a:", '":', "\\", '\\"', "]", "}{", "1234567890123456"]
)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | texts
trees = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4), max_leaves=20
)


def json_of(tree: Json, ascii_only: bool, depth: int, repeated: bool) -> bytes:
    text = json.dumps(tree, ensure_ascii=ascii_only)
    if repeated and isinstance(tree, dict) and tree:
        text = text[:-1] + "," + text[1:]
    return ("[" * depth + text + "]" * depth).encode("utf-8", "surrogatepass")


@given(trees, st.booleans(), st.sampled_from([0, 1, 30, 31, 32, 40]), st.booleans())
def test_fast_and_exact_path_agree_on_json(tree: Json, ascii_only: bool, depth: int, repeated: bool) -> None:
    body = json_of(tree, ascii_only, depth, repeated)

    assert result(parse, body) == result(parse_exactly, body)


@pytest.mark.parametrize("size", [19_990, 20_010, 65_500, 65_600, 140_000])
@given(
    trees,
    st.sampled_from(["x", "[", '\\\\"', "\\\\\\\\", '\\\\\\\\","', "1,", '{},"']),
    st.sampled_from([0, 31, 32, 33]),
)
@settings(max_examples=examples(20))
def test_fast_and_exact_path_agree_on_large_bodies(size: int, tree: Json, filler: str, depth: int) -> None:
    quote = "" if filler[0] in "1{" else '"'
    filling = f"[{quote}{filler * (size // len(filler))}{quote or 0}]".replace(',"0', ",0")
    body = b"[" + filling.encode() + b"," + json_of(tree, ascii_only=False, depth=depth, repeated=False) + b"]"

    assert result(parse, body) == result(parse_exactly, body)


pieces = st.sampled_from(
    [
        *(b"{", b"}", b"[", b"]", b":", b",", b'"', b"\\", b"a", b"0", b"-", b".", b"e9", b" ", b"9" * 16),
        *(b"\\u00", b"\\u003a", b"\\u0000", b"\\ud800", b"\\udc00", b"null", b"true", b"NaN", b'"a":', b'"a"'),
        *(b"\x00", b"\xff", b"\xed\xa0\x80", "ü".encode()),
    ]
)


@given(st.binary(max_size=40) | st.lists(pieces, max_size=25).map(b"".join))
@example(b'"\\')
@example(b'{"a":1,"a":1}')
@example(b'{"a":{":":1},"\\u003a":1,"a":2}')
def test_fast_and_exact_path_agree_on_any_bytes(body: bytes) -> None:
    assert result(parse, body) == result(parse_exactly, body)


@given(trees, st.data())
def test_fast_and_exact_path_agree_on_corrupted_json(tree: Json, data: st.DataObject) -> None:
    body = bytearray(json_of(tree, ascii_only=False, depth=0, repeated=False))
    at = data.draw(st.integers(0, len(body) - 1))
    body[at : at + 1] = data.draw(pieces)

    assert result(parse, bytes(body)) == result(parse_exactly, bytes(body))


@given(trees)
def test_accepted_value_can_be_encoded_and_parsed_again(tree: Json) -> None:
    try:
        parsed = parse(json_of(tree, ascii_only=True, depth=0, repeated=False))
    except StrictError:
        return
    encoded = json.dumps(parsed.value, ensure_ascii=False, allow_nan=False).encode()

    assert b"\x00" not in encoded
    assert result(parse, encoded) == result(lambda _: type(parsed)(parsed.value, False), encoded)


def test_one_byte_order_mark_is_skipped() -> None:
    assert parse(b'\xef\xbb\xbf{"a":1}') == parse_exactly(b'\xef\xbb\xbf{"a":1}') == parse(b'{"a":1}')
    assert error_of(b'\xef\xbb\xbf\xef\xbb\xbf{"a":1}').status == 400


def test_pointer_of_a_fault_is_escaped_and_shortened() -> None:
    assert error_of(b'{"a/~":{"b":NaN}}').pointer == "/a~1~0/b"
    long = error_of(b'{"' + b"k" * 60_000 + b'":{"b":NaN}}').pointer
    assert long == "/" + "k" * 119 + "..."
