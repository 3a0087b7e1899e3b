"""`firsthour import`: wrong files and options are refused before anything is sent."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from firsthour.cli.app import program
from firsthour.operations.importing.csv_format import UnreadableFileError
from firsthour.runtime.http.errors import BAD_INPUT, exit_code_of


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["lead", "{file}", "--url", "http://127.0.0.1:1"], "--url and --key go together"),
        (["lead", "{file}", "--separator", "ab"], "write one character, or tab"),
        (["people", "{file}"], "people"),
    ],
)
def test_wrong_option_ends_with_exit_code_2(tmp_path: Path, words: list[str], message: str) -> None:
    file = tmp_path / "leads.csv"
    file.write_text("email\nann@acme.example\n")
    shown = CliRunner().invoke(program(), ["import", *(word.format(file=file) for word in words)])
    assert (shown.exit_code, message in shown.output) == (BAD_INPUT, True)


def test_wrong_file_is_named_with_line_and_remedy(tmp_path: Path) -> None:
    file = tmp_path / "leads.csv"
    file.write_text("\n")
    shown = CliRunner().invoke(program(), ["import", "lead", str(file), "--data", str(tmp_path)])
    assert isinstance(shown.exception, UnreadableFileError)
    assert str(shown.exception) == f"{file}:1: has no header; name the columns in the first line"
    assert exit_code_of(shown.exception) == BAD_INPUT
