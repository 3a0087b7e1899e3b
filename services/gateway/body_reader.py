"""Reads a body, which nearly always is there already: only one that is not gets a timeout, which costs 4 us."""

from collections.abc import Coroutine, Generator
from types import CoroutineType
from typing import Any

from firsthour.runtime.http.middleware import READ_SECONDS, Message, Receive, read_body


class _Started:
    """A coroutine that ran up to its first wait. Awaiting this goes on from there."""

    def __init__(self, coroutine: Coroutine[Any, Any, Message], waits_for: Any) -> None:
        self._coroutine = coroutine
        self._waits_for = waits_for

    def __await__(self) -> Generator[Any, Any, Message]:
        waits_for = self._waits_for
        try:
            while True:
                try:
                    got = yield waits_for
                except BaseException as thrown:  # noqa: BLE001  # a cancellation is the coroutine's too
                    waits_for = self._coroutine.throw(thrown)
                else:
                    waits_for = self._coroutine.send(got)
        except StopIteration as done:
            return done.value  # type: ignore[no-any-return]  # what a receive returns


async def read_whole_body(receive: Receive, limit: int, seconds: float = READ_SECONDS) -> bytes:
    """The whole body, of at most `limit` bytes; refused as `read_body` refuses."""
    first = receive()
    if not isinstance(first, CoroutineType):
        return await read_body(_and_then(first, receive), limit, seconds)
    try:
        waits_for = first.send(None)
    except StopIteration as done:
        message: Message = done.value
        if message["type"] == "http.request" and not message.get("more_body"):
            body = message.get("body", b"")
            if len(body) <= limit:
                return bytes(body)
        return await read_body(_and_then(_given(message), receive), limit, seconds)
    return await read_body(_and_then(_Started(first, waits_for), receive), limit, seconds)


async def _given(message: Message) -> Message:
    return message


def _and_then(first: Any, receive: Receive) -> Receive:
    """A `receive` whose first message is `first`."""
    left = [first]

    async def again() -> Message:
        return await (left.pop() if left else receive())

    return again
