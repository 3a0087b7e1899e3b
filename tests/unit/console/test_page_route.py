"""What a page says when the services cannot answer."""

from datetime import timedelta

from fastapi import APIRouter, FastAPI

from firsthour.runtime.http.in_process import InnerAnswer, inner_scope, send_inside
from firsthour.runtime.http.principal import Principal
from firsthour.runtime.storage.unit import StorageError
from services.console.markup import Pages
from services.console.page_route import SignInGate, page_route
from tests.hand_clock import HandClock


async def ask(pages: Pages, method: str = "GET") -> InnerAnswer:
    """Ask for a page while the database is away."""

    async def fail() -> None:
        raise StorageError("the database does not answer")

    api = APIRouter(route_class=page_route(pages, SignInGate(None, None)))  # type: ignore[arg-type]  # nothing asks for a session
    api.add_api_route("/console/now", fail, methods=["GET", "POST"])
    app = FastAPI()
    app.include_router(api)
    outer = {"type": "http", "headers": [], "state": {"request_id": "r"}}
    return await send_inside(app, inner_scope(outer, Principal("", "", "admin"), method, "/console/now"))


async def test_page_that_cannot_be_loaded_says_when_the_figures_were_last_loaded() -> None:
    clock = HandClock()
    pages = Pages(clock)
    pages.shown_at = clock.real()
    clock.advance(minutes=7)
    answer = await ask(pages)
    text = answer.body.decode()
    assert answer.status == 503
    assert f"last loaded at {clock.real() - timedelta(minutes=7):%-d %b, %H:%M}" in text
    assert "data-again-after" in text


async def test_first_page_that_cannot_be_loaded_names_no_time() -> None:
    text = (await ask(Pages(HandClock()))).body.decode()
    assert "last loaded" not in text
    assert "This page loads again by itself" in text


async def test_form_that_fails_is_not_sent_again_by_itself() -> None:
    assert "data-again-after" not in (await ask(Pages(HandClock()), "POST")).body.decode()
