"""Opens an installation for one command, with the channels and services of the program."""

import contextlib
from collections.abc import AsyncIterator, Mapping

from firsthour.bootstrap.database_monitor import DATABASE_MONITOR
from firsthour.bootstrap.distributed import open_distributed
from firsthour.bootstrap.services import all_services
from firsthour.cli import offline
from firsthour.cli.channels import channels_of, hidden_inbox
from firsthour.runtime.clock import HostClock
from firsthour.runtime.connectivity import postgres
from firsthour.runtime.http.client import AsyncClient
from firsthour.runtime.settings import Settings
from services.notifier.channels.base import Channel


@contextlib.asynccontextmanager
async def stopped(process_settings: Settings, *, create: bool, configured: bool) -> AsyncIterator[AsyncClient]:
    """Open an embedded installation that no process serves. The arguments are those of `offline.open_offline`."""
    async with (
        _channels(process_settings) as channels,
        offline.open_offline(
            process_settings, all_services(channels, None), create=create, configured=configured
        ) as client,
    ):
        yield client


@contextlib.asynccontextmanager
async def over_the_network(process_settings: Settings) -> AsyncIterator[AsyncClient]:
    """Open a distributed installation: its database and its topics."""
    await postgres.ready(process_settings)
    async with _channels(process_settings) as channels:
        system = await open_distributed(process_settings, (), channels)
        try:
            await system.runners[DATABASE_MONITOR].step()
            async with offline.client_of(system.resources, system.services, live=True) as client:
                yield client
        finally:
            await system.close()


@contextlib.asynccontextmanager
async def _channels(process_settings: Settings) -> AsyncIterator[Mapping[str, Channel]]:
    channels = channels_of(process_settings, HostClock(), hidden_inbox())
    try:
        yield channels
    finally:
        for channel in channels.values():
            await channel.close()
