"""Two pools, and leads that go back to Marketing and ask again: funnel, first hour and shares against a count by hand."""

from typing import Any, Final

from tests.story.conftest import OpenWorld
from tests.story.test_visibility import open_scope
from tests.story.world import World

P, Q, R, S = (f"{name}@{name}.example" for name in "pqrs")
STEPS: Final = (
    "new",
    "qualified",
    "assigned",
    "accepted",
    "touch:attempt",
    "touch:conversation",
    "working",
    "customer",
)


async def story(world: World) -> None:
    """p and r are of north, q and s of south; q is never contacted.

    p: reached after 10 minutes. r: accepted and reached, recycled, asks again. s: rejected, asks again, and waits: the only rep of
    the pool has had it.
    """
    for email, fields in ((P, {}), (Q, {"country": "ES"}), (R, {}), (S, {"country": "ES"})):
        await world.submit_form(email=email, **fields)
    await world.wait(minutes=10)
    await world.touch(P, by=str(await world.owner_of(P)))
    await world.accept(R, by=str(await world.owner_of(R)))
    await world.touch(R, by=str(await world.owner_of(R)))
    await world.reject(S, by="cy", reason="not-now")
    await world.recycle(R, by="max")
    await world.wait(minutes=10)
    await world.submit_form(email=R)
    await world.submit_form(email=S, country="ES")


def reached(steps: list[dict[str, Any]]) -> list[int]:
    by_step = {step["step"]: step["reached"] for step in steps}
    return [by_step[name] for name in STEPS]


async def test_reports_of_two_pools_with_leads_that_came_back_equal_the_count_by_hand(open_world: OpenWorld) -> None:
    world = await open_scope(open_world, "all")
    await story(world)
    report = await world.get("/v1/reports/funnel?from=2d&by=team")
    assert reached(report["total"]["steps"]) == [4, 4, 4, 1, 2, 2, 2, 0]
    assert {item["key"]: reached(item["steps"]) for item in report["items"]} == {
        "north": [2, 2, 2, 1, 2, 2, 2, 0],  # p, r
        "south": [2, 2, 2, 0, 0, 0, 0, 0],  # q, s
    }
    cycles = report["cycles"]
    assert (cycles["ended_by"], cycles["passes"]) == ({"recycled": 1, "rejected": 1}, 2)
    assert [cycles["reached"][name] for name in STEPS[1:7]] == [2, 1, 0, 0, 0, 0]  # r, s again; s waits
    everything = await world.get("/v1/reports/funnel?from=2d&passes=all")
    assert reached(everything["total"]["steps"])[2:6] == [5, 1, 2, 2]
    total = (await world.get("/v1/reports/response?since=1d"))["total"]
    assert (total["requests"], total["touched"], total["pending"]) == (6, 2, 3)  # q, and r and s again wait
    assert (total["never_touched"], total["raw"]["share"]) == (1, 0.6667)  # s was given back without a contact
    got = {pool: (await world.get(f"/v1/pools/{pool}/shares?days=30")) for pool in ("north", "south")}
    assert [got[pool]["assigned"] for pool in got] == [3, 2]  # p, r, r again; q, s
