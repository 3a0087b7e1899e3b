"""The route of a page: what goes wrong is answered as a page too, and a person without a session is sent to sign in."""

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
from services.console.viewer import SignInNeededError

SIGN_IN: Final = "/console/sign-in"
Handle = Callable[[Request], Coroutine[Any, Any, Response]]


def page_route(pages: Pages) -> type[APIRoute]:
    """Return the class of the routes of the console."""

    class PageRoute(APIRoute):
        """A route that answers errors as pages."""

        def get_route_handler(self) -> Handle:
            handle = super().get_route_handler()

            async def answer(request: Request) -> Response:
                try:
                    return await handle(request)
                except SignInNeededError:
                    return to_sign_in(request)
                except (Problem, StorageError) as error:
                    return problem_page(pages, request, as_problem(error))
                except RequestValidationError:
                    return problem_page(
                        pages, request, Problem(422, "", "The address or the form of this page is wrong.")
                    )

            return answer

    return PageRoute


def problem_page(pages: Pages, request: Request, problem: Problem) -> Response:
    """Return the page that says what went wrong, and what to do.

    If the services cannot answer now, it says when they last did, and loads itself again.
    """
    waits = problem.status >= 500 and request.method == "GET"
    shown = {"waits": waits, "shown_at": pages.shown_at if waits else None}
    response = pages.without_viewer(request, "problem.html", code=problem.status, problem=problem, **shown)
    response.headers.update(problem.headers)
    return response


def to_sign_in(request: Request) -> Response:
    """Send a person to the page of signing in, and back afterwards. A script gets 401, which it shows."""
    if request.headers.get("sec-fetch-mode", "navigate") != "navigate":
        return Response(status_code=401, headers=PAGE_HEADERS)
    target = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    after = f"?next={quote(target, safe='')}" if request.method == "GET" else ""
    return RedirectResponse(SIGN_IN + after, 303, PAGE_HEADERS)
