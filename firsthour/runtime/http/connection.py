"""A bounded HTTP connection: uvicorn's protocol over httptools, with limits on sizes, on time and on connections.

With httptools, uvicorn bounds none of these. Its limit of the head applies to h11 only. A half-sent request cancels the
timer of an idle connection. `limit_concurrency` answers 503, but keeps the socket. The limits here cost an ordinary request
a few comparisons; timers run only for connections that wait or stall.
"""

import asyncio
import re
from asyncio.events import TimerHandle
from dataclasses import dataclass, field
from typing import Any, Final
from weakref import ref

import httptools
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from firsthour.runtime.http.connection_limits import (
    Limits,
    RequestRefusedError,
    bad_request,
    head_too_large,
    head_too_late,
    malformed,
    response_bytes,
    too_many_connections,
    too_many_pipelined,
)
from firsthour.runtime.http.problem import Problem

_HOST: Final = re.compile(rb"[A-Za-z0-9._~!$&'()*+,;=%:\[\]-]*")
_VERSIONS: Final = frozenset({"1.0", "1.1"})
_LINE_BYTES: Final = 4  # of a header line, without name and value


@dataclass
class ConnectionState:
    """The state that the connections of a server share.

    `waiting`: connections without a request, the longest idle first. `receiving`: those of which a part of a body is missing, the
    longest first.
    """

    limits: Limits
    waiting: "dict[BoundedProtocol, None]" = field(default_factory=dict)
    receiving: "dict[BoundedProtocol, None]" = field(default_factory=dict)


class AnsweringTransport:
    """The transport as an answer sees it: the end of an answer closes no connection on which a body is still arriving.

    The protocol lingers there instead. uvicorn would close at once, and the client would get a reset in place of the answer.
    """

    def __init__(self, protocol: "BoundedProtocol", transport: asyncio.Transport) -> None:
        self.write, self.is_closing = transport.write, transport.is_closing
        self._protocol, self._transport = ref(protocol), transport  # a weak one: a closed connection is freed at once

    def close(self) -> None:
        protocol = self._protocol()
        if protocol is None or not (protocol.cycle.response_complete and protocol.misses_body):
            self._transport.close()


class BoundedProtocol(HttpToolsProtocol):
    """One connection."""

    def __init__(self, *args: Any, shared: ConnectionState, **options: Any) -> None:
        super().__init__(*args, **options)
        self._shared = shared
        self._limits = shared.limits
        self._awaits_head = True
        self._unread = 0  # bytes received since the last complete head, part of a body, or end of a request
        self._hosts = 0  # headers `Host` in the head
        self._offers_upgrade = False  # the head offers another protocol
        self._drops_input = False  # received bytes are dropped
        self._timer: TimerHandle | None = None
        self._write_timer: TimerHandle | None = None

    # --- beginning and end -----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        super().connection_made(transport)
        self._answering = AnsweringTransport(self, transport)
        waiting = self._shared.waiting
        if len(self.connections) > self._limits.connections_max:
            oldest = next(iter(waiting), None) or next(iter(self._shared.receiving), None)
            if oldest is None:
                self._drops_input = True
                self.transport.write(response_bytes(too_many_connections()))
                self._end()  # at once, so that the connection does not count
                return
            oldest.evict()
        waiting[self] = None
        self._timer = self.loop.call_later(self._limits.head_seconds, self._head_timed_out)

    def evict(self) -> None:
        """End a connection without a whole request, to make room for another: a crowd of slow clients must not take all places."""
        self._shared.waiting.pop(self, None)
        self._shared.receiving.pop(self, None)
        self.connections.discard(self)
        self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._shared.waiting.pop(self, None)
        self._shared.receiving.pop(self, None)
        self._cancel_timer()
        self._unset_keepalive_if_required()
        if self._write_timer is not None:
            self._write_timer.cancel()
        super().connection_lost(exc)

    def timeout_keep_alive_handler(self) -> None:
        self._end()

    def _end(self) -> None:
        """Close the connection; at once if the client does not read."""
        if self.transport.get_write_buffer_size():
            self.transport.abort()
        else:
            self.transport.close()

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _head_timed_out(self) -> None:
        self._timer = None
        if self._unread:
            self._refuse(head_too_late(self._limits))
        else:
            self._end()

    # --- reading ---------------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        self._unread += len(data)
        if self._drops_input:
            if self._unread > self._limits.linger_bytes_max:
                self.transport.abort()
            return
        self._unset_keepalive_if_required()
        try:
            self._feed(data)
        except httptools.HttpParserError as error:
            cause = error.__context__
            self._refuse(cause.problem if isinstance(cause, RequestRefusedError) else malformed())
            return
        if self._unread > self._limits.head_bytes_max:
            self._refuse(head_too_large(self._limits) if self._awaits_head else malformed())
        elif self._unread and self._awaits_head and self._timer is None:
            self._timer = self.loop.call_later(self._limits.head_seconds, self._head_timed_out)
        elif not self._awaits_head:
            self._shared.receiving[self] = None

    def _feed(self, data: bytes) -> None:
        """Parse the bytes. An offer of another protocol is ignored, as HTTP allows.

        The parser would read the body as that protocol. A new parser therefore parses the head without the offer.
        """
        while True:
            try:
                self.parser.feed_data(data)
                return
            except httptools.HttpParserUpgrade as offer:
                data = self._head_without_offer() + data[offer.args[0] :]
                self.parser = httptools.HttpRequestParser(self)
                self._offers_upgrade = False

    def _head_without_offer(self) -> bytes:
        version = self.parser.get_http_version().encode()
        lines = [b"%b %b HTTP/%b\r\n" % (self.parser.get_method(), self.url, version)]
        lines += [b"%b: %b\r\n" % (name, value) for name, value in self.headers if name != b"upgrade"]
        return b"".join(lines) + b"\r\n"

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._hosts = 0
        # A head has begun. Its bytes may lie in the buffer of an earlier request, where they were not counted.
        self._unread = self._unread or 1

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._awaits_head:
            return  # a trailer: the checks of the head do not cover it
        name = name.lower()
        if name == b"host":
            self._hosts += 1
            if not _HOST.fullmatch(value):
                raise RequestRefusedError(bad_request("`Host` is not a host name with an optional port."))
        elif name == b"expect":
            if value.lower() == b"100-continue":
                self.expect_100_continue = True
        elif name == b"transfer-encoding" and value.lower() != b"chunked":
            raise RequestRefusedError(Problem(501, "", "The only supported transfer encoding is `chunked`."))
        self.headers.append((name, value))
        if len(self.headers) > self._limits.headers_max:
            raise RequestRefusedError(head_too_large(self._limits))

    def on_headers_complete(self) -> None:
        if self._unread > self._limits.head_bytes_max and self._head_bytes() > self._limits.head_bytes_max:
            raise RequestRefusedError(head_too_large(self._limits))
        version = self.parser.get_http_version()
        if self._hosts != 1 or version != "1.1":
            self._check_version(version)
        if self.parser.should_upgrade():
            if self.parser.get_method() == b"CONNECT":
                raise RequestRefusedError(
                    Problem(405, "", "This server is not a proxy.", headers={"Allow": "GET, HEAD, POST"})
                )
            self._offers_upgrade = True
            return
        if len(self.pipeline) >= self._limits.pipelined_max:
            raise RequestRefusedError(too_many_pipelined())
        super().on_headers_complete()  # raises for a target that is not a path
        self.cycle.transport = self._answering  # type: ignore[assignment]  # has what an answer uses
        self._awaits_head = False
        self._unread = 0
        self._shared.waiting.pop(self, None)
        self._cancel_timer()

    def _head_bytes(self) -> int:
        return len(self.url) + sum(len(name) + len(value) + _LINE_BYTES for name, value in self.headers)

    def _check_version(self, version: str) -> None:
        if version not in _VERSIONS:
            raise RequestRefusedError(Problem(505, "", "Send HTTP/1.1."))
        if self._hosts > 1 or (version == "1.1" and self._hosts == 0):
            raise RequestRefusedError(bad_request("Send the header `Host` once."))
        if version == "1.0" and any(name == b"transfer-encoding" for name, _ in self.headers):
            detail = "HTTP/1.0 has no `Transfer-Encoding`. Send HTTP/1.1, or `Content-Length`."
            raise RequestRefusedError(bad_request(detail))

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
        if self._offers_upgrade:
            return
        self._awaits_head = True
        self._unread = 0
        self._shared.receiving.pop(self, None)
        super().on_message_complete()

    # --- writing ---------------------------------------------------------------------------------------------

    @property
    def misses_body(self) -> bool:
        """Return whether a part of the body of the current request has not arrived."""
        return not self.pipeline and not self._awaits_head

    def on_response_complete(self) -> None:
        if self.misses_body:
            self._linger()  # the rest of the body would be parsed as a request, or be awaited forever
        super().on_response_complete()
        if self.transport.is_closing():
            if self.transport.get_write_buffer_size():
                self._watch_writing()
        elif not self.pipeline and not self._drops_input:
            self._shared.waiting[self] = None

    def pause_writing(self) -> None:
        super().pause_writing()
        self._watch_writing()

    def _watch_writing(self) -> None:
        if self._write_timer is None:
            self._write_timer = self.loop.call_later(self._limits.write_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None
        super().resume_writing()

    def _refuse(self, problem: Problem) -> None:
        """Answer with the problem, and end the connection. Earlier requests are answered first."""
        if self._drops_input or self.transport.is_closing():
            return
        self._drops_input = True
        self._cancel_timer()
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is not None and not cycle.response_complete:
            if self._awaits_head:
                cycle.keep_alive = False
                return
            cycle.disconnected = True  # the body of this request will never be complete
            cycle.message_event.set()
            if cycle.response_started or self.pipeline:
                self.transport.abort()
                return
        self.transport.write(response_bytes(problem))
        self._linger()

    def _linger(self) -> None:
        """Send no more, and drop received bytes for a while before closing.

        Closing with unread bytes resets the connection, and the client would lose the answer.
        """
        self._drops_input = True
        if self.transport.is_closing():
            return
        self._shared.waiting[self] = None  # another connection may evict it
        self.flow.resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._timer = self.loop.call_later(self._limits.linger_seconds, self.transport.abort)
