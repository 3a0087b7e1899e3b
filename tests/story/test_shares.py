"""A source with a share of a pool: the flood waits, and leads of other sources pass it."""

from collections import Counter
from random import Random
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


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
async def test_share_and_capacity_hold_after_every_order_of_changes(open_world: OpenWorld, seed: int) -> None:
    """Forms of both sources, closed leads, reps who leave and return, and another share, in any order."""
    world, chance, share = await open_world(team=TEAM, sources=SOURCES), Random(seed), 0.5
    away: set[str] = set()
    for number in range(30):
        before = {lead["email"] for lead in await world.leads() if lead["owner"]}
        match chance.choice(("flood", "flood", "flood", "real", "close", "leave", "return", "share")):
            case "flood":
                await request(world, f"flood{number}")
            case "real":
                await request(world, f"real{number}", "contact-sales")
            case "close" if before:
                await world.opt_out(chance.choice(sorted(before)))
            case "leave":
                rep = chance.choice(("ana", "bo", "cy"))
                away.add(rep)
                await world.is_away(rep)
            case "return" if away:
                rep = min(away)
                away.remove(rep)
                await world.is_back(rep)
            case "share":
                share = chance.choice((0.01, 0.34, 0.5, 0.9, 1.0))
                website = {**SOURCES["sources"][0], "quota": {"share_of_pool": share}}
                await world.change("sources", {"sources": [website, SOURCES["sources"][1]]})
        await world.wait(seconds=2)
        await check(world, before, share, away)


async def check(world: World, before: set[str], share: float, away: set[str]) -> None:
    """Check that the share takes no further place, and that no lead waits that may have one. `before`: leads with an owner."""
    leads = await world.leads()
    at_work = {"ana", "bo", "cy"} - away
    held = [lead for lead in leads if lead["owner"] and lead["owner"]["id"] in at_work]
    loads = Counter(lead["owner"]["id"] for lead in held)
    assert all(number <= 2 for number in loads.values())
    own = [lead["email"] for lead in held if lead["email"].startswith("a@flood")]
    most = max(1, int(share * 2 * len(at_work)))
    assert len(own) <= most or not set(own) - before
    if len(held) < 2 * len(at_work):
        waiting = [lead["email"] for lead in leads if lead["queue"]]
        assert not waiting or (len(own) >= most and all(email.startswith("a@flood") for email in waiting))
