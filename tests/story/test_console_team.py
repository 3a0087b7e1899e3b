"""The page of the team: who is on duty, what each member of a pool got and is owed, and going away and back."""

import re
from datetime import timedelta

import pytest

from services.console.routes.team import MEMBERS_MAX, REPS_AT_ONCE
from tests.story.conftest import OpenWorld
from tests.story.sample_config import reps
from tests.story.test_console import CTO, Browser, csrf_in, signed_in
from tests.story.test_console_live import streaming
from tests.story.world import World

OFFICE = {"timezone": "Europe/Berlin", "hours": {"mon-fri": ["09:00-17:00"]}, "holidays": "DE-BE"}
PATH = "/console/team"
KILOBYTE = 1_000


async def form_of(browser: Browser, rep: str) -> tuple[str, dict[str, str]]:
    """Return where the form of a rep is sent, and its hidden fields."""
    page = await browser.get(f"{PATH}?change={rep}")
    match = re.search(rf'action="(/console/team/{rep}/availability[^"]*)"', page.text)
    assert match, f"no form of {rep}"
    return match[1].replace("&amp;", "&"), {"csrf": csrf_in(page)}


def changeable(page: str) -> set[str]:
    """Return the reps whose availability the page offers to change."""
    return set(re.findall(r"[?;]change=(\w+)", page))


def card_of(page: str, name: str) -> str:
    return next(card for card in page.split("<article")[1:] if name in card).partition("</article>")[0]


async def test_team_shows_hours_leave_load_and_places_in_the_file(open_world: OpenWorld) -> None:
    world = await open_world(
        agreement={"calendars": {"office": OFFICE}},
        team=reps(
            {"id": "ana", "calendar": "office", "capacity": {"open": 4}, "languages": ["en", "fr"]}, pool=("ana",)
        ),
    )
    today = world.clock.business().date()
    away = {"from": str(today + timedelta(days=30)), "to": str(today + timedelta(days=40)), "cover": "bo"}
    await world.change("team", reps({"id": "ana", "calendar": "office", "capacity": {"open": 4}, "away": [away]}))
    await world.submit_form(email=CTO)
    owner = str(await world.owner_of(CTO))
    page = (await (await signed_in(world, "manager")).get(PATH)).text
    ana = card_of(page, "Ana Gomez")
    assert "mon-fri 09:00-17:00" in ana
    assert "Europe/Berlin" in ana
    assert "Bo Lind answers" in ana
    listed = {rep["id"]: rep for rep in (await world.get("/v1/reps"))["items"]}
    assert re.fullmatch(r"team\.yaml:\d+:\d+", listed["ana"]["place"])
    assert listed["ana"]["place"] in ana
    assert listed["ana"]["leave"][0]["place"] in ana
    assert "1 open" in card_of(page, listed[owner]["name"]) or "1 / 4" in card_of(page, listed[owner]["name"])
    (pool,) = (await world.get("/v1/pools"))["items"]
    assert pool["place"] in page


async def test_place_follows_a_file_in_which_only_comments_change(world: World) -> None:
    before = (await world.get("/v1/reps"))["items"][0]["place"]
    file = world.config / "team.yaml"
    file.write_text(f"# one more line\n{file.read_text()}")
    await world.settle()
    after = (await world.get("/v1/reps"))["items"][0]["place"]
    assert int(after.split(":")[1]) == int(before.split(":")[1]) + 1


async def test_pool_shows_what_each_member_got_and_is_owed(open_world: OpenWorld) -> None:
    members = [{"rep": "ana", "weight": 2}, {"rep": "bo"}]
    world = await open_world(team={"pools": [{"id": "everyone", "members": members}]})
    for number in range(4):
        await world.submit_form(email=f"person@firm-{number}.example")
    shares = await world.get("/v1/pools/everyone/shares?days=7")
    got = {item["rep"]: (item["share"], item["got"]) for item in shares["items"]}
    assert shares["assigned"] == 4
    assert got["ana"][0] == pytest.approx(2 / 3, abs=0.001)
    assert got["ana"][1] + got["bo"][1] == 4
    assert sum(item["owed"] for item in shares["items"]) == pytest.approx(0, abs=0.02)
    assert next(item["owed"] for item in shares["items"] if item["rep"] == "ana") == pytest.approx(
        4 * 2 / 3 - got["ana"][1], abs=0.01
    )
    page = (await (await signed_in(world, "manager")).get(f"{PATH}?days=7")).text
    assert "66.7 %" in page
    assert f"{100 * got['ana'][1] / 4} %" in page
    world.clock.advance(days=10)
    assert (await world.get("/v1/pools/everyone/shares?days=7"))["assigned"] == 0
    assert (await world.ask("GET", "/v1/pools/no-such-pool/shares")).status_code == 404


async def test_manager_sets_a_rep_away_with_an_end_and_back(world: World) -> None:
    browser = await signed_in(world, "manager")
    browser.cookies["firsthour_zone"] = "Asia/Tokyo"
    until = (world.clock.business() + timedelta(days=2)).replace(second=0, microsecond=0, tzinfo=None)
    path, hidden = await form_of(browser, "ana")
    fields = {**hidden, "available": "no", "until": until.isoformat(), "reason": "Fair <b>in</b> Lyon"}
    answer = await browser.post(path, fields)
    assert answer.status_code == 303, answer.text
    await world.settle()
    ana = (await world.get("/v1/reps"))["items"][0]
    assert (ana["state"], ana["reason"]) == ("away", "Fair <b>in</b> Lyon")
    assert ana["until"].startswith((until - timedelta(hours=9)).isoformat())
    page = await browser.get(answer.headers["location"])
    assert "gets no new leads until set back" in page.text
    assert "Fair &lt;b&gt;in&lt;/b&gt; Lyon" in page.text
    path, hidden = await form_of(browser, "ana")
    answer = await browser.post(path, {**hidden, "available": "yes"})
    assert answer.status_code == 303
    await world.settle()
    assert (await world.get("/v1/reps"))["items"][0]["state"] == "available"


@pytest.mark.parametrize("until", ["yesterday", "0001-01-01T00:00", "2000-01-01T10:00", "9" * 400])
async def test_wrong_end_of_an_absence_is_refused_on_the_page(world: World, until: str) -> None:
    browser = await signed_in(world, "manager")
    path, hidden = await form_of(browser, "ana")
    answer = await browser.post(path, {**hidden, "available": "no", "until": until})
    assert answer.status_code == 422
    assert 'role="alert"' in answer.text
    assert (await world.get("/v1/reps"))["items"][0]["state"] == "available"


async def test_rep_changes_only_their_own_availability(world: World) -> None:
    browser = await signed_in(world, "sales", "bo")
    assert changeable((await browser.get(PATH)).text) == {"bo"}
    assert "<h2>Set Ana" not in (await browser.get(f"{PATH}?change=ana")).text
    _, hidden = await form_of(browser, "bo")
    fields = {**hidden, "available": "no"}
    answer = await browser.post(f"{PATH}/ana/availability", fields)
    assert answer.status_code == 403
    assert "may be set by ana, managers and admins" in answer.text
    assert (await browser.post(f"{PATH}/bo/availability", {"available": "no"})).status_code == 403
    assert (await browser.post(f"{PATH}/bo/availability", fields)).status_code == 303
    assert (await browser.post(f"{PATH}/no-such/availability", fields)).status_code == 404


async def test_team_is_refused_to_marketing(world: World) -> None:
    browser = await signed_in(world, "marketing")
    assert (await browser.get(PATH)).status_code == 403
    assert 'href="/console/team"' not in (await browser.get("/console/now")).text


async def test_leave_of_the_team_file_cannot_be_ended_here(open_world: OpenWorld) -> None:
    world = await open_world()
    today = str(world.clock.business().date())
    leaves = ({"id": "ana", "away": [{"from": today, "to": today}]}, {"id": "bo", "active": False})
    await world.change("team", reps(*leaves, pool=("ana", "cy")))
    page = (await (await signed_in(world, "manager")).get(PATH)).text
    assert "stands in the team file and ends there" in card_of(page, "Ana Gomez")
    assert "has left" in card_of(page, "Bo Lind")
    assert changeable(page) == {"cy", "max"}


@pytest.mark.slow
async def test_large_team_is_shown_in_parts_below_100_kilobytes(open_world: OpenWorld) -> None:
    people = [
        {"id": f"rep-{number:03}", "name": f"Person {number:03} <i>", "email": f"rep-{number:03}@acme.example"}
        for number in range(1_000)
    ]
    pools = [{"id": f"pool-{n}", "members": [{"rep": rep["id"]} for rep in people]} for n in range(10)]
    agreement = {"routing": {"rules": [{"name": "Everyone", "pool": "pool-0"}]}}
    world = await open_world(agreement=agreement, team={"reps": people, "pools": pools, "accounts": None})
    browser = await signed_in(world, "manager")
    page = await browser.get(PATH)
    assert page.text.count("<article") == REPS_AT_ONCE
    assert "<i>" not in page.text
    assert f"Page 1 of {1_000 // REPS_AT_ONCE}" in page.text
    assert f"{1_000 - MEMBERS_MAX} more" in page.text
    for query in ("", "?pool=pool-3", "?page=40", "?page=99999", "?page=x&days=x&state=x", "?q=person"):
        answer = await browser.get(PATH + query)
        assert answer.status_code == 200
        assert len(answer.content) < 100 * KILOBYTE, (query, len(answer.content))
    assert (await browser.get(f"{PATH}?q=PERSON+042")).text.count("<article") == 1
    assert "No rep is like this" in (await browser.get(f"{PATH}?q=nobody+of+this+name")).text
    assert "There is no such pool" in (await browser.get(f"{PATH}?pool=no-such")).text


async def test_open_page_changes_when_a_rep_goes_away(world: World) -> None:
    browser = await signed_in(world, "manager")
    cookie = f"firsthour={browser.cookies['firsthour']}"
    async with streaming(world, f"{PATH}/stream", cookie=cookie) as stream:
        first = (await stream.until(bool))[0][2]
        await world.is_away("cy")
        await stream.until(
            lambda events: "away</span>" in card_of(events[-1][2].get("reps", first["reps"]), "Cy Young")
        )
    assert "Balance" in first["pools"]
