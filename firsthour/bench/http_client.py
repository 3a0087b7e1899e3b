"""A raw client that speaks just enough HTTP/1.1: requests in a closed loop, or at their scheduled times."""

import asyncio
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from time import sleep
from typing import Final, cast

from firsthour.runtime.clock import HostClock
from schemas.errors import FirstHourError

CONNECTIONS: Final = 32
CONNECTIONS_MIN: Final = 12
LAST_PAGE_SECONDS: Final = 10.0


def whole_message(received: bytes) -> tuple[bytes, bytes] | None:
    """Return the body of the first message, and the bytes after it. None: the message has not arrived as a whole."""
    head, end, rest = received.partition(b"\r\n\r\n")
    if not end:
        return None
    _, _, length = head.lower().partition(b"content-length: ")
    size = int(length.partition(b"\r\n")[0] or 0)
    return (rest[:size], rest[size:]) if len(rest) >= size else None


class HttpConnection(asyncio.Protocol):
    """A keep-alive connection that has at most one request without an answer."""

    def __init__(self, answered: Callable[["HttpConnection", int], None]) -> None:
        self._answered = answered
        self._received = b""
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's transports have another class

    def send(self, request: bytes) -> None:
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._received += data
        if whole_message(self._received) is None:
            return
        status = int(self._received[9:12])
        self._received = b""
        self._answered(self, status)

    def close(self) -> None:
        self._transport.close()


@asynccontextmanager
async def connections(
    port: int, count: int, answered: Callable[[HttpConnection, int], None]
) -> AsyncIterator[list[HttpConnection]]:
    """Open `count` connections. `answered` is called with the connection and the status of each answer."""
    loop = asyncio.get_running_loop()
    opened = [
        (await loop.create_connection(lambda: HttpConnection(answered), "127.0.0.1", port))[1] for _ in range(count)
    ]
    try:
        yield opened
    finally:
        for connection in opened:
            connection.close()
        await asyncio.sleep(0)  # the loop closes them in its next turn


class LoadRefusedError(FirstHourError):
    """Raised when an answer is not 202: the measurement would be of something else."""


async def closed_loop(port: int, requests: Sequence[bytes]) -> None:
    """Send every request. Each connection sends the next one as soon as it has an answer. Raises `LoadRefusedError`."""
    unsent = iter(requests)
    left = len(requests)
    done = asyncio.get_running_loop().create_future()

    def answered(connection: HttpConnection, status: int) -> None:
        nonlocal left
        left -= 1
        if done.done():
            return
        if status != 202:
            done.set_exception(LoadRefusedError(f"answered {status}"))
        elif left == 0:
            done.set_result(None)
        elif (request := next(unsent, None)) is not None:
            connection.send(request)

    async with connections(port, CONNECTIONS, answered) as opened:
        for connection, request in zip(opened, unsent, strict=False):
            connection.send(request)
        await done


@dataclass
class OpenLoop:
    """Requests sent at their scheduled times, whether or not the earlier ones are answered. Times are monotonic seconds.

    `late`: how long after its scheduled time each request was sent. Other work of the machine delays all processes alike.
    """

    requests: Sequence[bytes]
    at: Sequence[float]
    acked: dict[int, float] = field(default_factory=dict)
    late: list[float] = field(default_factory=list)

    async def send(self, port: int) -> None:
        """Send all requests. A thread keeps the schedule, because sleeping in the loop is a millisecond inexact."""
        loop, clock = asyncio.get_running_loop(), HostClock()
        busy: dict[HttpConnection, int] = {}
        done = loop.create_future()

        def answered(connection: HttpConnection, status: int) -> None:
            self.acked[busy.pop(connection)] = clock.monotonic()
            free.append(connection)
            if status != 202 and not done.done():
                done.set_exception(LoadRefusedError(f"answered {status}"))
            elif len(self.acked) == len(self.requests) and not done.done():
                done.set_result(None)

        # Used in turn, and few enough that the server closes none as idle; one waits while a loaded machine stops for a moment.
        rate = len(self.at) / max(1.0, self.at[-1] - self.at[0])
        async with connections(port, max(CONNECTIONS_MIN, min(4 * CONNECTIONS, int(rate))), answered) as opened:
            free = deque(opened)

            def start(number: int) -> None:
                if not free:
                    if not done.done():
                        done.set_exception(LoadRefusedError("the server answers so slowly that no connection is free"))
                    return
                connection = free.popleft()
                busy[connection] = number
                connection.send(self.requests[number])
                self.late.append(clock.monotonic() - self.at[number])

            def keep_schedule() -> None:
                for number, moment in enumerate(self.at):
                    sleep(max(0.0, moment - clock.monotonic()))
                    if done.done():
                        return
                    loop.call_soon_threadsafe(start, number)

            threading.Thread(target=keep_schedule, daemon=True).start()
            async with asyncio.timeout(self.at[-1] - clock.monotonic() + LAST_PAGE_SECONDS):
                await done
