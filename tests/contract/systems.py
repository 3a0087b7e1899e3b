"""A whole system on the embedded profile, wired as in a process and moved by hand."""

import sqlite3
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services import compose
from services.compose import System
from services.notifier.channels.base import Message
from services.notifier.channels.inbox import InboxChannel
from services.runtime import files, settings
from services.runtime.clock import HandClock
from services.runtime.config import ConfigFiles
from services.runtime.outbound import ASGITransport, AsyncClient, Response

ADMIN = "a-key-of-forty-characters-for-the-tests-x"


@dataclass
class Opened:
    """The system, somebody who speaks with it over HTTP, and what its pages said."""

    system: System
    client: AsyncClient
    clock: HandClock
    file: Path
    told: list[Message]

    async def asks(self, name: str, **fields: Any) -> Response:
        """This person asks for a demo."""
        sent = {"email": f"{name}@acme.example", "name": name.title(), "employees": 400, **fields}
        return await self.client.post("/v1/forms/demo-request", json=sent)

    async def lead(self, name: str) -> dict[str, Any]:
        """The lead of this person."""
        (found,) = (await self.client.get("/v1/leads", params={"email": f"{name}@acme.example"})).json()["items"]
        return dict(found)

    def rows(self, question: str) -> list[tuple[Any, ...]]:
        """What is committed, as another process sees it."""
        with closing(sqlite3.connect(f"file:{self.file}?mode=ro", uri=True)) as connection:
            return connection.execute(question).fetchall()


def pages_of(file: Path) -> int:
    """How many pages of 4 KiB the database has."""
    with closing(sqlite3.connect(file)) as connection:
        return int(connection.execute("PRAGMA page_count").fetchone()[0])


@asynccontextmanager
async def opened(
    directory: Path, *, pages_more: int | None = None, config: Path | None = None, **given: Mapping[str, object]
) -> AsyncIterator[Opened]:
    """The example configuration on this data directory. `pages_more`: how far the database may grow."""
    told: list[Message] = []
    lock, _ = compose.open_clock(directory, 1.0)
    file, clock = directory / "firsthour.db", HandClock()
    system = await compose.open_system(
        settings.load(data_dir=directory, admin_key=ADMIN, **given),
        clock,
        ConfigFiles(config or files.examples()),
        {"inbox": InboxChannel(told.append)},
        lock=lock,
        pages_max=None if pages_more is None else pages_of(file) + pages_more,
    )
    headers = {"authorization": f"Bearer {ADMIN}"}
    transport = ASGITransport(app=system.app)
    try:
        async with AsyncClient(transport=transport, base_url="http://firsthour.test", headers=headers) as client:
            yield Opened(system, client, clock, file, told)
    finally:
        await system.close()
