"""Quotas of sources: what is beyond them waits in quarantine, but never a request for contact."""

from typing import Any

import pytest

from tests.story.conftest import OpenWorld
from tests.story.test_sources import source
from tests.story.world import World

pytestmark = pytest.mark.both_profiles

SOURCES: Any = {
    "sources": [
        {
            "id": "website",
            "kind": "form",
            "forms": ["demo-request", "newsletter"],
            "quota": {"per_minute": 3},
        }
    ]
}


async def beyond_the_quota(world: World) -> None:
    await world.change("sources", SOURCES)
    for n in range(3):
        await world.submit_form("newsletter", email=f"reader{n}@one.example")


async def test_event_beyond_the_quota_has_no_effect_until_it_is_released(world: World) -> None:
    await beyond_the_quota(world)
    answer = await world.post_form("newsletter", email="late@two.example")
    await world.settle()

    assert answer.status_code == 202
    assert (await world.get("/v1/leads?email=late@two.example"))["items"] == []
    [held] = (await world.get("/v1/quarantine"))["items"]
    assert (held["source"], held["type"], held["person"]) == ("website", "form.submitted", "late@two.example")
    assert (await source(world, "website"))["refused"] == {"quarantined": 1}

    released = await world.ask("POST", "/v1/quarantine/website/release", "marketing")
    await world.settle()
    assert released.json() == {"source": "website", "released": 1}
    assert (await world.lead("late@two.example"))["status"]
    assert (await world.get("/v1/quarantine"))["items"] == []
    shown = await source(world, "website")
    assert (shown["accepted"], shown["refused"]) == (4, {"quarantined": 1})


async def test_request_for_contact_beyond_the_quota_is_assigned(world: World) -> None:
    await beyond_the_quota(world)
    await world.submit_form("demo-request", email="ann@two.example")

    assert (await world.lead("ann@two.example"))["owner"] is not None
    assert (await world.get("/v1/quarantine"))["items"] == []


async def test_disposable_address_is_no_request_for_contact(world: World) -> None:
    await beyond_the_quota(world)
    await world.submit_form("demo-request", email="ann@mailinator.com")

    [held] = (await world.get("/v1/quarantine"))["items"]
    assert held["person"] == "ann@mailinator.com"
    dropped = await world.ask("POST", "/v1/quarantine/website/drop", "marketing")
    assert dropped.json() == {"source": "website", "dropped": 1}


async def test_quota_counts_each_minute_anew(world: World) -> None:
    await beyond_the_quota(world)
    await world.wait(minutes=1)
    await world.submit_form("newsletter", email="late@two.example")

    assert (await world.get("/v1/quarantine"))["items"] == []


async def test_event_that_is_sent_again_is_kept_once_and_takes_effect_once(world: World) -> None:
    await beyond_the_quota(world)
    for _ in range(2):
        await world.submit_form("newsletter", email="late@two.example", id="7")
    assert len((await world.get("/v1/quarantine"))["items"]) == 1

    await world.ask("POST", "/v1/quarantine/website/release")
    await world.wait(minutes=2)
    await world.submit_form("newsletter", email="late@two.example", id="7")
    lead = await world.lead("late@two.example")
    timeline = (await world.get(f"/v1/leads/{lead['id']}/timeline"))["items"]
    assert [item["type"] for item in timeline].count("form.submitted") == 1


async def test_list_of_the_quarantine_continues(world: World) -> None:
    await beyond_the_quota(world)
    for n in range(3):
        await world.submit_form("newsletter", email=f"late{n}@two.example")
    first = await world.get("/v1/quarantine?limit=2")
    second = await world.get(f"/v1/quarantine?limit=2&cursor={first['next']}")

    people = [item["person"] for item in (*first["items"], *second["items"])]
    assert (sorted(people), second["next"]) == ([f"late{n}@two.example" for n in range(3)], None)
    assert first["sources"]["website"]["events"] == 3


async def test_requests_for_contact_beyond_leads_per_hour_wait_and_their_alerts_are_bundled(
    open_world: OpenWorld,
) -> None:
    website = {**SOURCES["sources"][0], "quota": {"leads_per_hour": 2}}
    world = await open_world(sources={"sources": [website]})
    for rep in ("ana", "bo", "cy"):
        await world.is_away(rep)
    people = [f"person{n}@prospect{n}.example" for n in range(12)]
    for person in people:
        await world.submit_form(email=person)
    await world.wait(minutes=17)

    assert (await world.get("/v1/quarantine"))["items"] == []
    assert {(await world.lead(person))["status"] for person in people} == {"qualified"}
    pages = [page for person in people for page in await world.pages(person)]
    assert {(page["kind"], page["person"], page["state"]) for page in pages} == {("queued", "max", "sent")}
    assert len(pages) == len(people)
    assert len(world.slack.messages) == 2, "one alert at once, and one that carries the others"
