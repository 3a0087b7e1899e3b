"""Commands on a stopped installation: their output and exit codes."""

import asyncio
import errno
import json
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from firsthour.cli.app import main
from firsthour.runtime.storage.data_directory import hold
from tests.corruption import corrupt_table
from tests.unit.operations.harness import OperationsHarness

Run = Callable[..., tuple[int, str, str]]


pytestmark = pytest.mark.usefixtures("restored_logging")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """Return a function that runs a command in an empty directory: it returns exit code, output and errors."""
    monkeypatch.chdir(tmp_path)

    def command(*words: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(words)
        output = capfd.readouterr()
        return int(ended.value.code or 0), output.out, output.err

    return command


# --- configuration -----------------------------------------------------------------------------------------------


def test_init_writes_correct_files_and_overwrites_none(run: Run) -> None:
    assert run("init", "config")[0] == 0
    assert run("agreement", "check", "config")[0] == 0
    Path("config/team.yaml").write_text("mine")
    code, _, wrong = run("init", "config")
    assert (code, "team.yaml: exists" in wrong) == (1, True)
    for place in ("config/team.yaml", "config/team.yaml/new"):
        message = "config/team.yaml: is a file, not a directory; name a directory to write to\n"
        assert run("init", place) == (1, "", message)
    assert Path("config/team.yaml").read_text() == "mine"
    assert run("init", "config", "--force")[0] == 0
    assert run("agreement", "check", "config")[0] == 0


def test_mistake_in_a_file_is_shown_with_line_and_column(run: Run) -> None:
    run("init", "config")
    text = Path("config/team.yaml").read_text().replace("manager: ines", "manager: inez", 1)
    Path("config/team.yaml").write_text(text)
    line = next(n for n, row in enumerate(text.splitlines(), 1) if "inez" in row)
    code, _, wrong = run("agreement", "check", "config")
    assert code == 2
    assert wrong.startswith(f"config/team.yaml:{line}:")
    code, output, _ = run("agreement", "check", "config", "--json")
    assert (code, json.loads(output)["problems"][0]["line"]) == (2, line)


def test_field_without_effect_is_a_warning(run: Run) -> None:
    run("init", "config")
    with Path("config/agreement.yaml").open("a") as file:
        file.write("personas:\n  buyer: {title: CTO}\n")
    code, output, _ = run("agreement", "check", "config", "--json")
    assert (code, [warning for warning in json.loads(output)["warnings"] if "personas" in warning] != []) == (0, True)
    assert "warning: " in run("agreement", "check", "config")[1]


def test_ladder_channel_that_is_not_set_up_is_a_warning(run: Run) -> None:
    run("init", "config")
    file = Path("config/agreement.yaml")
    file.write_text(file.read_text().replace("by: [inbox]", "by: [email]"))
    code, output, _ = run("agreement", "check", "config", "--json")
    assert (code, "email, which is not set up here" in json.loads(output)["warnings"][-1]) == (0, True)
    assert "warning: the ladder pages by email, which is not set up here" in run("agreement", "check", "config")[1]


def test_up_with_a_mistake_in_a_file_exits_with_2(run: Run) -> None:
    run("init", "config")
    Path("config/sources.yaml").write_text("sources: [\n")
    code, _, wrong = run("up", "--port", "0")
    assert (code, wrong.startswith("config/sources.yaml:")) == (2, True)
    assert not Path("data").exists()


def test_up_with_a_missing_config_directory_exits_with_2(run: Run) -> None:
    code, _, wrong = run("up", "--config", "elsewhere", "--port", "0")
    assert (code, wrong.startswith("elsewhere/agreement.yaml:1:1: there is no such file")) == (2, True)


def test_wrong_setting_is_named(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIRSTHOUR_SMTP_URL", "nonsense")
    code, _, wrong = run("verify")
    assert (code, "FIRSTHOUR_SMTP_URL" in wrong, "nonsense" in wrong) == (2, True, False)


# --- a stopped installation --------------------------------------------------------------------------------------


def test_keys_are_created_listed_and_revoked_on_the_files(run: Run) -> None:
    code, output, _ = run("keys", "create", "--role", "sales", "--name", "Ana's phone", "--expires", "90d", "--json")
    key = json.loads(output)
    assert (code, set(key)) == (0, {"id", "key", "role", "name"})
    code, output, _ = run("keys", "list", "--json")
    (listed,) = json.loads(output)["items"]
    assert (code, listed["name"], listed["state"]) == (0, "Ana's phone", "alive")
    assert run("keys", "revoke", key["id"])[0] == 0
    assert "revoked" in run("keys", "list")[1]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--name", ""), "--name: is empty; write a text\n"),
        (("--name", "x" * 101), "--name: is too long; write at most 100 characters\n"),
        (("--name", "a\nb"), "--name: has a character that cannot be printed; write printable text on one line\n"),
        (("--rep", "zed"), "--rep: there is no rep 'zed' in team.yaml; use one of: noor, tom, lea, ines\n"),
        (
            ("--source", "zz"),
            "--source: there is no `kind: api` source 'zz' in sources.yaml; the file has none, so add one\n",
        ),
        (
            ("--source", "zz", "--rep", "noor"),
            "--source: cannot be combined with a rep; create one key for the rep and one for the system\n",
        ),
    ],
)
def test_wrong_option_of_a_key_is_one_line_that_names_the_option(
    run: Run, words: tuple[str, ...], message: str
) -> None:
    run("init", "config")
    code, _, wrong = run("keys", "create", "--role", "sales", "--name", "x", *words)
    assert (code, wrong) == (2, message)


def test_wrong_cursor_is_explained_by_what_the_command_prints(run: Run) -> None:
    run("migrate")
    code, _, wrong = run("deadletters", "list", "--cursor", "xx")
    assert (code, wrong.count("\n"), "--cursor" in wrong, "`next`" in wrong) == (2, 1, True, False)


def test_key_for_a_rep_needs_the_team_file(run: Run) -> None:
    assert run("keys", "create", "--role", "sales", "--name", "x", "--rep", "noor")[0] == 2
    run("init", "config")
    assert run("keys", "create", "--role", "sales", "--name", "x", "--rep", "noor")[0] == 0
    code, _, wrong = run("keys", "create", "--role", "sales", "--name", "x", "--rep", "zed")
    assert (code, "noor" in wrong) == (2, True)


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (("keys", "create", "--role", "owner", "--name", "x"), "--role"),
        (("keys", "create", "--role", "sales", "--name", "x", "--expires", "soon"), "--expires"),
        (("keys", "revoke", "../x"), "keys list"),
        (("deadletters", "show", "a/b"), "deadletters list"),
        (("up", "--speed", "0"), "--speed"),
        (("nonsense",), "nonsense"),
    ],
)
def test_wrong_argument_exits_with_2_and_is_named(run: Run, words: tuple[str, ...], part: str) -> None:
    code, _, wrong = run(*words)
    assert (code, part in wrong) == (2, True)


@pytest.mark.parametrize("words", [("verify",), ("keys", "list"), ("deadletters", "list")])
def test_command_without_an_installation_creates_nothing(run: Run, words: tuple[str, ...]) -> None:
    assert run(*words)[0] == 2
    assert not Path("data").exists()


@pytest.mark.parametrize("words", [("verify",), ("keys", "list"), ("deadletters", "list")])
def test_directory_without_a_database_stays_unchanged(run: Run, words: tuple[str, ...]) -> None:
    Path("other").mkdir()
    assert run(*words, "--data", "other")[0] == 2
    assert not list(Path("other").iterdir())


def test_data_directory_that_is_none_is_named_with_the_remedy(run: Run) -> None:
    Path("file").touch()
    remedy = "name the data directory with --data\n"
    assert run("verify", "--data", "gone") == (2, "", f"gone: no such directory; {remedy}")
    assert run("verify", "--data", "file") == (2, "", f"file: is not a directory; {remedy}")


# --- dead letters that were received before --------------------------------------------------------------------


@pytest.fixture
def letter(tmp_path: Path) -> str:
    """Return the id of a dead letter of the installation in `data`, with its configuration in `config`."""

    async def receive() -> str:
        harness = OperationsHarness(tmp_path)
        await harness.open()
        answer = await harness.client.post("/v1/events", json={"id": "e1", "type": "form.submitted"})
        await harness.close()
        return str(answer.json()["dead_letter"])

    return asyncio.run(receive())


def test_retry_without_configuration_files_names_the_option(
    run: Run, letter: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("body.json").write_text(
        '{"id": "e1", "type": "form.submitted", "email": "a@a.example", "data": {"form": "f"}}'
    )
    Path("other").mkdir()
    monkeypatch.chdir("other")
    retry = ("deadletters", "retry", letter, "--body", "../body.json", "--data", "../data")
    code, _, wrong = run(*retry)
    assert (code, wrong.count("\n")) == (2, 1)
    assert wrong.startswith("config: holds no configuration files")
    assert "--config" in wrong
    assert "FIRSTHOUR_CONFIG_DIR" in wrong
    assert run(*retry, "--config", "../config") == (0, "Retried: e1.\n", "")


def test_retry_with_a_wrong_body_says_each_mistake_once(run: Run, letter: str) -> None:
    for body in ('{"id": "e1", "type": "nonsense"}', '{"id": "e1", "type": "form.submitted"}', "[", "{}"):
        Path("body.json").write_text(body)
        code, _, wrong = run("deadletters", "retry", letter, "--body", "body.json")
        assert (code, wrong.count("\n")) == (2, 1), wrong


def test_bulk_retry_shows_what_fails_again(run: Run, letter: str) -> None:
    source = json.loads(run("deadletters", "list", "--json")[1])["items"][0]["source"]
    assert json.loads(run("deadletters", "list", "--json", "--source", "other")[1])["items"] == []
    code, output, wrong = run("deadletters", "retry", "--source", source, "--all")
    assert (code, wrong) == (1, "")
    assert output.startswith("Retried: 0, which became 0 events. Failed again: 1.\n")
    assert letter in output
    code, output, _ = run("deadletters", "retry", "--source", source, "--all", "--json")
    assert (code, json.loads(output)["failed"], json.loads(output)["errors"][0]["id"]) == (1, 1, letter)
    assert run("deadletters", "retry", "--source", "other", "--all")[0] == 0


@pytest.mark.parametrize("words", [(), ("--all",), ("--source", "x"), ("l1", "--source", "x", "--all")])
def test_retry_needs_an_id_or_a_source(run: Run, letter: str, words: tuple[str, ...]) -> None:
    code, _, wrong = run("deadletters", "retry", *words)
    assert (code, "both --source and --all" in wrong) == (2, True)


def test_verify_says_first_how_many_leads_were_not_judged(run: Run, tmp_path: Path) -> None:
    async def receive() -> None:
        harness = OperationsHarness(tmp_path)
        await harness.open()
        await harness.ask("ann", "bob")
        await harness.close()

    def first_line(position: str) -> str:
        with closing(sqlite3.connect("data/firsthour.db")) as connection, connection:
            connection.execute(
                f"UPDATE cursors SET position = ({position}) WHERE consumer = 'notifier' AND topic = 'routes'"
            )
        return run("verify")[1].partition("\n")[0]

    asyncio.run(receive())
    last = "SELECT max(id) FROM log WHERE topic = 'routes'"
    assert first_line(last) == "All leads were judged: 2."
    assert first_line(f"{last} AND id < ({last})").startswith("1 of 2 leads were NOT judged: they have unread records")
    assert first_line("0").startswith("NO LEAD was judged, of 2: they have unread records")


@pytest.mark.parametrize(
    ("number", "remedy"),
    [(errno.ENOSPC, "make room"), (errno.EROFS, "writable"), (errno.EACCES, "check its permissions")],
)
def test_error_of_the_system_names_its_file_and_a_remedy(
    run: Run, monkeypatch: pytest.MonkeyPatch, number: int, remedy: str
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number), "data/lock")

    monkeypatch.setattr("firsthour.runtime.storage.data_directory.open_private", refuse)
    code, _, wrong = run("migrate", "--data", "data")
    assert (code, wrong) == (1, f"data/lock: {os.strerror(number)}; {wrong.partition('; ')[2]}")
    assert remedy in wrong


def test_verify_deadletters_and_doctor_read_the_files(run: Run) -> None:
    run("init", "config")
    assert run("migrate") == (0, "data/firsthour.db: upgraded.\n", "")
    assert run("migrate", "--json")[1] == '{"changed": false}\n'
    code, output, _ = run("verify")
    assert (code, output.count("holds")) == (0, 10)
    assert output.startswith("No lead was judged: there is none yet.\n")
    assert run("deadletters", "list")[1] == "None waiting.\n"
    assert run("deadletters", "show", "nobody")[0] == 1
    code, output, _ = run("doctor", "--json")
    assert (code, json.loads(output)["ok"]) == (0, True)
    Path("config/team.yaml").write_text("")
    assert run("doctor")[0] == 1


def test_verify_names_ten_rows_of_an_invariant_or_all(run: Run, tmp_path: Path) -> None:
    async def twelve_clocks_are_gone() -> None:
        harness = OperationsHarness(tmp_path)
        await harness.open()
        await harness.ask(*(f"person{n}" for n in range(12)))
        await harness.break_by("DELETE FROM notifier_clocks")
        await harness.close()

    asyncio.run(twelve_clocks_are_gone())
    for words, named in (((), 10), (("--all",), 12)):
        code, output, _ = run("verify", "--json", *words)
        [broken] = [one for one in json.loads(output)["items"] if not one["ok"]]
        assert (code, broken["broken"], len(broken["rows"])) == (1, 12, named)
        shown = run("verify", *words)[1]
        assert sum(row in shown for row in broken["rows"]) == named


def test_damaged_database_is_one_line_without_statements_or_values(run: Run) -> None:
    run("migrate", "--data", "data")
    corrupt_table(Path("data/firsthour.db"), "log")
    code, _, wrong = run("verify", "--data", "data")
    assert code == 1
    assert "the database is damaged" in wrong
    assert "firsthour doctor" in wrong
    assert not any(inside in wrong for inside in ("SELECT", "parameters", "Traceback", "locals"))


def test_directory_in_use_is_refused(run: Run) -> None:
    run("migrate")
    with hold(Path("data")):
        for words in (("keys", "list"), ("migrate",), ("verify",)):
            code, _, wrong = run(*words)
            assert (code, "--data" in wrong) == (1, True)


def test_tables_of_another_version_stay_unchanged(run: Run) -> None:
    run("migrate")
    with closing(sqlite3.connect("data/firsthour.db")) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = 'older'")
    code, _, wrong = run("verify")
    assert (code, "has tables that no version of FirstHour created; use another database" in wrong) == (1, True)


def test_file_that_is_no_database_is_named(run: Run) -> None:
    run("migrate")
    Path("data/firsthour.db").write_text("not a database " * 100)
    for words in (("verify",), ("keys", "list"), ("migrate",)):
        code, _, wrong = run(*words)
        assert (code, "file is not a database" in wrong) == (1, True), wrong


# --- help --------------------------------------------------------------------------------------------------------

COMMANDS = [
    ("up",),
    ("init",),
    ("migrate",),
    ("verify",),
    ("doctor",),
    ("bench",),
    ("version",),
    ("agreement", "check"),
    ("keys", "create"),
    ("keys", "list"),
    ("keys", "revoke"),
    ("deadletters", "list"),
    ("deadletters", "show"),
    ("deadletters", "retry"),
    ("deadletters", "drop"),
    ("tell",),
    ("webhooks", "list"),
    ("webhooks", "log"),
    ("webhooks", "show"),
    ("webhooks", "resend"),
    ("webhooks", "enable"),
]


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_help_of_each_command_has_an_example(run: Run, words: tuple[str, ...]) -> None:
    code, output, _ = run(*words, "--help")
    assert (code, f"Example: firsthour {' '.join(words)}" in " ".join(output.split())) == (0, True)


def test_version_is_printed(run: Run) -> None:
    assert run("--version")[1].startswith("firsthour ")
    assert set(json.loads(run("version", "--json")[1])) == {"version"}
