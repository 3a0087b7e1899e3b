"""A temporary installation in a process of its own, with empty data, a free port and a new admin key."""

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
OUTPUT_BYTES_MAX = 4_000

_clock = HostClock()


class NotStartedError(FirstHourError):
    """Raised when the installation did not start to serve. The message is its output."""


@asynccontextmanager
async def temporary_server(config: Path) -> AsyncIterator[tuple[str, str]]:
    """Start an installation, and yield its address and admin key. It is removed afterwards.

    It inherits no FIRSTHOUR_ variable: a replay must not page people.
    """
    key, port = secrets.token_hex(24), _free_port()
    with tempfile.TemporaryDirectory(prefix="firsthour-replay-", ignore_cleanup_errors=True) as place:
        inherited = {name: value for name, value in settings.environ().items() if not name.startswith(settings.PREFIX)}
        with tempfile.TemporaryFile(dir=place) as output:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "firsthour", "up", "--host", "127.0.0.1", "--port", str(port)),
                *("--config", str(config), "--data", str(Path(place) / "data")),
                env={**inherited, f"{settings.PREFIX}ADMIN_KEY": key},
                stdin=DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # Ctrl-C reaches this process only, which stops the installation
            )
            try:
                url = f"http://127.0.0.1:{port}"
                if not await _ready(url, process):
                    output.seek(0)
                    raise NotStartedError(output.read()[-OUTPUT_BYTES_MAX:].decode(errors="replace").strip())
                yield url, key
            finally:
                await _stop(process)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


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
