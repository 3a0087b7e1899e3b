"""What `make kafka` and `make postgres` do around their server: say how to use it, hold it, end it on Ctrl-C."""

import fcntl
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from devtools import children, jars, machine


class InUseError(Exception):
    """Another process runs on these data."""


@contextmanager
def sole(data: Path) -> Iterator[None]:
    """Only one server on a directory. Raises `InUseError`."""
    data.mkdir(parents=True, exist_ok=True)
    with data.with_name(data.name + ".lock").open("w") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InUseError(f"{data}: somebody runs on it already; stop that one, or name another --data") from None
        yield


def hold(what: str, data: Path, exports: Mapping[str, str]) -> None:
    """Say what to export, then wait to be stopped."""
    print(f"{what}, data in {data}. In the shell that runs firsthour:")
    for name, value in exports.items():
        print(f"  export {name}='{value}'")
    print("Ctrl-C stops it.", flush=True)
    while True:
        signal.pause()


def main(serve: Callable[[], None]) -> int:
    """The exit code; errors become one line."""
    for number in (signal.SIGINT, signal.SIGTERM):  # a shell's background job begins with Ctrl-C ignored
        signal.signal(number, _stop)
    try:
        serve()
    except KeyboardInterrupt:
        return 0
    except (machine.MissingError, jars.FetchError, children.StartError, InUseError) as failed:
        print(failed, file=sys.stderr)
        return 1
    return 0


def _stop(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
