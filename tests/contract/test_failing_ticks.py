"""Readiness reports a tick that fails repeatedly, until it succeeds."""

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from firsthour.runtime.processing.ticker import Ticker
from tests.contract.systems import OpenedSystem, opened

CLOCKS = "notifier.clocks"


async def until(world: OpenedSystem, status: int) -> dict[str, Any]:
    """Return the answer of readiness once it has this status."""
    async with asyncio.timeout(30):
        while (answer := await world.client.get("/readyz")).status_code != status:
            world.system.resources.wake(CLOCKS)
            await asyncio.sleep(0)
    return dict(answer.json())


async def test_readiness_reports_a_failing_tick_until_it_succeeds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(tmp_path / "data") as world:
        tick = world.system.runners[CLOCKS]
        assert isinstance(tick, Ticker)
        run_once = tick._run_once

        async def fail() -> float:
            raise ZeroDivisionError

        monkeypatch.setattr(tick, "_run_once", fail)
        running = asyncio.create_task(tick.run())
        answer = await until(world, 503)
        assert "ZeroDivisionError" in answer["checks"][CLOCKS]
        monkeypatch.setattr(tick, "_run_once", run_once)
        assert CLOCKS not in (await until(world, 200))["checks"]
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
