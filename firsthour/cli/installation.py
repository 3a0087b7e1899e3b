"""Connects a command to the installation that it acts on.

A command on a running installation needs an HTTP client only. The program itself is loaded for an installation that no
process serves, and for one over Kafka and PostgreSQL: that takes about a second.
"""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from firsthour.cli import running_server
from firsthour.cli.commands import load_module
from firsthour.cli.running_server import ServerLine
from firsthour.runtime import settings
from firsthour.runtime.terminal import run

OPENED = "opened_installation"
"""The module that opens installations. It is loaded by its name."""


@contextlib.asynccontextmanager
async def connect(
    data: Path | None, config: Path | None = None, *, create: bool = False, configured: bool = False
) -> AsyncIterator[ServerLine]:
    """Connect to the installation in `data`: to the process that serves it, else to its files.

    Args:
        data: The directory of the installation. None: the one of the settings.
        config: The directory of the configuration files. None: the one of the settings.
        create: Make the database if it is missing.
        configured: The command uses the configuration files, so they must be correct.
    """
    process_settings = settings.load(data_dir=data, config_dir=config)
    if process_settings.distributed:
        async with load_module(OPENED).over_the_network(process_settings) as client:
            yield ServerLine(client)
        return
    async with running_server.connect(
        process_settings.data_dir,
        lambda: load_module(OPENED).stopped(process_settings, create=create, configured=configured),
    ) as line:
        yield line


def ask(
    method: str,
    path: str,
    data: Path | None,
    config: Path | None = None,
    *,
    create: bool = False,
    configured: bool = False,
    **options: Any,
) -> dict[str, Any]:
    """Return the answer of the installation. `options`: of `ServerLine.ask`; the others: see `connect`."""

    async def answer() -> dict[str, Any]:
        async with connect(data, config, create=create, configured=configured) as line:
            return await line.ask(method, path, **options)

    return run(answer)
