"""Lets other requests run while a long list is parsed."""

import asyncio
from collections.abc import Iterable
from typing import Final, TypeVar

T = TypeVar("T")
TURN_ITEMS: Final = 10
"""Items that are parsed before other requests get a turn: one item may cost a few milliseconds."""


async def in_turns(items: Iterable[T]) -> list[T]:
    """Return the items as a list. The event loop gets a turn after every `TURN_ITEMS` of them."""
    parsed: list[T] = []
    for item in items:
        parsed.append(item)
        if len(parsed) % TURN_ITEMS == 0:
            await asyncio.sleep(0)
    return parsed
