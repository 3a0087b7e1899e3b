"""The check of a draft, and the comparison of two versions."""

import pytest
from ruamel.yaml import YAML

from firsthour.kernel.config import Config
from firsthour.runtime.config.drafts import FINDINGS_MAX, examine
from firsthour.runtime.config.written import DIFFERENCES_MAX, differences, yaml_lines
from tests.unit.runtime.config.harness import ConfigHarness

NAMES = ("agreement.yaml", "team.yaml", "sources.yaml")


def texts(harness: ConfigHarness) -> dict[str, bytes]:
    return {name: (harness.directory / name).read_bytes() for name in NAMES}


def plain(config: Config) -> dict[str, object]:
    return config.agreement.model_dump(mode="json", by_alias=True)


def test_draft_is_checked_beside_the_files_in_force(harness: ConfigHarness) -> None:
    in_force = texts(harness)
    report = examine({"agreement.yaml": in_force["agreement.yaml"].decode()}, in_force)
    assert (report.version, report.findings) == (harness.load().version, ())
    report = examine({"team.yaml": "reps: []\npools: []\n"}, in_force)
    assert report.version is None
    assert {finding.file for finding in report.findings} >= {"team.yaml"}


def test_warning_keeps_its_place_and_does_not_refuse_the_draft(harness: ConfigHarness) -> None:
    in_force = texts(harness)
    draft = in_force["agreement.yaml"].decode() + "\npersonas:\n  buyer: {title: {has_word: buyer}}\n"
    report = examine({"agreement.yaml": draft}, in_force)
    assert report.version is not None
    (warning,) = report.findings
    assert (warning.kind, warning.file, warning.line) == ("warning", "agreement.yaml", draft.count("\n") - 1)


def test_number_and_length_of_findings_are_bounded(harness: ConfigHarness) -> None:
    draft = "\n".join(f"unknown_{n}_{'x' * 900 if n == 0 else ''}: 1" for n in range(3 * FINDINGS_MAX))
    report = examine({"agreement.yaml": draft}, texts(harness))
    assert len(report.findings) == FINDINGS_MAX
    assert report.more > 0
    assert max(len(finding.text) for finding in report.findings) < 500


def test_half_of_a_character_is_a_finding(harness: ConfigHarness) -> None:
    report = examine({"agreement.yaml": "name: \ud83d"}, texts(harness))
    assert "is not UTF-8" in report.findings[0].text


@pytest.mark.parametrize("mark", ["\u202a", "\u202e", "\u2066", "\u2069"], ids=["202a", "202e", "2066", "2069"])
def test_mark_that_reorders_text_is_a_mistake_also_in_a_comment(harness: ConfigHarness, mark: str) -> None:
    place = harness.change("agreement.yaml", "name: Our first agreement", f"name: Our first agreement # x «{mark}y")
    (complaint,) = harness.complaints()
    assert complaint.startswith(f"{place}: the character U+{ord(mark):04X}")


def test_written_agreement_reads_as_the_same_values(harness: ConfigHarness) -> None:
    written = YAML(typ="safe", pure=True).load("\n".join(yaml_lines(plain(harness.load()))))
    assert written["scoring"] == _filled(plain(harness.load())["scoring"])
    assert written["lifecycle"] == _filled(plain(harness.load())["lifecycle"])
    assert written["response"] == _filled(plain(harness.load())["response"])


def _filled(value: object) -> object:
    """Return the value without empty fields."""
    if isinstance(value, dict):
        filled = {name: _filled(item) for name, item in value.items()}
        return {name: item for name, item in filled.items() if item not in (None, {}, [])}
    return [_filled(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize(
    "text", ["true", "no", "12d ", "a: b", "- x", "#", "", "é", '"', "\u202e", "14d", "null", "1e5"]
)
def test_text_is_written_so_that_it_stays_the_same_text(text: str) -> None:
    assert YAML(typ="safe", pure=True).load("\n".join(yaml_lines({"name": text, "other": [text]}))) == {
        "name": text,
        "other": [text],
    }


def test_differences_are_the_lines_that_differ() -> None:
    before = {"rules": [{"points": n, "because": "x" * 90} for n in range(20)]}
    after = {"rules": [{"points": 100 if n == 7 else n, "because": "x" * 90} for n in range(20)]}
    found, complete = differences(before, after)
    assert complete
    assert [(line.sign, line.text.strip()) for line in found if line.sign in "+-"] == [
        ("-", "- points: 7"),
        ("+", "- points: 100"),
    ]
    assert differences(before, before) == ([], True)


def test_number_of_differences_is_bounded() -> None:
    found, complete = differences({f"a{n}": n for n in range(3_000)}, {f"b{n}": n for n in range(3_000)})
    assert (len(found), complete) == (DIFFERENCES_MAX, False)
