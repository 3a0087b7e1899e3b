"""`/console/operations/dead-letters`: the dead letters, each with its error; retrying one, or all of a source; dropping one."""

from typing import Any, Final

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from firsthour.runtime.http.auth import require
from firsthour.runtime.http.in_process import path_of, urlencoded
from firsthour.runtime.http.middleware import BODY_LIMIT
from firsthour.runtime.http.problem import Problem
from firsthour.runtime.processing.service import Resources
from services.console.console import Console
from services.console.markup import PAGE_HEADERS
from services.console.routes.operations import PATH as OPERATIONS
from services.console.viewer import Viewer, problem_of

PATH: Final = f"{OPERATIONS}/dead-letters"
STATES: Final = ("waiting", "unmatched", "retried", "dropped")
LISTED: Final = 50
RETRIED_AT_ONCE: Final = 100
TEXT_CHARS_MAX: Final = 300
COUNTS: Final = ("retried", "failed", "left")
Fields = dict[str, str | int | None]
DONE: Final = {"retry": "letter-retry", "drop": "letter-drop"}


def add_routes(api: APIRouter, resources: Resources, console: Console) -> None:
    """Add the routes."""
    viewers, pages = console.viewers, console.pages

    @api.get(PATH)
    async def listing(request: Request) -> Response:
        """The dead letters in one state, the oldest first, and how far a retry of all has come."""
        return await _listed(console, request, await viewers.find(request))

    @api.get(PATH + "/{id}")
    async def one(id: str, request: Request) -> Response:
        """One dead letter with its body."""
        viewer = await viewers.find(request)
        letter = await viewer.get(path_of("/v1/deadletters/{id}", id=id))
        return pages.page(viewer, "dead_letter.html", path=OPERATIONS, tab=PATH, letter=letter)

    @api.post(PATH + "/retry")
    async def retry_all(request: Request) -> Response:
        """Retry the next dead letters of a source, and show how far it has come."""
        viewer, fields = await viewers.acting(request)
        state = "unmatched" if fields.get("state") == "unmatched" else "waiting"
        part: Fields = {
            "source": fields.get("source", "")[:TEXT_CHARS_MAX],
            "state": state,
            "limit": RETRIED_AT_ONCE,
            "cursor": fields.get("following") or None,
        }
        answer = await viewer.send("POST", "/v1/deadletters/retry", part)
        if not answer.ok:
            return await _listed(console, request, viewer, problem_of(answer))
        progress = progressed(fields, answer.json())
        where: Fields = {"source": fields.get("source", ""), "state": state, **progress}
        return RedirectResponse(f"{PATH}?{urlencoded(where)}", 303, PAGE_HEADERS)

    @api.post(PATH + "/{id}/{action}")
    async def act(id: str, action: str, request: Request) -> Response:
        """Retry or drop one dead letter. `body`: a corrected body."""
        viewer, fields = await viewers.acting(request, chars_max=BODY_LIMIT)  # a body is never cut
        if action not in DONE:
            raise Problem(404, "", "There is no such action.")
        corrected = fields.get("body", "").encode() if action == "retry" else b""
        answer = await viewer.send(
            "POST", path_of("/v1/deadletters/{id}/{action}", id=id, action=action), body=corrected
        )
        if not answer.ok:
            return await _listed(console, request, viewer, problem_of(answer))
        return RedirectResponse(f"{PATH}?done={action}", 303, PAGE_HEADERS)


async def _listed(console: Console, request: Request, viewer: Viewer, problem: Problem | None = None) -> Response:
    """Return the list. `problem`: why an action was refused."""
    require(viewer.principal, "manager")
    asked = {name: value[:TEXT_CHARS_MAX] for name, value in request.query_params.items()}
    state = asked.get("state") if asked.get("state") in STATES else "waiting"
    source = asked.get("source", "").strip()
    query: Fields = {
        "state": state,
        "source": source or None,
        "limit": LISTED,
        "cursor": asked.get("cursor") or None,
    }
    letters = await console.known.load(viewer, "/v1/deadletters", query)
    progress = {name: number(asked.get(name)) for name in COUNTS} if "retried" in asked else None
    return console.pages.page(
        viewer,
        "dead_letters.html",
        code=problem.status if problem is not None else 200,
        path=OPERATIONS,
        tab=PATH,
        letters=letters,
        senders=sorted({one["source"] for one in letters.content["items"] if one["source"]}) if letters.content else [],
        states=STATES,
        state=state,
        source=source,
        progress=progress,
        following=asked.get("following", ""),
        done=next((key for name, key in DONE.items() if asked.get("done") == name), ""),
        problem=problem,
    )


def progressed(before: dict[str, str], answer: dict[str, Any]) -> Fields:
    """Return the counts of a retry of all after one more part of it, and where the next part begins."""
    return {
        "retried": number(before.get("retried")) + answer["retried"],
        "failed": number(before.get("failed")) + answer["failed"],
        "left": answer["left"],
        "following": answer["next"],
    }


def number(text: str | None) -> int:
    """Return a count of an address or a form; 0 for anything else."""
    return int(text) if text and text.isascii() and text.isdecimal() and len(text) <= 9 else 0
