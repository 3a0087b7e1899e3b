"""A connection to an HTTP server: one request at a time, one bounded answer. The parser is that of our own server.

Between two requests nothing may arrive. A connection on which something does is closed, so that no answer is taken for that
of another request.
"""

import asyncio
import select
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, cast

import httptools

from schemas.errors import FirstHourError

ANSWER_BYTES_MAX: Final = 64 * 1024
HEAD_BYTES_MAX: Final = 64 * 1024
_DELIMITED: Final = frozenset({"content-length", "transfer-encoding"})


class NoAnswerError(FirstHourError):
    """Raised when no usable answer arrived: refused, reset, timed out, or too long. The request may have arrived."""


class AnswerTooLargeError(NoAnswerError):
    """Raised for an answer of more than `ANSWER_BYTES_MAX`."""


@dataclass(frozen=True)
class HttpAnswer:
    """An answer. Names of headers are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class ClientConnection(asyncio.Protocol):
    """One connection. A failure closes it, and so does a call that is cancelled."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport
        self._waiter: asyncio.Future[HttpAnswer] | None = None  # None: no request is on its way
        self._is_closed = False
        self._input = select.poll()

    # --- the request -------------------------------------------------------------------------------------------------

    @property
    def is_open(self) -> bool:
        """Whether the connection can be kept for another request."""
        return not self._is_closed

    @property
    def is_silent(self) -> bool:
        """Whether a request may be sent: the server has neither closed the connection nor sent anything unasked."""
        return not self._is_closed and not self._input.poll(0)

    async def exchange(self, request: bytes) -> HttpAnswer:
        """Send a request, and return its answer. Raises `NoAnswerError`."""
        self._begin_message()
        self._parser = httptools.HttpResponseParser(self)
        self._waiter = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        try:
            return await self._waiter
        except BaseException:
            self.abort()
            raise
        finally:
            self._waiter = None

    def close(self) -> None:
        """Close the connection, once everything is sent."""
        self._is_closed = True
        self._transport.close()

    def abort(self) -> None:
        """Close the connection at once."""
        self._is_closed = True
        self._transport.abort()

    # --- called by the loop ------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's transports have another class
        self._input.register(transport.get_extra_info("socket").fileno(), select.POLLIN)

    def data_received(self, data: bytes) -> None:
        if self._waiter is None or self._waiter.done():
            self.abort()  # an answer without a request
            return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._fail(f"no answer ({type(error).__name__})")
        if not self._has_head:
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES_MAX:
                self._fail(f"an answer with a head of more than {HEAD_BYTES_MAX} bytes")

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_closed = True
        if exc is None and self._ends_with_connection:
            self._succeed()
        self._fail(f"no answer ({type(exc).__name__ if exc else 'the connection was closed'})")

    # --- called by the parser ----------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        if self._waiter is not None and self._waiter.done():
            self._is_closed = True  # a second answer to one request
            return
        self._begin_message()

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._has_head:
            key, text = name.decode("latin-1").lower(), value.decode("latin-1").strip()
            self._headers[key] = f"{self._headers[key]}, {text}" if key in self._headers else text

    def on_headers_complete(self) -> None:
        self._has_head = True
        self._status = self._parser.get_status_code()

    def on_body(self, body: bytes) -> None:
        if len(self._body) + len(body) > ANSWER_BYTES_MAX:
            self._fail(f"an answer of more than {ANSWER_BYTES_MAX} bytes")
        else:
            self._body += body

    def on_message_complete(self) -> None:
        if self._status >= 200:  # else the answer itself follows
            self._is_closed = self._is_closed or not self._parser.should_keep_alive()
            self._succeed()

    # --- inside ------------------------------------------------------------------------------------------------------

    def _begin_message(self) -> None:
        self._headers: dict[str, str] = {}
        self._body = bytearray()
        self._status = 0
        self._has_head, self._head_bytes = False, 0

    @property
    def _ends_with_connection(self) -> bool:
        """Whether the end of the connection is the end of the answer."""
        return (
            self._waiter is not None
            and self._has_head
            and self._status >= 200
            and not _DELIMITED & self._headers.keys()
        )

    def _succeed(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(HttpAnswer(self._status, self._headers, bytes(self._body)))

    def _fail(self, why: str) -> None:
        self._is_closed = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(NoAnswerError(why))
