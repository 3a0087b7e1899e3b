"""The keys in memory are those of now."""

import asyncio
from collections.abc import Callable
from typing import Any

from sqlalchemy.engine import Connection

from services.runtime.auth import Key, Keys, digest
from services.runtime.clock import HandClock


class Slow:
    """Reads what there is when it is asked; every answer waits until it is let through."""

    def __init__(self) -> None:
        self.there: list[Key] = []
        self.waiting: list[asyncio.Future[None]] = []

    async def __call__(self, work: Callable[[Connection], Any], /) -> Any:
        found = [*self.there]
        self.waiting.append(asyncio.get_running_loop().create_future())
        await self.waiting[-1]
        return found


async def test_an_answer_of_before_a_key_was_made_does_not_make_it_unknown_again() -> None:
    clock, reads = HandClock(), Slow()
    keys = Keys(clock)
    first = asyncio.create_task(keys.refresh(reads))
    await asyncio.sleep(0)
    reads.there = [Key("k", "form", "ingest", None, digest("fh_k"), clock.now, None, None, None)]
    second = asyncio.create_task(keys.refresh(reads))
    await asyncio.sleep(0)
    while not (first.done() and second.done()):
        for answer in reversed(reads.waiting):  # whoever asked last is answered first
            if not answer.done():
                answer.set_result(None)
                break
        await asyncio.sleep(0)
    assert keys.find("Bearer fh_k") is not None
