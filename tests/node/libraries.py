"""The libraries of Node.js, installed from their lock file into the cache of this machine, and a run of one of them."""

import asyncio
import json
import os
import shutil
import subprocess
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from devtools import machine

HERE: Final = Path(__file__).parent
FILES: Final = ("package.json", "package-lock.json", "send.mjs", "provider.mjs")
INSTALL_SECONDS: Final = 300.0
SEND_SECONDS: Final = 60.0


def installed() -> Path:
    """Return the directory of the installed libraries. Raises `MissingError` without Node.js, or if npm fails."""
    if not _has_node() and machine.may_install():
        machine.install(["nodejs", "npm"])
    if not _has_node():
        raise machine.MissingError("node and npm are missing; " + machine.how("nodejs npm", "brew install node"))
    digest = sha256(b"".join((HERE / name).read_bytes() for name in FILES)).hexdigest()[:16]
    place = machine.cache() / "node" / digest
    with machine.alone(machine.cache() / "node.lock"):
        if not (place / "ready").exists():
            _install(place)
    return place


def _has_node() -> bool:
    return shutil.which("node") is not None and shutil.which("npm") is not None


def _install(place: Path) -> None:
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    for name in FILES:
        shutil.copy(HERE / name, place)
    command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    result = subprocess.run(
        command,
        cwd=place,
        capture_output=True,
        text=True,
        timeout=INSTALL_SECONDS,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    if result.returncode:
        output = (result.stdout + result.stderr).strip().splitlines() or ["no output"]
        raise machine.MissingError(f"npm ci failed: {output[-1]}")
    (place / "ready").touch()


async def send(place: Path, library: str, address: str, key: str, at: datetime) -> list[Any]:
    """Let a library send to this address, and return the errors that it reports. `at`: the time of a signature."""
    process = await asyncio.create_subprocess_exec(
        *("node", "send.mjs", library, address, key, str(int(at.timestamp()))),
        cwd=place,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "NO_PROXY": "127.0.0.1"},
    )
    output, trouble = await asyncio.wait_for(process.communicate(), SEND_SECONDS)
    assert process.returncode == 0, trouble.decode()
    errors: list[Any] = json.loads(output.splitlines()[-1])
    return errors
