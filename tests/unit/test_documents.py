"""Documents that cannot lie: what they tell people to type exists, and every setting is told."""

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from firsthour.operations import documents
from firsthour.runtime import package_files
from firsthour.runtime.config import reading
from firsthour.runtime.settings import PREFIX, Settings

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("deploy/*.md")])
LIVING = [path for path in DOCUMENTS if path.name != "CHANGELOG.md"]  # what a changelog names may be gone since

_BLOCK = re.compile(r"^```(?:sh|bash|shell|console)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`(?:\.venv/bin/)?((?:make|firsthour) [^`\n]+)`")
_ASSIGNMENT = re.compile(r"[A-Z_]+=\S*")
_BREAKS = {"[", "|", "||", "&&", "&", ">", "...", ";", "#", "\\"}
_ALTERNATIVES = re.compile(r"^\w+(\|\w+)+$")
_LINK = re.compile(r"\[[^\]]*\]\((?!\w+:|#)([^)#\s]+)")


def commands(text: str) -> Iterator[str]:
    """What a document tells people to type at a shell, as far as it is ours: `make ...` and `firsthour ...`."""
    for block in _BLOCK.findall(text):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line.removeprefix("$ "), comments=True) if line.count("'") % 2 == 0 else []
            while words and _ASSIGNMENT.fullmatch(words[0]):
                words.pop(0)
            if words and words[0].removeprefix(".venv/bin/") in {"make", "firsthour"}:
                yield shlex.join([words[0].removeprefix(".venv/bin/"), *words[1:]])
    yield from _INLINE.findall(text)


def spelled_out(command: str) -> Iterator[list[str]]:
    """The words of a command up to what the shell or a synopsis adds; `list|show` counts as two commands."""
    words: list[str] = []
    for word in command.split():
        if word[0] in _BREAKS or word in _BREAKS:
            break
        words.append(word)
    heads: list[list[str]] = [[]] if words else []
    for word in words:
        choices = word.split("|") if _ALTERNATIVES.match(word) else [word]
        heads = [[*head, choice] for head in heads for choice in choices]
    yield from heads


def told(program: str) -> list[str]:
    """Every command of this program that a living document tells, spelled out, once."""
    found = {
        shlex.join(words)
        for path in LIVING
        for command in commands(path.read_text())
        for words in spelled_out(command)
        if words[0] == program
    }
    return sorted(found)


def variables() -> list[str]:
    return [f"{PREFIX}{name.upper()}" for name in Settings.model_fields]


@pytest.mark.parametrize("command", told("make"))
def test_every_make_target_a_document_names_exists(command: str) -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    named = [word for word in shlex.split(command)[1:] if not _ASSIGNMENT.match(word) and not word.startswith("-")]
    assert set(named) <= set(targets)


@pytest.mark.parametrize("command", told("firsthour"))
def test_every_command_a_document_names_exists_with_its_options(command: str) -> None:
    program = [sys.executable, "-m", "firsthour", *shlex.split(command)[1:]]
    asked = subprocess.run([*program, "--help"], capture_output=True, text=True, cwd=ROOT, check=False)
    assert asked.returncode == 0, asked.stderr


@pytest.mark.skipif(not README.exists(), reason="there is no README yet")
@pytest.mark.parametrize("variable", variables())
def test_every_setting_is_in_the_readme(variable: str) -> None:
    assert re.search(rf"`{variable}`", README.read_text()), f"README.md does not tell `{variable}`"


@pytest.mark.skipif(not README.exists(), reason="there is no README yet")
def test_every_setting_in_the_readme_exists() -> None:
    secrets = {f"{name}_FILE" for name in variables()}
    named = set(re.findall(rf"`({PREFIX}[A-Z_]*[A-Z])`", README.read_text()))
    assert named <= {*variables(), *secrets}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_to_a_file_leads_somewhere(path: Path) -> None:
    missing = [link for link in _LINK.findall(path.read_text()) if not (path.parent / link).exists()]
    assert missing == []


@pytest.mark.skipif(not (package_files.examples() / "agreement.yaml").exists(), reason="there are no examples yet")
def test_the_example_configuration_can_be_put_in_force() -> None:
    loaded = reading.load(package_files.examples())
    assert loaded.agreement.name
    assert loaded.version


def test_every_decision_is_listed_and_says_what_it_costs() -> None:
    folder = ROOT / "docs" / "decisions"
    index = (folder / "README.md").read_text()
    for path in folder.glob("[0-9]*.md"):
        assert f"]({path.name})" in index
        headings = re.findall(r"^## (.+)$", path.read_text(), re.MULTILINE)
        assert headings == ["Situation", "Decision", "What follows"], path.name


@pytest.mark.parametrize(
    "path",
    [path for room in ("schemas", "firsthour", "services") for path in sorted((ROOT / room).rglob("__init__.py"))],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_a_room_opens_with_a_sentence_and_nothing_else(path: Path) -> None:
    assert re.fullmatch(r'""".+"""\n', path.read_text(), re.DOTALL)
    assert path.read_text().count('"""') == 2


def test_the_table_of_settings_in_the_readme_is_current() -> None:
    assert documents.filled(README.read_text()) == README.read_text(), "run `make schemas`"
