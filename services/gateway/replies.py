"""Answers of the gateway: JSON for scripts, a page or a redirect for browsers, a problem for a rejected request."""

from collections.abc import Sequence
from typing import Final

import msgspec
import structlog

from firsthour.runtime.http.errors import as_problem
from firsthour.runtime.http.problem import FieldFault, Problem, problem_response
from firsthour.runtime.storage.unit import StorageError
from schemas.http import LeadView
from services.gateway import pages
from services.gateway.fixed_reply import FixedReply

RETRY_SECONDS: Final = 5
FAULTS_MAX: Final = 20  # faults that one answer lists

_JSON: Final = (b"content-type", b"application/json")
_to_json = msgspec.json.Encoder().encode
_log = structlog.get_logger(__name__)


class Reply(msgspec.Struct, frozen=True):
    """A whole answer. `replayed`: it was stored for an earlier request under the same key."""

    status: int
    body: bytes = b""
    headers: tuple[tuple[bytes, bytes], ...] = (_JSON,)
    replayed: bool = False


def accepted(ids: list[str]) -> Reply:
    """Return the answer to a request that was accepted whole."""
    return Reply(202, _to_json({"ids": ids}))


def partly_accepted(ids: list[str], letters: list[str], faults: Sequence[FieldFault]) -> Reply:
    """Return the answer to a list of which some items were rejected: their dead letters, and a fault for each item."""
    members = {
        "ids": ids,
        "taken": len(ids),
        "kept": len(faults),
        "dead_letters": letters,
        "errors": faults[:FAULTS_MAX],
    }
    return Reply(202, _to_json(members))


def effect(ids: list[str], lead: LeadView) -> Reply:
    """Return the answer to an event whose effect is known: the lead, its score and its owner."""
    owner = None if lead.owner is None else {"id": lead.owner.id, "name": lead.owner.name, "email": lead.owner.email}
    members = {
        "ids": ids,
        "lead_id": lead.id,
        "status": lead.status,
        "score": lead.score.total,
        "grade": lead.score.grade,
        "owner": owner,
    }
    return Reply(200, _to_json(members))


def for_vendor(fixed: FixedReply) -> Reply:
    """Return the answer that a vendor expects."""
    return Reply(fixed.status, fixed.body, ((b"content-type", fixed.media.encode()),))


def for_segment(problem: Problem) -> Reply:
    """Return an error as the libraries of Segment and RudderStack read it."""
    headers = tuple(
        (name.lower().encode(), value.encode("latin-1", "replace")) for name, value in problem.headers.items()
    )
    body = {"success": False, "code": str(problem.status), "message": f"{problem.title}: {problem.detail}"}
    return Reply(problem.status, _to_json(body), (_JSON, *headers))


def for_browser(reply: Reply, next_page: str | None) -> Reply:
    """Return a redirect to `next_page`. None: a page of the gateway."""
    if next_page is None:
        return Reply(reply.status, pages.page(reply.status), (pages.HTML, pages.POLICY), reply.replayed)
    return Reply(303, b"", ((b"location", next_page.encode()),), reply.replayed)


def failed(error: Exception, request_id: str, method: str, route: str, in_browser: bool) -> Reply:
    """Return the answer to a request that failed: a problem, or a page in a browser."""
    problem = as_problem(error)
    if isinstance(error, StorageError):
        problem.headers["Retry-After"] = str(RETRY_SECONDS)
    elif problem.status >= 500 and not isinstance(error, Problem):
        _log.error(
            "request failed", method=method, route=route, status=problem.status, request_id=request_id, exc_info=error
        )
    status, headers, body = problem_response(problem, request_id)
    pairs = tuple(
        (n.lower().encode(), v.encode("latin-1", "replace")) for n, v in headers.items() if n != "cache-control"
    )
    if not in_browser:
        return Reply(status, body, pairs)
    pointer, is_kept = problem.errors[0]["pointer"] if problem.errors else "", "dead_letter" in problem.extensions
    body = pages.page(status, pointer=pointer, is_kept=is_kept, request_id=request_id)
    without_type = tuple(pair for pair in pairs if pair[0] != b"content-type")
    return Reply(status, body, (pages.HTML, pages.POLICY, *without_type))
