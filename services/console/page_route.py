"""The route of a page: what goes wrong is answered as a page too, and a person without a session is asked to sign in."""

from collections.abc import Callable, Coroutine
from typing import Any, Final
from urllib.parse import quote

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import RedirectResponse
from fastapi.routing import APIRoute

from firsthour.runtime.http.errors import as_problem
from firsthour.runtime.http.problem import Problem
from firsthour.runtime.storage.unit import StorageError
from services.console.markup import PAGE_HEADERS, Pages
from services.console.viewer import SignInNeededError, Viewers

SIGN_IN: Final = "/console/sign-in"
Handle = Callable[[Request], Coroutine[Any, Any, Response]]


SignInForm = Callable[[Request, str, Problem], Response]
"""Returns the page of signing in, for a path to open afterwards, with the problem of this request."""


class SignInGate:
    """Asks people without a session to sign in."""

    def __init__(self, viewers: Viewers, form: SignInForm) -> None:
        self._viewers, self._form = viewers, form

    async def refusal(self, request: Request) -> Response | None:
        """Return the answer to a request without a session. None: it has one."""
        try:
            await self._viewers.find(request)
        except SignInNeededError:
            return self.ask(request)
        return None

    def ask(self, request: Request) -> Response:
        """Ask a person to sign in, and lead them back afterwards.

        With a session that is none of ours, or has ended, and for a form, the answer is 403. A script gets 401, which it shows.
        """
        if request.headers.get("sec-fetch-mode", "navigate") != "navigate":
            return Response(status_code=401, headers=PAGE_HEADERS)
        target = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        after = target if request.method == "GET" else ""
        if request.method == "GET" and not request.cookies.get(self._viewers.cookie(request)):
            return RedirectResponse(f"{SIGN_IN}?next={quote(after, safe='')}", 303, PAGE_HEADERS)
        problem = Problem(403, "", "This needs a session, and yours has ended. Sign in, then do it again.")
        return self._form(request, after, problem)


def page_route(pages: Pages, gate: SignInGate) -> type[APIRoute]:
    """Return the class of the routes of the console."""

    class PageRoute(APIRoute):
        """A route that answers errors as pages."""

        def get_route_handler(self) -> Handle:
            handle = super().get_route_handler()

            async def answer(request: Request) -> Response:
                try:
                    return await handle(request)
                except SignInNeededError:
                    return gate.ask(request)
                except (Problem, StorageError) as error:
                    return problem_page(pages, request, as_problem(error))
                except RequestValidationError:
                    wrong = Problem(422, "", "The address or the form of this page is wrong.")
                    return await gate.refusal(request) or problem_page(pages, request, wrong)

            return answer

    return PageRoute


def problem_page(pages: Pages, request: Request, problem: Problem, *, retry: bool = False) -> Response:
    """Return the page that says what went wrong, and what to do. `retry`: with a link to sign in again.

    If the services cannot answer now, it says when they last did, and loads itself again.
    """
    waits = problem.status >= 500 and request.method == "GET" and not retry
    shown = {"waits": waits, "shown_at": pages.shown_at if waits else None, "retry": retry}
    response = pages.without_viewer(request, "problem.html", code=problem.status, problem=problem, **shown)
    response.headers.update(problem.headers)
    return response
