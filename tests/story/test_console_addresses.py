"""Requests from elsewhere, addresses that are no page, and a store that takes no writes."""

import pytest

from firsthour.runtime.storage.unit import StorageError
from services.console import sessions
from tests.story.test_console import Browser, link_of, signed_in
from tests.story.world import World


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://firsthour.test.evil.example", "x"])
async def test_form_of_another_origin_begins_no_session_over_plain_http(world: World, origin: str) -> None:
    link, browser = f"/console/{await link_of(world, 'admin')}", Browser(world)
    key = {"key": await world.key("manager")}
    assert (await browser.post("/console/sign-in", key, origin=origin)).status_code == 403
    assert (await browser.post(link, {}, origin=origin)).status_code == 403
    assert browser.cookies == {}
    own = "http://firsthour.test"
    page = await browser.get("/console/sign-in")
    assert page.headers["referrer-policy"] == "same-origin"  # else the browser sends `Origin: null` with the form
    assert (await browser.post("/console/sign-in", key, host="firsthour.test", origin=own)).status_code == 303
    assert (await browser.post(link, {}, host="firsthour.test", origin=own)).status_code == 303


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("/console/", "/console"),
        ("/console/now/", "/console/now"),
        ("/console/mine/availability", "/console/mine"),
        ("/console/leads/{lead}/accept", "/console/leads/{lead}"),
        ("/console/team/ana/availability", "/console/team"),
        ("/console/operations/pages/p/resend", "/console/operations/pages"),
        ("/console/operations/quarantine/bursts/b/drop", "/console/operations/quarantine"),
        ("/console/sessions/s/end", "/console/sessions"),
        ("/console/sign-out", "/console"),
    ],
)
async def test_address_of_a_form_leads_to_its_page(world: World, path: str, target: str) -> None:
    browser = await signed_in(world, "admin")
    answer = await browser.get(path.format(lead="l"))
    assert (answer.status_code, answer.headers["location"]) == (303, target.format(lead="l"))


@pytest.mark.parametrize("path", ["/console/nothing", "/console/now/nothing", "/console/leads/l/a/b", "/console//evil"])
async def test_address_of_no_page_is_answered_by_a_page(world: World, path: str) -> None:
    browser = await signed_in(world, "sales", "ana")
    answer = await browser.get(path)
    assert answer.status_code == 404
    assert answer.headers["content-type"].startswith("text/html")
    assert "There is no page at this address" in answer.text


async def test_pages_are_shown_while_the_use_of_a_session_cannot_be_stored(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser = await signed_in(world, "manager")
    world.clock.advance(minutes=6)

    def fail(*_: object) -> None:
        raise StorageError("nothing can be written")

    monkeypatch.setattr(sessions, "note_use", fail)
    assert (await browser.get("/console/leads")).status_code == 200
