"""What ends the sessions of the console and the links to it besides time: their key, and the place of their rep."""

from tests.story.sample_config import reps
from tests.story.test_console import Browser, link_of, signed_in
from tests.story.world import World


async def links_of_a_stored_key(world: World, count: int) -> tuple[str, list[str]]:
    """Return the id of a key for operators, and the paths of links made with it."""
    key = await world.key("admin", "ana")
    headers = {"Authorization": f"Bearer {key}"}
    urls = [
        (await world.http.post("/v1/console-links", json={"role": "manager"}, headers=headers)).json()["url"]
        for _ in range(count)
    ]
    (item,) = [item for item in (await world.get("/v1/keys"))["items"] if item["rep"] == "ana"]
    return item["id"], ["/console/" + url.partition("/console/")[2] for url in urls]


async def test_links_and_their_sessions_end_with_the_key_that_made_them(world: World) -> None:
    key, (used, unused) = await links_of_a_stored_key(world, 2)
    browser, late = Browser(world), Browser(world)
    assert (await browser.post(used, {})).status_code == 303
    assert (await browser.get("/console/leads")).status_code == 200
    assert (await late.get(unused)).status_code == 200

    assert (await world.ask("DELETE", f"/v1/keys/{key}")).status_code == 200
    assert (await browser.get("/console/leads")).status_code == 403
    assert (await late.get(unused)).status_code == 404
    assert (await late.post(unused, {})).status_code == 404
    assert not late.cookies
    assert (await world.get("/v1/sessions"))["items"] == []


async def test_session_of_a_link_outlives_no_other_key(world: World) -> None:
    key, _ = await links_of_a_stored_key(world, 0)
    browser = await signed_in(world, "manager")
    assert (await world.ask("DELETE", f"/v1/keys/{key}")).status_code == 200
    assert (await browser.get("/console/leads")).status_code == 200


async def test_links_and_sessions_of_a_rep_end_when_the_rep_leaves_the_team(world: World) -> None:
    browser, late = await signed_in(world, "sales", "cy"), Browser(world)
    unused = f"/console/{await link_of(world, 'sales', 'cy')}"
    await world.change("team", {**reps({"id": "cy", "active": False}, pool=("ana", "bo")), "accounts": []})
    assert (await browser.get("/console/mine")).status_code == 403
    assert (await late.post(unused, {})).status_code == 404
    assert not late.cookies
