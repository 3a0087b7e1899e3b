"""A flood of plausible requests: its leads are held back, and other leads pass them."""

from collections.abc import Mapping
from typing import Any, Final

import pytest

from services.gateway.bursts import BURST_MIN, SPREAD_MIN
from tests.story.conftest import OpenWorld
from tests.story.sample_config import reps
from tests.story.world import World

TEAM: Final = reps(*({"id": rep, "capacity": {"open": 20}} for rep in ("ana", "bo", "cy")))
TELL: Final[Mapping[str, Any]] = {
    "tell": {
        "marketing": {"by": ["email"], "email": "marketing@acme.example"},
        "sales": {"by": ["email"], "email": "sales@acme.example"},
    }
}
ROBOT: Final = "198.51.100.7"


async def post(world: World, email: str, client: str, **fields: Any) -> None:
    answer = await world.post_form(
        "demo-request",
        headers={"X-Forwarded-For": client},
        email=email,
        name="Ann Lee",
        title="CTO",
        company="Flood Inc",
        **fields,
    )
    assert answer.status_code == 202, answer.text


async def flood(world: World, number: int, client: str = ROBOT, domain: str = "flood.example") -> None:
    """Send requests within three seconds."""
    for n in range(number):
        await post(world, f"person{n}@{domain}", client)
        if n % max(1, number // 3) == 0:
            await world.wait(seconds=1)
    await world.settle()


async def bursts(world: World) -> list[dict[str, Any]]:
    return list((await world.get("/v1/bursts"))["items"])


async def owned(world: World, *emails: str) -> list[bool]:
    return [(await world.lead(email))["owner"] is not None for email in emails]


@pytest.mark.slow
async def test_real_lead_is_assigned_at_once_after_a_flood_of_1034_requests(open_world: OpenWorld) -> None:
    world = await open_world(team=TEAM, agreement=TELL)
    await flood(world, 1_034)
    await post(world, "real@customer.example", "203.0.113.80")
    await world.settle()

    assert await owned(world, "real@customer.example", "person1033@flood.example") == [True, False]
    [burst] = await bursts(world)
    assert (burst["of"], burst["source"], burst["leads"]) == ("client 198.51.100.x", "website", 1_034 - BURST_MIN)
    assert burst["released_at"] is None
    assert await world.rows("SELECT sum(open) FROM router_reps") == [(BURST_MIN + 1,)]


@pytest.mark.both_profiles
async def test_leads_of_a_burst_are_in_the_queue_and_both_teams_are_told_once(open_world: OpenWorld) -> None:
    world = await open_world(team=TEAM, agreement=TELL)
    await flood(world, 30)
    await world.wait(hours=3)

    held = await world.lead("person29@flood.example")
    [burst] = await bursts(world)
    assert held["queue"]["reason"] == f"held back: burst {burst['id']} of client 198.51.100.x"
    assert held["score"]["total"] > 0
    told = [str(mail.message["To"]) for mail in world.smtp.mails if "held back" in str(mail.message["Subject"])]
    assert sorted(told) == ["marketing@acme.example", "sales@acme.example"]
    assert await world.rows(
        f"SELECT count(*) FROM notifier_pages WHERE lead_id = '{held['id']}' AND state <> 'cancelled'"
    ) == [(0,)]


@pytest.mark.both_profiles
async def test_person_releases_a_burst_and_each_of_its_leads_is_routed(open_world: OpenWorld) -> None:
    world = await open_world(team=TEAM, agreement=TELL)
    await flood(world, 30)
    [burst] = await bursts(world)
    answer = await world.ask("POST", f"/v1/bursts/{burst['id']}/release", "sales")
    await world.wait(minutes=2)

    assert answer.json()["released_by"] == "key:sales of no rep"
    assert all(await owned(world, *(f"person{n}@flood.example" for n in range(30))))
    await post(world, "late@flood.example", ROBOT)
    await world.settle()
    assert await owned(world, "late@flood.example") == [True]


async def test_burst_of_a_domain_is_confirmed_by_its_spread_over_clients(open_world: OpenWorld) -> None:
    world = await open_world(team=TEAM)
    staff = [f"person{n}@customer.example" for n in range(BURST_MIN + SPREAD_MIN)]
    for n, email in enumerate(staff[:-1]):
        await post(world, email, f"203.0.113.{n}")
    await world.settle()
    assert await owned(world, *staff[BURST_MIN:-1]) == [False] * (SPREAD_MIN - 1)

    await post(world, staff[-1], "203.0.113.99")
    await world.wait(minutes=2)
    assert all(await owned(world, *staff))
    assert [burst["released_by"] for burst in await bursts(world)] == ["spread"]


async def test_lead_that_is_held_back_can_be_assigned_by_hand_and_rejected(open_world: OpenWorld) -> None:
    world = await open_world(team=TEAM)
    await flood(world, 10)
    lead = await world.lead("person9@flood.example")
    await world.ask("POST", f"/v1/leads/{lead['id']}/assign", body={"rep": "ana", "reason": "known"})
    await world.settle()
    assert (await world.lead("person9@flood.example"))["owner"]["id"] == "ana"


async def test_without_a_team_to_tell_the_pages_of_the_queue_remain(open_world: OpenWorld) -> None:
    world = await open_world(team=TEAM)
    await flood(world, 10)
    lead = await world.lead("person9@flood.example")
    await world.wait(hours=1)
    pages = await world.rows(f"SELECT state FROM notifier_pages WHERE lead_id = '{lead['id']}'")
    assert ("sent",) in pages


async def test_client_is_found_behind_proxies_that_add_a_header_each(world: World) -> None:
    headers = [("X-Forwarded-For", ROBOT), ("X-Forwarded-For", "127.0.0.1")]
    for n in range(BURST_MIN + 1):
        await world.http.post("/v1/forms/demo-request", headers=headers, json={"email": f"ann@company{n}.example"})
    await world.settle()
    assert [burst["of"] for burst in await bursts(world)] == ["client 198.51.100.x"]
