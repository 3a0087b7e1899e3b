"""This machine: its directories, free ports and programs, and the installation of missing programs."""

import fcntl
import os
import platform
import random
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

APT_SECONDS = 900.0

# Below the ports of outgoing connections on Linux, macOS and Windows: otherwise a client that connects to a stopped server
# could get the port of that server, which could then not start again.
_PORTS = range(20_000, 32_000)


class MissingError(Exception):
    """Raised when a program is missing. The message is one line: its name, and how to install it."""


def cache() -> Path:
    """Return the directory of fetched files, outside the tree."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "firsthour"


def kept(name: str) -> Path:
    """Return the directory of the data of a server in the foreground. Another user may run it, so it is not at home."""
    return Path("/var/tmp") / f"firsthour-{os.getuid()}" / name


def is_free(port: int) -> bool:
    """Return whether no process listens on the port, or is just closing it."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def free_ports(count: int, preferred: Sequence[int] = ()) -> list[int]:
    """Return ports of loopback, the preferred ones first. Another process may still take one: the caller must retry."""
    chosen = [port for port in preferred if is_free(port)][:count]
    while len(chosen) < count:
        port = random.choice(_PORTS)
        if port not in chosen and is_free(port):
            chosen.append(port)
    return chosen


def answers(port: int) -> bool:
    """Return whether a process accepts connections on the port."""
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def alone(file: Path) -> Iterator[None]:
    """Hold the lock of a file. The operating system releases it when the process ends."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def has_docker() -> bool:
    """Return whether a Docker engine answers. The command alone does not suffice."""
    if shutil.which("docker") is None:
        return False
    result = subprocess.run(
        ["docker", "version", "--format", "{{.Server.Version}}"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=30,
        check=False,
    )
    return result.returncode == 0


def may_install() -> bool:
    """Return whether this is Debian or a derivative, as root."""
    return os.geteuid() == 0 and shutil.which("apt-get") is not None


def install(packages: Sequence[str]) -> None:
    """Install packages by apt-get. Raises `MissingError` with the last line of its output."""
    with alone(Path(tempfile.gettempdir()) / f"firsthour-apt-{os.getuid()}.lock"):
        for step in (["update", "-qq"], ["install", "-qq", "-y", "--no-install-recommends", *packages]):
            # An unreachable source need not matter; a package that is missing from the lists fails at the install.
            result = _apt(step)
            if result.returncode and step[0] == "install":
                output = (result.stdout + result.stderr).strip().splitlines() or ["no output"]
                raise MissingError(f"apt-get install {' '.join(packages)} failed: {output[-1]}")


def _apt(step: Sequence[str]) -> subprocess.CompletedProcess[str]:
    environment: Mapping[str, str] = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    return subprocess.run(
        ["apt-get", "-o", "DPkg::Lock::Timeout=600", *step],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=APT_SECONDS,
        check=False,
    )


def how(debian: str, macos: str) -> str:
    """Return the text that tells how to install a program on this system."""
    return macos if platform.system() == "Darwin" else f"on Debian or Ubuntu: sudo apt-get install {debian}"
