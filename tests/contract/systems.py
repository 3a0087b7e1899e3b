"""A whole system on either profile, built as in a process. Tests move its clock and workers."""

import sqlite3
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg

from firsthour.bootstrap import embedded
from firsthour.bootstrap.distributed import Distributed
from firsthour.bootstrap.embedded import System
from firsthour.runtime import package_files, settings
from firsthour.runtime.config.reading import ConfigFiles
from firsthour.runtime.http.client import ASGITransport, AsyncClient, Response
from services.notifier.channels.inbox import InboxChannel
from services.notifier.domain.message import Message
from tests.backends import Backends, Installation
from tests.data_directory import open_directory
from tests.distributed_harness import EVERYTHING, open_harness
from tests.hand_clock import HandClock

DATABASE = "firsthour.db"
ADMIN = "a-key-of-forty-characters-for-the-tests-x"


@dataclass
class OpenedSystem:
    """The system, an HTTP client with role admin, and the pages sent (`told`)."""

    system: System | Distributed
    client: AsyncClient
    clock: HandClock
    data: Path
    told: list[Message]
    place: Installation | None = None

    async def asks(self, name: str, **fields: Any) -> Response:
        """Post the demo request of a person."""
        sent = {"email": f"{name}@acme.example", "name": name.title(), "employees": 400, **fields}
        return await self.client.post("/v1/forms/demo-request", json=sent)

    async def lead(self, name: str) -> dict[str, Any]:
        """Return the lead of a person."""
        (lead,) = (await self.client.get("/v1/leads", params={"email": f"{name}@acme.example"})).json()["items"]
        return dict(lead)

    async def rows(self, question: str) -> list[tuple[Any, ...]]:
        """Return committed rows, as another process reads them."""
        if self.place is None:
            with closing(sqlite3.connect(f"file:{self.data / DATABASE}?mode=ro", uri=True)) as connection:
                return connection.execute(question).fetchall()
        other = await asyncpg.connect(self.place.database_url)
        try:
            return [tuple(row) for row in await other.fetch(question)]
        finally:
            await other.close()


def pages_of(file: Path) -> int:
    """Return the size of the database in pages of 4 KiB."""
    with closing(sqlite3.connect(file)) as connection:
        return int(connection.execute("PRAGMA page_count").fetchone()[0])


@asynccontextmanager
async def opened(
    directory: Path,
    backends: Backends | None = None,
    *,
    pages_more: int | None = None,
    config: Path | None = None,
    only: Sequence[str] | None = None,
    **values: Mapping[str, object],
) -> AsyncIterator[OpenedSystem]:
    """Open a system on the example configuration and this data directory.

    `backends`: Kafka and PostgreSQL; None: embedded. `pages_more`: growth limit of the embedded database. `only`: services.
    """
    told: list[Message] = []
    clock, channels = HandClock(), {"inbox": InboxChannel(told.append)}
    config_dir = config or package_files.examples()
    async with AsyncExitStack() as stack:
        place = None
        system: System | Distributed
        if backends is None:
            lock = open_directory(directory)
            system = await embedded.open_system(
                settings.load(data_dir=directory, admin_key=ADMIN, **values),
                clock,
                ConfigFiles(config_dir),
                channels,
                lock=lock,
                only=only,
                pages_max=None if pages_more is None else pages_of(directory / DATABASE) + pages_more,
            )
            stack.push_async_callback(system.close)
        else:
            place = await stack.enter_async_context(backends.installation())
            process_settings = place.settings(data_dir=directory, config_dir=config_dir, admin_key=ADMIN, **values)
            harness = await open_harness(process_settings, clock, channels, only or EVERYTHING, files=config_dir)
            stack.push_async_callback(harness.close)
            system = harness.system
        client = await stack.enter_async_context(client_of(system))
        yield OpenedSystem(system, client, clock, directory, told, place)


def client_of(system: System | Distributed) -> AsyncClient:
    """Return an HTTP client with role admin."""
    headers = {"authorization": f"Bearer {ADMIN}"}
    return AsyncClient(transport=ASGITransport(app=system.app), base_url="http://firsthour.test", headers=headers)
