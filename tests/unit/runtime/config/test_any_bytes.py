"""Files with any content load or raise `ConfigError`. Conditions and durations are equal after writing and parsing."""

import tempfile
from datetime import timedelta
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from firsthour.runtime.config import yaml_source
from firsthour.runtime.config.reading import NAMES, ConfigError, load
from schemas.conditions.parser import parse
from schemas.conditions.tree import ALWAYS, AllOf, AnyOf, Node, Not, Test, plain
from schemas.values import DURATION_MAX, duration, duration_text
from tests.examples import examples
from tests.unit.runtime.config.harness import EXAMPLES

VALID = {name: (EXAMPLES / name).read_bytes() for name in NAMES}
BITS = (b"{", b"}", b"[", b"]", b":", b": ", b"-", b"\n", b"\n\n", b"\t", b"&a", b"*a", b"!!int", b"<<: ", b"'", b'"', b"|",
        b">", b"%", b"@", b"#", b"?", b"\\", b"null", b"~", b".nan", b"1e999", b"9" * 400, b"0x1F", b"\xff", b"\xed\xa0\x80",
        b"\x00", b"\xe2\x80\xa8", b"\xef\xbb\xbf", b"\xc2\xa0", b"\r", b"on", b"any", b"not", b"all", b"custom.", b"-1", b"true", b"%YAML 1.1\n---")  # fmt: skip


def _outcome(files: dict[str, bytes]) -> None:
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        for file, raw in files.items():
            (directory / file).write_bytes(raw)
        try:
            load(directory)
        except ConfigError as wrong:
            refused = wrong
        else:
            return
    str(refused).encode()
    assert refused.problems
    assert all(min(p.line, p.column) >= 1 and p.mistake and p.remedy for p in refused.problems)


edits = st.lists(
    st.tuples(st.floats(0, 1), st.integers(0, 12), st.one_of(st.binary(max_size=4), st.sampled_from(BITS))),
    min_size=1,
    max_size=4,
)


@given(st.sampled_from(NAMES), edits)
@settings(max_examples=examples(150), deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_file_with_changed_bytes_loads_or_raises_config_error(
    name: str, changes: list[tuple[float, int, bytes]]
) -> None:
    raw = VALID[name]
    for share, cut, inserted in changes:
        at = int(share * len(raw))
        raw = raw[:at] + inserted + raw[at + cut :]
    _outcome({**VALID, name: raw})


@given(st.sampled_from(NAMES), st.data())
@settings(max_examples=examples(150), deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_file_with_replaced_value_loads_or_raises_config_error(name: str, data: st.DataObject) -> None:
    lines = VALID[name].decode().splitlines()
    filled = [index for index, line in enumerate(lines) if ": " in line and not line.lstrip().startswith("#")]
    index = data.draw(st.sampled_from(filled))
    odd = st.sampled_from(
        ["", "[]", "{}", "[[]]", "{a: b}", "1", "-1", ".inf", "true", "x", "[1, x]", "{in: [{}]}", "{any: 3}"]
    )
    lines[index] = lines[index].split(": ")[0] + ": " + data.draw(odd)
    _outcome({**VALID, name: "\n".join(lines).encode()})


@given(
    st.one_of(st.binary(max_size=200), st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass")))
)
@settings(max_examples=examples(150), deadline=None)
def test_document_of_any_bytes_has_data_or_problems(raw: bytes) -> None:
    document = yaml_source.parse(raw, "agreement.yaml")
    assert document.data is not None or document.problems


def test_repeated_anchor_is_read_without_problem() -> None:
    document = yaml_source.parse(b"a: &x 1\nb: &x 2\nc: *x\n", "agreement.yaml")
    assert (document.data, document.problems) == ({"a": 1, "b": 2, "c": 2}, ())


words = st.text(st.characters(codec="utf-8"), min_size=1, max_size=8)
numbers = st.one_of(st.integers(-(10**6), 10**6), st.floats(allow_nan=False, allow_infinity=False))
single_tests: st.SearchStrategy[Node] = st.one_of(
    st.builds(Test, st.sampled_from(["title", "custom.x"]), st.sampled_from(["eq", "ne", "has_word"]), words),
    st.builds(Test, st.just("title"), st.sampled_from(["in", "contains"]), st.lists(words, min_size=1).map(tuple)),
    st.builds(Test, st.just("fit"), st.sampled_from(["eq", "gte", "lt"]), numbers),
    st.builds(
        Test, st.just("fit"), st.just("between"), st.tuples(numbers, numbers).map(lambda pair: tuple(sorted(pair)))
    ),
    st.builds(Test, st.just("consent"), st.sampled_from(["eq", "exists"]), st.booleans()),
)
trees = st.recursive(
    single_tests,
    lambda inner: st.one_of(
        st.builds(Not, inner),
        st.builds(AllOf, st.lists(inner, min_size=1, max_size=3).map(tuple)),
        st.builds(AnyOf, st.lists(inner, min_size=1, max_size=3).map(tuple)),
    ),
    max_leaves=12,
)


@given(st.one_of(trees, st.just(ALWAYS)))
def test_condition_is_equal_after_writing_and_parsing(node: Node) -> None:
    assert parse(plain(node)) == node


@given(st.integers(0, int(DURATION_MAX.total_seconds())).map(lambda seconds: timedelta(seconds=seconds)))
def test_duration_is_equal_after_writing_and_parsing(length: timedelta) -> None:
    assert duration(duration_text(length)) == length
