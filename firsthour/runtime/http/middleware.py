"""The middleware around every HTTP application, in plain ASGI: request ids, bounded bodies, headers, metrics, errors."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from typing import Any, Final

import structlog

from firsthour.runtime.clock import Clock, new_id
from firsthour.runtime.http.errors import as_problem
from firsthour.runtime.http.problem import Problem, problem_response, too_large
from firsthour.runtime.observability.metrics import Telemetry
from firsthour.runtime.storage.unit import StorageError

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Reply = tuple[int, Mapping[str, str], bytes]
"""Status, headers, body."""
ProblemPage = Callable[[Scope, Problem], Reply | None]
"""Returns the page of a problem for people. None: the path of this request is for programs."""


def _no_page(scope: Scope, problem: Problem) -> Reply | None:
    return None


BODY_LIMIT: Final = 256 * 1024
READ_SECONDS: Final = 10.0
DRAIN_BYTES_MAX: Final = 16 * 1024 * 1024

_REQUEST_ID: Final = "firsthour.request_id"
_VALID_ID = re.compile(rb"[A-Za-z0-9_-]{8,64}")
_DIGITS = re.compile(rb"[0-9]{1,19}")
_HTML_POLICY: Final = b"default-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
_OTHER_POLICY: Final = b"default-src 'none'; frame-ancestors 'none'"
_ALWAYS: Final = ((b"x-content-type-options", b"nosniff"), (b"referrer-policy", b"no-referrer"))

_log = structlog.get_logger(__name__)


def header(scope: Scope, name: bytes) -> bytes | None:
    """Return the first header of that name (lower case), or None."""
    for key, value in scope["headers"]:
        if key == name:
            return bytes(value)
    return None


def request_id_of(scope: Scope) -> str:
    """Return the id of the request: the sender's `X-Request-Id` if it is valid, otherwise a new one."""
    id = scope.get(_REQUEST_ID)
    if id is None:
        sent = header(scope, b"x-request-id") or b""
        id = scope[_REQUEST_ID] = sent.decode() if _VALID_ID.fullmatch(sent) else new_id()
    return str(id)


# --- reading -----------------------------------------------------------------------------------------------------


async def read_body(receive: Receive, limit: int = BODY_LIMIT, seconds: float = READ_SECONDS) -> bytes:
    """Return the whole body.

    Bytes beyond the limit are received and dropped, up to `DRAIN_BYTES_MAX`. To a client that is still sending, an early
    answer looks like a broken connection.

    Raises:
        Problem: 413 beyond `limit` bytes, 408 after `seconds`, 400 when the client disconnects.
    """
    try:
        async with asyncio.timeout(seconds):
            message = await receive()
            return await _whole(message, receive, limit)
    except TimeoutError:
        raise Problem(
            408,
            "",
            f"The body did not arrive within {seconds:g} s. Send it in one go.",
            headers={"Connection": "close"},
        ) from None


async def _whole(message: Message, receive: Receive, limit: int) -> bytes:
    body, size = bytearray(), 0
    while True:
        if message["type"] != "http.request":
            raise Problem(400, "Incomplete body", "The connection ended before the body did. Send it again.")
        part = message.get("body", b"")
        size += len(part)
        if size <= limit:
            body += part
        if not message.get("more_body") or size > DRAIN_BYTES_MAX:
            break
        message = await receive()
    if size > limit:
        raise _closing(too_large(limit))
    return bytes(body)


def _closing(problem: Problem) -> Problem:
    problem.headers["Connection"] = "close"
    return problem


async def checked_body(scope: Scope, receive: Receive, limit: int) -> bytes | None:
    """Return the body that the head announces. None: it announces none.

    A client that waits for `100 Continue` before a body that is too large is refused before it sends the body.
    """
    length = header(scope, b"content-length")
    if length is None and header(scope, b"transfer-encoding") is None:
        return None
    if length is not None:
        if not _DIGITS.fullmatch(length):
            raise _closing(Problem(400, "Invalid Content-Length", "Content-Length is a number of bytes."))
        if int(length) > limit and (header(scope, b"expect") or b"").lower() == b"100-continue":
            raise _closing(too_large(limit))
        if length == b"0":
            return None
    return await read_body(receive, limit)


def _replay(body: bytes, receive: Receive) -> Receive:
    """Return a `receive` that returns `body` once, and then the messages of the client, such as a disconnect."""
    delivered = False

    async def again() -> Message:
        nonlocal delivered
        if delivered:
            return await receive()
        delivered = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


# --- answering ---------------------------------------------------------------------------------------------------


async def send_response(send: Send, status: int, headers: Mapping[str, str], body: bytes) -> None:
    """Send a whole answer. Header values must be Latin-1, as in HTTP."""
    await send({"type": "http.response.start", "status": status, "headers": _raw(headers, body)})
    await send({"type": "http.response.body", "body": body})


def _raw(headers: Mapping[str, str], body: bytes) -> list[tuple[bytes, bytes]]:
    raw = [(name.lower().encode(), value.encode("latin-1", "replace")) for name, value in headers.items()]
    raw.append((b"content-length", str(len(body)).encode()))
    return raw


def _finished(headers: Iterable[tuple[bytes, bytes]], request_id: str) -> list[tuple[bytes, bytes]]:
    """Return the headers of the answer with ours added. A header that the application has set is not replaced."""
    complete = list(headers)
    present = {name.lower(): value for name, value in complete}
    if b"cache-control" not in present:
        complete.append((b"cache-control", b"no-store"))
    if b"content-security-policy" not in present:
        html = present.get(b"content-type", b"").startswith(b"text/html")
        complete.append((b"content-security-policy", _HTML_POLICY if html else _OTHER_POLICY))
    complete += (pair for pair in _ALWAYS if pair[0] not in present)
    complete.append((b"x-request-id", request_id.encode()))
    return complete


class RequestMiddleware:
    """Gives every request an id, a bounded body, an answer and metrics, also if the application fails."""

    def __init__(
        self,
        app: App,
        *,
        telemetry: Telemetry,
        clock: Clock,
        body_limit: int = BODY_LIMIT,
        body_limits: Mapping[str, int] | None = None,
        problem_page: ProblemPage | None = None,
    ) -> None:
        """`body_limits`: the limits of single paths."""
        self._app = app
        self._telemetry = telemetry
        self._clock = clock
        self._limit, self._limits = body_limit, body_limits or {}
        self._page = problem_page or _no_page

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start = self._clock.monotonic()
        request_id = request_id_of(scope)
        status = 0
        _without_nul(scope)

        async def out(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message = {**message, "headers": _finished(message.get("headers", ()), request_id)}
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                await self._answer(scope, receive, out)
            except Exception as error:
                if status:  # the answer has begun: the server closes the connection, so that the client notices
                    _log.error("answer aborted", method=scope["method"], exc_info=error)
                    raise
                await send_response(out, *self._reply(scope, error))
            finally:
                self._telemetry.answered(scope["method"], _route(scope), status, self._clock.monotonic() - start)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await checked_body(scope, receive, self._limits.get(scope["path"], self._limit))
        await self._app(scope, receive if body is None else _replay(body, receive), send)

    def _reply(self, scope: Scope, error: Exception) -> Reply:
        problem = _examined(scope, error)
        return self._page(scope, problem) or problem_response(problem, request_id_of(scope))


def _without_nul(scope: Scope) -> None:
    """Replace NUL by U+FFFD, as in bodies: PostgreSQL rejects a NUL in a parameter."""
    if "\0" in scope["path"]:
        scope["path"] = scope["path"].replace("\0", "\ufffd")
    query = scope.get("query_string", b"")
    if b"%00" in query:
        scope["query_string"] = query.replace(b"%00", b"%EF%BF%BD")


def _examined(scope: Scope, error: Exception) -> Problem:
    """Return the problem of an error. An internal error is logged."""
    problem = as_problem(error)
    request_id = request_id_of(scope)
    if not isinstance(error, Problem):
        place = {"method": scope["method"], "route": _route(scope), "status": problem.status}
        if isinstance(error, StorageError):
            place["problem"] = str(error)
        _log.error("request failed", **place, request_id=request_id, exc_info=error)
    return problem


def _route(scope: Scope) -> str:
    """Return the template of the route. The path as sent would make the number of metrics unbounded."""
    return str(getattr(scope.get("route"), "path", None) or "unmatched")
