"""The process that serves a data directory: how it is found, and how commands speak with it."""

import os
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, Final

import msgspec

from firsthour.runtime.http.client import AsyncClient, HTTPError, Response
from firsthour.runtime.private_files import write_private
from schemas.errors import FirstHourError

FILE = "running.json"
ANSWER_SECONDS = 60.0
LOOK_SECONDS = 3.0
INPUT_STATUSES: Final = frozenset({400, 413, 415, 422})


class Running(msgspec.Struct, frozen=True):
    """What `up` leaves in the data directory: who serves it, where, and a token that counts as an admin key."""

    pid: int
    url: str
    token: str


class SilentError(FirstHourError):
    """The process that serves took a command and gave no answer."""


class CommandRefusedError(FirstHourError):
    """The installation answered a command with a problem."""

    def __init__(self, status: int, problem: dict[str, Any]) -> None:
        self.status = status
        self.problem = problem
        super().__init__(f"{status} {problem.get('title', '')}")

    def __str__(self) -> str:
        told = self.problem.get("detail") or self.problem.get("title") or f"answered {self.status}"
        faults = [f"{fault.get('pointer')}: {fault.get('detail')}" for fault in self.problem.get("errors", ())]
        return "\n".join([str(told), *faults])


class InputRefusedError(CommandRefusedError):
    """Raised when the installation answers that the input of a command is wrong."""


def new_token() -> str:
    """A token for one life of the process."""
    return f"local_{secrets.token_urlsafe(32)}"


def reachable(host: str, port: int) -> str:
    """The address of a server on this machine, as others on it reach it."""
    known = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)
    return f"http://[{known}]:{port}" if ":" in known else f"http://{known}:{port}"


def announce(directory: Path, running: Running) -> None:
    """Leave the file, readable by this user alone, whole or not at all."""
    write_private(directory / FILE, msgspec.json.encode(running))


def withdraw(directory: Path, running: Running) -> None:
    """Take the file away, if it is still ours."""
    if _read(directory) == running:
        (directory / FILE).unlink(missing_ok=True)


def find(directory: Path) -> Running | None:
    """Who serves this directory; None when nobody does, or only the file of a process that is gone is left."""
    found = _read(directory)
    return found if found is not None and _lives(found.pid) else None


def _read(directory: Path) -> Running | None:
    try:
        return msgspec.json.decode((directory / FILE).read_bytes(), type=Running)
    except (OSError, msgspec.DecodeError):
        return None


def _lives(pid: int) -> bool:
    if pid <= 0:  # would ask about a whole group of processes
        return False
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # somebody else's
        return True
    return True


Opened = Callable[[], AbstractAsyncContextManager[AsyncClient]]
"""Opens the installation of a directory that nobody serves, for as long as the context lasts."""


@asynccontextmanager
async def connect(directory: Path, otherwise: Opened) -> AsyncIterator["ServerLine"]:
    """A line to the installation: to the process that serves it, or to one opened for the moment."""
    serving = find(directory)
    if serving is not None:
        async with dial(serving) as line:
            if await line.answers():
                yield line
                return
    async with otherwise() as client:
        yield ServerLine(client)


@asynccontextmanager
async def dial(serving: Running) -> AsyncIterator["ServerLine"]:
    """A line to this process, whether it answers or not."""
    async with AsyncClient(
        base_url=serving.url,
        headers={"authorization": f"Bearer {serving.token}"},
        timeout=ANSWER_SECONDS,
        trust_env=False,  # a proxy knows nothing of this machine
    ) as client:
        yield ServerLine(client)


class ServerLine:
    """Commands, as requests."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    async def answers(self) -> bool:
        """Whether anybody is at the other end."""
        try:
            return (await self._client.get("/healthz", timeout=LOOK_SECONDS)).status_code == 200
        except HTTPError:
            return False

    async def readiness(self) -> dict[str, Any] | None:
        """What `/readyz` says; None when nobody answers."""
        try:
            return _object(await self._client.get("/readyz", timeout=LOOK_SECONDS))
        except HTTPError:
            return None

    async def ask(self, method: str, path: str, *, body: Any = None, raw: bytes | None = None) -> dict[str, Any]:
        """The answer. `body` is sent as JSON, `raw` as it is. Raises `CommandRefusedError`, `SilentError`."""
        headers = {"content-type": "application/json"} if body is not None else {}
        content = msgspec.json.encode(body) if body is not None else raw
        try:
            answer = await self._client.request(method, path, content=content, headers=headers)
        except HTTPError as failed:
            raise SilentError(f"the running process gave no answer ({type(failed).__name__}); see its log") from failed
        if answer.is_success:
            return dict(answer.json())
        refused = InputRefusedError if answer.status_code in INPUT_STATUSES else CommandRefusedError
        raise refused(answer.status_code, _object(answer))


def _object(answer: Response) -> dict[str, Any]:
    try:
        found = answer.json()
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
