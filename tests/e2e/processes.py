"""Real processes for tests: an installation that can be killed and started again, a fake Slack, a client that replays."""

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

ROOT = Path(__file__).resolve().parents[2]
ADMIN = "e2e-" + "k" * 40
START_SECONDS = 60.0
STOP_SECONDS = 30.0


def free_port() -> int:
    """Return a port on which no process listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def until(held: Callable[[], bool], seconds: float, what: str) -> None:
    """Wait for another process: there is no clock of it to move by hand."""
    end = time.monotonic() + seconds
    while not held():
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds:g} s: {what}")
        time.sleep(0.02)


def environment(**ours: str) -> dict[str, str]:
    """The environment without any setting of ours but these."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("FIRSTHOUR_")}
    return {
        **inherited,
        "PYTHONUNBUFFERED": "1",
        **{f"FIRSTHOUR_{name.upper()}": value for name, value in ours.items()},
    }


def spawn(output: Path, *command: str, env: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
    """`python -m command`, in a session of its own, what it says appended to `output`."""
    with output.open("ab") as said:
        return subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=ROOT,
            env=env if env is not None else environment(),
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            start_new_session=True,
        )


def end(process: subprocess.Popen[bytes]) -> None:
    """Make sure that it is gone."""
    if process.poll() is None:
        process.kill()
    process.wait()


class Front(Protocol):
    """Where an installation takes requests."""

    @property
    def url(self) -> str: ...


@dataclass
class ProcessInstallation:
    """`firsthour up` on directories of its own. What it says is kept in `said`."""

    config: Path
    data: Path
    settings: Mapping[str, str] = field(default_factory=dict)
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def said(self) -> Path:
        return self.data.with_suffix(".said")

    @property
    def database(self) -> Path:
        return self.data / "firsthour.db"

    def start(self) -> None:
        """Returns once it is ready."""
        self.process = spawn(
            self.said,
            *("firsthour", "up", "--host", "127.0.0.1", "--port", str(self.port)),
            *("--config", str(self.config), "--data", str(self.data)),
            env=environment(admin_key=ADMIN, **self.settings),
        )
        until(self._ready, START_SECONDS, "ready to serve")

    def _ready(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.said.read_text(errors="replace")[-4000:]
        try:
            return httpx.get(f"{self.url}/readyz", trust_env=False, timeout=5.0).status_code == 200
        except httpx.HTTPError:
            return False

    def kill(self) -> None:
        """SIGKILL: no handler, no flush, no goodbye."""
        assert self.process is not None
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self) -> int:
        """SIGTERM; its exit code."""
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(STOP_SECONDS)

    def __enter__(self) -> "ProcessInstallation":
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        if self.process is not None:
            end(self.process)

    # --- looking at it ---

    def get(self, path: str) -> Any:
        answer = httpx.get(
            f"{self.url}{path}", headers={"authorization": f"Bearer {ADMIN}"}, trust_env=False, timeout=30.0
        )
        assert answer.status_code == 200, (path, answer.status_code, answer.text)
        return answer.json()

    def leads(self) -> list[dict[str, Any]]:
        """Every lead, page by page."""
        found: list[dict[str, Any]] = []
        cursor: str | None = ""
        while cursor is not None:
            page = self.get(f"/v1/leads?limit=500{f'&cursor={cursor}' if cursor else ''}")
            found += page["items"]
            cursor = page["next"]
        return found

    def rows(self, question: str, *values: object) -> list[tuple[Any, ...]]:
        """Straight from the file, which a living process may go on writing meanwhile."""
        with closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True, timeout=10.0)) as connection:
            return connection.execute(question, values).fetchall()

    def quiet(self) -> bool:
        """Everything that was said is taken, and no page waits or is on its way."""
        behind = self.rows(
            "SELECT count(*) FROM cursors c WHERE EXISTS"
            " (SELECT 1 FROM log WHERE topic = c.topic AND partition = c.partition AND id > c.position)"
        )
        waiting = self.rows("SELECT count(*) FROM notifier_pages WHERE next_at IS NOT NULL")
        return behind == [(0,)] and waiting == [(0,)]

    def verify(self) -> tuple[int, str]:
        """`firsthour verify` on the files, nothing running: exit code, and what it said."""
        assert self.process is None or self.process.poll() is not None, "stop it first"
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
    """The fake Slack in a process of its own, so that it lives on when ours is killed; it appends before it answers."""

    record: Path
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/api/"

    def __enter__(self) -> "SlackProcess":
        self.process = spawn(
            self.record.with_suffix(".said"),
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
        """Every message that arrived, in order: at, to, page_id, lead_id, epoch."""
        return json_lines(self.record)


def json_lines(file: Path) -> list[dict[str, Any]]:
    """Return the complete lines of a file that is perhaps still written."""
    if not file.exists():
        return []
    return [json.loads(line) for line in file.read_text().splitlines(keepends=True) if line.endswith("\n")]


@contextmanager
def replaying(file: Path, installation: Front, log: Path, *more: str) -> Iterator[subprocess.Popen[bytes]]:
    """The replay command beside us; what it acknowledged is in `log`, what it says in a file beside that."""
    process = spawn(
        log.with_suffix(".said"),
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
    """Replay the whole file; the exit code."""
    with replaying(file, installation, log, *more) as process:
        return process.wait(seconds)


# --- configurations and files ---------------------------------------------------------------------------------------


def write_config(
    directory: Path, agreement: Mapping[str, Any], reps: Sequence[Mapping[str, Any]], pools: Mapping[str, Sequence[str]]
) -> Path:
    """A configuration directory. JSON is YAML."""
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
    """A CSV of as many people: id, email, name, company, employees, amount. The same each time."""
    lines = ["id,email,name,company,employees,amount"]
    for n in range(rows):
        employees, amount = (n * 7919) % 4000 + 1, (n * 104_729) % 50_000
        lines.append(f"{n},person{n}@company{n % 977}.example,Person {n},Company {n % 977},{employees},{amount}")
    file.write_text("\n".join(lines) + "\n")
    return file
