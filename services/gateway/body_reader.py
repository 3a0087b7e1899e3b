"""Reads the body of a request. A timeout costs 4 us: only bodies that have not arrived yet get one."""

from collections.abc import Coroutine, Generator, Mapping
from types import CoroutineType
from typing import Any, Final

from firsthour.runtime.http.middleware import READ_SECONDS, Message, Receive, Scope, checked_body, read_body

BODY_LIMIT: Final = 256 * 1024


class _StartedReceive:
    """A coroutine that has run to its first wait. Awaiting this continues it."""

    def __init__(self, coroutine: Coroutine[Any, Any, Message], waits_for: Any) -> None:
        self._coroutine = coroutine
        self._waits_for = waits_for

    def __await__(self) -> Generator[Any, Any, Message]:
        waits_for = self._waits_for
        try:
            while True:
                try:
                    value = yield waits_for
                except BaseException as error:  # noqa: BLE001  # the coroutine must see a cancellation
                    waits_for = self._coroutine.throw(error)
                else:
                    waits_for = self._coroutine.send(value)
        except StopIteration as result:
            return result.value  # type: ignore[no-any-return]  # what a receive returns


async def read_request_body(
    scope: Scope, receive: Receive, headers: Mapping[bytes, bytes], limit: int = BODY_LIMIT
) -> bytes:
    """Return the body of a request, of at most `limit` bytes. Raises `Problem`: 400, 408, 413."""
    if b"expect" in headers or not headers.get(b"content-length", b"0").isdigit():
        return await checked_body(scope, receive, limit) or b""
    return await read_whole_body(receive, limit)


async def read_whole_body(receive: Receive, limit: int, seconds: float = READ_SECONDS) -> bytes:
    """Return the whole body, of at most `limit` bytes. Raises as `read_body` does."""
    first = receive()
    if not isinstance(first, CoroutineType):
        return await read_body(_chain(first, receive), limit, seconds)
    try:
        waits_for = first.send(None)
    except StopIteration as result:
        message: Message = result.value
        if message["type"] == "http.request" and not message.get("more_body"):
            body = message.get("body", b"")
            if len(body) <= limit:
                return bytes(body)
        return await read_body(_chain(_received(message), receive), limit, seconds)
    return await read_body(_chain(_StartedReceive(first, waits_for), receive), limit, seconds)


async def _received(message: Message) -> Message:
    return message


def _chain(first: Any, receive: Receive) -> Receive:
    """Return a `receive` whose first message is the result of `first`."""
    pending = [first]

    async def again() -> Message:
        return await (pending.pop() if pending else receive())

    return again
