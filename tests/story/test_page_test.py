"""Test pages over each channel of a rep."""

from typing import Any

from tests.story.conftest import OpenWorld
from tests.story.sample_config import reps
from tests.story.world import World


async def page_test(world: World, rep: str = "ana", role: str = "admin", by: str | None = None) -> Any:
    return await world.ask("POST", f"/v1/reps/{rep}/page-test", role, by)


async def results(world: World, rep: str = "ana") -> dict[str, tuple[str, str | None]]:
    answer = await page_test(world, rep)
    assert answer.status_code == 200, answer.text
    return {item["channel"]: (item["state"], item["why"]) for item in answer.json()["items"]}


async def test_test_page_reaches_the_rep_over_each_channel_without_a_lead(world: World) -> None:
    answer = await page_test(world, by="ana", role="sales")

    assert answer.json()["ok"]
    assert [(item["channel"], item["state"]) for item in answer.json()["items"]] == [
        ("slack", "sent"),
        ("email", "sent"),
        ("inbox", "sent"),
    ]
    assert world.slack_recipients == ["ana"]
    assert world.mail_recipients == ["ana"]
    assert world.slack.messages[0]["text"] == "Test page for Ana Gomez: no lead is waiting"
    await world.settle()
    assert await world.pages() == []
    assert await world.leads() == []


async def test_result_of_a_test_page_names_what_is_wrong(open_world: OpenWorld) -> None:
    world = await open_world(team=reps({"id": "bo", "slack": None}))
    world.slack.error("channel_not_found")
    slack = (await results(world))["slack"]
    assert slack[0] == "refused"
    assert "channel_not_found; check the rep's `slack` in team.yaml" in (slack[1] or "")
    world.slack.drop()
    slack = (await results(world))["slack"]
    assert slack[0] == "refused"
    assert "a page would be tried again" in (slack[1] or "")
    assert (await results(world, "bo"))["slack"] == (
        "not set up",
        "bo has no address for slack; add `slack` in team.yaml",
    )


async def test_test_pages_are_limited_and_only_for_the_rep_and_managers(world: World) -> None:
    assert (await page_test(world, "bo", "sales", "ana")).status_code == 403
    assert (await page_test(world, "nobody")).status_code == 404
    for _ in range(3):
        assert (await page_test(world, "bo", "manager", "max")).status_code == 200
    refused = await page_test(world, "bo")
    assert refused.status_code == 429
    assert int(refused.headers["Retry-After"]) > 0
    assert (await page_test(world, "cy")).status_code == 200
    assert world.slack_recipients == ["bo", "cy"], "Slack takes one message a second"
    await world.wait(seconds=61)
    assert (await page_test(world, "bo")).status_code == 200
