"""What the queue says would free it frees as many leads as it says; shares by weight are exact."""

from typing import Any

from tests.story.conftest import OpenWorld
from tests.story.sample_config import reps
from tests.story.world import World

WEIGHTS = {"ana": 1, "bo": 2, "cy": 3}
LADDER = [{"at": "0m", "page": "owner", "by": ["slack"]}]


def team(open_leads: int) -> dict[str, Any]:
    members = [{"rep": rep, "weight": weight} for rep, weight in WEIGHTS.items()]
    changed = reps(*({"id": rep, "capacity": {"open": open_leads}} for rep in WEIGHTS))
    return {**changed, "pools": [{"id": "everyone", "members": members}]}


async def ask(world: World, first: int, count: int) -> None:
    """Submit forms of people at domains of their own."""
    for number in range(first, first + count):
        await world.submit_form(email=f"ann@company{number}.example")
        await world.wait(minutes=1)


async def waiting(world: World) -> int:
    return len((await world.get("/v1/queue"))["items"])


async def frees(world: World) -> dict[str, int]:
    [pool] = (await world.get("/v1/queue/relief"))["items"]
    return {change["kind"]: change["frees"] for change in pool["changes"]}


async def test_proposed_change_frees_as_many_leads_as_it_says(open_world: OpenWorld) -> None:
    world = await open_world(team=team(6), agreement={"response": {"ladder": LADDER}})
    await ask(world, 0, 12)
    shares = (await world.get("/v1/pools/everyone/shares"))["items"]
    assert {item["rep"]: (item["got"], item["owed"]) for item in shares} == {"ana": (2, 0), "bo": (4, 0), "cy": (6, 0)}

    await ask(world, 12, 11)  # 18 of 23 find a place
    assert (await waiting(world), await frees(world)) == (5, {"capacity": 3})
    await world.change("team", team(7))
    await world.wait(minutes=1)
    assert await waiting(world) == 5 - 3

    await world.is_away("ana", hours=2)
    await world.change("team", team(8))  # two of the two that wait, at bo and cy
    await world.wait(minutes=1)
    await ask(world, 23, 4)
    assert (await waiting(world), await frees(world)) == (4, {"return": 1, "capacity": 2})
    await world.is_back("ana")
    await world.wait(minutes=1)
    assert await waiting(world) == 4 - 1
