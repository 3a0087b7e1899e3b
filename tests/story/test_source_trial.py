"""The trial of a body shows its effect on scoring, routing and pages, and changes nothing."""

import base64
import json
from typing import Any, Final

import pytest

from tests.story.conftest import OpenWorld
from tests.story.sample_config import reps
from tests.story.test_relayed_bursts import SOURCES
from tests.story.world import World

pytestmark = pytest.mark.both_profiles

TITLE: Final = {"title": "CTO", "company": {"employees": 400}}
MAPPED: Final[Any] = {
    "sources": [
        SOURCES["sources"][0],
        {
            **SOURCES["sources"][1],
            "events": [
                {
                    "when": "kind == 'lead'",
                    "type": "form.submitted",
                    "id": "id",
                    "email": "email",
                    "data": {"form": "'demo-request'", "title": "title", "company.employees": "company.employees"},
                },
                {"when": "kind == 'seen'", "type": "page.viewed", "id": "id", "email": "email"},
                {
                    "when": "kind == 'call'",
                    "type": "touch.recorded",
                    "id": "id",
                    "email": "email",
                    "data": {"channel": "'phone'", "answered": "`true`"},
                },
            ],
        },
    ]
}
ELSEWHERE: Final = {"name": "Germany", "when": {"country": "DE"}, "pool": "everyone"}
TABLES: Final = ("log", "scoring_profiles", "scoring_identities", "router_leads", "router_decisions", "notifier_clocks")


async def tried(world: World, *items: dict[str, Any], role: str = "marketing") -> list[Any]:
    """Return the effect of each item, and check that nothing was stored."""
    before = [await world.rows(f"SELECT count(*) FROM {table}") for table in TABLES]
    body = base64.b64encode(json.dumps(items).encode()).decode()
    answer = await world.ask("POST", "/v1/sources/phone/try", role, body={"body": body})
    assert answer.status_code == 200, answer.text
    assert [await world.rows(f"SELECT count(*) FROM {table}") for table in TABLES] == before
    return [event["effect"] for event in answer.json()["events"]]


def asked(email: str, id: str = "1", **more: Any) -> dict[str, Any]:
    return {"kind": "lead", "id": id, "email": email, **TITLE, **more}


async def test_new_person_is_scored_qualified_and_given_to_the_next_rep(open_world: OpenWorld) -> None:
    world = await open_world(sources=MAPPED)
    [effect] = await tried(world, asked("ada@prospect.example"))
    assert (effect["lead"], effect["score_before"]) == (None, None)
    assert {part["because"] for part in effect["parts"]} >= {"Company of the right size", "Asked for a demo"}
    assert effect["qualify"] == {"line": "hand-raiser", "urgency": "hot"}
    assert effect["status"] == {"from": "new", "to": "assigned"}
    assert (effect["owner"]["rep"], effect["owner"]["pool"]) == ("ana", "everyone")
    assert effect["owner"]["why"] == "next in turn in everyone: 3 of 3 could take the lead"
    assert (effect["pages"][0]["person"], effect["pages"][0]["kind"]) == ("ana", "owner")
    assert effect["pages"][-1]["at"] <= effect["promise_at"]


async def test_trial_tells_what_then_happens(open_world: OpenWorld) -> None:
    world = await open_world(sources=MAPPED)
    [effect] = await tried(world, asked("ada@prospect.example"))
    await world.hook("phone", json.dumps([asked("ada@prospect.example")]).encode())
    await world.settle()
    lead = await world.lead("ada@prospect.example")
    assert (lead["owner"]["id"], lead["score"]["total"]) == (effect["owner"]["rep"], effect["score"]["total"])
    assert lead["clock"]["due_at"] == effect["promise_at"]
    await world.wait(minutes=59)
    sent = [(page["person"], page["kind"]) for page in await world.pages("ada@prospect.example")]
    assert sent[0] == (effect["pages"][0]["person"], effect["pages"][0]["kind"])


async def test_known_lead_shows_its_score_now_and_its_owner(open_world: OpenWorld) -> None:
    world = await open_world(sources=MAPPED)
    await world.submit_form(email="ada@prospect.example")
    lead = await world.lead("ada@prospect.example")
    [viewed, called] = await tried(
        world,
        {"kind": "seen", "id": "2", "email": "ada@prospect.example"},
        {"kind": "call", "id": "3", "email": "ada@prospect.example"},
    )
    assert (viewed["lead"], viewed["score_before"]["total"]) == (lead["id"], lead["score"]["total"])
    assert (viewed["qualify"], viewed["owner"], viewed["pages"]) == (None, None, [])
    assert viewed["why_not"] == "no line of `qualify` is met"
    assert called["status"] == {"from": "assigned", "to": "working"}


async def test_events_of_one_body_follow_each_other(open_world: OpenWorld) -> None:
    world = await open_world(team=reps({"id": "ana", "capacity": {"open": 1}}, pool=("ana",)), sources=MAPPED)
    first, second, again = await tried(
        world, asked("ada@one.example"), asked("bob@two.example", "2"), asked("ada@one.example", "3", title="CFO")
    )
    assert (first["owner"]["rep"], second["owner"]["rep"]) == ("ana", None)
    assert second["owner"]["why"] == "the only rep: at capacity"
    assert (second["status"]["to"], second["pages"][0]["kind"]) == ("qualified", "queued")
    assert again["status"] == {"from": "assigned", "to": "assigned"}


async def test_person_without_a_pool_and_disposable_address(open_world: OpenWorld) -> None:
    world = await open_world(sources=MAPPED, agreement={"routing": {"rules": [ELSEWHERE]}})
    [nobody, disposable] = await tried(world, asked("ada@prospect.example"), asked("x@mailinator.com", "2"))
    assert (nobody["owner"]["rep"], nobody["owner"]["why"]) == (None, "no routing rule matches")
    assert disposable["qualify"] is None


@pytest.mark.parametrize("role", ["ingest", "sales"])
async def test_trial_needs_marketing(open_world: OpenWorld, role: str) -> None:
    world = await open_world(sources=MAPPED)
    answer = await world.ask("POST", "/v1/sources/phone/try", role, body={"body": ""})
    assert answer.status_code == 403
