"""What this machine has: directories, free ports, programs, and how to get those that are missing."""

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

# Below where Linux, macOS and Windows take the ports of outgoing connections from: a client that knocks at a server that
# is down can be given that very port, and then the server never comes back.
_PORTS = range(20_000, 32_000)


class MissingError(Exception):
    """Something is not on this machine. One line: what it is, and how to get it."""


def cache() -> Path:
    """Where what was fetched is kept for the next time, outside the tree."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "firsthour"


def kept(name: str) -> Path:
    """Where the data of a backend in the foreground is kept. Not at home: the server may run as another user."""
    return Path("/var/tmp") / f"firsthour-{os.getuid()}" / name


def is_free(port: int) -> bool:
    """Nobody listens on it at this moment, and nobody is just leaving it."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def free_ports(count: int, preferred: Sequence[int] = ()) -> list[int]:
    """Ports of loopback, the preferred ones first. Somebody may still be faster: whoever starts on them tries again."""
    chosen = [port for port in preferred if is_free(port)][:count]
    while len(chosen) < count:
        port = random.choice(_PORTS)
        if port not in chosen and is_free(port):
            chosen.append(port)
    return chosen


def answers(port: int) -> bool:
    """Somebody takes connections there."""
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def alone(file: Path) -> Iterator[None]:
    """One process at a time; the operating system lets go when the holder dies."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield


def has_docker() -> bool:
    """An engine answers, not only the command."""
    if shutil.which("docker") is None:
        return False
    asked = subprocess.run(
        ["docker", "version", "--format", "{{.Server.Version}}"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=30,
        check=False,
    )
    return asked.returncode == 0


def may_install() -> bool:
    """Debian or one of its children, as root."""
    return os.geteuid() == 0 and shutil.which("apt-get") is not None


def install(packages: Sequence[str]) -> None:
    """Get them by apt-get. Raises `MissingError` with the last thing that it said."""
    with alone(Path(tempfile.gettempdir()) / f"firsthour-apt-{os.getuid()}.lock"):
        for step in (["update", "-qq"], ["install", "-qq", "-y", "--no-install-recommends", *packages]):
            # What the lists lack shows at the install; one source that cannot be reached is no reason to stop.
            done = _apt(step)
            if done.returncode and step[0] == "install":
                said = (done.stdout + done.stderr).strip().splitlines() or ["nothing said"]
                raise MissingError(f"apt-get install {' '.join(packages)} failed: {said[-1]}")


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
    """The half sentence that says how to get something here."""
    return macos if platform.system() == "Darwin" else f"on Debian or Ubuntu: sudo apt-get install {debian}"
