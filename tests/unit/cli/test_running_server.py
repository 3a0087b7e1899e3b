"""The serving process is found by its file; the file of a process that is gone is ignored."""

import os
import stat
import subprocess
from pathlib import Path

import pytest

from firsthour.cli import running_server
from firsthour.cli.running_server import CommandRefusedError, Running
from firsthour.runtime.http.problem import TYPES


def test_file_is_private_and_removed_only_by_its_process(tmp_path: Path) -> None:
    me = Running(os.getpid(), "http://127.0.0.1:1", running_server.new_token())
    running_server.announce(tmp_path, me)
    assert stat.S_IMODE((tmp_path / running_server.FILE).stat().st_mode) == 0o600
    assert running_server.find(tmp_path) == me
    running_server.withdraw(tmp_path, Running(me.pid, me.url, "another token"))
    assert running_server.find(tmp_path) == me
    running_server.withdraw(tmp_path, me)
    assert list(tmp_path.iterdir()) == []


def test_file_of_a_process_that_is_gone_is_ignored(tmp_path: Path) -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    running_server.announce(tmp_path, Running(gone.pid, "http://127.0.0.1:1", "t"))
    assert running_server.find(tmp_path) is None


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff", b'{"pid": -1, "url": "u", "token": "t"}', b"[1, 2]"])
def test_unreadable_file_is_ignored(tmp_path: Path, content: bytes) -> None:
    (tmp_path / running_server.FILE).write_bytes(content)
    assert running_server.find(tmp_path) is None


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:80"),
        ("0.0.0.0", "http://127.0.0.1:80"),
        ("::", "http://[::1]:80"),
        ("::1", "http://[::1]:80"),
        ("localhost", "http://localhost:80"),
    ],
)
def test_address_is_reachable_from_this_machine(host: str, url: str) -> None:
    assert running_server.reachable(host, 80) == url


@pytest.mark.parametrize("kind", running_server.ON_THE_COMMAND_LINE)
def test_text_of_a_problem_on_the_command_line_names_no_part_of_http(kind: str) -> None:
    assert kind in TYPES.values()
    problem = {"type": f"urn:firsthour:problem:{kind}", "title": "T", "detail": "Send the request again: `/readyz`."}
    text = str(CommandRefusedError(503, problem))
    assert not any(word in text for word in ("Send", "request", "/", "`next`"))
    assert text.count("\n") == 0


def test_mistake_in_a_body_keeps_its_place_and_is_said_once() -> None:
    fault = {"pointer": "#/data/email", "detail": "is empty; write it"}
    problem = {
        "type": "urn:firsthour:problem:invalid-event",
        "detail": "`email` is empty; write it.",
        "errors": [fault],
    }
    assert str(CommandRefusedError(422, problem)) == "#/data/email: is empty; write it"
