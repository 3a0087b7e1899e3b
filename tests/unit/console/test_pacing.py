"""Work that is spread over the turns of a loop."""

import asyncio

import pytest

from services.console import pacing
from services.console.pacing import PacedWork


class HandTime:
    """A clock of a loop that moves by hand."""

    def __init__(self) -> None:
        self.now = 0.0


async def _steps(time: HandTime, seconds: float, count: int) -> str:
    for _ in range(count):
        time.now += seconds
        await asyncio.sleep(0)
    return "done"


async def _paced(
    monkeypatch: pytest.MonkeyPatch, seconds: float, *, spread: bool
) -> tuple[PacedWork[str], list[float]]:
    """Return work of three steps of this length that has ended, and its pauses."""
    time, pauses = HandTime(), list[float]()
    sleep = asyncio.sleep

    async def noted(delay: float) -> None:
        if delay:
            pauses.append(delay)
        await sleep(0)

    monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: time.now)
    monkeypatch.setattr(asyncio, "sleep", noted)
    work = PacedWork(_steps(time, seconds, 3), spread=spread)
    assert await work == "done"
    return work, pauses


async def test_each_step_is_followed_by_a_longer_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    work, pauses = await _paced(monkeypatch, 0.002, spread=True)
    assert pauses == pytest.approx([0.002 * pacing.TIMES] * 3)
    assert work.spent == pytest.approx(0.006)


async def test_a_long_step_is_followed_by_the_longest_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    _, pauses = await _paced(monkeypatch, 1.0, spread=True)
    assert pauses == [pacing.PAUSE_SECONDS_MAX] * 3


@pytest.mark.parametrize(("seconds", "spread"), [(0.0001, True), (0.002, False)], ids=["short steps", "not spread"])
async def test_work_without_a_reason_to_wait_has_no_pause(
    monkeypatch: pytest.MonkeyPatch, seconds: float, spread: bool
) -> None:
    work, pauses = await _paced(monkeypatch, seconds, spread=spread)
    assert not pauses
    assert work.spent == pytest.approx(3 * seconds)


async def test_a_failure_reaches_the_caller() -> None:
    async def failing() -> None:
        await asyncio.sleep(0)
        raise ValueError("wrong")

    with pytest.raises(ValueError, match="wrong"):
        await PacedWork(failing(), spread=True)


async def test_a_cancellation_ends_the_work() -> None:
    begun, ended = asyncio.Event(), []

    async def endless() -> None:
        try:
            begun.set()
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    async def paced() -> None:
        await PacedWork(endless(), spread=True)

    task = asyncio.create_task(paced())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended


async def test_a_time_limit_inside_the_work_holds() -> None:
    async def limited() -> str:
        try:
            async with asyncio.timeout(0):
                await asyncio.Event().wait()
        except TimeoutError:
            return "late"
        return "in time"

    assert await PacedWork(limited(), spread=True) == "late"
