"""A stand-in for Slack's Web API in a process of its own: it accepts every message, and records when each lead was first named."""

import asyncio
import re
from contextlib import AbstractContextManager
from multiprocessing.connection import Connection
from typing import Final, cast

from firsthour.bench import processes, systems
from firsthour.bench.http_client import whole_message
from firsthour.bench.processes import ServiceProcess
from firsthour.runtime.clock import HostClock

_LEAD: Final = re.compile(rb"buyer(\d+)@")


class SlackStandIn(asyncio.Protocol):
    """One connection. The answer is that of `chat.postMessage`."""

    def __init__(self, first: dict[int, float]) -> None:
        """Take the dictionary of the monotonic second of the first message about each buyer, by the buyer's number."""
        self._first, self._clock = first, HostClock()
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's transports have another class

    def data_received(self, data: bytes) -> None:
        at = self._clock.monotonic()
        self._received += data
        while (message := whole_message(self._received)) is not None:
            body, self._received = message
            for number in _LEAD.findall(body):
                self._first.setdefault(int(number), at)
            answer = b'{"ok":true,"channel":"D0BENCH","ts":"%d.%06d"}' % divmod(int(at * 1e6), 1_000_000)
            head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(answer)
            self._transport.write(head + answer)


def work(pipe: Connection) -> None:
    """Serve until `stop`; `pages` answers the first message about each buyer."""
    first: dict[int, float] = {}
    systems.run(systems.serve(pipe, lambda: SlackStandIn(first), {"pages": lambda: first}))


def slack_process() -> AbstractContextManager[ServiceProcess]:
    """Run the stand-in while the context is open."""
    return processes.child_process(work)


def api_url(slack: ServiceProcess) -> str:
    """Return the base URL of its API."""
    return f"http://127.0.0.1:{slack.port}/api/"
