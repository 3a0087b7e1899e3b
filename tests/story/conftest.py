"""A world for each story. At the end of the story every invariant must hold."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.backends import Backends
from tests.story.world import World

OpenWorld = Callable[..., Awaitable[World]]


@pytest.fixture(autouse=True)
def log_lines() -> Iterator[list[Any]]:
    """Capture the log lines, so that they are not printed."""
    with capture_logs() as lines:
        yield lines


@pytest.fixture
async def open_world(tmp_path: Path, profile: Backends | None) -> AsyncIterator[OpenWorld]:
    """Return a function that opens a world with changes to its files: `await open_world(team=..., agreement=...)`."""
    async with AsyncExitStack() as stack:
        worlds: list[World] = []

        async def open_one(
            *, channels: tuple[str, ...] = ("slack", "email", "inbox"), pages_max: int | None = None, **changes: Any
        ) -> World:
            directory = tmp_path / f"world-{len(worlds)}"
            world = World(directory, channel_names=channels, backends=profile, pages_max=pages_max)
            await world.open(**changes)
            worlds.append(await stack.enter_async_context(world))
            return world

        yield open_one
        for world in worlds:
            await world.verify()


@pytest.fixture
async def world(open_world: OpenWorld) -> World:
    """A world with the sample files, on a Tuesday morning."""
    return await open_world()
