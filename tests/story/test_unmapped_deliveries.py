"""Marketing is told of deliveries that were accepted and could not be mapped: once an hour, with what to do."""

import json
from typing import Any

import pytest

from tests.story.conftest import OpenWorld
from tests.story.world import World

pytestmark = pytest.mark.both_profiles
TELL = {"tell": {"marketing": {"by": "email", "email": "mops@acme.example"}}}


async def call(world: World, *uuids: str, minutes: float = 0.0) -> None:
    """Deliver calls without a person, then let this time pass."""
    for uuid in uuids:
        body = {"kind": "call.ended", "uuid": uuid, "ended_at": "2026-12-01T09:00:00Z", "customer": {}, "duration": 9}
        assert (await world.hook("phone", json.dumps(body).encode())).status_code == 202
    await world.wait(minutes=minutes)


async def notices(world: World) -> list[dict[str, Any]]:
    items = (await world.get("/v1/notices"))["items"]
    return [one for one in items if one["team"] == "marketing"]


async def test_marketing_is_told_once_an_hour_of_deliveries_that_cannot_be_mapped(open_world: OpenWorld) -> None:
    world = await open_world(agreement=TELL)
    await call(world, "1", "2", "3", minutes=2)
    [notice] = await notices(world)
    assert notice["subject"].startswith("Audit: 3 deliveries of the source phone could not be mapped since 09:00 UTC")
    first, listed, retried, *_ = notice["lines"]
    assert first.startswith("The first error: ")
    assert "email" in first
    assert listed == "List them: firsthour deadletters list --source phone"
    assert retried == "Retry them: firsthour deadletters retry --source phone --all"
    for uuid in ("4", "5", "6"):
        await call(world, uuid, minutes=19)
    assert len(await notices(world)) == 1
    await call(world, minutes=4)
    newest, _ = await notices(world)
    assert newest["subject"].startswith("Audit: 3 deliveries of the source phone could not be mapped since 09:02 UTC")
    assert world.mail_recipients[0] == "mops"


async def test_marketing_is_not_told_of_rejected_forms_and_unmatched_deliveries(open_world: OpenWorld) -> None:
    world = await open_world(agreement=TELL)
    await world.post_form("demo-request", email="nobody")
    await world.post_events({"id": "1", "type": "nonsense"})
    assert (await world.hook("phone", b'{"kind": "call.started"}')).status_code == 202
    await world.wait(minutes=2)
    assert await notices(world) == []
    [letter] = (await world.get("/v1/deadletters?state=unmatched&source=phone"))["items"]
    retried = await world.ask("POST", "/v1/deadletters/retry?source=phone&state=unmatched")
    assert (retried.json()["failed"], retried.json()["errors"][0]["id"]) == (1, letter["id"])
    assert (await world.ask("POST", f"/v1/deadletters/{letter['id']}/drop")).json()["state"] == "dropped"


async def test_end_of_deliveries_that_cannot_be_mapped_is_not_told(open_world: OpenWorld) -> None:
    world = await open_world(agreement=TELL)
    await call(world, "1", minutes=2)
    assert any("of the source phone" in line for line in (await world.get("/readyz"))["warnings"])
    await world.wait(minutes=62)
    await world.wait(minutes=2)
    assert (len(await notices(world)), (await world.get("/readyz"))["warnings"]) == (1, [])
    await call(world, "2", minutes=2)
    assert len(await notices(world)) == 2
