"""`firsthour up` as a new user tries it: runs the printed commands and other commands, and stops the process."""

import contextlib
import json
import os
import pty
import re
import shlex
import shutil
import signal
import socket
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.processes import ROOT, end, environment, until


@dataclass
class Shell:
    """An empty directory in which commands are typed."""

    place: Path
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def type(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "firsthour", *words],
            cwd=self.place,
            env=environment() | {"PYTHONPATH": str(ROOT)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def json(self, *words: str) -> Any:
        done = self.type(*words, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def up(self, *words: str) -> subprocess.Popen[bytes]:
        """Run `up`, and wait until it has printed its greeting."""
        (self.place / "output").unlink(missing_ok=True)
        with (self.place / "output").open("wb") as output, (self.place / "log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "firsthour", "up", "--port", "0", *words],
                cwd=self.place,
                env=environment() | {"PYTHONPATH": str(ROOT)},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=log,
                start_new_session=True,
            )
        self.processes.append(process)
        until(lambda: "Ctrl-C" in self.output or process.poll() is not None, 30, "a greeting")
        assert process.poll() is None, self.log
        return process

    @property
    def output(self) -> str:
        return (self.place / "output").read_text()

    @property
    def log(self) -> str:
        return (self.place / "log").read_text()

    @property
    def key(self) -> str:
        """Return the key of the first start, which a process without a terminal writes to a file."""
        return (self.place / "data" / "admin.key").read_text().strip()

    def to_paste(self) -> list[str]:
        return [line for line in self.output.splitlines() if line.startswith("curl ")]


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    opened = Shell(tmp_path)
    yield opened
    for process in opened.processes:
        end(process)


def paste(line: str, place: Path) -> Any:
    """Run a printed curl command in this directory. Without curl, send the same request."""
    if shutil.which("curl"):
        done = subprocess.run(
            ["sh", "-c", line], capture_output=True, check=True, timeout=30, env=environment(), cwd=place
        )
        return json.loads(done.stdout)
    line = re.sub(r"\$\(cat (\S+)\)", lambda match: (place / match[1]).read_text().strip(), line)
    words = shlex.split(line)
    url = next(word for word in words if word.startswith("http"))
    after = {flag: [words[n + 1] for n, word in enumerate(words) if word == flag] for flag in ("-d", "-H")}
    headers = dict(header.split(": ", 1) for header in after["-H"])
    if not after["-d"]:
        return httpx.get(url, headers=headers, trust_env=False, verify=False).json()
    return httpx.post(url, data=dict(pair.split("=", 1) for pair in after["-d"]), trust_env=False, verify=False).json()


def test_printed_commands_create_a_lead_with_owner_and_page(shell: Shell) -> None:
    process = shell.up()
    assert "wrote the examples" in shell.output
    post, look = shell.to_paste()
    assert paste(post, shell.place)["ids"]
    until(lambda: bool(paste(look, shell.place)["items"]), 10, "the lead")
    lead = paste(look, shell.place)["items"][0]
    assert lead["owner"] is not None
    pages = httpx.get(
        re.sub(r"/v1/leads.*", f"/v1/pages?lead={lead['id']}", shlex.split(look)[-1]),
        headers={"authorization": f"Bearer {shell.key}"},
        trust_env=False,
        verify=False,
    )
    assert pages.json()["items"][0]["state"] in ("sending", "sent")
    assert "ada" not in shell.log.lower()

    assert [one["ok"] for one in shell.json("verify")["items"]] == [True] * 10
    assert shell.json("doctor")["ok"]
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0
    assert sorted(path.name for path in (shell.place / "data").iterdir()) == ["admin.key", "firsthour.db", "lock"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in (shell.place / "data").iterdir()} == {0o600}
    assert '"stopped"' in shell.log
    assert shell.json("verify")["ok"]


def test_commands_use_the_running_process(shell: Shell) -> None:
    process = shell.up()
    key = shell.json("keys", "create", "--role", "ingest", "--name", "site")
    url = re.findall(r"answers at (\S+)", shell.output)[0]
    send: dict[str, Any] = {"headers": {"authorization": f"Bearer {key['key']}"}, "trust_env": False, "timeout": 10}
    answer = httpx.post(f"{url}/v1/events", json={"id": "1", "type": "form.submitted"}, **send)
    letter = answer.json()["dead_letter"]
    (shell.place / "right.json").write_text(
        json.dumps({"id": "1", "type": "form.submitted", "email": "bo@bo.example", "data": {"form": "demo-request"}})
    )
    assert [one["id"] for one in shell.json("deadletters", "list")["items"]] == [letter]
    assert shell.type("deadletters", "retry", letter).returncode == 2
    assert '"id":"1"' in shell.type("deadletters", "show", letter).stdout.replace(" ", "")
    assert shell.json("deadletters", "retry", letter, "--body", "right.json")["events"] == ["1"]
    assert shell.type("deadletters", "drop", letter).returncode == 1
    shell.json("keys", "revoke", key["id"])
    assert httpx.post(f"{url}/v1/events", json={"id": "2", "type": "page.viewed"}, **send).status_code == 401
    assert process.poll() is None


def test_first_key_works_after_a_restart_and_is_not_printed_again(shell: Shell) -> None:
    process = shell.up()
    key = shell.key
    assert key not in shell.output + shell.log, "output without a terminal may be stored as a log"
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 0
    shell.up()
    assert "still works" in shell.output
    assert key not in shell.output
    assert len(shell.to_paste()) == 1
    url = re.findall(r"answers at (\S+)", shell.output)[0]
    headers = {"authorization": f"Bearer {key}"}
    assert httpx.get(f"{url}/v1/keys", headers=headers, trust_env=False, verify=False).status_code == 200


def test_second_process_on_the_same_data_is_refused(shell: Shell) -> None:
    shell.up()
    done = shell.type("up", "--port", "0")
    assert (done.returncode, "another FirstHour process" in done.stderr) == (1, True)


def test_port_in_use_is_reported(shell: Shell) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = shell.type("up", "--port", port)
    assert (done.returncode, f"port {port}" in done.stderr, "--port" in done.stderr) == (1, True, True)


def test_data_of_a_faster_clock_is_refused_at_normal_speed(shell: Shell) -> None:
    process = shell.up("--speed", "60")
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0
    done = shell.type("up", "--port", "0")
    assert (done.returncode, "--speed" in done.stderr) == (2, True)
    assert shell.json("verify")["ok"]


def test_commands_ignore_the_address_of_a_killed_process(shell: Shell) -> None:
    process = shell.up()
    process.kill()
    process.wait()
    assert (shell.place / "data" / "running.json").exists()
    assert shell.json("verify")["ok"]
    assert shell.json("keys", "list")["items"][0]["name"] == "quickstart"


# --- on a terminal ---------------------------------------------------------------------------------------------------

EVIL = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202eevil\x7f\r"
PLANTED = (
    "INSERT INTO dead_letters (id, at, consumer, origin, source, content_type, body, error, code, state, changed_at, tries)"
    " VALUES ('{id}', 1, 'gateway', :evil, :evil, :evil, :body, :evil, 'c', 'waiting', 1, 1)"
)


@dataclass
class TerminalScreen:
    """A terminal that receives the output of a command."""

    place: Path
    shown: bytes = b""

    def __enter__(self) -> "TerminalScreen":
        self._ours, self.theirs = pty.openpty()
        return self

    def __exit__(self, *exc: object) -> None:
        os.close(self._ours)

    def run(self, *words: str) -> subprocess.Popen[bytes]:
        """Start this command on the terminal."""
        process = subprocess.Popen(
            [sys.executable, "-m", "firsthour", *words],
            cwd=self.place,
            env=environment() | {"PYTHONPATH": str(ROOT), "TERM": "dumb"},
            stdin=subprocess.DEVNULL,
            stdout=self.theirs,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        os.close(self.theirs)
        return process

    def read(self, until: bytes | None = None) -> str:
        """Return the output up to this text, or up to the end of the command."""
        with contextlib.suppress(OSError):  # Linux: the other end is closed
            while (until is None or until not in self.shown) and (more := os.read(self._ours, 65_536)):
                self.shown += more
        return self.shown.decode().replace("\r\n", "\n")


def test_first_key_is_printed_on_a_terminal_and_not_stored(shell: Shell) -> None:
    with TerminalScreen(shell.place) as screen:
        process = screen.run("up", "--port", "0", "--no-feed")
        shell.processes.append(process)
        output = screen.read(b"Ctrl-C")
        [key] = re.findall(r"Authorization: Bearer (fh_[\w-]+)", output)
        url = re.findall(r"answers at (\S+)", output)[0]
        headers = {"authorization": f"Bearer {key}"}
        assert httpx.get(f"{url}/v1/keys", headers=headers, trust_env=False, verify=False).status_code == 200
        assert not (shell.place / "data" / "admin.key").exists()
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


def test_commands_print_no_terminal_control_characters(shell: Shell) -> None:
    assert shell.type("migrate").returncode == 0
    with closing(sqlite3.connect(shell.place / "data" / "firsthour.db")) as connection, connection:
        for id, body in (("text", EVIL.encode()), ("bytes", b"\xff" + EVIL.encode())):
            connection.execute(PLANTED.format(id=id), {"evil": EVIL, "body": body})
        connection.execute(
            "INSERT INTO api_keys (id, name, role, hash, created_at) VALUES ('k', :evil, 'sales', 'h', 1)",
            {"evil": EVIL},
        )
    commands = [
        ("deadletters", "show", "text"),
        ("deadletters", "show", "bytes"),
        ("deadletters", "list"),
        ("keys", "list"),
    ]
    for words in commands:
        with TerminalScreen(shell.place) as screen:
            process = screen.run(*words)
            shown = screen.read()
            assert process.wait(30) == 0
        assert [c for c in shown if not c.isprintable() and c != "\n"] == [], words
        assert "evil" in shown, words
        assert "owned" in shown, words
