"""The answers of the gateway: JSON for scripts, a page or a redirect for browsers, a problem for what was refused."""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
import structlog

from firsthour.runtime.http.middleware import as_problem
from firsthour.runtime.http.problem import FieldFault, Problem, problem_response
from firsthour.runtime.storage.unit import StorageError
from services.gateway import pages, request_bodies
from services.gateway.domain.coerce import Json
from services.gateway.domain.forms import Form

RETRY_SECONDS: Final = 5
FAULTS_MAX: Final = 20  # mistakes that one answer names

_JSON: Final = (b"content-type", b"application/json")
_to_json = msgspec.json.Encoder().encode
_log = structlog.get_logger(__name__)


class Reply(msgspec.Struct, frozen=True):
    """A whole answer."""

    status: int
    body: bytes = b""
    headers: tuple[tuple[bytes, bytes], ...] = (_JSON,)


def accepted(ids: list[str]) -> Reply:
    """Everything was taken."""
    return Reply(202, _to_json({"ids": ids}))


def taken_in_part(ids: list[str], letters: list[str], kept: int, faults: Sequence[FieldFault]) -> Reply:
    """Of a list, `kept` bad items went into dead letters."""
    members = {"ids": ids, "taken": len(ids), "kept": kept, "dead_letters": letters, "errors": faults[:FAULTS_MAX]}
    return Reply(202, _to_json(members))


def sent_on(headers: Mapping[bytes, bytes], form: Form, fields: Mapping[str, Json], media: str, reply: Reply) -> Reply:
    """A browser that posted a page's form is sent on, or shown a page; a script gets its answer."""
    if not pages.wants_page(headers.get(b"accept", b"")):
        return reply
    target = None if media == request_bodies.JSON else form.goes_on_to(fields)
    if target is None:
        return Reply(reply.status, pages.page(reply.status), (pages.HTML, pages.POLICY))
    return Reply(303, b"", ((b"location", target.encode()),))


def refusal(error: Exception, request_id: str, method: str, route: str, shown: bool) -> Reply:
    """The answer to a request that failed. `shown`: to a person, as a page."""
    problem = as_problem(error)
    if isinstance(error, StorageError):
        problem.headers["Retry-After"] = str(RETRY_SECONDS)
    elif problem.status >= 500 and not isinstance(error, Problem):
        _log.error(
            "request failed", method=method, route=route, status=problem.status, request_id=request_id, exc_info=error
        )
    status, headers, body = problem_response(problem, request_id)
    kept = tuple(
        (n.lower().encode(), v.encode("latin-1", "replace")) for n, v in headers.items() if n != "cache-control"
    )
    if not shown:
        return Reply(status, body, kept)
    pointer, letter = problem.errors[0]["pointer"] if problem.errors else "", "dead_letter" in problem.extensions
    body = pages.page(status, pointer=pointer, kept=letter, request_id=request_id)
    without_type = tuple(pair for pair in kept if pair[0] != b"content-type")
    return Reply(status, body, (pages.HTML, pages.POLICY, *without_type))
