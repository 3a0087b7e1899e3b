"""HTTP to the outside: the only module that imports the HTTP client, so that changing it is one file's work."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

import httpx
from httpx import ASGITransport, AsyncBaseTransport, AsyncClient, Client, HTTPError, Response

from firsthour.runtime import addresses
from schemas.errors import FirstHourError

__all__ = ["ASGITransport", "AsyncClient", "Client", "Endpoint", "HTTPError", "HttpAnswer", "NoAnswerError", "Response"]

ANSWER_BYTES_MAX = 64 * 1024
IDLE_MAX = 20  # connections kept of an endpoint
IDLE_SECONDS_MAX = 30.0


class NoAnswerError(FirstHourError):
    """No usable answer: refused, reset, timed out, or too long. What we sent may have arrived."""


@dataclass(frozen=True)
class HttpAnswer:
    """What came back. Names of headers are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Endpoint:
    """One outside service: connections are kept, redirects are not followed, answers are short and in time.

    Every call has a connection to itself, and waits for nobody. The HTTP client's own pool would give one idle
    connection to several calls at once, of which the losers queue again behind later ones: a call could stand there for
    seconds before a byte of it was sent. The host's proxy settings hold, except towards this very machine.
    """

    def __init__(
        self,
        base_url: str,
        timeout_seconds: float,
        headers: Mapping[str, str] | None = None,
        transport: AsyncBaseTransport | None = None,
    ) -> None:
        self._timeout_seconds = timeout_seconds
        self._idle: list[AsyncClient] = []  # each with a connection of its own, the one used last at the end
        self._made = partial(
            AsyncClient,
            base_url=base_url,
            timeout=timeout_seconds,
            # not compressed, so that the limit on bytes is one on memory
            headers={"accept": "application/json", "accept-encoding": "identity", **(headers or {})},
            follow_redirects=False,
            limits=httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=IDLE_SECONDS_MAX),
            trust_env=not addresses.is_loopback(httpx.URL(base_url).host),
            verify=httpx.create_ssl_context(),  # once: it reads every authority's certificate
            transport=transport,
        )

    async def post_json(self, path: str, body: bytes) -> HttpAnswer:
        """POST a body that is JSON already. Raises `NoAnswerError`, also when the whole outlasts the timeout."""
        headers = {"content-type": "application/json; charset=utf-8"}
        try:
            async with (
                self._connection() as client,
                asyncio.timeout(self._timeout_seconds),
                client.stream("POST", path, content=body, headers=headers) as response,
            ):
                return HttpAnswer(response.status_code, dict(response.headers), await _short(response))
        except TimeoutError as error:
            raise NoAnswerError(f"no answer within {self._timeout_seconds:g} s") from error
        except (HTTPError, httpx.StreamError, OSError) as error:
            raise NoAnswerError(f"no answer ({type(error).__name__})") from error

    async def close(self) -> None:
        """Close every connection that nobody uses."""
        while self._idle:
            await self._idle.pop().aclose()

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[AsyncClient]:
        """A client that nobody else uses; after a failure nobody uses it again."""
        client, well = self._idle.pop() if self._idle else self._made(), False
        try:
            yield client
            well = True
        finally:
            if well and len(self._idle) < IDLE_MAX:
                self._idle.append(client)
            else:
                await client.aclose()


async def _short(response: Response) -> bytes:
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) > ANSWER_BYTES_MAX:
            raise NoAnswerError(f"an answer of more than {ANSWER_BYTES_MAX} bytes")
    return bytes(body)
