"""Bursts of requests that webhooks and SDKs pass on: counted by mail domain, and by the client that the sender states."""

import json
from typing import Any, Final

import pytest

from services.gateway.bursts import BURST_MIN, UNKNOWN_MIN
from tests.story.conftest import OpenWorld
from tests.story.test_bursts import ROBOT, TEAM, TELL, bursts, owned
from tests.story.world import World

pytestmark = pytest.mark.both_profiles

SOURCES: Final[Any] = {
    "sources": [
        {"id": "website", "kind": "form", "forms": ["demo-request"]},
        {
            "id": "phone",
            "kind": "webhook",
            "verify": {"scheme": "hmac-sha256", "header": "X-Signature", "secrets": [{"file": "phone.secret"}]},
            "events": [
                {
                    "when": "kind == 'lead'",
                    "type": "form.submitted",
                    "id": "id",
                    "email": "email",
                    "client": "from",
                    "data": {"form": "'demo-request'"},
                },
                {"when": "kind == 'seen'", "type": "page.viewed", "id": "id", "email": "email"},
            ],
        },
    ]
}


async def deliver(world: World, number: int, *, kind: str = "lead", **fields: Any) -> None:
    """Send one delivery with this number of items for one mail domain."""
    items = [{"id": f"{kind}{n}", "kind": kind, "email": f"p{n}@flood.example", **fields} for n in range(number)]
    answer = await world.hook("phone", json.dumps(items).encode())
    assert answer.status_code == 202, answer.text
    await world.settle()


async def test_requests_of_a_webhook_for_one_mail_domain_are_held_back(open_world: OpenWorld) -> None:
    world = await open_world(team=TEAM, agreement=TELL, sources=SOURCES)
    await deliver(world, UNKNOWN_MIN + 3)
    [burst] = await bursts(world)
    assert (burst["of"], burst["source"], burst["leads"]) == ("mail domain flood.example", "phone", 3)
    assert await owned(world, "p0@flood.example", f"p{UNKNOWN_MIN + 2}@flood.example") == [True, False]


async def test_client_that_the_vendor_states_is_counted_and_not_stored(open_world: OpenWorld) -> None:
    world = await open_world(team=TEAM, agreement=TELL, sources=SOURCES)
    await deliver(world, BURST_MIN + 2, **{"from": ROBOT})
    assert ("client 198.51.100.x", 2) in [(burst["of"], burst["leads"]) for burst in await bursts(world)]
    for table in ("router_leads", "scoring_profiles"):
        assert ROBOT not in str(await world.rows(f"SELECT state FROM {table}"))
    assert ROBOT not in str(await world.lead_items("p0@flood.example", "timeline"))


async def test_events_that_ask_for_no_contact_are_no_burst(open_world: OpenWorld) -> None:
    world = await open_world(team=TEAM, agreement=TELL, sources=SOURCES)
    await deliver(world, 60, kind="seen")
    await deliver(world, 1)
    assert await bursts(world) == []
    assert await owned(world, "p0@flood.example") == [True]


async def test_calls_of_an_sdk_are_held_back_by_the_address_in_their_context(open_world: OpenWorld) -> None:
    world = await open_world(team=TEAM, agreement=TELL, sources=SOURCES)
    calls: list[dict[str, Any]] = [
        {
            "type": "track",
            "event": "Form Submitted",
            "messageId": f"m{n}",
            "userId": f"p{n}@d{n}.example",
            "context": {"ip": ROBOT},
        }
        for n in range(BURST_MIN + 2)
    ]
    answer = await world.ask("POST", "/v1/batch", "ingest", body={"batch": calls})
    assert answer.json() == {"success": True}
    await world.settle()
    assert await bursts(world) == []  # the agreement's lines want another form

    await world.change("agreement", {"qualify": [{"name": "any", "urgency": "hot", "on": "form.submitted"}]})
    for call in calls:
        call["messageId"] += "b"
    await world.ask("POST", "/v1/batch", "ingest", body={"batch": calls})
    await world.settle()
    assert [(burst["of"], burst["leads"]) for burst in await bursts(world)] == [("client 198.51.100.x", 2)]
