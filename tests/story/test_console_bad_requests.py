"""Requests that the console must refuse, on every route: the answer is a page that says what is needed, and nothing changes."""

import hashlib

import pytest

from firsthour.runtime.http.client import Response
from services.console.viewer import PLAIN_COOKIE
from tests.story.console_routes import ConsoleRoute, console_routes
from tests.story.test_console import CTO, Browser, csrf_in, signed_in
from tests.story.world import World


async def contents(world: World) -> dict[str, tuple[int, str]]:
    """Return the number of rows and a hash of each table. The audit log also has what was refused."""
    tables = {str(name) for (name,) in await world.rows("SELECT name FROM sqlite_master WHERE type = 'table'")}
    found = {}
    for table in sorted(tables - {"audit_log"}):
        rows = sorted(map(repr, await world.rows(f'SELECT * FROM "{table}"')))
        found[str(table)] = (len(rows), hashlib.sha256("\n".join(rows).encode()).hexdigest())
    return found


async def send(browser: Browser, route: ConsoleRoute, fields: dict[str, str] | None = None, **headers: str) -> Response:
    if route.method == "GET":
        return await browser.get(route.path, **headers)
    return await browser.post(route.path, fields or {}, **headers)


async def routes(world: World) -> list[ConsoleRoute]:
    """Return all routes, with parts of paths that exist."""
    await world.submit_form(email=CTO, name="Cora Tan")
    session = (await world.get("/v1/sessions"))["items"]
    return console_routes(
        world, lead=(await world.lead(CTO))["id"], id=session[0]["id"] if session else "x", action="touch", rep="ana"
    )


def assert_page(answer: Response, status: int, words: str, route: ConsoleRoute) -> None:
    assert answer.status_code == status, (route, answer.status_code)
    assert answer.headers["content-type"].startswith("text/html"), route
    assert words in answer.text, route


@pytest.mark.parametrize("cookie", ["forged", "ended"])
async def test_session_that_is_none_changes_nothing_on_any_route(world: World, cookie: str) -> None:
    browser = await signed_in(world, "admin")
    csrf = csrf_in(await browser.get("/console/sessions"))
    listed = await routes(world)
    if cookie == "forged":
        browser.cookies[PLAIN_COOKIE] = "A" * 43
    else:
        world.clock.advance(days=31)
    before = await contents(world)
    for route in listed:
        assert_page(await send(browser, route, {"csrf": csrf}), 403, "needs a session", route)
        assert (await send(browser, route, {"csrf": csrf}, sec_fetch_mode="cors")).status_code == 401, route
    assert await contents(world) == before


async def test_person_without_a_session_is_led_to_sign_in_on_every_page(world: World) -> None:
    for route in await routes(world):
        answer = await send(Browser(world), route)
        if route.method == "GET":
            assert (answer.status_code, answer.headers["location"][:17]) == (303, "/console/sign-in?"[:17]), route
        else:
            assert_page(answer, 403, "needs a session", route)


@pytest.mark.parametrize("role", ["marketing", "admin"])
async def test_form_without_a_token_of_its_session_changes_nothing_on_any_route(world: World, role: str) -> None:
    browser, other = await signed_in(world, role), await signed_in(world, role)
    foreign = csrf_in(await other.get("/console/sessions"))
    own = csrf_in(await browser.get("/console/sessions"))
    listed = [route for route in await routes(world) if route.method != "GET"]
    assert len(listed) >= 4
    before = await contents(world)
    for route in listed:
        for fields in ({}, {"csrf": ""}, {"csrf": "0" * 64}, {"csrf": foreign}, {"csrf": "é"}):
            assert_page(await send(browser, route, fields), 403, "Load the page again", route)
        answer = await send(browser, route, {"csrf": own}, sec_fetch_site="cross-site")
        assert_page(answer, 403, "Another site", route)
    assert await contents(world) == before


@pytest.mark.parametrize(("role", "rep"), [("marketing", None), ("sales", None), ("sales", "ana")], ids=str)
async def test_role_that_is_too_low_reads_what_is_needed_on_every_route(
    world: World, role: str, rep: str | None
) -> None:
    browser = await signed_in(world, role, rep)
    csrf = csrf_in(await browser.get("/console/sessions"))
    refused = 0
    for route in await routes(world):
        if route.is_stream:
            continue  # it stays open; a role that is too low is a part of what it sends
        before = await contents(world)
        answer = await send(browser, route, {"csrf": csrf})
        assert answer.status_code < 500, route
        if answer.status_code == 403:
            refused += 1
            assert_page(answer, 403, "needs" if "needs" in answer.text else "is for reps", route)
            assert await contents(world) == before, route
    assert refused or rep is not None


async def test_pages_that_the_navigation_hides_are_refused(world: World) -> None:
    everything = await signed_in(world, "admin")
    page = await everything.get("/console/sessions")
    for role in ("marketing", "sales"):
        browser = await signed_in(world, role)
        own = (await browser.get("/console/sessions")).text
        for route in console_routes(world):
            link = f'<a href="{route.path}"'
            if route.method == "GET" and link in page.text and link not in own:
                assert_page(await browser.get(route.path), 403, "needs the role", route)
