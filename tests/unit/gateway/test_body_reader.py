"""Reading a body: without a timeout if it has arrived, else with one."""

import asyncio

import pytest

from firsthour.runtime.http.middleware import Message
from firsthour.runtime.http.problem import Problem
from services.gateway.body_reader import read_whole_body


class Sender:
    """Sends each part when it is released. `ended`: a wait for the next part was cancelled."""

    def __init__(self, *parts: bytes) -> None:
        self.parts = list(parts)
        self.go = asyncio.Semaphore(0)
        self.ended = False

    async def __call__(self) -> Message:
        try:
            await self.go.acquire()
            await asyncio.sleep(0)  # more than one wait, as real servers have it
        except asyncio.CancelledError:
            self.ended = True
            raise
        return {"type": "http.request", "body": self.parts.pop(0), "more_body": bool(self.parts)}


async def _read(sender: Sender, seconds: float = 10.0) -> bytes:
    return await read_whole_body(sender, 10, seconds)


async def test_body_in_parts_is_joined() -> None:
    sender = Sender(b"ab", b"", b"cd")
    reading = asyncio.create_task(_read(sender))
    for _ in range(3):
        await asyncio.sleep(0)
        sender.go.release()
    assert await reading == b"abcd"


async def test_body_that_has_arrived_is_read_without_a_timeout() -> None:
    async def receive() -> Message:
        return {"type": "http.request", "body": b"abc", "more_body": False}

    assert await read_whole_body(receive, 3) == b"abc"
    with pytest.raises(Problem, match="413"):
        await read_whole_body(receive, 2)


async def test_body_that_does_not_arrive_is_408() -> None:
    sender = Sender(b"a")
    with pytest.raises(Problem, match="408"):
        await _read(sender, seconds=0)
    assert sender.ended


async def test_body_over_the_limit_is_drained_and_rejected() -> None:
    sender = Sender(b"12345", b"678901", b"x")
    for _ in range(3):
        sender.go.release()
    with pytest.raises(Problem, match="413"):
        await _read(sender)
    assert sender.parts == []


async def test_cancelled_request_cancels_the_wait_for_its_body() -> None:
    sender = Sender(b"a")
    reading = asyncio.create_task(_read(sender))
    await asyncio.sleep(0)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert sender.ended


async def test_error_of_receive_is_raised() -> None:
    async def receive() -> Message:
        await asyncio.sleep(0)
        raise ConnectionError("gone")

    with pytest.raises(ConnectionError):
        await read_whole_body(receive, 10)
