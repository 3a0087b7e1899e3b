"""Servers as children of this process: started, stopped in every way, and gone when this process is gone."""

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
    """A server did not come up. Carries the end of what it said."""


class Keeper:
    """The pipe to a reaper, opened with the first child of this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._reaper: subprocess.Popen[str] | None = None
        self._owner = 0

    def hold(self, pid: int, number: signal.Signals) -> None:
        """From now on it ends when we do, by this signal."""
        self._say(f"+ {pid} {int(number)}")

    def release(self, pid: int) -> None:
        """It ended."""
        self._say(f"- {pid}")

    def hold_directory(self, path: Path) -> None:
        """From now on it goes when we do."""
        self._say(f"d {path}")

    def release_directory(self, path: Path) -> None:
        """It is gone."""
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
        # A session of its own: Ctrl-C and a killed process group must not reach the one who cleans up after them.
        opened = subprocess.Popen(
            [sys.executable, "-S", "-E", reaper.__file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            text=True,
        )
        assert opened.stdin is not None
        atexit.register(opened.stdin.close)
        opened.returncode = 0  # it outlives us: nobody is to wait for it, nor to be told that it still runs
        return opened


KEEPER = Keeper()


def scratch(name: str) -> Path:
    """A new directory that every user may enter; it goes with `discard`, and when this process dies."""
    made = Path(tempfile.mkdtemp(prefix=f"firsthour-{name}-"))
    made.chmod(0o755)
    KEEPER.hold_directory(made)
    return made


def discard(directory: Path) -> None:
    """Away with what `scratch` made."""
    shutil.rmtree(directory, ignore_errors=True)
    KEEPER.release_directory(directory)


@dataclass
class ChildProcess:
    """One program. `container` is its name when Docker runs it: then the client's process is not the server's."""

    command: Sequence[str]
    output: Path  # what it says is appended here
    last: signal.Signals = signal.SIGKILL  # what ends it when this process dies
    user: int | None = None
    group: int | None = None
    container: str | None = None
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    def start(self) -> None:
        """Returns at once; see `wait_until`."""
        with self.output.open("ab") as said:
            self.process = subprocess.Popen(
                self.command,
                cwd=self.output.parent,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                start_new_session=True,
                user=self.user,
                group=self.group,
                extra_groups=None if self.user is None else [],
            )
        KEEPER.hold(self.process.pid, signal.SIGTERM if self.container else self.last)

    @property
    def pid(self) -> int:
        """The process that was started last."""
        assert self.process is not None, "not started"
        return self.process.pid

    @property
    def running(self) -> bool:
        """A paused one runs too."""
        return self.process is not None and self.process.poll() is None

    def send(self, number: signal.Signals) -> None:
        """To the server itself, wherever it runs."""
        if not self.running:
            return
        if self.container is None:
            os.kill(self.pid, number)
        else:
            command = ["docker", "kill", "--signal", number.name, self.container]
            subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=True)

    def end(self, number: signal.Signals, seconds: float) -> None:
        """Signal and wait; SIGKILL when it takes longer than that."""
        if self.process is None:
            return
        self.send(number)
        self.send(signal.SIGCONT)  # a stopped one must run to hear it
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.send(signal.SIGKILL)
            self.process.wait(60)
        KEEPER.release(self.pid)

    def wait_until(self, ready: Callable[[], bool], seconds: float) -> None:
        """Look again and again: it is another process. Raises `StartError` when it ends first, or takes longer."""
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
        """The end of what it said."""
        if not self.output.exists():
            return "(said nothing)"
        return self.output.read_bytes()[-_TAIL_BYTES:].decode(errors="replace")
