"""Ends what a process left behind when it died, even by SIGKILL: it reads a pipe from that process until it breaks.

Each line is `+ PID SIGNAL` or `- PID`, `d DIRECTORY` or `k DIRECTORY`: held, and released. At the end whatever is held
gets its signal, SIGKILL when it is there five seconds later, and the directories are removed. Linux's PR_SET_PDEATHSIG
would do less: it is bound to the thread that started the child, and lost when the child changes its user.
"""

import os
import shutil
import signal
import sys
import time

PATIENCE_SECONDS = 5.0


def send(pid: int, number: int) -> bool:
    """False when it is gone, or never was ours."""
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def reap(held: dict[int, int]) -> None:
    """End each with its own signal; a stopped one must run to hear it."""
    for pid, number in held.items():
        send(pid, number)
        send(pid, signal.SIGCONT)
    end = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < end and any(send(pid, 0) for pid in held):
        time.sleep(0.05)
    for pid in held:
        send(pid, signal.SIGKILL)


def main() -> None:
    """Read until nobody writes any more."""
    held: dict[int, int] = {}
    directories: set[str] = set()
    for line in sys.stdin:
        sign, what = line.rstrip("\n").split(" ", 1)
        if sign == "+":
            pid, number = map(int, what.split())
            held[pid] = number
        elif sign == "-":
            held.pop(int(what), None)
        elif sign == "d":
            directories.add(what)
        else:
            directories.discard(what)
    reap(held)
    for directory in directories:
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()
