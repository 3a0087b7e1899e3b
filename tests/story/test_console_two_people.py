"""Two people act on one lead from pages that were loaded before: the second one is told why, and nothing happens twice."""

from typing import Any, Final

import pytest

from tests.story.test_console import CTO, Browser, csrf_in, signed_in
from tests.story.world import World

REPS: Final = ("ana", "bo", "cy")
ACTIONS: Final = {
    "accept": {},
    "assign": {"reason": "holiday"},
    "opt-out": {"reason": "asked us to stop"},
    "reject": {"reason": "not-now"},
    "touch": {"answered": "yes", "channel": "phone"},
}


async def history(world: World) -> tuple[Any, ...]:
    """Return what an action would change."""
    lead = await world.lead(CTO)
    events = await world.event_types_of(CTO)
    return lead["status"], lead["owner"], lead["touches"], events


async def opened(world: World, *people: tuple[str, str | None]) -> tuple[str, list[tuple[Browser, dict[str, str]]]]:
    """Return the path of the lead, and browsers of these people that have its page open."""
    path = f"/console/leads/{(await world.lead(CTO))['id']}"
    found = []
    for role, rep in people:
        browser = await signed_in(world, role, rep)
        found.append((browser, {"csrf": csrf_in(await browser.get(path))}))
    return path, found


@pytest.mark.parametrize(
    ("first", "second", "status", "told"),
    [
        ("accept", "accept", 303, ""),
        ("assign", "accept", 403, "Only its owner"),
        ("assign", "reject", 403, "Only its owner"),
        ("reject", "accept", 409, "nurturing cannot become accepted"),
        ("reject", "reject", 303, ""),
        ("opt-out", "accept", 409, "opted-out cannot become accepted"),
        ("opt-out", "reject", 409, "opted-out cannot be rejected"),
        ("touch", "reject", 409, "working cannot be rejected"),
    ],
)
async def test_second_action_from_a_stale_page_is_explained_and_changes_nothing(
    world: World, first: str, second: str, status: int, told: str
) -> None:
    await world.submit_form(email=CTO)
    owner = str(await world.owner_of(CTO))
    path, [(manager, form), (rep, stale)] = await opened(world, ("manager", "max"), ("sales", owner))
    other = next(rep for rep in REPS if rep != owner)
    answer = await manager.post(f"{path}/{first}", {**form, **ACTIONS[first], "rep": other})
    assert answer.status_code == 303, answer.text
    await world.settle()
    before = await history(world)

    answer = await rep.post(f"{path}/{second}", {**stale, **ACTIONS[second]})
    await world.settle()
    assert answer.status_code == status
    assert told in answer.text
    assert await history(world) == before


async def test_touch_by_the_owner_before_counts_once_for_the_owner_now(world: World) -> None:
    await world.submit_form(email=CTO)
    owner = str(await world.owner_of(CTO))
    path, [(manager, form), (rep, stale)] = await opened(world, ("manager", "max"), ("sales", owner))
    other = next(rep for rep in REPS if rep != owner)
    await manager.post(f"{path}/assign", {**form, "rep": other, **ACTIONS["assign"]})
    await world.settle()
    for _ in range(2):
        await rep.post(f"{path}/touch", {**stale, **ACTIONS["touch"], "once": "a-form-sent-twice"})
        await world.settle()
    lead = await world.lead(CTO)
    assert (lead["owner"]["id"], lead["touches"]["conversations"], lead["status"]) == (other, 1, "working")
