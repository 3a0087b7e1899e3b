"""Settings reach the processes of `up` and `serve`. Each process logs its start and its end."""

import json
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from tests.e2e.processes import ROOT, START_SECONDS, STOP_SECONDS, end, environment, free_port, until

COMMANDS: Final = {"up": ("up", "--no-feed"), "serve": ("serve", "router")}
NO_SERVER: Final = "127.0.0.1:1"
BACKENDS: Final = {"database_url": f"postgresql://nobody@{NO_SERVER}/none", "kafka_bootstrap": NO_SERVER}
"""Addresses without a server. `serve` answers although it cannot connect."""
EVICTED_SECONDS: Final = 5.0  # less than the time for which an idle connection may stay open


@dataclass
class Started:
    """A process that answers, and its log."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path

    def answers(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        with suppress(httpx.HTTPError):
            return httpx.get(f"http://127.0.0.1:{self.port}/healthz", trust_env=False, verify=False).status_code == 200
        return False

    def listens_on(self) -> set[int]:
        """Return every port that this process listens on."""
        sockets = set()
        for fd in Path(f"/proc/{self.process.pid}/fd").iterdir():
            with suppress(FileNotFoundError):
                sockets.add(str(fd.readlink()))
        tables = [Path(f"/proc/{self.process.pid}/net/{name}").read_text() for name in ("tcp", "tcp6")]
        rows = [line.split() for table in tables for line in table.splitlines()[1:]]
        listening = [row for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in sockets]
        return {int(row[1].rpartition(":")[2], 16) for row in listening}

    def stop(self) -> list[Any]:
        """Stop the process with SIGTERM. Return the events that it logged."""
        self.process.terminate()
        assert self.process.wait(STOP_SECONDS) == 0
        return [json.loads(line)["event"] for line in self.log.read_text().splitlines()]


Start = Callable[..., Started]


@pytest.fixture(params=COMMANDS)
def start(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Start]:
    """Return a function that starts the process with some settings."""
    with ExitStack() as stack:

        def one(**settings: object) -> Started:
            port, log = free_port(), tmp_path / "log"
            texts = {name: str(value) for name, value in settings.items()}
            with log.open("wb") as lines:
                process = subprocess.Popen(
                    [sys.executable, "-m", "firsthour", *COMMANDS[request.param], "--port", str(port)],
                    cwd=tmp_path,
                    env=environment(**texts, **(BACKENDS if request.param == "serve" else {}))
                    | {"PYTHONPATH": str(ROOT)},
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=lines,
                    start_new_session=True,
                )
            stack.callback(end, process)
            started = Started(process, port, log)
            until(started.answers, START_SECONDS, "it answers")
            return started

        yield one


def test_one_port_longest_idle_connection_closed_start_and_end_logged(start: Start) -> None:
    started = start(connections_max=10)
    if Path("/proc/self/net/tcp").exists():
        assert started.listens_on() == {started.port}
    _assert_longest_idle_connection_is_closed(started)
    events = started.stop()
    assert "serving" in events
    assert events[-1] == "stopped"


def _assert_longest_idle_connection_is_closed(started: Started) -> None:
    with ExitStack() as stack:
        opened = [
            stack.enter_context(socket.create_connection(("127.0.0.1", started.port), EVICTED_SECONDS))
            for _ in range(11)
        ]
        with suppress(ConnectionResetError):
            assert opened[0].recv(1) == b""
        opened[1].sendall(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
        assert opened[1].recv(12) == b"HTTP/1.1 200"


def test_metrics_port_is_served_and_lines_below_the_log_level_are_not_logged(start: Start) -> None:
    port = free_port()
    started = start(metrics_port=port, log_level="error")
    answer = httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False, verify=False)
    assert (answer.status_code, "http_requests_total" in answer.text) == (200, True)
    if Path("/proc/self/net/tcp").exists():
        assert started.listens_on() == {started.port, port}
    assert started.stop() == []
