"""The foreground of `make kafka` and `make postgres`: print how to use the server, and stop it on Ctrl-C."""

import fcntl
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from devtools import children, jars, machine


class InUseError(Exception):
    """Raised when another process uses these data."""


@contextmanager
def sole(data: Path) -> Iterator[None]:
    """Hold the lock of a directory, so that only one server uses it. Raises `InUseError`."""
    data.mkdir(parents=True, exist_ok=True)
    with data.with_name(data.name + ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InUseError(f"{data}: another server uses it; stop that one, or name another --data") from None
        yield


def hold(title: str, data: Path, exports: Mapping[str, str]) -> None:
    """Print the variables to export, then wait to be stopped."""
    print(f"{title}, data in {data}. In the shell that runs firsthour:")
    for name, value in exports.items():
        print(f"  export {name}='{value}'")
    print("Ctrl-C stops it.", flush=True)
    while True:
        signal.pause()


def main(serve: Callable[[], None]) -> int:
    """Run `serve`; print an error as one line. Return the exit code."""
    for number in (signal.SIGINT, signal.SIGTERM):  # in a background job of a shell, Ctrl-C is ignored at first
        signal.signal(number, _stop)
    try:
        serve()
    except KeyboardInterrupt:
        return 0
    except (machine.MissingError, jars.FetchError, children.StartError, InUseError) as failure:
        print(failure, file=sys.stderr)
        return 1
    return 0


def _stop(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
