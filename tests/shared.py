"""One server for all workers of a parallel run. The first worker that asks starts it, and stops it after its last user.

Locks of the operating system hold the count, so that a worker that dies counts no more.
"""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Final, TypeVar

from deploy.local import machine

WORKER: Final = os.environ.get("PYTEST_XDIST_WORKER", "")
"""The name of this worker; empty in a run of one process."""

S = TypeVar("S")


def named(name: str) -> str:
    """`name` as this worker's own, where all workers share a server."""
    return f"{name}_{WORKER}" if WORKER else name


@contextmanager
def server(
    place: Path, start: Callable[[], AbstractContextManager[S]], address: Callable[[S], str], join: Callable[[str], S]
) -> Iterator[S]:
    """The server whose address the file `place` holds: joined where it runs, started where it does not."""
    if not WORKER:
        with start() as ours:
            yield ours
        return
    with ExitStack() as stack:
        users = stack.enter_context(place.with_suffix(".users").open("w"))
        with machine.alone(place.with_suffix(".lock")):
            fcntl.flock(users, fcntl.LOCK_SH)  # waits while the server is being stopped
            if place.exists():
                found = join(place.read_text())
            else:
                found = stack.enter_context(start())
                place.write_text(address(found))
                stack.callback(place.unlink)
                stack.callback(fcntl.flock, users, fcntl.LOCK_EX)  # waits for the other workers
        yield found
