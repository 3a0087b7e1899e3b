"""A process of the distributed profile inside a test. Database and broker are real; the test moves time and runs workers."""

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
    """The process. Tasks fetch records from the broker; everything else runs in `system.settle()`."""

    system: Distributed
    fetching: Sequence[asyncio.Task[None]]

    async def reading(self) -> None:
        """Wait until the broker has answered every consumer."""
        while not all(log.ours for log in self.system.logs):
            await asyncio.sleep(LOOK_SECONDS)

    async def close(self) -> None:
        """Stop the fetching tasks, then the process."""
        for task in self.fetching:
            task.cancel()
        await asyncio.gather(*self.fetching, return_exceptions=True)
        await self.system.close()


async def apply(system: Distributed, directory: Path) -> None:
    """Apply these configuration files. Raises `ConfigError`."""
    config = reading.load(directory)
    texts = {name: text for name in NAMES if not isinstance(text := read(directory / name), ConfigProblem)}
    await system.units.run(lambda unit: config_versions.apply(unit, config, texts, None))


async def open_harness(
    process_settings: Settings,
    clock: Clock,
    channels: Mapping[str, Channel],
    service_names: Sequence[str] = EVERYTHING,
    *,
    files: Path | None = None,
) -> DistributedHarness:
    """Return a process of these services that reads all partitions. `files`: the configuration applied first."""
    system = await open_distributed(process_settings, service_names, channels, clock=clock, fixed=True)
    harness = DistributedHarness(system, [asyncio.create_task(keep_running(log)) for log in system.logs])
    try:
        if files is not None:
            await apply(system, files)
        await system.refresh()
        await harness.reading()
    except BaseException:
        with contextlib.suppress(Exception):
            await harness.close()
        raise
    return harness
