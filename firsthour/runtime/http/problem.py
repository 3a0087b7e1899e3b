"""Errors as people and programs get them: RFC 9457 `application/problem+json`, on every road out."""

import re
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final, TypedDict

import msgspec

from schemas.errors import FirstHourError

CONTENT_TYPE: Final = "application/problem+json"
RETRY_SECONDS: Final = 2

_encode = msgspec.json.Encoder().encode
_RESERVED: Final = frozenset({"type", "title", "status", "detail", "instance", "errors"})
_SURROGATE: Final = re.compile("[\ud800-\udfff]")


class FieldFault(TypedDict):
    """One mistake: where (`#/field` in the body, `query:name`, `path:name`, `header:name`) and what."""

    pointer: str
    detail: str


class Problem(FirstHourError):  # noqa: N818  # RFC 9457's own word
    """An answer that says what is wrong. Raise it anywhere below HTTP; it never holds personal data.

    `title` is the same whenever this happens (it makes the `type`, `urn:firsthour:problem:<slug>`); `detail` is about
    this time, and says the remedy. `extensions` are further members of the answer.
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
        """The kind of problem, as a URN that never changes."""
        return f"urn:firsthour:problem:{slug(self.title)}"

    def members(self, request_id: str) -> dict[str, Any]:
        """The members of the answer."""
        found: dict[str, Any] = {"type": self.type, "title": self.title, "status": self.status}
        if self.detail:
            found["detail"] = self.detail
        if request_id:
            found["instance"] = f"urn:firsthour:request:{request_id}"
        if self.errors:
            found["errors"] = self.errors
        return {**found, **self.extensions}


def phrase(status: int) -> str:
    """The usual title of a status."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Problem"


def slug(title: str) -> str:
    """`Not for this key` becomes `not-for-this-key`."""
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-") or "problem"


def problem_response(problem: Problem, request_id: str) -> tuple[int, dict[str, str], bytes]:
    """(status, headers, body) of the answer."""
    members = problem.members(request_id)
    try:
        body = _encode(members)
    except UnicodeEncodeError:  # a lone surrogate from a request, in some detail
        body = _encode(_encodable(members))
    return problem.status, {"content-type": CONTENT_TYPE, "cache-control": "no-store", **problem.headers}, body


def _encodable(value: Any) -> Any:
    if isinstance(value, str):
        return _SURROGATE.sub("\ufffd", value)
    if isinstance(value, Mapping):
        return {_encodable(name): _encodable(item) for name, item in value.items()}
    return [_encodable(item) for item in value] if isinstance(value, list | tuple) else value


def internal() -> Problem:
    """Our fault. It tells nothing of the inside; the request's id finds the log line."""
    return Problem(
        500, "Internal error", "Something on our side failed. Ask the operator, citing `instance`; the log says more."
    )


def unavailable() -> Problem:
    """The database cannot commit now; nothing was kept."""
    return Problem(
        503,
        "Storage unavailable",
        "Nothing was kept. Send the same again; if it lasts, the operator looks at disk space and `/readyz`.",
        headers={"Retry-After": str(RETRY_SECONDS)},
    )


def too_large(limit: int) -> Problem:
    """The body is larger than `limit` bytes."""
    return Problem(
        413,
        "Body too large",
        f"A body has at most {limit} bytes here. Send less, or in parts.",
        extensions={"limit": limit},
    )


def pointer(place: Sequence[str | int]) -> str:
    """Where pydantic says a mistake is, as a `FieldFault` says it: `("body", "rep")` is `#/rep`, `("query", "n")` `query:n`."""
    parts = [str(part) for part in place]
    if not parts or parts[0] == "body":
        return "#" + "".join("/" + part.replace("~", "~0").replace("/", "~1") for part in parts[1:])
    return f"{parts[0]}:{'.'.join(parts[1:])}"
