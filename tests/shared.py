"""One server for all workers of a parallel run. The first worker that needs it starts it, and stops it after the last user.

File locks count the users and mark the owner, so that a crashed worker no longer counts. If the owner crashes, its server
ends too, and the next worker that needs a server starts another.
"""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final, TextIO, TypeVar

from devtools import machine

WORKER: Final = os.environ.get("PYTEST_XDIST_WORKER", "")
"""The name of this worker; empty in a run of one process."""

S = TypeVar("S")


def named(name: str) -> str:
    """Return `name` with the name of this worker, so that workers on one server do not collide."""
    return f"{name}_{WORKER}" if WORKER else name


@contextmanager
def server(
    place: Path, start: Callable[[], AbstractContextManager[S]], address: Callable[[S], str], join: Callable[[str], S]
) -> Iterator[S]:
    """Yield the server whose address is in the file `place`. If it does not run, start it.

    The owner waits at the end of the block until the other users have left it.

    Args:
        start: Starts a server, which stops at the end of its block.
        address: Returns the text by which another worker finds the server.
        join: Returns a handle of the server at this address.
    """
    with ExitStack() as stack:
        users = stack.enter_context(place.with_suffix(".users").open("a"))
        owner = stack.enter_context(place.with_suffix(".owner").open("a"))  # released before the lock of the users
        with machine.alone(place.with_suffix(".lock")):
            fcntl.flock(users, fcntl.LOCK_SH)  # waits while the owner stops its server
            if _lock_owner(owner):  # there is no owner, or it crashed and left its file
                handle = stack.enter_context(start())
                place.write_text(address(handle))
                stack.callback(place.unlink, missing_ok=True)
                stack.callback(fcntl.flock, users, fcntl.LOCK_EX)  # waits for the other users
            else:
                handle = join(place.read_text())
        yield handle


def _lock_owner(owner: TextIO) -> bool:
    """Return whether this worker now holds the lock of the owner. False: a running worker holds it."""
    with suppress(BlockingIOError):
        fcntl.flock(owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False
