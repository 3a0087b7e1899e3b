"""A process of the distributed profile inside the test: real database, real broker, time and workers moved by hand."""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from firsthour.bootstrap.distributed import Distributed, open_distributed
from firsthour.bootstrap.runners import keep_running
from firsthour.runtime.clock import Clock
from firsthour.runtime.config import reading
from firsthour.runtime.config.documents import ConfigProblem
from firsthour.runtime.config.reading import NAMES
from firsthour.runtime.config.yaml_source import read
from firsthour.runtime.settings import Settings
from firsthour.runtime.storage import config_versions
from services.notifier.channels.base import Channel

EVERYTHING: Final = ("gateway", "scoring", "router", "notifier", "reporting")
LOOK_SECONDS: Final = 0.001


@dataclass
class DistributedHarness:
    """The process. What it reads from the broker is fetched beside; everything else waits for `system.settle()`."""

    system: Distributed
    fetching: Sequence[asyncio.Task[None]]

    async def reading(self) -> None:
        """Until the broker has answered every consumer."""
        while not all(log.ours for log in self.system.logs):
            await asyncio.sleep(LOOK_SECONDS)

    async def close(self) -> None:
        """End it in order."""
        for task in self.fetching:
            task.cancel()
        await asyncio.gather(*self.fetching, return_exceptions=True)
        await self.system.close()


async def apply(system: Distributed, directory: Path) -> None:
    """Put these files in force. Raises `ConfigError`."""
    found = reading.load(directory)
    texts = {name: text for name in NAMES if not isinstance(text := read(directory / name), ConfigProblem)}
    await system.units.run(lambda unit: config_versions.apply(unit, found, texts, None))


async def open_harness(
    given: Settings,
    clock: Clock,
    channels: Mapping[str, Channel],
    wanted: Sequence[str] = EVERYTHING,
    *,
    files: Path | None = None,
) -> DistributedHarness:
    """A process with these services, reading all partitions. `files`: what is put in force first."""
    system = await open_distributed(given, wanted, channels, clock=clock, fixed=True)
    moved = DistributedHarness(system, [asyncio.create_task(keep_running(log)) for log in system.logs])
    try:
        if files is not None:
            await apply(system, files)
        await system.refresh()
        await moved.reading()
    except BaseException:
        with contextlib.suppress(Exception):
            await moved.close()
        raise
    return moved
