"""The open stream of a rep while the agreement or the team changes: it follows what the rep sees, and ends with their place."""

import asyncio
from typing import Any, Final

import pytest

from tests.story.conftest import OpenWorld
from tests.story.sample_config import reps
from tests.story.test_console import signed_in
from tests.story.test_console_live import OpenStream, streaming
from tests.story.test_visibility import NORTH, POOLS, RULES, SOUTH, fill, open_scope
from tests.story.world import World

STREAM: Final = "/v1/stream"
LOST: Final = {**POOLS, "pools": [{"id": "north", "members": [{"rep": "bo"}]}, POOLS["pools"][1]]}
LEFT: Final = {**LOST, "reps": reps({"id": "ana", "active": False})["reps"]}


async def header(world: World, rep: str = "ana") -> str:
    return f"Bearer {await world.key('sales', rep)}"


async def note_on(world: World, email: str, rep: str, stream: OpenStream, other: OpenStream) -> str:
    """Let something happen to a lead, and return what the stream has told since, once the other stream knows of it."""
    before, known = len(stream.text), other.text.count('"touch.applied"')
    await world.touch(email, by=rep, answered=False)
    await other.until(lambda _: other.text.count('"touch.applied"') > known)
    await asyncio.sleep(0)
    return stream.text[before:]


async def test_stream_follows_the_visibility_of_the_agreement(open_world: OpenWorld) -> None:
    world = await open_scope(open_world, "own")
    leads = await fill(world)
    async with (
        streaming(world, STREAM, authorization=await header(world)) as ana,
        streaming(world, STREAM, authorization=f"Bearer {await world.key('manager')}") as manager,
    ):
        assert leads["cy"] not in await note_on(world, SOUTH.format(1), "cy", ana, manager)
        await world.change("agreement", {"routing": RULES, "visibility": {"reps": "all"}})
        await world.touch(SOUTH.format(1), by="cy", answered=False)
        await ana.until(lambda events: any(name == "reset" for name, *_ in events))
        await world.touch(SOUTH.format(1), by="cy", answered=False)
        await ana.until(lambda _: leads["cy"] in ana.text)
        await world.change("agreement", {"routing": RULES, "visibility": {"reps": "own"}})
        text = await note_on(world, SOUTH.format(1), "cy", ana, manager)
        await world.touch(NORTH.format(1), by="ana", answered=False)
        await ana.until(lambda events: [name for name, *_ in events].count("reset") == 2)
        assert leads["cy"] not in text


async def test_rep_who_loses_a_pool_gets_no_more_of_its_leads(open_world: OpenWorld) -> None:
    world = await open_scope(open_world, "pool")
    leads = await fill(world)
    async with (
        streaming(world, STREAM, authorization=await header(world)) as ana,
        streaming(world, STREAM, authorization=f"Bearer {await world.key('manager')}") as manager,
    ):
        await world.touch(NORTH.format(2), by="bo", answered=False)
        await ana.until(lambda _: leads["bo"] in ana.text)
        await world.change("team", LOST)
        assert leads["bo"] not in await note_on(world, NORTH.format(2), "bo", ana, manager)
        assert (await world.ask("GET", f"/v1/leads/{leads['bo']}", "sales", "ana")).status_code == 404


@pytest.mark.parametrize("scope", ["all", "pool"])
async def test_stream_of_a_rep_who_left_ends_before_the_next_event(open_world: OpenWorld, scope: str) -> None:
    world = await open_scope(open_world, scope)
    leads = await fill(world)
    browser = await signed_in(world, "sales", "ana")
    async with streaming(world, STREAM, authorization=await header(world)) as ana:
        await ana.until(lambda _: "retry" in ana.text)
        await world.change("team", LEFT)
        told = len(ana.text)
        await world.touch(NORTH.format(2), by="bo", answered=False)
        async with asyncio.timeout(5):
            await ana.ended.wait()
        assert leads["bo"] not in ana.text[told:]
    page: Any = await browser.get("/console/mine")
    assert page.status_code == 403
    assert "Sign in" in page.text
