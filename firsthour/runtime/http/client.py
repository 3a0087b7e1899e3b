"""HTTP to other services. No other module imports the HTTP client library."""

import asyncio
import re
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import cache, lru_cache, partial
from itertools import chain
from typing import Final, NamedTuple
from urllib.parse import urlencode
from urllib.request import getproxies

import httpx
from httpx import ASGITransport, AsyncClient, Client, HTTPError, Response

from firsthour.runtime import addresses
from firsthour.runtime.http.client_connection import (
    ANSWER_BYTES_MAX,
    AnswerTooLargeError,
    ClientConnection,
    HttpAnswer,
    NoAnswerError,
)
from firsthour.runtime.http.connecting import connect

__all__ = [
    "ASGITransport",
    "AnswerTooLargeError",
    "AsyncClient",
    "Client",
    "Endpoint",
    "HTTPError",
    "HttpAnswer",
    "NoAnswerError",
    "Response",
    "get_pinned",
    "post_pinned",
]

IDLE_MAX = 20  # connections kept per endpoint
IDLE_SECONDS_MAX = 30.0
HEADS_MAX = 16
"""Heads of requests that an endpoint remembers: most paths are always the same."""
_BREAKS: Final = re.compile(rb"[\r\n\0]")


class _Origin(NamedTuple):
    """Where a request goes. `tls`: it is encrypted."""

    host: str
    port: int
    tls: bool


class _Head(NamedTuple):
    """The part of a request that does not depend on its body."""

    origin: _Origin
    lines: bytes


class Endpoint:
    """An external service. Connections are reused, redirects are not followed, and answers are bounded in size and time.

    Every call has a connection of its own, and waits for no other call. The library builds the head of a request once for
    each path. Where the host names a proxy, the library makes the call as a whole; a proxy is not used for addresses of this
    machine.
    """

    def __init__(
        self,
        base_url: str,
        timeout_seconds: float,
        headers: Mapping[str, str] | None = None,
        idle_max: int = IDLE_MAX,
    ) -> None:
        """Take the address of the service. `idle_max` 0: each call opens a connection, and nothing has to be closed."""
        base = httpx.URL(base_url)
        self._origin, trust_env = _origin_of(base), not addresses.is_loopback(base.host)
        self._idle_max = idle_max
        self._timeout_seconds = timeout_seconds
        self._new_client = partial(
            AsyncClient,
            base_url=base_url,
            timeout=timeout_seconds,
            # identity: the limit of bytes then bounds the memory
            headers={"accept": "application/json", "accept-encoding": "identity", **(headers or {})},
            follow_redirects=False,
            limits=httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=IDLE_SECONDS_MAX),
            trust_env=trust_env,
            verify=_authorities(),
        )
        self._over_library = trust_env and any(getproxies().get(kind) for kind in ("http", "https", "all"))
        self._clients: list[AsyncClient] = []  # idle, each with one connection; the last used is at the end
        self._connections: list[tuple[float, ClientConnection]] = []  # idle since this second of the loop; as before
        self._head_of = lru_cache(HEADS_MAX)(self._built_head)

    async def post_json(self, path: str, body: bytes) -> HttpAnswer:
        """POST a JSON body, and return the answer. Raises `NoAnswerError`. The timeout covers the whole call."""
        return await self._call("POST", path, body, "application/json; charset=utf-8")

    async def post_form(self, path: str, fields: Mapping[str, str]) -> HttpAnswer:
        """POST the fields of a form, and return the answer. Raises `NoAnswerError`."""
        return await self._call("POST", path, urlencode(fields).encode(), "application/x-www-form-urlencoded")

    async def get(self, path: str) -> HttpAnswer:
        """GET a path or a whole URL, and return the answer. Raises `NoAnswerError`. The timeout covers the whole call."""
        return await self._call("GET", path)

    async def _call(
        self, method: str, path: str, body: bytes | None = None, content_type: str | None = None
    ) -> HttpAnswer:
        call = self._library_call if self._over_library else self._direct_call
        try:
            async with asyncio.timeout(self._timeout_seconds):
                return await call(method, path, body, content_type)
        except TimeoutError as error:
            raise NoAnswerError(f"no answer within {self._timeout_seconds:g} s") from error
        except (HTTPError, httpx.StreamError, httpx.InvalidURL, OSError) as error:
            raise NoAnswerError(f"no answer ({type(error).__name__})") from error

    async def close(self) -> None:
        """Close every idle connection."""
        while self._clients:
            await self._clients.pop().aclose()
        while self._connections:
            self._connections.pop()[-1].close()

    # --- direct ------------------------------------------------------------------------------------------------------

    async def _direct_call(self, method: str, path: str, body: bytes | None, content_type: str | None) -> HttpAnswer:
        head = self._head_of(method, path, content_type)
        connection = self._idle_connection(head)
        if connection is None:
            connection = await connect(head.origin.host, head.origin.port, _authorities() if head.origin.tls else None)
        length = b"" if body is None else b"content-length: %d\r\n" % len(body)
        answer = await connection.exchange(b"%b%b\r\n%b" % (head.lines, length, body or b""))
        if connection.is_open and head.origin == self._origin and len(self._connections) < self._idle_max:
            self._connections.append((asyncio.get_running_loop().time(), connection))
        else:
            connection.close()
        return answer

    def _idle_connection(self, head: _Head) -> ClientConnection | None:
        """Return an idle connection on which the server is silent; None: there is none, or the call goes elsewhere."""
        oldest = asyncio.get_running_loop().time() - IDLE_SECONDS_MAX
        while self._connections and head.origin == self._origin:
            since, connection = self._connections.pop()
            if since >= oldest and connection.is_silent:
                return connection
            connection.close()
        return None

    def _built_head(self, method: str, path: str, content_type: str | None) -> _Head:
        """Return the head as the library sends it. Raises `NoAnswerError` for a header with a line break."""
        headers = {} if content_type is None else {"content-type": content_type}
        request = self._new_client().build_request(method, path, headers=headers)
        url = request.url
        fields = [(name, value) for name, value in request.headers.raw if name.lower() != b"content-length"]
        if any(_BREAKS.search(text) for text in chain.from_iterable(fields)):
            raise NoAnswerError("no request: a header has a line break")
        lines = b"%b %b HTTP/1.1\r\n" % (method.encode(), url.raw_path)
        return _Head(_origin_of(url), lines + b"".join(b"%b: %b\r\n" % field for field in fields))

    # --- over the library --------------------------------------------------------------------------------------------

    async def _library_call(self, method: str, path: str, body: bytes | None, content_type: str | None) -> HttpAnswer:
        headers = {} if content_type is None else {"content-type": content_type}
        async with (
            self._client() as client,
            client.stream(method, path, content=body, headers=headers) as response,
        ):
            return HttpAnswer(response.status_code, dict(response.headers), await _bounded_body(response))

    @asynccontextmanager
    async def _client(self) -> AsyncIterator[AsyncClient]:
        """Return a client for one call. After a failure it is closed.

        Each has one connection: a pool of the library offers an idle connection to several calls at once, and those that
        do not get it queue again behind later calls, for seconds.
        """
        client, succeeded = self._clients.pop() if self._clients else self._new_client(), False
        try:
            yield client
            succeeded = True
        finally:
            if succeeded and len(self._clients) < self._idle_max:
                self._clients.append(client)
            else:
                await client.aclose()


def _origin_of(url: httpx.URL) -> _Origin:
    is_encrypted = url.scheme == "https"
    return _Origin(url.raw_host.decode("ascii"), url.port or (443 if is_encrypted else 80), is_encrypted)


async def post_pinned(
    url: str, addresses: Sequence[str], body: bytes, headers: Mapping[str, str], timeout_seconds: float
) -> HttpAnswer:
    """POST to one of these addresses, under the host name of the URL. Return status and headers; the body is not read.

    The addresses are tried in turn until one is connected. No proxy is used, because it would look the name up again.
    Raises `NoAnswerError`. The timeout covers the whole call.
    """
    return await _call_pinned("POST", url, addresses, body, headers, timeout_seconds)


async def get_pinned(
    url: str, addresses: Sequence[str], headers: Mapping[str, str], timeout_seconds: float
) -> HttpAnswer:
    """GET from one of these addresses, as `post_pinned` does. Return the answer with its body, which is bounded.

    Raises `NoAnswerError`, and `AnswerTooLargeError` for an answer beyond the bound.
    """
    return await _call_pinned("GET", url, addresses, None, headers, timeout_seconds)


async def _call_pinned(
    method: str,
    url: str,
    addresses: Sequence[str],
    body: bytes | None,
    headers: Mapping[str, str],
    timeout_seconds: float,
) -> HttpAnswer:
    target = httpx.URL(url)
    sent = {"host": target.netloc.decode("ascii"), "accept-encoding": "identity", **headers}
    extensions = {"sni_hostname": target.host} if target.scheme == "https" else {}
    try:
        async with (
            asyncio.timeout(timeout_seconds),
            AsyncClient(verify=_authorities(), trust_env=False, timeout=timeout_seconds) as client,
        ):
            for number, address in enumerate(addresses, 1):
                pinned = target.copy_with(host=address)
                try:
                    async with client.stream(
                        method, pinned, content=body, headers=sent, extensions=extensions
                    ) as response:
                        content = b"" if method == "POST" else await _bounded_body(response)
                        return HttpAnswer(response.status_code, dict(response.headers), content)
                except (httpx.ConnectError, httpx.ConnectTimeout):
                    if number == len(addresses):
                        raise
    except TimeoutError as error:
        raise NoAnswerError(f"no answer within {timeout_seconds:g} s") from error
    except (HTTPError, httpx.StreamError, OSError) as error:
        raise NoAnswerError(f"no answer ({type(error).__name__})") from error
    raise NoAnswerError("no address")


@cache
def _authorities() -> ssl.SSLContext:
    """Return the certificates of all authorities. They are read once, because this takes longer than a call."""
    context = httpx.create_ssl_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


async def _bounded_body(response: Response) -> bytes:
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) > ANSWER_BYTES_MAX:
            raise AnswerTooLargeError(f"an answer of more than {ANSWER_BYTES_MAX} bytes")
    return bytes(body)
