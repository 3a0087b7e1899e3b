"""One server for all workers of a parallel run. The first worker that asks starts it, and stops it after its last user.

Locks of the operating system count the users and name the owner, so that a worker that dies counts no more. If the
owner dies, its server goes with it, and the next worker that asks starts another.
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
    """Return `name` as this worker's own, where all workers share a server."""
    return f"{name}_{WORKER}" if WORKER else name


@contextmanager
def server(
    place: Path, start: Callable[[], AbstractContextManager[S]], address: Callable[[S], str], join: Callable[[str], S]
) -> Iterator[S]:
    """Yield the server whose address the file `place` holds: joined where it runs, started where it does not.

    The owner waits at the end of the block until the other users have left it.

    Args:
        start: starts a server, which is stopped at the end of its block.
        address: what another worker needs to find the server.
        join: makes a handle of the server at this address.
    """
    with ExitStack() as stack:
        users = stack.enter_context(place.with_suffix(".users").open("a"))
        owner = stack.enter_context(place.with_suffix(".owner").open("a"))  # let go before the users' lock
        with machine.alone(place.with_suffix(".lock")):
            fcntl.flock(users, fcntl.LOCK_SH)  # waits while the owner stops its server
            if _taken(owner):  # no owner, or a dead one whose file is still there
                found = stack.enter_context(start())
                place.write_text(address(found))
                stack.callback(place.unlink, missing_ok=True)
                stack.callback(fcntl.flock, users, fcntl.LOCK_EX)  # waits for the other users
            else:
                found = join(place.read_text())
        yield found


def _taken(owner: TextIO) -> bool:
    """Take the lock of the owner, unless a living worker has it."""
    with suppress(BlockingIOError):
        fcntl.flock(owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False
