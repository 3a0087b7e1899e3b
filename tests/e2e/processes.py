"""Real processes for tests: an installation that can be killed and restarted, a fake Slack, and the replay client."""

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import httpx

from devtools import machine

ROOT = Path(__file__).resolve().parents[2]
ADMIN = "e2e-" + "k" * 40
START_SECONDS = 60.0
STOP_SECONDS = 30.0


def free_port() -> int:
    """Return a port on which no process listens, and which no outgoing connection takes while a process is restarted."""
    return machine.free_ports(1)[0]


def until(condition: Callable[[], bool], seconds: float, state: str) -> None:
    """Wait until another process is in this state. Raises `AssertionError`.

    The time is real, because a test cannot move the clock of another process.
    """
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds:g} s: {state}")
        time.sleep(0.02)


def environment(**ours: str) -> dict[str, str]:
    """Return the environment of this process, with these settings of FirstHour and no others."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("FIRSTHOUR_")}
    return {
        **inherited,
        "PYTHONUNBUFFERED": "1",
        **{f"FIRSTHOUR_{name.upper()}": value for name, value in ours.items()},
    }


def spawn(output: Path, *command: str, env: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
    """Start `python -m command` in its own session. Its output is appended to the file `output`."""
    with output.open("ab") as stream:
        return subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=ROOT,
            env=env if env is not None else environment(),
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            start_new_session=True,
        )


def end(process: subprocess.Popen[bytes]) -> None:
    """Kill the process if it runs, and wait for its end."""
    if process.poll() is None:
        process.kill()
    process.wait()


class Front(Protocol):
    """An installation that accepts requests at `url`."""

    @property
    def url(self) -> str: ...


@dataclass
class ProcessInstallation:
    """A process of `firsthour up` with its own directories. The file `output` contains its output."""

    config: Path
    data: Path
    settings: Mapping[str, str] = field(default_factory=dict)
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def output(self) -> Path:
        return self.data.with_suffix(".output")

    @property
    def database(self) -> Path:
        return self.data / "firsthour.db"

    def start(self) -> None:
        """Start the process, and wait until it is ready."""
        self.process = spawn(
            self.output,
            *("firsthour", "up", "--host", "127.0.0.1", "--port", str(self.port)),
            *("--config", str(self.config), "--data", str(self.data)),
            env=environment(admin_key=ADMIN, **self.settings),
        )
        until(self._ready, START_SECONDS, "ready to serve")

    def _ready(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.output.read_text(errors="replace")[-4000:]
        try:
            return httpx.get(f"{self.url}/readyz", trust_env=False, verify=False, timeout=5.0).status_code == 200
        except httpx.HTTPError:
            return False

    def kill(self) -> None:
        """Send SIGKILL: no handler runs, and no data is flushed."""
        assert self.process is not None
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self) -> int:
        """Send SIGTERM. Return the exit code."""
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(STOP_SECONDS)

    def __enter__(self) -> "ProcessInstallation":
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        if self.process is not None:
            end(self.process)

    # --- queries ---

    def get(self, path: str) -> Any:
        answer = httpx.get(
            f"{self.url}{path}",
            headers={"authorization": f"Bearer {ADMIN}"},
            trust_env=False,
            verify=False,
            timeout=30.0,
        )
        assert answer.status_code == 200, (path, answer.status_code, answer.text)
        return answer.json()

    def leads(self) -> list[dict[str, Any]]:
        """Return every lead."""
        leads: list[dict[str, Any]] = []
        cursor: str | None = ""
        while cursor is not None:
            page = self.get(f"/v1/leads?limit=500{f'&cursor={cursor}' if cursor else ''}")
            leads += page["items"]
            cursor = page["next"]
        return leads

    def rows(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """Run a query on the database file. A running process may write to the file at the same time."""
        with closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True, timeout=10.0)) as connection:
            return connection.execute(sql, values).fetchall()

    def quiet(self) -> bool:
        """Return whether all records are read, and no page is pending or being sent."""
        behind = self.rows(
            "SELECT count(*) FROM cursors c WHERE EXISTS"
            " (SELECT 1 FROM log WHERE topic = c.topic AND partition = c.partition AND id > c.position)"
        )
        waiting = self.rows("SELECT count(*) FROM notifier_pages WHERE next_at IS NOT NULL")
        return behind == [(0,)] and waiting == [(0,)]

    def verify(self) -> tuple[int, str]:
        """Run `firsthour verify` on the files of the stopped installation. Return the exit code and the output."""
        assert self.process is None or self.process.poll() is not None, "the process runs; stop it before verify"
        done = subprocess.run(
            [sys.executable, "-m", "firsthour", "verify", "--data", str(self.data)],
            cwd=ROOT,
            env=environment(config_dir=str(self.config)),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr


@dataclass
class SlackProcess:
    """The fake Slack in its own process, which a kill of the installation does not end. It stores a message, then answers."""

    record: Path
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/api/"

    def __enter__(self) -> "SlackProcess":
        self.process = spawn(
            self.record.with_suffix(".output"),
            *("tests.fakes.slack", "--port", str(self.port), "--record", str(self.record)),
        )
        until(self._listens, START_SECONDS, "fake Slack listens")
        return self

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def __exit__(self, *exc: object) -> None:
        if self.process is not None:
            end(self.process)

    def arrivals(self) -> list[dict[str, Any]]:
        """Return the messages in order of arrival, each with at, to, page_id, lead_id and epoch."""
        return json_lines(self.record)


def json_lines(file: Path) -> list[dict[str, Any]]:
    """Return the complete lines of a file. The last line is left out while a process still writes it."""
    if not file.exists():
        return []
    return [json.loads(line) for line in file.read_text().splitlines(keepends=True) if line.endswith("\n")]


@contextmanager
def replaying(file: Path, installation: Front, log: Path, *more: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run the replay command in the background. `log` contains the acknowledged rows, the file beside it the output."""
    process = spawn(
        log.with_suffix(".output"),
        *(
            "firsthour.operations.replay.command",
            str(file),
            "--url",
            installation.url,
            "--key",
            ADMIN,
            "--log",
            str(log),
        ),
        *more,
    )
    try:
        yield process
    finally:
        end(process)


def replay(file: Path, installation: Front, log: Path, *more: str, seconds: float = 300.0) -> int:
    """Replay the whole file. Return the exit code."""
    with replaying(file, installation, log, *more) as process:
        return process.wait(seconds)


# --- configurations and files ---------------------------------------------------------------------------------------


def write_config(
    directory: Path, agreement: Mapping[str, Any], reps: Sequence[Mapping[str, Any]], pools: Mapping[str, Sequence[str]]
) -> Path:
    """Write a configuration directory. The YAML files contain JSON, which is a part of YAML."""
    directory.mkdir(parents=True)
    team = {
        "reps": reps,
        "pools": [{"id": pool, "members": [{"rep": rep} for rep in members]} for pool, members in pools.items()],
    }
    form = {"id": "website", "kind": "form", "forms": ["demo-request"], "allowed_origins": []}
    for name, content in (("agreement", agreement), ("team", team), ("sources", {"sources": [form]})):
        (directory / f"{name}.yaml").write_text(json.dumps(content, indent=1))
    return directory


def write_stream(file: Path, rows: int) -> Path:
    """Write a CSV file with this number of people. The rows are the same on each call."""
    lines = ["id,email,name,company,employees,amount"]
    for n in range(rows):
        employees, amount = (n * 7919) % 4000 + 1, (n * 104_729) % 50_000
        lines.append(f"{n},person{n}@company{n % 977}.example,Person {n},Company {n % 977},{employees},{amount}")
    file.write_text("\n".join(lines) + "\n")
    return file
