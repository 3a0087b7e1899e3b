"""Ends the children of a process that has ended, even by SIGKILL: it reads a pipe from that process until it closes.

Each line is `+ PID SIGNAL` or `d DIRECTORY` (hold), or `- PID` or `k DIRECTORY` (release). At the end each held process gets
its signal, and SIGKILL five seconds later; held directories are removed. PR_SET_PDEATHSIG of Linux does not suffice: it
depends on the thread that started the child, and is lost when the child changes its user.
"""

import os
import shutil
import signal
import sys
import time

PATIENCE_SECONDS = 5.0


def send(pid: int, number: int) -> bool:
    """Send a signal; return False if the process has ended or belongs to another user."""
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def reap(held: dict[int, int]) -> None:
    """End each process with its own signal. A stopped process must run to handle it."""
    for pid, number in held.items():
        send(pid, number)
        send(pid, signal.SIGCONT)
    end = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < end and any(send(pid, 0) for pid in held):
        time.sleep(0.05)
    for pid in held:
        send(pid, signal.SIGKILL)


def main() -> None:
    """Read until the pipe closes, then end the held processes."""
    held: dict[int, int] = {}
    directories: set[str] = set()
    for line in sys.stdin:
        sign, target = line.rstrip("\n").split(" ", 1)
        if sign == "+":
            pid, number = map(int, target.split())
            held[pid] = number
        elif sign == "-":
            held.pop(int(target), None)
        elif sign == "d":
            directories.add(target)
        else:
            directories.discard(target)
    reap(held)
    for directory in directories:
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()
