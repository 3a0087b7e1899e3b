"""A throwaway installation in a process of its own: empty data, a free port, a key nobody else has."""

import asyncio
import secrets
import signal
import socket
import sys
import tempfile
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from firsthour.runtime import settings
from firsthour.runtime.clock import HostClock
from firsthour.runtime.http.client import AsyncClient, HTTPError
from schemas.errors import FirstHourError

START_SECONDS = 60.0
STOP_SECONDS = 30.0
SAID_BYTES_MAX = 4_000

_clock = HostClock()


class NotStartedError(FirstHourError):
    """The installation did not begin to serve; what it said is in the message."""


@asynccontextmanager
async def throwaway(config: Path) -> AsyncIterator[tuple[str, str]]:
    """An installation of our own with empty data; (its address, its admin key). Gone afterwards.

    It inherits no setting of ours from the environment: a replay must never page a real person.
    """
    key, port = secrets.token_hex(24), _free_port()
    with tempfile.TemporaryDirectory(prefix="firsthour-replay-", ignore_cleanup_errors=True) as place:
        inherited = {name: value for name, value in settings.environ().items() if not name.startswith(settings.PREFIX)}
        with tempfile.TemporaryFile(dir=place) as said:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "firsthour", "up", "--host", "127.0.0.1", "--port", str(port)),
                *("--config", str(config), "--data", str(Path(place) / "data")),
                env={**inherited, f"{settings.PREFIX}ADMIN_KEY": key},
                stdin=DEVNULL,
                stdout=said,
                stderr=said,
                start_new_session=True,  # Ctrl-C is for us; we stop it
            )
            try:
                url = f"http://127.0.0.1:{port}"
                if not await _ready(url, process):
                    said.seek(0)
                    raise NotStartedError(said.read()[-SAID_BYTES_MAX:].decode(errors="replace").strip())
                yield url, key
            finally:
                await _stop(process)


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


async def _ready(url: str, process: Process) -> bool:
    end = _clock.monotonic() + START_SECONDS
    async with AsyncClient(base_url=url, trust_env=False) as client:
        while process.returncode is None and _clock.monotonic() < end:
            try:
                if (await client.get("/readyz")).status_code == 200:
                    return True
            except HTTPError:
                pass
            await asyncio.sleep(0.05)
    return False


async def _stop(process: Process) -> None:
    if process.returncode is None:
        process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
