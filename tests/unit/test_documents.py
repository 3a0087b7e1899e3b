"""The documents are true: their commands, links and settings exist, and every setting is documented."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from firsthour.cli.app import program
from firsthour.cli.commands import COMMANDS
from firsthour.operations import documents
from firsthour.runtime import package_files
from firsthour.runtime.config import reading
from firsthour.runtime.settings import PREFIX, Settings
from schemas.conditions.fields import DERIVED_FIELDS, OPS, PERSON_FIELDS

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("deploy/*.md")])
LIVING = [path for path in DOCUMENTS if path.name != "CHANGELOG.md"]  # a changelog may name commands that are gone

_BLOCK = re.compile(r"^```(?:sh|bash|shell|console)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`(?:\.venv/bin/)?((?:make|firsthour) [^`\n]+)`")
_ASSIGNMENT = re.compile(r"[A-Z_]+=\S*")
_BREAKS = {"[", "|", "||", "&&", "&", ">", "...", ";", "#", "\\"}
_ALTERNATIVES = re.compile(r"^\w+(\|\w+)+$")
_LINK = re.compile(r"\[[^\]]*\]\((?!\w+:|#)([^)#\s]+)")


def commands(text: str) -> Iterator[str]:
    """Yield the shell commands of a document that begin with `make` or `firsthour`."""
    for block in _BLOCK.findall(text):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line.removeprefix("$ "), comments=True) if line.count("'") % 2 == 0 else []
            while words and _ASSIGNMENT.fullmatch(words[0]):
                words.pop(0)
            if words and words[0].removeprefix(".venv/bin/") in {"make", "firsthour"}:
                yield shlex.join([words[0].removeprefix(".venv/bin/"), *words[1:]])
    yield from _INLINE.findall(text)


def spelled_out(command: str) -> Iterator[list[str]]:
    """Yield the words of a command before the syntax of shell or synopsis; `list|show` gives two commands."""
    words: list[str] = []
    for word in command.replace("\\|", "|").split():  # in a cell of a table, `|` is escaped
        if word[0] in _BREAKS or word in _BREAKS:
            break
        words.append(word)
    heads: list[list[str]] = [[]] if words else []
    for word in words:
        choices = word.split("|") if _ALTERNATIVES.match(word) else [word]
        heads = [[*head, choice] for head in heads for choice in choices]
    yield from heads


def documented(program: str) -> list[str]:
    """Return every command of this program in the documents, spelled out, once."""
    commands_of_documents = {
        shlex.join(words)
        for path in LIVING
        for command in commands(path.read_text())
        for words in spelled_out(command)
        if words[0] == program
    }
    return sorted(commands_of_documents)


def variables() -> list[str]:
    return [f"{PREFIX}{name.upper()}" for name in Settings.model_fields]


@pytest.mark.parametrize("command", documented("make"))
def test_make_targets_of_documents_exist(command: str) -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    named = [word for word in shlex.split(command)[1:] if not _ASSIGNMENT.match(word) and not word.startswith("-")]
    assert set(named) <= set(targets)


@pytest.mark.parametrize("command", documented("firsthour"))
def test_commands_of_documents_exist_with_their_options(command: str) -> None:
    result = CliRunner().invoke(program(), [*shlex.split(command)[1:], "--help"])
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("path", LIVING, ids=lambda path: path.name)
def test_every_row_of_a_table_has_as_many_cells_as_its_head(path: Path) -> None:
    cells = 0
    for line in path.read_text().splitlines():
        count = len(re.findall(r"(?<!\\)\|", line)) if line.startswith("|") else 0
        assert count == cells or not count or not cells, line
        cells = count


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_in_the_readme(name: str) -> None:
    assert f"| `firsthour {name}" in README.read_text()


@pytest.mark.skipif(not README.exists(), reason="there is no README yet")
@pytest.mark.parametrize("variable", variables())
def test_every_setting_is_in_the_readme(variable: str) -> None:
    assert re.search(rf"`{variable}`", README.read_text()), f"README.md does not name `{variable}`"


@pytest.mark.skipif(not README.exists(), reason="there is no README yet")
def test_every_setting_in_the_readme_exists() -> None:
    secrets = {f"{name}_FILE" for name in variables()}
    named = set(re.findall(rf"`({PREFIX}[A-Z_]*[A-Z])`", README.read_text()))
    assert named <= {*variables(), *secrets}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_to_files_are_valid(path: Path) -> None:
    missing = [link for link in _LINK.findall(path.read_text()) if not (path.parent / link).exists()]
    assert missing == []


@pytest.mark.skipif(not (package_files.examples() / "agreement.yaml").exists(), reason="there are no examples yet")
def test_example_configuration_is_valid() -> None:
    loaded = reading.load(package_files.examples())
    assert loaded.agreement.name
    assert loaded.version


def test_every_decision_is_listed_and_has_the_three_headings() -> None:
    folder = ROOT / "docs" / "decisions"
    index = (folder / "README.md").read_text()
    for path in folder.glob("[0-9]*.md"):
        assert f"]({path.name})" in index
        headings = re.findall(r"^## (.+)$", path.read_text(), re.MULTILINE)
        assert headings == ["Situation", "Decision", "What follows"], path.name


@pytest.mark.parametrize(
    "path",
    [
        path
        for package in ("schemas", "firsthour", "services")
        for path in sorted((ROOT / package).rglob("__init__.py"))
    ],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_package_file_contains_only_a_docstring(path: Path) -> None:
    assert re.fullmatch(r'""".+"""\n', path.read_text(), re.DOTALL)
    assert path.read_text().count('"""') == 2


def test_generated_pages_are_current() -> None:
    pages = documents.pages()
    assert pages
    assert [page.name for page, text in pages.items() if page.read_text() != text] == [], "run `make schemas`"


def test_every_operator_of_conditions_is_documented() -> None:
    rows = [line for line in (ROOT / "docs/conditions.md").read_text().splitlines() if line.startswith("| `")]
    assert {name for row in rows for name in re.findall(r"`(\w+)`", row.split("|")[1])} >= set(OPS)


def test_every_field_of_conditions_is_documented() -> None:
    text = (ROOT / "docs/conditions.md").read_text()
    assert [field for field in {**PERSON_FIELDS, **DERIVED_FIELDS} if f"`{field}`" not in text] == []
