"""A bounded HTTP connection: uvicorn's protocol over httptools, with limits on sizes, on time and on connections.

With httptools, uvicorn bounds none of these: its limit on the head is h11's, a half-sent request cancels the timer of an
idle connection, and `limit_concurrency` answers 503 but keeps the socket. An ordinary request costs a few comparisons
more than with uvicorn's own class. Timers run only for connections that wait or stall.
"""

import asyncio
import re
from asyncio.events import TimerHandle
from dataclasses import dataclass, field
from typing import Any, Final

import httptools
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from firsthour.runtime.http.problem import Problem, problem_response
from schemas.errors import FirstHourError

_HOST: Final = re.compile(rb"[A-Za-z0-9._~!$&'()*+,;=%:\[\]-]*")
_VERSIONS: Final = frozenset({"1.0", "1.1"})
_LINE_BYTES: Final = 4  # of a header line, without name and value
BUSY_RETRY_SECONDS: Final = 5


@dataclass(frozen=True)
class Limits:
    """Bounds of every connection."""

    connections_max: int = 1_000
    head_bytes_max: int = 16 * 1024
    headers_max: int = 100
    pipelined_max: int = 32  # requests that wait for the answer to an earlier one
    head_seconds: float = 10.0  # from the first byte of a head to its end; for the first head, from the connection
    write_seconds: float = 30.0  # without progress of an answer at the client
    linger_seconds: float = 2.0  # between the last answer and the end, so that a client that still sends can read it
    linger_bytes_max: int = 1024 * 1024  # read and dropped in this time


@dataclass
class ConnectionState:
    """The state that the connections of a server share."""

    limits: Limits
    waiting: "dict[BoundedProtocol, None]" = field(
        default_factory=dict
    )  # connections without a request, the longest idle first


class RequestRefusedError(FirstHourError):
    """Raised in a callback of the parser. The request is answered with the problem, and the connection ends."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem


class BoundedProtocol(HttpToolsProtocol):
    """One connection."""

    def __init__(self, *args: Any, shared: ConnectionState, **more: Any) -> None:
        super().__init__(*args, **more)
        self._shared = shared
        self._limits = shared.limits
        self._awaits_head = True
        self._unread = 0  # bytes received since the last progress: a complete head, a part of a body, or an end
        self._hosts = 0
        self._offer = False  # the head offers another protocol
        self._deaf = False  # received bytes are dropped
        self._deadline: TimerHandle | None = None
        self._stalled: TimerHandle | None = None

    # --- beginning and end -----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        super().connection_made(transport)
        waiting = self._shared.waiting
        if len(self.connections) > self._limits.connections_max:
            oldest = next(iter(waiting), None)
            if oldest is None:
                self._deaf = True
                self.transport.write(_answer(_busy()))
                self._end()  # at once: the connection must not count
                return
            oldest.evict()
        waiting[self] = None
        self._deadline = self.loop.call_later(self._limits.head_seconds, self._head_timed_out)

    def evict(self) -> None:
        """End a connection without a request, to make room for another."""
        self._shared.waiting.pop(self, None)
        self.connections.discard(self)
        self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._shared.waiting.pop(self, None)
        self._cancel_deadline()
        self._unset_keepalive_if_required()
        if self._stalled is not None:
            self._stalled.cancel()
        super().connection_lost(exc)

    def timeout_keep_alive_handler(self) -> None:
        self._end()

    def _end(self) -> None:
        """Close the connection; at once if the client does not read."""
        if self.transport.get_write_buffer_size():
            self.transport.abort()
        else:
            self.transport.close()

    def _cancel_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _head_timed_out(self) -> None:
        self._deadline = None
        if self._unread:
            seconds = f"{self._limits.head_seconds:g}"
            self._refuse(
                Problem(408, "", f"The head of the request did not arrive within {seconds} s. Send it in one go.")
            )
        else:
            self._end()

    # --- reading ---------------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        self._unread += len(data)
        if self._deaf:
            if self._unread > self._limits.linger_bytes_max:
                self.transport.abort()
            return
        self._unset_keepalive_if_required()
        try:
            self._feed(data)
        except httptools.HttpParserError as error:
            refused = error.__context__
            self._refuse(refused.problem if isinstance(refused, RequestRefusedError) else _malformed())
            return
        if self._unread > self._limits.head_bytes_max:
            self._refuse(self._head_too_large() if self._awaits_head else _malformed())
        elif self._unread and self._awaits_head and self._deadline is None:
            self._deadline = self.loop.call_later(self._limits.head_seconds, self._head_timed_out)

    def _feed(self, data: bytes) -> None:
        """Parse the bytes. An offer of another protocol is ignored, as HTTP allows: the head is parsed again without it,
        because the parser would read the body as that protocol."""
        while True:
            try:
                self.parser.feed_data(data)
                return
            except httptools.HttpParserUpgrade as offer:
                data = self._head_without_offer() + data[offer.args[0] :]
                self.parser = httptools.HttpRequestParser(self)
                self._offer = False

    def _head_without_offer(self) -> bytes:
        version = self.parser.get_http_version().encode()
        lines = [b"%b %b HTTP/%b\r\n" % (self.parser.get_method(), self.url, version)]
        lines += [b"%b: %b\r\n" % (name, value) for name, value in self.headers if name != b"upgrade"]
        return b"".join(lines) + b"\r\n"

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._hosts = 0
        self._unread = self._unread or 1  # bytes after the beginning of a head in the same buffer are not counted

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._awaits_head:
            return  # a trailer: it was not part of the checked head
        name = name.lower()
        if name == b"host":
            self._hosts += 1
            if not _HOST.fullmatch(value):
                raise RequestRefusedError(_bad("`Host` is not a host name with an optional port."))
        elif name == b"expect":
            if value.lower() == b"100-continue":
                self.expect_100_continue = True
        elif name == b"transfer-encoding" and value.lower() != b"chunked":
            raise RequestRefusedError(Problem(501, "", "The only supported transfer encoding is `chunked`."))
        self.headers.append((name, value))
        if len(self.headers) > self._limits.headers_max:
            raise RequestRefusedError(self._head_too_large())

    def on_headers_complete(self) -> None:
        if self._unread > self._limits.head_bytes_max and self._head_bytes() > self._limits.head_bytes_max:
            raise RequestRefusedError(self._head_too_large())
        version = self.parser.get_http_version()
        if self._hosts != 1 or version != "1.1":
            self._check_version(version)
        if self.parser.should_upgrade():
            if self.parser.get_method() == b"CONNECT":
                raise RequestRefusedError(
                    Problem(405, "", "This server is not a proxy.", headers={"Allow": "GET, HEAD, POST"})
                )
            self._offer = True
            return
        if len(self.pipeline) >= self._limits.pipelined_max:
            raise RequestRefusedError(
                _bad("Too many requests were sent before the first was answered. Wait for answers.")
            )
        super().on_headers_complete()  # raises for a target that is not a path
        self._awaits_head = False
        self._unread = 0
        self._shared.waiting.pop(self, None)
        self._cancel_deadline()

    def _head_too_large(self) -> Problem:
        limits = self._limits
        return Problem(
            431,
            "",
            f"The head of a request has at most {limits.head_bytes_max} bytes and {limits.headers_max} headers.",
        )

    def _head_bytes(self) -> int:
        return len(self.url) + sum(len(name) + len(value) + _LINE_BYTES for name, value in self.headers)

    def _check_version(self, version: str) -> None:
        if version not in _VERSIONS:
            raise RequestRefusedError(Problem(505, "", "Send HTTP/1.1."))
        if self._hosts > 1 or (version == "1.1" and self._hosts == 0):
            raise RequestRefusedError(_bad("Send the header `Host` once."))
        if version == "1.0" and any(name == b"transfer-encoding" for name, _ in self.headers):
            raise RequestRefusedError(_bad("HTTP/1.0 has no `Transfer-Encoding`. Send HTTP/1.1, or `Content-Length`."))

    def on_body(self, body: bytes) -> None:
        self._unread = 0
        cycle = self.cycle
        if cycle.response_complete:
            return
        cycle.body += body
        if len(cycle.body) > HIGH_WATER_LIMIT:
            self.flow.pause_reading()
        cycle.message_event.set()

    def on_message_complete(self) -> None:
        if self._offer:
            return
        self._awaits_head = True
        self._unread = 0
        super().on_message_complete()

    # --- writing ---------------------------------------------------------------------------------------------

    def on_response_complete(self) -> None:
        if not self.pipeline and not self._awaits_head:
            self._linger()  # the rest of the body would be read as a request, or be waited for without end
        super().on_response_complete()
        if self.transport.is_closing():
            if self.transport.get_write_buffer_size():
                self._watch_writing()
        elif not self.pipeline and not self._deaf:
            self._shared.waiting[self] = None

    def pause_writing(self) -> None:
        super().pause_writing()
        self._watch_writing()

    def _watch_writing(self) -> None:
        if self._stalled is None:
            self._stalled = self.loop.call_later(self._limits.write_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None
        super().resume_writing()

    def _refuse(self, problem: Problem) -> None:
        """Answer invalid input with a problem, and end the connection. Earlier requests are answered first."""
        if self._deaf or self.transport.is_closing():
            return
        self._deaf = True
        self._cancel_deadline()
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is not None and not cycle.response_complete:
            if self._awaits_head:
                cycle.keep_alive = False
                return
            cycle.disconnected = True  # its body will never be complete
            cycle.message_event.set()
            if cycle.response_started or self.pipeline:
                self.transport.abort()
                return
        self.transport.write(_answer(problem))
        self._linger()

    def _linger(self) -> None:
        """Send no more, and drop received bytes for a while before closing: closing with unread bytes resets the connection,
        and the client would lose the answer."""
        self._deaf = True
        if self.transport.is_closing():
            return
        self._shared.waiting[self] = None  # another connection may evict it
        self.flow.resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._deadline = self.loop.call_later(self._limits.linger_seconds, self.transport.abort)


# --- answers -----------------------------------------------------------------------------------------------------------


def _bad(detail: str) -> Problem:
    return Problem(400, "", detail)


def _malformed() -> Problem:
    return _bad("This is not a well-formed HTTP/1.1 request.")


def _busy() -> Problem:
    return Problem(
        503, "", "Too many connections are open. Try again.", headers={"Retry-After": str(BUSY_RETRY_SECONDS)}
    )


def _answer(problem: Problem) -> bytes:
    status, headers, body = problem_response(problem, "")
    lines = [f"{name.lower()}: {value}\r\n".encode("latin-1") for name, value in headers.items()]
    return b"".join((STATUS_LINE[status], *lines, b"content-length: %d\r\nconnection: close\r\n\r\n" % len(body), body))
