"""The line of a command to the installation that it acts on, wherever that runs."""

import contextlib
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

from firsthour.bootstrap.distributed import open_distributed
from firsthour.bootstrap.monitors import DATABASE_MONITOR
from firsthour.bootstrap.services import all_services
from firsthour.cli import offline, running_server
from firsthour.cli.channels import channels_of, hidden_inbox
from firsthour.cli.running_server import ServerLine
from firsthour.runtime import settings
from firsthour.runtime.clock import HostClock
from firsthour.runtime.connectivity import postgres
from firsthour.runtime.settings import Settings
from services.notifier.channels.base import Channel


@contextlib.asynccontextmanager
async def connect(data: Path | None, *, create: bool = False, configured: bool = False) -> AsyncIterator[ServerLine]:
    """Open a line to the installation in `data`: to the process that serves it, else to its files.

    Args:
        data: The directory of the installation. None: the one of the settings.
        create: Make the database if it is missing.
        configured: The command acts by the configuration files, so they must be correct.
    """
    known = settings.load(data_dir=data)
    ways = channels_of(known, HostClock(), hidden_inbox())
    services = all_services(ways, None)
    try:
        if known.distributed:
            async with _over_the_network(known, ways) as line:
                yield line
            return
        async with running_server.connect(
            known.data_dir, lambda: offline.opened(known, services, create=create, configured=configured)
        ) as line:
            yield line
    finally:
        for channel in ways.values():
            await channel.close()


@contextlib.asynccontextmanager
async def _over_the_network(known: Settings, ways: Mapping[str, Channel]) -> AsyncIterator[ServerLine]:
    """Open a line to a distributed installation: to its database and its topics."""
    await postgres.ready(known)
    system = await open_distributed(known, (), ways)
    try:
        await system.runners[DATABASE_MONITOR].step()
        async with offline.client_of(system.resources, system.services, live=True) as client:
            yield ServerLine(client)
    finally:
        await system.close()
