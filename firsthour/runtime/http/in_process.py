"""Requests that a part of a process sends to the application of the same process, for a principal whom it has identified.

The console answers people with what the HTTP interface answers them. Each role is thus checked in one place, and no request
leaves the process.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote, unquote, urlencode

import msgspec

from firsthour.runtime.http.auth import CALLER
from firsthour.runtime.http.middleware import App, Message, Receive, Scope, request_id_of
from firsthour.runtime.http.principal import Principal

Query = Mapping[str, str | int | None] | Sequence[tuple[str, str]]
_ASGI: Final = {"version": "3.0", "spec_version": "2.3"}


@dataclass(frozen=True)
class InnerAnswer:
    """The answer of the application."""

    status: int
    body: bytes

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300

    def json(self) -> Any:
        """Return the decoded body. Raises `msgspec.DecodeError`."""
        return msgspec.json.decode(self.body)


def path_of(template: str, **parts: str) -> str:
    """Return a path with these parts, each encoded: a part never adds a segment."""
    return template.format(**{name: quote(part, safe="") for name, part in parts.items()})


def urlencoded(query: Query) -> str:
    """Return the query of an address. Values that are None are left out."""
    pairs = query.items() if isinstance(query, Mapping) else query
    return urlencode([(name, value) for name, value in pairs if value is not None])


def inner_scope(
    outer: Scope,
    principal: Principal,
    method: str,
    path: str,
    query: Query = (),
    headers: Mapping[str, str] | None = None,
) -> Scope:
    """Return the scope of a request for this principal, caused by the request of `outer`, whose id it shares.

    `path`: encoded, as `path_of` returns it. Values of `query` that are None are left out.
    """
    sent = {"x-request-id": request_id_of(outer), **(headers or {})}
    return {
        "type": "http",
        "asgi": _ASGI,
        "http_version": "1.1",
        "method": method,
        "scheme": outer.get("scheme", "http"),
        "path": unquote(path),
        "raw_path": path.encode(),
        "query_string": urlencoded(query).encode(),
        "root_path": "",
        "headers": [(name.encode(), value.encode()) for name, value in sent.items()],
        "client": outer.get("client"),
        "server": outer.get("server"),
        CALLER: principal,
    }


async def send_inside(app: App, scope: Scope, body: bytes = b"") -> InnerAnswer:
    """Send a request of `inner_scope` with this JSON body, and return the whole answer."""
    status, parts = 500, list[bytes]()

    async def send(message: Message) -> None:
        nonlocal status
        if message["type"] == "http.response.start":
            status = message["status"]
        elif message["type"] == "http.response.body":
            parts.append(message.get("body", b""))

    if body:
        headers = [*scope["headers"], (b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        scope = {**scope, "headers": headers}
    await app(scope, _receiving(body), send)
    return InnerAnswer(status, b"".join(parts))


def _receiving(body: bytes) -> Receive:
    sent = False

    async def receive() -> Message:
        nonlocal sent
        if sent:
            return {"type": "http.disconnect"}
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive
