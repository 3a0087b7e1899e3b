"""Connects a command to the installation that it acts on."""

import contextlib
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

from firsthour.bootstrap.database_monitor import DATABASE_MONITOR
from firsthour.bootstrap.distributed import open_distributed
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
    channels = channels_of(process_settings, HostClock(), hidden_inbox())
    services = all_services(channels, None)
    try:
        if process_settings.distributed:
            async with _over_the_network(process_settings, channels) as line:
                yield line
            return
        async with running_server.connect(
            process_settings.data_dir,
            lambda: offline.open_offline(process_settings, services, create=create, configured=configured),
        ) as line:
            yield line
    finally:
        for channel in channels.values():
            await channel.close()


@contextlib.asynccontextmanager
async def _over_the_network(process_settings: Settings, channels: Mapping[str, Channel]) -> AsyncIterator[ServerLine]:
    """Connect to a distributed installation: to its database and its topics."""
    await postgres.ready(process_settings)
    system = await open_distributed(process_settings, (), channels)
    try:
        await system.runners[DATABASE_MONITOR].step()
        async with offline.client_of(system.resources, system.services, live=True) as client:
            yield ServerLine(client)
    finally:
        await system.close()
