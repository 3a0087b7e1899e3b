"""Answers to errors: RFC 9457 `application/problem+json`."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypedDict

import msgspec

from schemas.errors import FirstHourError

CONTENT_TYPE: Final = "application/problem+json"
RETRY_SECONDS: Final = 2

_encode = msgspec.json.Encoder().encode
_RESERVED: Final = frozenset({"type", "title", "status", "detail", "instance", "errors"})
_SURROGATE: Final = re.compile("[\ud800-\udfff]")


TITLES: Final[Mapping[int, str]] = {
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    409: "Conflict",
    413: "Content Too Large",
    415: "Unsupported Media Type",
    422: "Unprocessable Content",
    429: "Too Many Requests",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    501: "Not Implemented",
    503: "Service Unavailable",
    505: "HTTP Version Not Supported",
}
"""The standard title of each status (RFC 9110). Those of Python's `HTTPStatus` differ between releases."""

TYPES: Final[Mapping[str, str]] = {
    "Bad Request": "bad-request",
    "Unauthorized": "unauthorized",
    "Forbidden": "forbidden",
    "Not Found": "not-found",
    "Method Not Allowed": "method-not-allowed",
    "Request Timeout": "request-timeout",
    "Conflict": "conflict",
    "Content Too Large": "content-too-large",
    "Unsupported Media Type": "unsupported-media-type",
    "Unprocessable Content": "unprocessable-content",
    "Too Many Requests": "too-many-requests",
    "Request Header Fields Too Large": "request-header-fields-too-large",
    "Internal Server Error": "internal-server-error",
    "Not Implemented": "not-implemented",
    "Service Unavailable": "service-unavailable",
    "HTTP Version Not Supported": "http-version-not-supported",
    # --- more specific than the status
    "Already resolved": "already-resolved",
    "Handshake refused": "handshake-refused",
    "Idempotency-Key reused": "idempotency-key-reused",
    "Incomplete body": "incomplete-body",
    "Invalid Content-Length": "invalid-content-length",
    "Invalid Idempotency-Key": "invalid-idempotency-key",
    "Invalid JSON": "invalid-json",
    "Invalid batch": "invalid-batch",
    "Invalid body": "invalid-body",
    "Invalid cursor": "invalid-cursor",
    "Invalid event": "invalid-event",
    "Invalid period": "invalid-period",
    "Invalid request": "invalid-request",
    "Invalid signature": "invalid-signature",
    "Invalid state": "invalid-state",
    "Key already shown": "key-already-shown",
    "Keys unavailable": "keys-unavailable",
    "Malformed body": "malformed-body",
    "No consumer": "no-consumer",
    "No gateway": "no-gateway",
    "Not an event": "not-an-event",
    "Origin not allowed": "origin-not-allowed",
    "Retry failed": "retry-failed",
    "Set by team file": "set-by-team-file",
    "Source not ready": "source-not-ready",
    "Starting": "starting",
    "Storage unavailable": "storage-unavailable",
    "Time in the past": "time-in-the-past",
    "Unknown burst": "unknown-burst",
    "Unknown calendar": "unknown-calendar",
    "Unknown dead letter": "unknown-dead-letter",
    "Unknown delivery": "unknown-delivery",
    "Unknown form": "unknown-form",
    "Unknown key": "unknown-key",
    "Unknown lead": "unknown-lead",
    "Unknown page": "unknown-page",
    "Unknown pool": "unknown-pool",
    "Unknown reason": "unknown-reason",
    "Unknown rep": "unknown-rep",
    "Unknown schema": "unknown-schema",
    "Unknown session": "unknown-session",
    "Unknown source": "unknown-source",
    "Unknown status": "unknown-status",
    "Unknown time zone": "unknown-time-zone",
    "Unknown version": "unknown-version",
    "Unknown webhook": "unknown-webhook",
    "Unsupported content encoding": "unsupported-content-encoding",
}
"""The identifier of each title in the `type` of a problem. An identifier never changes, also when its title does."""


class FieldFault(TypedDict):
    """One mistake of a request. `pointer`: `#/field` in the body, `query:name`, `path:name` or `header:name`."""

    pointer: str
    detail: str


class Problem(FirstHourError):  # noqa: N818  # RFC 9457's own word
    """Raised to answer a request with a problem. It never contains personal data.

    `title`: the title of the kind of problem; empty: the standard title of the status. `TYPES` has the identifier of each
    title. `detail`: a description of this occurrence, and the remedy. `extensions`: further members of the answer.
    """

    def __init__(
        self,
        status: int,
        title: str = "",
        detail: str = "",
        errors: Sequence[FieldFault] = (),
        headers: Mapping[str, str] | None = None,
        extensions: Mapping[str, Any] | None = None,
    ) -> None:
        self.status = status
        self.title = title or phrase(status)
        self.detail = detail
        self.errors = list(errors)
        self.headers = dict(headers or {})
        self.extensions = {name: value for name, value in (extensions or {}).items() if name not in _RESERVED}
        super().__init__(f"{status} {self.title}")

    @property
    def type(self) -> str:
        """The identifier of the kind of problem, a URN that never changes."""
        name = TYPES.get(self.title) or TYPES.get(phrase(self.status), "problem")
        return f"urn:firsthour:problem:{name}"

    def members(self, request_id: str) -> dict[str, Any]:
        """Return the members of the answer."""
        members: dict[str, Any] = {"type": self.type, "title": self.title, "status": self.status}
        if self.detail:
            members["detail"] = self.detail
        if request_id:
            members["instance"] = f"urn:firsthour:request:{request_id}"
        if self.errors:
            members["errors"] = self.errors
        return {**members, **self.extensions}


def phrase(status: int) -> str:
    """Return the standard title of a status."""
    return TITLES.get(status, "Problem")


def problem_response(problem: Problem, request_id: str) -> tuple[int, dict[str, str], bytes]:
    """Return status, headers and body of the answer."""
    members = problem.members(request_id)
    try:
        body = _encode(members)
    except UnicodeEncodeError:  # the detail quotes a lone surrogate of the request
        body = _encode(_encodable(members))
    return problem.status, {"content-type": CONTENT_TYPE, "cache-control": "no-store", **problem.headers}, body


def _encodable(value: Any) -> Any:
    if isinstance(value, str):
        return _SURROGATE.sub("\ufffd", value)
    if isinstance(value, Mapping):
        return {_encodable(name): _encodable(item) for name, item in value.items()}
    return [_encodable(item) for item in value] if isinstance(value, list | tuple) else value


def internal() -> Problem:
    """Return the problem for an internal error. It contains no details: the log line has the id of the request."""
    return Problem(
        500, "", "An internal error occurred. Ask the operator and quote `instance`: the log has the details."
    )


def unavailable() -> Problem:
    """Return the problem for a database that cannot commit now. Nothing was stored."""
    return Problem(
        503,
        "Storage unavailable",
        "Nothing was stored. Send the request again. If this lasts, the operator checks the disk space and `/readyz`.",
        headers={"Retry-After": str(RETRY_SECONDS)},
    )


def too_large(limit: int) -> Problem:
    """Return the problem for a body larger than `limit` bytes."""
    return Problem(
        413,
        "",
        f"A body has at most {limit} bytes. Send less, or in parts.",
        extensions={"limit": limit},
    )


def pointer(place: Sequence[str | int]) -> str:
    """Return the pointer for a place of pydantic: `#/rep` for `("body", "rep")`, `query:n` for `("query", "n")`."""
    parts = [str(part) for part in place]
    if not parts or parts[0] == "body":
        return "#" + "".join("/" + part.replace("~", "~0").replace("/", "~1") for part in parts[1:])
    return f"{parts[0]}:{'.'.join(parts[1:])}"
