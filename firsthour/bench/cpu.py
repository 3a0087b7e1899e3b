"""CPU of a broker and a database that run on this machine, found by the port they listen on (Linux)."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from firsthour.runtime import addresses
from firsthour.runtime.connectivity import connection_options
from firsthour.runtime.settings import Settings

_PROC: Final = Path("/proc")
_LISTENING: Final = "0A"
_HERE: Final = frozenset({"127.0.0.1", "localhost", "::1"})
_TICKS: Final = os.sysconf("SC_CLK_TCK")


class ListeningProcess:
    """The processes that listen on some ports, with their children. Unknown where the operating system denies access."""

    def __init__(self, places: Iterable[tuple[str, int]]) -> None:
        ports = {port for host, port in places if host in _HERE}
        sockets = _sockets(ports)
        self.pids = {pid for pid in _pids() if sockets & _open_files(pid)} if sockets else set()

    def cpu_seconds(self) -> float | None:
        """Return the CPU used so far, also by processes that have ended. None: unknown."""
        if not self.pids:
            return None
        total = 0.0
        for pid in _pids():
            if (stat := _stat(pid)) is not None and (pid in self.pids or int(stat[1]) in self.pids):
                total += sum(int(field) for field in stat[11:15]) / _TICKS  # its own, and that of its ended children
        return total


def broker(settings: Settings) -> ListeningProcess:
    """Return the brokers of the settings."""
    return ListeningProcess(addresses.brokers(settings.kafka_bootstrap or ""))


def database(settings: Settings) -> ListeningProcess:
    """Return the database server of the settings: the listening process, and a process for each connection."""
    at = connection_options.postgres(settings)
    server = ListeningProcess([(at.host, at.port)])
    children = {pid for pid in server.pids if (stat := _stat(pid)) and int(stat[1]) in server.pids}
    server.pids -= children  # they inherited the socket; their CPU is counted with their parent's
    return server


def _pids() -> Iterator[int]:
    if _PROC.is_dir():
        yield from (int(entry.name) for entry in _PROC.iterdir() if entry.name.isdecimal())


def _stat(pid: int) -> list[str] | None:
    """Return the fields of /proc/PID/stat, beginning with the state."""
    try:
        return (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None


def _sockets(ports: set[int]) -> set[str]:
    """Return the listening sockets of these ports, named as in the links of /proc/PID/fd."""
    sockets = set()
    for table in ("tcp", "tcp6"):
        try:
            lines = (_PROC / "net" / table).read_text().splitlines()[1:]
        except OSError:
            continue
        for fields in map(str.split, lines):
            if fields[3] == _LISTENING and int(fields[1].rpartition(":")[2], 16) in ports:
                sockets.add(f"socket:[{fields[9]}]")
    return sockets


def _open_files(pid: int) -> set[str]:
    """Return the targets of the process's descriptors, if the operating system permits."""
    targets = set()
    try:
        for entry in (_PROC / str(pid) / "fd").iterdir():
            targets.add(str(entry.readlink()))
    except OSError:
        pass
    return targets
