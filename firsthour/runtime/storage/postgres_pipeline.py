"""Connections whose BEGIN travels with the first statement of a transaction, and whose COMMIT travels with the last one.

The driver sends one statement, and waits for its answer before the next one. A unit of one event then spends two of six
round trips on BEGIN and COMMIT. PostgreSQL accepts several messages before a Sync, and the driver ignores completions that
arrive before that of its own statement. So the transport of a connection adds the messages of BEGIN before those of the
next statement, and the messages of COMMIT before its Sync. If the statement fails, PostgreSQL skips the COMMIT.
"""

import asyncio
import struct
from collections.abc import Callable
from typing import Any, Final

import asyncpg
from asyncpg.protocol import Protocol

_BIND: Final = b"B"
_QUERY: Final = b"Q"
_SYNC: Final = b"S\0\0\0\4"
_NAMES: Final = (b"of_begin", b"of_commit")  # of prepared statements; the driver's own names begin with two underscores


def _message(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack(">i", len(body) + 4) + body


def _prepare(name: bytes, text: bytes) -> bytes:
    """Return the message that prepares a statement without parameters."""
    return _message(b"P", name + b"\0" + text + b"\0" + struct.pack(">h", 0))


def _run(name: bytes) -> bytes:
    """Return the messages that run a prepared statement without parameters and without rows."""
    return _message(b"B", b"\0" + name + b"\0" + struct.pack(">hhh", 0, 0, 0)) + _message(
        b"E", b"\0" + struct.pack(">i", 0)
    )


_PREPARE: Final = _prepare(_NAMES[0], b"BEGIN") + _prepare(_NAMES[1], b"COMMIT")
_PROBE: Final = "SELECT $1::INTEGER"
_BEGIN: Final = _run(_NAMES[0])
_COMMIT_AND_SYNC: Final = _run(_NAMES[1]) + _SYNC


class PipelinedTransport:
    """The transport of a connection. Everything but `write` is done by the transport that it wraps."""

    def __init__(self, transport: Any) -> None:
        self.wrapped = transport
        self._prepared = False
        self.begins = False  # the next statement is the first of a transaction
        self.commits = False  # the next statement is the last of its transaction
        self.committing = False  # COMMIT was sent with the last statement

    def __getattr__(self, name: str) -> Any:
        return getattr(self.wrapped, name)

    def write(self, data: Any) -> None:
        """Write the messages of the driver, with those of BEGIN and COMMIT if they belong there."""
        if self.begins or self.commits:
            data = self._with_transaction(bytes(data))
        self.wrapped.write(data)

    def _with_transaction(self, data: bytes) -> bytes:
        kind = data[:1]
        if self.begins and kind in (_BIND, _QUERY):
            self.begins = False
            before = _BEGIN if self._prepared else _PREPARE + _BEGIN
            self._prepared = True
            return before + self._with_commit(data)
        return self._with_commit(data)

    def _with_commit(self, data: bytes) -> bytes:
        """Add COMMIT to a statement. Not if the driver prepares the statement first, because it may then ask for types."""
        if self.commits:
            self.commits = False
            if self._prepared and data[:1] == _BIND and data.endswith(_SYNC):
                self.committing = True
                return data[: -len(_SYNC)] + _COMMIT_AND_SYNC
        return data


class PipelinedConnection(asyncpg.Connection):  # type: ignore[misc]  # the driver has no types
    """A connection of the driver. `connect` opens it."""

    def __init__(self, protocol: Any, transport: Any, loop: "_ConnectingLoop", *arguments: Any) -> None:
        super().__init__(protocol, transport, loop.running, *arguments)
        self._pipeline = loop.pipeline
        self._committing = False  # COMMIT was sent by itself

    @property
    def committing(self) -> bool:
        """Whether COMMIT was sent: if the connection is lost now, the transaction may have been committed."""
        return self._committing or (self._pipeline is not None and self._pipeline.committing)

    async def begin(self) -> None:
        """Begin a transaction with the next statement."""
        self._committing = False
        if self._pipeline is None:
            await self.execute("BEGIN")
        else:
            self._pipeline.begins, self._pipeline.committing = True, False

    def commit_with_next(self) -> None:
        """Commit with the next statement, if that is possible without another round trip. `commit` has still to be called."""
        if self._pipeline is not None:
            self._pipeline.commits = True

    async def commit(self) -> None:
        """Commit, unless the last statement has done so, or there was none."""
        self._clear()
        if self.is_in_transaction():
            self._committing = True
            await self.execute("COMMIT")

    async def rollback(self) -> None:
        """Roll back, unless the transaction has not begun, or PostgreSQL has ended it."""
        self._clear()
        if self.is_in_transaction():
            await self.execute("ROLLBACK")

    async def check(self, seconds: float | None) -> None:
        """Check that BEGIN and COMMIT travel along. If not, they are sent by themselves. `seconds`: for each answer."""
        await self.begin()
        await self.fetch(_PROBE, 1, timeout=seconds)
        begun = self.is_in_transaction()
        self.commit_with_next()
        await self.fetch(_PROBE, 2, timeout=seconds)
        ended = not self.is_in_transaction()
        await self.commit()
        if not (begun and ended):
            self._pipeline = None

    def _clear(self) -> None:
        if self._pipeline is not None:
            self._pipeline.begins = self._pipeline.commits = False


class _ConnectingLoop:
    """The event loop, as the driver sees it while it opens one connection: it gives the protocol a `PipelinedTransport`."""

    def __init__(self) -> None:
        self.running = asyncio.get_running_loop()
        self.pipeline: PipelinedTransport | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.running, name)

    async def create_connection(self, factory: Callable[[], Any], *arguments: Any, **options: Any) -> tuple[Any, Any]:
        """Connect. A protocol that first asks for TLS hands its transport to that of PostgreSQL."""
        transport, protocol = await self.running.create_connection(
            lambda: self._piped(factory()), *arguments, **options
        )
        if self.pipeline is not None:
            return transport, protocol
        self.pipeline = PipelinedTransport(transport)
        return self.pipeline, protocol

    async def start_tls(self, transport: PipelinedTransport, *arguments: Any, **options: Any) -> PipelinedTransport:
        secured = await self.running.start_tls(transport.wrapped, *arguments, **options)
        self.pipeline = PipelinedTransport(secured)
        return self.pipeline

    def _piped(self, protocol: Any) -> Any:
        if isinstance(protocol, Protocol):

            def connection_made(transport: Any) -> None:
                del protocol.connection_made
                self.pipeline = PipelinedTransport(transport)
                protocol.connection_made(self.pipeline)

            protocol.connection_made = connection_made
        return protocol


async def connect(**arguments: Any) -> PipelinedConnection:
    """Open a connection. `arguments`: those of `asyncpg.connect`; `timeout` also limits the check of the connection."""
    connection: PipelinedConnection = await asyncpg.connect(
        **arguments, loop=_ConnectingLoop(), connection_class=PipelinedConnection
    )
    try:
        await connection.check(arguments.get("timeout"))
    except BaseException:
        connection.terminate()
        raise
    return connection
