"""Housekeeping pauses between its steps, so that other units can use the database."""

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, TypeVar, cast

import pytest

from firsthour.runtime.processing.retention import (
    LOOK_SECONDS,
    PAUSE_SECONDS_MIN,
    PAUSE_STEPS,
    ROWS_FIRST,
    Housekeeping,
)
from firsthour.runtime.storage.unit import Lane, Unit, Units
from tests.hand_clock import HandClock

T = TypeVar("T")
STEPS = 5


class EnoughError(Exception):
    """So much was seen."""


async def test_each_step_is_followed_by_a_proportional_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, seen = HandClock(), list[str | float]()

    class OneWriter:
        """Units of which each takes the time that its work takes."""

        async def run(self, work: Callable[[Unit], T], lane: Lane = Lane.COMMAND) -> T:
            assert lane is Lane.BULK
            return work(cast(Unit, SimpleNamespace(clock=clock)))

    def slow(_: Unit, limit: int) -> int:
        seen.append("slow")
        clock.advance(seconds=0.5)
        return limit if seen.count("slow") < 2 else 0

    def quick(_: Unit, limit: int) -> int:
        seen.append("quick")
        return 0

    async def pause(seconds: float, *_: Any) -> None:
        seen.append(seconds)
        if seen.count("slow") + seen.count("quick") >= STEPS:
            raise EnoughError

    monkeypatch.setattr(asyncio, "sleep", pause)
    with pytest.raises(EnoughError):
        await Housekeeping([slow, quick], cast(Units, OneWriter())).run()
    long, short = PAUSE_STEPS * 0.5, PAUSE_SECONDS_MIN
    assert seen == ["slow", long, "slow", long, "quick", short, LOOK_SECONDS, "slow", long, "quick", short]
    assert (long, short, ROWS_FIRST) == (5.0, 0.05, 100)
