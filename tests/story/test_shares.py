"""A source with a share of a pool: the flood waits, and leads of other sources pass it."""

from typing import Any, Final

import pytest

from tests.story.conftest import OpenWorld
from tests.story.sample_config import reps
from tests.story.world import World

pytestmark = pytest.mark.both_profiles

TEAM: Final = reps(*({"id": rep, "capacity": {"open": 2}} for rep in ("ana", "bo", "cy")))
SOURCES: Final[Any] = {
    "sources": [
        {"id": "website", "kind": "form", "forms": ["demo-request"], "quota": {"share_of_pool": 0.5}},
        {"id": "fair", "kind": "form", "forms": ["contact-sales"]},
    ]
}


async def request(world: World, name: str, form: str = "demo-request") -> None:
    """Post a form from a domain and a client of its own: no burst."""
    host = sum(map(ord, name)) % 250
    await world.post_form(form, headers={"X-Forwarded-For": f"203.0.113.{host}"}, email=f"a@{name}.example")
    await world.settle()


async def test_flood_of_one_form_leaves_places_for_other_sources(open_world: OpenWorld) -> None:
    world = await open_world(team=TEAM, sources=SOURCES)
    for n in range(6):
        await request(world, f"flood{n}")
    for n in range(3):
        await request(world, f"real{n}", "contact-sales")

    owned = [await world.owner_of(f"a@flood{n}.example") is not None for n in range(6)]
    assert owned == [True, True, True, False, False, False]
    assert all([await world.owner_of(f"a@real{n}.example") for n in range(3)])
    why = "share of website: its leads have 3 of the 6 places of everyone, by `share_of_pool`"
    assert (await world.lead("a@flood5.example"))["queue"]["reason"] == why
    [decision] = await world.lead_items("a@flood5.example", "decisions")
    assert (decision["chosen"], decision["why"]) == (None, why)


async def test_changed_share_serves_the_leads_that_wait(open_world: OpenWorld) -> None:
    world = await open_world(team=TEAM, sources=SOURCES)
    for n in range(6):
        await request(world, f"flood{n}")
    more = {**SOURCES["sources"][0], "quota": {"share_of_pool": 0.9}}
    await world.change("sources", {"sources": [more]})
    await world.wait(seconds=5)
    assert [await world.owner_of(f"a@flood{n}.example") is not None for n in range(6)] == [True] * 5 + [False]
