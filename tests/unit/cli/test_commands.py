"""The commands of the program: the help lists all, and a call loads only its own module."""

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from firsthour.cli.app import program
from firsthour.cli.commands import COMMANDS, load

ROOT = Path(__file__).resolve().parents[3]
HEAVY = ("aiokafka", "alembic", "asyncpg", "fastapi", "httpx", "phonenumbers", "slack_sdk", "sqlalchemy")


def loaded_by(arguments: str) -> set[str]:
    """Return the modules that a process has loaded at the end of this command."""
    code = f"import sys; from firsthour.cli.app import main\ntry: main({arguments.split()!r})\nfinally: print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    return set(done.stdout.splitlines()[-1].split())


def test_help_lists_every_command_in_order() -> None:
    shown = CliRunner().invoke(program(), ["--help"])
    listed = [line.split()[0] for line in shown.output.partition("Commands:\n")[2].splitlines()]
    assert (shown.exit_code, listed) == (0, list(COMMANDS))


@pytest.mark.parametrize("name", COMMANDS)
def test_listed_summary_is_the_first_sentence_of_the_help(name: str) -> None:
    assert load(name).help.startswith(COMMANDS[name].summary)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_each_command_shows_its_name_and_summary(name: str) -> None:
    shown = CliRunner().invoke(program(), [name, "--help"])
    assert shown.exit_code == 0
    assert f"firsthour {name}" in shown.output
    assert COMMANDS[name].summary in " ".join(shown.output.split())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nonsense"], "No such command 'nonsense'."),
        (["verfy"], "No such command 'verfy'. Did you mean 'verify'?"),
        (["keys", "lst"], "No such command 'lst'. Did you mean 'list'?"),
        (["--nonsense"], "No such option: --nonsense"),
    ],
)
def test_unknown_command_is_refused_with_the_nearest_name(words: list[str], message: str) -> None:
    shown = CliRunner().invoke(program(), words)
    assert (shown.exit_code, message in shown.output) == (2, True)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("keys create --role boss --name a", "`boss` is not one of the allowed values; use one of: ingest, marketing"),
        ("apply --at tomorrow", "`tomorrow` is not a time; write it as 2026-12-01T09:00:00Z"),
        ("up --port web", "`web` is not a whole number; write digits, such as 30"),
        ("up --port 65536", "`65536` is out of range; give a number at most 65535"),
        ("up --speed fast", "`fast` is not a number; write digits, such as 40 or 0.5"),
        ("deadletters list --limit 0", "`0` is out of range; give a number at least 1"),
    ],
)
def test_invalid_value_of_an_option_is_refused_with_the_remedy(words: str, message: str) -> None:
    shown = CliRunner().invoke(program(), words.split())
    assert shown.exit_code == 2
    assert message in shown.output
    assert "Input should" not in shown.output


@pytest.mark.parametrize("arguments", ["--help", "--version", "version", "nonsense"])
def test_light_commands_load_no_heavy_module(arguments: str) -> None:
    assert loaded_by(arguments) & set(HEAVY) == set()


def test_up_loads_neither_the_bench_nor_other_commands() -> None:
    ours = {name for name in loaded_by("up --help") if name.startswith("firsthour.")}
    assert not any(name.startswith("firsthour.bench") for name in ours)
    assert not ours & {f"firsthour.cli.{name}" for name in ("serve", "bench", "keys", "doctor", "verify", "apply")}
