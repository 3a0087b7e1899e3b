"""The loop of calls: outcomes are recorded, kept while the database is away, and waited for at the end."""

import asyncio
from collections.abc import Sequence

import pytest

from firsthour.runtime.processing.call_loop import CallLoop
from firsthour.runtime.storage.unit import StorageError


class OutcomeStore:
    """A store of outcomes that can be away."""

    def __init__(self) -> None:
        self.away = False
        self.stored: list[int] = []

    async def store(self, results: Sequence[int]) -> None:
        if self.away:
            raise StorageError("away")
        self.stored.extend(results)


@pytest.fixture
def recorder() -> OutcomeStore:
    return OutcomeStore()


@pytest.fixture
def loop(recorder: OutcomeStore) -> CallLoop[int]:
    return CallLoop("calls", recorder.store, timeout_seconds=5.0)


async def call(number: int, gate: asyncio.Event | None = None) -> int:
    if gate is not None:
        await gate.wait()
    return number


async def test_outcomes_are_recorded_once(loop: CallLoop[int], recorder: OutcomeStore) -> None:
    loop.start(call(1))
    loop.start(call(2))
    await loop.ended()
    assert (await loop.record(), await loop.record(), sorted(recorder.stored)) == (True, False, [1, 2])


async def test_outcomes_that_cannot_be_stored_are_kept_before_later_ones(
    loop: CallLoop[int], recorder: OutcomeStore
) -> None:
    recorder.away = True
    loop.start(call(1))
    await loop.ended()
    with pytest.raises(StorageError):
        await loop.record()
    recorder.away = False
    loop.start(call(2))
    await loop.ended()
    assert (await loop.record(), recorder.stored) == (True, [1, 2])


async def test_call_that_ends_after_others_were_recorded_is_recorded_too(
    loop: CallLoop[int], recorder: OutcomeStore
) -> None:
    gate = asyncio.Event()
    loop.start(call(1, gate))
    loop.start(call(2))
    for _ in range(3):
        await asyncio.sleep(0)
    assert (await loop.record(), recorder.stored) == (True, [2])
    gate.set()
    await loop.ended()
    assert (await loop.record(), recorder.stored) == (True, [2, 1])


async def test_outcome_begins_the_next_turn(loop: CallLoop[int], recorder: OutcomeStore) -> None:
    turns = 0

    async def turn() -> float:
        nonlocal turns
        turns += 1
        if turns == 1:
            loop.start(call(1))
        await loop.record()
        return 3_600.0

    running = asyncio.create_task(loop.run(turn))
    async with asyncio.timeout(5):
        while not recorder.stored:
            await asyncio.sleep(0)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert (turns, recorder.stored) == (2, [1])


async def test_end_closes_first_then_waits_for_calls_and_records_them(
    loop: CallLoop[int], recorder: OutcomeStore
) -> None:
    gate, order = asyncio.Event(), list[str]()

    async def turn() -> float:
        loop.start(call(1, gate))
        return 3_600.0

    def closing() -> None:
        order.append(f"closed with {len(recorder.stored)} recorded")
        gate.set()

    running = asyncio.create_task(loop.run(turn, closing))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert (order, recorder.stored) == (["closed with 0 recorded"], [1])
