"""Every mistake in the YAML of a configuration file is reported at its exact position, with a remedy."""

import pytest

from tests.unit.runtime.config.harness import ConfigHarness

A = "agreement.yaml"

CASES = [
    (A, "version: 1", "version: 1\n«version: 1", "`version` occurs twice, first in line 7; keep one of them"),
    (A, "  fit:\n", "«\tfit:\n", "a tab is not allowed here; indent with spaces"),
    (A, "{A: 75, B: 50, C: 25}", "{A: [75, B: 50, C: 25«}", "this is not YAML: while parsing a flow sequence"),
    (A, "version: 1", "version: «!!python/object:os.system 1", "is a YAML tag"),
    (A, "version: 1", "version: «!mine 1", "`!mine` is a YAML tag; remove it"),
    (A, "version: 1", "version: 1\n? «[a, b]\n: c", "a key is not a single word"),
    (
        A,
        "because: Asked to speak with us",
        'because: «"Asked to speak with us',
        '`"` is not closed on this line; add `"`',
    ),
    (
        A,
        "because: Asked to speak with us",
        "because: «'Asked to speak with us",
        "`'` is not closed on this line; add `'`",
    ),
    (
        A,
        "  - because: Our own people\n",
        '  - because: «"Our own people\n    x: ["a", b]\n',
        "is not closed on this line",
    ),
    (A, "because: Asked to speak with us", "«because Asked to speak", "the colon after `because` is missing; write"),
    (A, "version: 1", "«version 1", "the colon after `version` is missing; write `version: ...`"),
    (A, "  engagement:\n", "  «engagement\n", "the colon after `engagement` is missing"),
    (A, "- points: 60", "- «points 60", "the colon after `points` is missing"),
    (
        A,
        "    when: {email.domain: {in: [our",
        "    when« {email.domain: {in: [our",
        "the colon after `when` is missing",
    ),
    (A, "version: 1", "version«:1", "this `:` has no space after it; write `name: value`"),
    (A, "when: {email.kind: business}", "when: {«email.kind:business}", "has no space after it"),
    (A, "    half_life: 14d", "    half_life«\uff1a14d", "this is not the colon of YAML"),
    (A, "    half_life: 14d", "  «\u00a0 half_life: 14d", "(U+00A0, no-break space); write a plain space"),
    (A, "    half_life: 14d", "    half_life:«\u00a014d", "there is an invisible character here"),
    (A, "    half_life: 14d", "    half«\u200b_life: 14d", "this name has an invisible character (U+200B"),
    (A, "- points: 60", "-«\u2003points: 60", "there is an invisible character here"),
    (A, "when: {email.kind: business}", "when: «{email.kind: business", "`{` is not closed; add `}`"),
    (A, "because: Asked to speak with us", "because: Asked«: to speak", "this line has a second `:`"),
    (A, "because: Asked to speak with us", "because: «@sales asked", "cannot begin with `@`; put the value in quotes"),
    (A, "because: Asked to speak with us", 'because: "Asked" «to speak', "text follows the closing quote"),
    (A, "    half_life: 14d", "   «half_life: 14d", "this line is not indented like the lines above"),
    (
        A,
        "version: 1",
        "version: 1\nx: " + "[" * 60 + "«" + "[" * 19_940,
        "nested deeper than 60 levels; use fewer levels",
    ),
]


@pytest.mark.parametrize(("name", "old", "new", "message"), CASES)
def test_yaml_mistake_is_reported_at_its_line_and_column(
    harness: ConfigHarness, name: str, old: str, new: str, message: str
) -> None:
    harness.assert_problem(name, old, new, message)


def test_booleans_of_yaml_1_1_are_words(harness: ConfigHarness) -> None:
    harness.change(A, "language: fr", "custom.x: {in: [NO, on, off, yes]}, country: NO")
    rule = next(rule for rule in harness.load().agreement.routing.rules if rule.name == "French speakers")
    assert "'NO', 'on', 'off', 'yes'" in str(rule.when)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "1:1: the file is empty; `firsthour init DIR`"),
        (b"# nothing yet\n", "1:1: the file is empty"),
        (b"version: 1\nname: caf\xe9\n", "2:10: byte 0xe9 is not UTF-8; save the file as UTF-8"),
        (b"- a\n", "1:1: the file is not a mapping"),
        (b"version: 1\x07\n", "1:11: a control character is not allowed here"),
        (b"a: 1\n---\nb: 2\n", "2:1: this is not YAML"),
        (b"a: " + b"[" * 5_000, "nested deeper than 60 levels"),
        (b"a: " + b"[" * 80 + b"]" * 80, "nested deeper than 60 levels"),
        (b"a: &a [x, x, x, x, x, x, x, x]\n" + b"".join(
            b"%c: &%c [*%c, *%c, *%c, *%c, *%c, *%c]\n" % (c, c, *[c - 1] * 6) for c in range(ord("b"), ord("k"))
        ), "has more than 100000 values"),
        (b"#" * (1 << 20) + b"\n", "1:1: the file is larger than 1 MiB"),
    ],
)  # fmt: skip
def test_invalid_file_is_one_problem_at_its_position(harness: ConfigHarness, raw: bytes, message: str) -> None:
    (harness.directory / A).write_bytes(raw)
    (complaint,) = harness.complaints()
    assert message in complaint
