"""Work that time brings and that fails again and again is said in readiness, until it succeeds."""

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from firsthour.runtime.processing.ticker import Ticker
from tests.contract.systems import OpenedSystem, opened

CLOCKS = "notifier.clocks"


async def until(world: OpenedSystem, status: int) -> dict[str, Any]:
    """What readiness says once it has this status."""
    async with asyncio.timeout(30):
        while (answer := await world.client.get("/readyz")).status_code != status:
            world.system.resources.wake(CLOCKS)
            await asyncio.sleep(0)
    return dict(answer.json())


async def test_readiness_tells_of_a_tick_that_fails_again_and_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(tmp_path / "data") as world:
        tick = world.system.runners[CLOCKS]
        assert isinstance(tick, Ticker)
        good = tick._run_once

        async def bad() -> float:
            raise ZeroDivisionError

        monkeypatch.setattr(tick, "_run_once", bad)
        running = asyncio.create_task(tick.run())
        said = await until(world, 503)
        assert "ZeroDivisionError" in said["checks"][CLOCKS]
        monkeypatch.setattr(tick, "_run_once", good)
        assert CLOCKS not in (await until(world, 200))["checks"]
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
