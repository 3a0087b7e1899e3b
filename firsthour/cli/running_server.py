"""Finds the process that serves a data directory, and sends commands to it."""

import os
import secrets
from collections.abc import AsyncIterator, Callable, Mapping
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
ON_THE_COMMAND_LINE: Final[Mapping[str, str]] = {
    "internal-server-error": "the command failed because of an internal error; the log has the details",
    "invalid-cursor": "this is not a cursor of this list; use the one that the list ends with, or leave --cursor out",
    "keys-unavailable": "the database is unreachable; run the command again later",
    "not-found": "the running process does not know this command, so it is of another version; start it again",
    "storage-unavailable": "nothing was stored: the database cannot commit; `firsthour doctor` shows the cause",
    "unauthorized": "the running process does not accept this command; run it again, and if it fails again, read the log",
}
"""The text of kinds of problems whose answer names parts of HTTP."""


class Running(msgspec.Struct, frozen=True):
    """The file that `up` writes to the data directory: process, address, and a token with role admin."""

    pid: int
    url: str
    token: str


class SilentError(FirstHourError):
    """Raised when the serving process does not answer a command."""


class CommandRefusedError(FirstHourError):
    """Raised when the installation answers a command with a problem.

    Its text is for the command line: the text of the answer is for programs that send HTTP requests.
    """

    def __init__(self, status: int, problem: dict[str, Any], options: Mapping[str, str] | None = None) -> None:
        """`options`: the option of the command that sets each field of the request, by the pointer of the field."""
        self.status = status
        self.problem = problem
        self._options = options or {}
        super().__init__(f"{status} {problem.get('title', '')}")

    def __str__(self) -> str:
        kind = str(self.problem.get("type", "")).rpartition(":")[2]
        if kind in ON_THE_COMMAND_LINE:
            return ON_THE_COMMAND_LINE[kind]
        text = str(
            self.problem.get("detail") or self.problem.get("title") or f"the installation answered {self.status}"
        )
        lines = [] if kind == "invalid-request" else [text]
        for fault in self.problem.get("errors", ()):
            pointer, detail = str(fault.get("pointer")), str(fault.get("detail"))
            line = f"{self._options.get(pointer, pointer)}: {detail}"
            if detail not in text:
                lines.append(line)
            elif pointer in self._options or pointer.count("/") > 1:  # the text names the field or its last part only
                lines = [line, *lines[1:]]
        return "\n".join(lines or [text])


class InputRefusedError(CommandRefusedError):
    """Raised when the installation answers that the input of a command is wrong."""


def new_token() -> str:
    """Return a new token, valid until the process ends."""
    return f"local_{secrets.token_urlsafe(32)}"


def reachable(host: str, port: int) -> str:
    """Return the URL of a server for other processes on this machine."""
    address = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)
    return f"http://[{address}]:{port}" if ":" in address else f"http://{address}:{port}"


def announce(directory: Path, running: Running) -> None:
    """Write the file atomically, readable by this user only."""
    write_private(directory / FILE, msgspec.json.encode(running))


def withdraw(directory: Path, running: Running) -> None:
    """Remove the file, unless another process has replaced it."""
    if _read(directory) == running:
        (directory / FILE).unlink(missing_ok=True)


def find(directory: Path) -> Running | None:
    """Return the process that serves the directory; None if there is none, or if only its file is left."""
    running = _read(directory)
    return running if running is not None and _is_alive(running.pid) else None


def _read(directory: Path) -> Running | None:
    try:
        return msgspec.json.decode((directory / FILE).read_bytes(), type=Running)
    except (OSError, msgspec.DecodeError):
        return None


def _is_alive(pid: int) -> bool:
    if pid <= 0:  # `os.kill` would address a group of processes
        return False
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # of another user
        return True
    return True


OpenOffline = Callable[[], AbstractAsyncContextManager[AsyncClient]]
"""Opens a stopped installation for the time of the context."""


@asynccontextmanager
async def connect(directory: Path, open_offline: OpenOffline) -> AsyncIterator["ServerLine"]:
    """Connect to the process that serves the directory, or else open the installation for this command."""
    serving = find(directory)
    if serving is not None:
        async with dial(serving) as line:
            if await line.answers():
                yield line
                return
    async with open_offline() as client:
        yield ServerLine(client)


@asynccontextmanager
async def dial(serving: Running) -> AsyncIterator["ServerLine"]:
    """Return a client of this process, which may not answer."""
    async with AsyncClient(
        base_url=serving.url,
        headers={"authorization": f"Bearer {serving.token}"},
        timeout=ANSWER_SECONDS,
        trust_env=False,  # a proxy cannot reach this machine's loopback address
    ) as client:
        yield ServerLine(client)


class ServerLine:
    """Sends commands as HTTP requests."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    async def answers(self) -> bool:
        """Return whether the server answers."""
        try:
            return (await self._client.get("/healthz", timeout=LOOK_SECONDS)).status_code == 200
        except HTTPError:
            return False

    async def readiness(self) -> dict[str, Any] | None:
        """Return the answer of `/readyz`; None if there is none."""
        try:
            return _object(await self._client.get("/readyz", timeout=LOOK_SECONDS))
        except HTTPError:
            return None

    async def ask(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        raw: bytes | None = None,
        options: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        """Send a command and return its answer. `body` is sent as JSON, `raw` unchanged.

        `options`: the option of the command that sets each field of `body`, by the pointer of the field.

        Raises:
            CommandRefusedError: The answer is a problem.
            SilentError: There is no answer.
        """
        headers = {"content-type": "application/json"} if body is not None else {}
        content = msgspec.json.encode(body) if body is not None else raw
        try:
            answer = await self._client.request(method, path, content=content, headers=headers)
        except HTTPError as error:
            raise SilentError(f"the running process does not answer ({type(error).__name__}); read its log") from error
        if answer.is_success:
            return dict(answer.json())
        refusal = InputRefusedError if answer.status_code in INPUT_STATUSES else CommandRefusedError
        raise refusal(answer.status_code, _object(answer), options)


def _object(answer: Response) -> dict[str, Any]:
    try:
        body = answer.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}
