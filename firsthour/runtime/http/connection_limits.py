"""The limits of a connection, and the problems with which the server refuses requests that exceed them.

These requests do not reach the application: the server writes the answer itself, and ends the connection.
"""

from dataclasses import dataclass
from typing import Final

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from firsthour.runtime.http.problem import Problem, problem_response
from schemas.errors import FirstHourError

BUSY_RETRY_SECONDS: Final = 5


@dataclass(frozen=True)
class Limits:
    """Bounds of every connection."""

    connections_max: int = 1_000
    head_bytes_max: int = 16 * 1024
    headers_max: int = 100
    pipelined_max: int = 32  # requests that wait for the answer to an earlier one
    head_seconds: float = 10.0  # from the first byte of a head to its end; for the first head, from the connection
    write_seconds: float = 30.0  # during which the client reads nothing of an answer
    linger_seconds: float = 2.0  # from the last answer to the end: a client that still sends can read the answer
    linger_bytes_max: int = 1024 * 1024  # received and dropped in this time


class RequestRefusedError(FirstHourError):
    """Raised in a callback of the parser. The server answers with `problem`, and ends the connection."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem


def bad_request(detail: str) -> Problem:
    """Return the problem for a request that breaks the rules of HTTP."""
    return Problem(400, "", detail)


def malformed() -> Problem:
    """Return the problem for bytes that are not a request."""
    return bad_request("This is not a well-formed HTTP/1.1 request.")


def head_too_late(limits: Limits) -> Problem:
    """Return the problem for a head that did not arrive in time."""
    return Problem(
        408, "", f"The head of the request did not arrive within {limits.head_seconds:g} s. Send it in one go."
    )


def head_too_large(limits: Limits) -> Problem:
    """Return the problem for a head that exceeds the limits."""
    bounds = f"{limits.head_bytes_max} bytes and {limits.headers_max} headers"
    return Problem(431, "", f"The head of a request has at most {bounds}.")


def too_many_connections() -> Problem:
    """Return the problem for a connection that exceeds the limit while no other can be closed for it."""
    headers = {"Retry-After": str(BUSY_RETRY_SECONDS)}
    return Problem(503, "", "Too many connections are open. Try again.", headers=headers)


def too_many_pipelined() -> Problem:
    """Return the problem for a request beyond the limit of requests without an answer."""
    return bad_request("Too many requests were sent before the first was answered. Wait for answers.")


def response_bytes(problem: Problem) -> bytes:
    """Return the bytes of the answer. The connection ends after it."""
    status, headers, body = problem_response(problem, "")
    lines = [f"{name.lower()}: {value}\r\n".encode("latin-1") for name, value in headers.items()]
    return b"".join((STATUS_LINE[status], *lines, b"content-length: %d\r\nconnection: close\r\n\r\n" % len(body), body))
