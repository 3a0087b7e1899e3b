"""The tested installation: two replicas of every service, a supervisor that restarts ended ones, and the sinks."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from tests.e2e.processes import ADMIN, ROOT, end, environment, free_port, spawn, until
from tests.e2e.prove.plan import REPLICAS, SERVICES
from tests.fakes.slack import SlackFault, fault_body

START_SECONDS = 90.0
STOP_SECONDS = 30.0
LOOK_SECONDS = 0.05
TOKEN = "xoxb-nobody-at-all"


@dataclass(frozen=True)
class Ended:
    """A process that ended. `asked`: by kill or stop. Empty: it ended by itself."""

    name: str
    at: float
    code: int
    asked: str


class Replica:
    """One process of the installation, with a port and a directory of its own."""

    def __init__(self, service: str, number: int, directory: Path, env: Mapping[str, str]) -> None:
        self.service = service
        self.name = f"{service}-{number}"
        self.port = free_port()
        self.data = directory / self.name
        self.output = directory / f"{self.name}.log"
        self.process: subprocess.Popen[bytes] | None = None
        self.asked = ""
        self.started_at = 0.0
        self._env = env

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start the process without waiting; see `ready`."""
        self.asked = ""
        self.process = spawn(
            self.output,
            *("firsthour", "serve", self.service, "--host", "127.0.0.1", "--port", str(self.port)),
            *("--data", str(self.data)),
            env=self._env,
        )
        self.started_at = time.time()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process, if it runs."""
        if self.process is not None and self.process.poll() is None:
            os.kill(self.process.pid, number)

    async def ready(self, client: httpx.AsyncClient) -> bool:
        """Return whether `/readyz` succeeds."""
        try:
            return (await client.get(f"{self.url}/readyz", timeout=5.0)).status_code == 200
        except httpx.HTTPError:
            return False


@dataclass
class Crew:
    """All processes of the installation, and the ended ones."""

    members: list[Replica]
    ended: list[Ended] = field(default_factory=list)
    _at_rest: set[str] = field(default_factory=set)

    def of(self, service: str) -> list[Replica]:
        return [member for member in self.members if member.service == service]

    @property
    def up(self) -> list[Replica]:
        """Return the processes that have not been asked to stop."""
        return [member for member in self.members if member.name not in self._at_rest]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Start all processes, wait until they are ready, and supervise them; end them at the exit."""
        for member in self.members:
            member.start()
        supervisor = asyncio.create_task(self._supervise())
        try:
            await self.all_ready(START_SECONDS)
            yield
        finally:
            supervisor.cancel()
            with suppress(asyncio.CancelledError):
                await supervisor
            for member in self.members:
                if member.process is not None:
                    end(member.process)

    async def all_ready(self, seconds: float) -> None:
        """Wait until all are ready. Raises `AssertionError` with the last output of those that are not."""
        end_at = time.monotonic() + seconds
        async with httpx.AsyncClient(trust_env=False) as client:
            waiting = list(self.members)
            while waiting:
                answers = await asyncio.gather(*(member.ready(client) for member in waiting))
                waiting = [member for member, ready in zip(waiting, answers, strict=True) if not ready]
                if waiting and time.monotonic() > end_at:
                    words = "\n".join(f"{member.name}: {last_words(member.output)}" for member in waiting)
                    raise AssertionError(f"not ready within {seconds:g} s:\n{words}")
                await asyncio.sleep(LOOK_SECONDS * 4)

    async def _supervise(self) -> None:
        while True:
            for member in self.members:
                process = member.process
                if process is None or member.name in self._at_rest or (code := process.poll()) is None:
                    continue
                self.ended.append(Ended(member.name, time.time(), code, member.asked))
                member.start()
            await asyncio.sleep(LOOK_SECONDS)

    def kill(self, member: Replica) -> None:
        """Send SIGKILL. The supervisor restarts the process."""
        member.asked = "kill"
        member.signal(signal.SIGKILL)

    async def stop(self, member: Replica) -> int | None:
        """Send SIGTERM, without a restart. Return the exit code. None: it did not end in time."""
        self._at_rest.add(member.name)
        process = member.process
        assert process is not None
        member.signal(signal.SIGTERM)
        try:
            return await asyncio.to_thread(process.wait, STOP_SECONDS)
        except subprocess.TimeoutExpired:
            member.signal(signal.SIGABRT)
            return None

    def resume(self, member: Replica) -> None:
        """Start a stopped process again."""
        if member.process is not None:
            end(member.process)
        member.start()
        self._at_rest.discard(member.name)


def crew(directory: Path, env: Mapping[str, str]) -> Crew:
    """Return two replicas of each service, the gateways first."""
    directory.mkdir(parents=True)
    return Crew([Replica(service, n, directory, env) for service in SERVICES for n in range(REPLICAS)])


def last_words(output: Path, lines: int = 5) -> str:
    """Return the end of the output of a process."""
    if not output.exists():
        return "(nothing)"
    return "\n".join(output.read_text(errors="replace").splitlines()[-lines:]) or "(nothing)"


# --- commands -----------------------------------------------------------------------------------------------------


def settings(config: Path, database: str, bootstrap: str, sinks: "Sinks", partitions: int) -> dict[str, str]:
    """Return the environment of every process of the installation."""
    return environment(
        database_url=database,
        kafka_bootstrap=bootstrap,
        kafka_partitions=str(partitions),
        config_dir=str(config),
        admin_key=ADMIN,
        slack_bot_token=TOKEN,
        slack_api_url=sinks.slack_url,
        smtp_url=f"smtp://127.0.0.1:{sinks.smtp_port}/?starttls=false",
        mail_from="FirstHour <leads@firsthour.example>",
        log_format="json",
    )


@dataclass(frozen=True)
class Command:
    """The result of a command of FirstHour."""

    code: int
    out: str
    err: str


def command(env: Mapping[str, str], *arguments: str, seconds: float = 120.0) -> Command:
    """Run `firsthour ...` to its end."""
    done = subprocess.run(
        [sys.executable, "-m", "firsthour", *arguments],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    return Command(done.returncode, done.stdout, done.stderr)


def must(env: Mapping[str, str], *arguments: str) -> None:
    """Run a command. Raises `AssertionError` if it fails."""
    done = command(env, *arguments)
    assert done.code == 0, f"firsthour {' '.join(arguments)}: {done.code}\n{done.out}{done.err}"


# --- the sinks ----------------------------------------------------------------------------------------------------


@dataclass
class Sinks:
    """The fake Slack and the fake mail server, in processes of their own. They store each message before they answer."""

    directory: Path
    slack_port: int = field(default_factory=free_port)
    smtp_port: int = field(default_factory=free_port)

    @property
    def slack_url(self) -> str:
        return f"http://127.0.0.1:{self.slack_port}/api/"

    @property
    def slack_record(self) -> Path:
        return self.directory / "slack.jsonl"

    @property
    def slack_calls(self) -> Path:
        return self.directory / "slack-calls.jsonl"

    @property
    def smtp_record(self) -> Path:
        return self.directory / "mail.jsonl"

    @contextmanager
    def running(self) -> Iterator[None]:
        self.directory.mkdir(parents=True)
        slack = spawn(
            self.directory / "slack.log",
            *("tests.fakes.slack", "--port", str(self.slack_port)),
            *("--record", str(self.slack_record), "--calls", str(self.slack_calls)),
        )
        smtp = spawn(
            self.directory / "mail.log",
            *("tests.fakes.smtp", "--port", str(self.smtp_port), "--record", str(self.smtp_record)),
        )
        try:
            until(lambda: _listens(self.slack_port) and _listens(self.smtp_port), START_SECONDS, "the sinks listen")
            yield
        finally:
            end(slack)
            end(smtp)

    async def set_fault(self, fault: SlackFault | None) -> None:
        """Let the fake Slack fail in this way. None: it works again."""
        place, body = ("/fault", fault_body(fault)) if fault is not None else ("/recover", b"")
        async with httpx.AsyncClient(trust_env=False, timeout=10.0) as client:
            answer = await client.post(f"http://127.0.0.1:{self.slack_port}{place}", content=body)
            answer.raise_for_status()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
