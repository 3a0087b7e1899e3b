"""`?wait=`: senders that can use an answer get the score and the owner of the lead."""

import asyncio
import hmac
import json
from datetime import timedelta
from typing import Any

import pytest

from firsthour.runtime.http.client import Response
from tests.story.sample_config import PHONE_SECRET
from tests.story.world import World

VENDOR: Any = {
    "id": "vendor",
    "kind": "webhook",
    "verify": {
        "scheme": "hmac-sha256",
        "header": "X-Signature",
        "encoding": "hex",
        "secrets": [{"file": "phone.secret"}],
    },
    "events": [{"type": "form.submitted", "email": "email", "data": {"form": "form", "company.employees": "size"}}],
}


async def ask(world: World, wait: str, role: str = "marketing", **event: Any) -> Response:
    """Post an event that waits, while the services work."""
    body = world.event_body("form.submitted", **{"email": "ann@customer.example", "form": "demo-request", **event})
    posted = asyncio.create_task(world.ask("POST", f"/v1/events?wait={wait}", role, body=body))
    while not posted.done():
        await asyncio.sleep(0.01)
        await world.settle()
    return await posted


async def hook(world: World, query: str, **more: Any) -> Response:
    """Deliver a webhook of a source with these fields."""
    await world.change("sources", {"sources": [{**VENDOR, **more}]})
    body = json.dumps({"email": "ann@customer.example", "form": "demo-request", "size": 100}).encode()
    headers = {
        "X-Signature": hmac.digest(PHONE_SECRET.encode(), body, "sha256").hex(),
        "Content-Type": "application/json",
    }
    posted = asyncio.create_task(world.http.post(f"/hooks/vendor{query}", content=body, headers=headers))
    while not posted.done():
        await asyncio.sleep(0.01)
        await world.settle()
    return await posted


@pytest.mark.both_profiles
async def test_answer_has_the_score_and_the_owner_of_the_lead(world: World) -> None:
    answer = await ask(world, "5", company={"employees": 100}, title="CTO")

    lead = await world.lead("ann@customer.example")
    assert (answer.status_code, answer.json()["lead_id"]) == (200, lead["id"])
    assert answer.json()["owner"] == lead["owner"]
    assert (answer.json()["score"], answer.json()["grade"]) == (lead["score"]["total"], lead["score"]["grade"])
    assert answer.json()["owner"]["email"].endswith("@acme.example")


@pytest.mark.both_profiles
async def test_known_lead_is_answered_with_the_score_after_the_event(world: World) -> None:
    first = await ask(world, "5")
    await world.wait(minutes=5)
    second = await ask(world, "5s", company={"employees": 100})
    assert second.json()["score"] > first.json()["score"]


@pytest.mark.both_profiles
async def test_effect_that_is_not_known_in_time_is_answered_202(world: World) -> None:
    with world.down("scoring"):
        answer = await ask(world, "0.3")
    assert (answer.status_code, set(answer.json())) == (202, {"ids"})
    await world.settle()
    assert await world.lead("ann@customer.example")


@pytest.mark.both_profiles
async def test_late_event_is_answered_with_its_effect(world: World) -> None:
    first = await ask(world, "5", company={"employees": 100})
    await world.wait(minutes=5)
    late = await ask(world, "5", form="newsletter", time=(world.clock.now - timedelta(days=30)).isoformat())
    assert (late.status_code, late.json()["lead_id"]) == (200, first.json()["lead_id"])


@pytest.mark.both_profiles
async def test_repeated_event_has_no_second_effect_and_is_answered_as_the_first(world: World) -> None:
    first = await ask(world, "5", id="again", company={"employees": 100})
    await world.wait(minutes=5)
    with world.down("scoring"):  # nothing more becomes known, so the answer is that of the first event
        repeated = await ask(world, "0", id="again", company={"employees": 100})
    assert (repeated.status_code, repeated.json()) == (200, first.json())
    assert (await world.lead("ann@customer.example"))["score"]["total"] == first.json()["score"]


@pytest.mark.both_profiles
async def test_event_that_is_repeated_before_its_effect_waits_for_it(world: World) -> None:
    await ask(world, "5", id="before", form="newsletter")
    await world.wait(minutes=5)
    with world.down("scoring"):
        first = await ask(world, "0", id="again", company={"employees": 100})
        await world.wait(minutes=5)
        repeated = await ask(world, "0", id="again", company={"employees": 100})
    assert (first.status_code, repeated.status_code) == (202, 202)
    assert (await ask(world, "5", id="again", company={"employees": 100})).status_code == 200


@pytest.mark.parametrize(
    ("wait", "role", "status"), [("5", "ingest", 403), ("soon", "marketing", 422), ("-1", "sales", 422)]
)
async def test_ingest_keys_and_malformed_times_are_refused_and_nothing_is_stored(
    world: World, wait: str, role: str, status: int
) -> None:
    """They are refused before any database is asked, so the profiles cannot differ."""
    assert (await ask(world, wait, role)).status_code == status
    assert (await world.get("/v1/leads"))["items"] == []


async def test_webhook_does_not_wait_where_its_source_does_not_answer(world: World) -> None:
    """Its lead is never looked up, so the profiles cannot differ."""
    answer = await hook(world, "?wait=5")
    assert (answer.status_code, set(answer.json())) == (202, {"ids"})


@pytest.mark.parametrize(
    "query", ["?wait=soon", "?wait=-1", "?" + "a=1&" * 50 + "wait=5"], ids=["text", "past", "many"]
)
async def test_delivery_with_a_malformed_time_is_stored_and_does_not_wait(world: World, query: str) -> None:
    """The time is read before any database is asked, so the profiles cannot differ."""
    answer = await hook(world, query, answers=True)
    assert (answer.status_code, set(answer.json())) == (202, {"ids"})
    assert (await world.lead("ann@customer.example"))["status"]


@pytest.mark.both_profiles
async def test_webhook_of_a_source_that_answers_gets_the_owner(world: World) -> None:
    answer = await hook(world, "?wait=5", answers=True, answer={"status": 204})
    assert answer.status_code == 200
    assert answer.json()["owner"]["id"] in {"ana", "bo", "cy"}


async def test_form_never_waits(world: World) -> None:
    """The query of a form is not read, so the profiles cannot differ."""
    answer = await world.http.post("/v1/forms/demo-request?wait=5", json={"email": "ann@customer.example"})
    assert (answer.status_code, set(answer.json())) == (202, {"ids"})
