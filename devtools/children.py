"""Servers as child processes: started, stopped by any signal, and ended when this process ends."""

import atexit
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from devtools import reaper

_TAIL_BYTES = 4000


class StartError(Exception):
    """Raised when a server does not start. The message contains the end of its output."""


class Keeper:
    """The pipe to a reaper, opened with the first child of this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._reaper: subprocess.Popen[str] | None = None
        self._owner = 0

    def hold(self, pid: int, number: signal.Signals) -> None:
        """End this process with the signal when our process ends."""
        self._say(f"+ {pid} {int(number)}")

    def release(self, pid: int) -> None:
        """Forget a process that has ended."""
        self._say(f"- {pid}")

    def hold_directory(self, path: Path) -> None:
        """Remove this directory when our process ends."""
        self._say(f"d {path}")

    def release_directory(self, path: Path) -> None:
        """Forget a directory that is removed."""
        self._say(f"k {path}")

    def _say(self, line: str) -> None:
        with self._lock:
            if self._reaper is None or self._owner != os.getpid():
                self._reaper, self._owner = self._open(), os.getpid()
            assert self._reaper.stdin is not None
            self._reaper.stdin.write(line + "\n")
            self._reaper.stdin.flush()

    @staticmethod
    def _open() -> subprocess.Popen[str]:
        # In a session of its own, so that Ctrl-C or the kill of our process group does not end the reaper.
        process = subprocess.Popen(
            [sys.executable, "-S", "-E", reaper.__file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            text=True,
        )
        assert process.stdin is not None
        atexit.register(process.stdin.close)
        process.returncode = 0  # it outlives our process: nothing must wait for it, or warn that it still runs
        return process


KEEPER = Keeper()


def scratch(name: str) -> Path:
    """Create a directory that every user may enter. `discard` removes it, or the end of this process."""
    directory = Path(tempfile.mkdtemp(prefix=f"firsthour-{name}-"))
    directory.chmod(0o755)
    KEEPER.hold_directory(directory)
    return directory


def discard(directory: Path) -> None:
    """Remove a directory of `scratch`."""
    shutil.rmtree(directory, ignore_errors=True)
    KEEPER.release_directory(directory)


@dataclass
class ChildProcess:
    """One program. `container`: its name if Docker runs it; the child process is then the client of Docker."""

    command: Sequence[str]
    output: Path  # its output is appended here
    last: signal.Signals = signal.SIGKILL  # ends it when this process ends
    user: int | None = None
    group: int | None = None
    container: str | None = None
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    def start(self) -> None:
        """Start the program without waiting; see `wait_until`."""
        with self.output.open("ab") as output:
            self.process = subprocess.Popen(
                self.command,
                cwd=self.output.parent,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                user=self.user,
                group=self.group,
                extra_groups=None if self.user is None else [],
            )
        KEEPER.hold(self.process.pid, signal.SIGTERM if self.container else self.last)

    @property
    def pid(self) -> int:
        """Return the id of the process that was started last."""
        assert self.process is not None, "not started"
        return self.process.pid

    @property
    def running(self) -> bool:
        """Return whether the process runs, or is paused."""
        return self.process is not None and self.process.poll() is None

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the server itself, also in a container."""
        if not self.running:
            return
        if self.container is None:
            os.kill(self.pid, number)
        else:
            command = ["docker", "kill", "--signal", number.name, self.container]
            subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=True)

    def end(self, number: signal.Signals, seconds: float) -> None:
        """Send the signal and wait for the end; send SIGKILL after these seconds."""
        if self.process is None:
            return
        self.send(number)
        self.send(signal.SIGCONT)  # a stopped process must run to handle a signal
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.send(signal.SIGKILL)
            self.process.wait(60)
        KEEPER.release(self.pid)

    def wait_until(self, ready: Callable[[], bool], seconds: float) -> None:
        """Wait until the server is ready. Raises `StartError` if it ends before, or is not ready within these seconds."""
        end = time.monotonic() + seconds
        while not ready():
            if not self.running:
                raise StartError(
                    f"{self.command[0]} ended with {self.process and self.process.returncode}: {self.tail()}"
                )
            if time.monotonic() > end:
                raise StartError(f"{self.command[0]} is not ready after {seconds:g} s: {self.tail()}")
            time.sleep(0.02)

    def tail(self) -> str:
        """Return the end of its output."""
        if not self.output.exists():
            return "(no output)"
        return self.output.read_bytes()[-_TAIL_BYTES:].decode(errors="replace")
