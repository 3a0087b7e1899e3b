"""HTTP to other services. No other module imports the HTTP client library."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache, partial
from urllib.parse import urlencode

import httpx
from httpx import ASGITransport, AsyncBaseTransport, AsyncClient, Client, HTTPError, Response

from firsthour.runtime import addresses
from schemas.errors import FirstHourError

__all__ = [
    "ASGITransport",
    "AsyncClient",
    "Client",
    "Endpoint",
    "HTTPError",
    "HttpAnswer",
    "NoAnswerError",
    "Response",
    "post_pinned",
]

ANSWER_BYTES_MAX = 64 * 1024
IDLE_MAX = 20  # connections kept per endpoint
IDLE_SECONDS_MAX = 30.0


class NoAnswerError(FirstHourError):
    """Raised when no usable answer arrived: refused, reset, timed out, or too long. The request may have arrived."""


@dataclass(frozen=True)
class HttpAnswer:
    """An answer. Names of headers are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Endpoint:
    """An external service. Connections are reused, redirects are not followed, and answers are bounded in size and time.

    Every call has a connection of its own, and waits for no other call. The library's own pool offers one idle connection
    to several calls at once. The calls that do not get it queue again behind later calls, for seconds. The proxy settings
    of the host apply, except for addresses of this machine.
    """

    def __init__(
        self,
        base_url: str,
        timeout_seconds: float,
        headers: Mapping[str, str] | None = None,
        transport: AsyncBaseTransport | None = None,
        idle_max: int = IDLE_MAX,
    ) -> None:
        """Take the address of the service. `idle_max` 0: each call opens a connection, and nothing has to be closed."""
        self._idle_max = idle_max
        self._timeout_seconds = timeout_seconds
        self._idle: list[AsyncClient] = []  # each with one connection; the last used is at the end
        self._new_client = partial(
            AsyncClient,
            base_url=base_url,
            timeout=timeout_seconds,
            # identity: the limit of bytes then bounds the memory
            headers={"accept": "application/json", "accept-encoding": "identity", **(headers or {})},
            follow_redirects=False,
            limits=httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=IDLE_SECONDS_MAX),
            trust_env=not addresses.is_loopback(httpx.URL(base_url).host),
            verify=_authorities(),
            transport=transport,
        )

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
        headers = {} if content_type is None else {"content-type": content_type}
        try:
            async with (
                self._connection() as client,
                asyncio.timeout(self._timeout_seconds),
                client.stream(method, path, content=body, headers=headers) as response,
            ):
                return HttpAnswer(response.status_code, dict(response.headers), await _bounded_body(response))
        except TimeoutError as error:
            raise NoAnswerError(f"no answer within {self._timeout_seconds:g} s") from error
        except (HTTPError, httpx.StreamError, httpx.InvalidURL, OSError) as error:
            raise NoAnswerError(f"no answer ({type(error).__name__})") from error

    async def close(self) -> None:
        """Close every idle connection."""
        while self._idle:
            await self._idle.pop().aclose()

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[AsyncClient]:
        """Return a client for one call. After a failure it is closed."""
        client, succeeded = self._idle.pop() if self._idle else self._new_client(), False
        try:
            yield client
            succeeded = True
        finally:
            if succeeded and len(self._idle) < self._idle_max:
                self._idle.append(client)
            else:
                await client.aclose()


async def post_pinned(
    url: str, addresses: Sequence[str], body: bytes, headers: Mapping[str, str], timeout_seconds: float
) -> HttpAnswer:
    """POST to one of these addresses, under the host name of the URL. Return status and headers; the body is not read.

    The addresses are tried in turn until one is connected. No proxy is used, because it would look the name up again.
    Raises `NoAnswerError`. The timeout covers the whole call.
    """
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
                        "POST", pinned, content=body, headers=sent, extensions=extensions
                    ) as response:
                        return HttpAnswer(response.status_code, dict(response.headers), b"")
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
    return httpx.create_ssl_context()


async def _bounded_body(response: Response) -> bytes:
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) > ANSWER_BYTES_MAX:
            raise NoAnswerError(f"an answer of more than {ANSWER_BYTES_MAX} bytes")
    return bytes(body)
