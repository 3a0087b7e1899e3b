"""Deliveries that only name a lead: the lead is read from the vendor's API, outside any unit, until the API gives it."""

import hmac
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from firsthour.runtime.http.client import Response
from services.gateway.domain.fetch_outcomes import GIVE_UP_AFTER
from services.gateway.fetcher import Fetcher
from services.gateway.fetches import FETCHER
from tests.fakes.services import FakeService
from tests.story.conftest import OpenWorld
from tests.story.sample_config import PHONE_SECRET
from tests.story.world import World

pytestmark = pytest.mark.both_profiles
TOKEN = "EAAB-the-token-of-a-system-user"
EMAIL = "ann@prospect.example"


@pytest.fixture
async def graph(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[FakeService]:
    monkeypatch.setenv("FIRSTHOUR_WEBHOOK_PRIVATE_HOSTS", "127.0.0.1")
    async with FakeService(status=200) as service:
        yield service


def sources(graph: FakeService, **fetch: Any) -> dict[str, Any]:
    """Return Meta as the only source, whose API is the stand-in."""
    return {
        "sources": [
            {
                "id": "meta",
                "preset": "meta",
                "secrets": [{"file": "phone.secret"}],
                "handshake": {"kind": "hub", "token": {"file": "phone.secret"}},
                "fetch": {"base_url": f"{graph.url}/v21.0", "token": {"file": "meta.token"}, **fetch},
            }
        ]
    }


async def open_meta(open_world: OpenWorld, graph: FakeService, token: str = TOKEN) -> World:
    world = await open_world(sources=sources(graph))
    if token:
        (world.config / "meta.token").write_text(token)
    await world.wait(seconds=2)
    return world


def lead(email: str = EMAIL, name: str = "full_name") -> bytes:
    fields = [{"name": "email", "values": [email]}, {"name": name, "values": ["Ann Lee"]}]
    fields += [{"name": "company_name", "values": ["Acme"]}, {"name": "job_title", "values": ["CTO"]}]
    return json.dumps({"id": "901", "form_id": "77", "field_data": fields}).encode()


async def deliver(world: World, *ids: str) -> Response:
    value = {"created_time": 1796115540, "form_id": "demo-request"}
    changes = [{"field": "leadgen", "value": {"leadgen_id": id, **value}} for id in ids]
    body = json.dumps({"object": "page", "entry": [{"id": "1", "changes": changes}]}).encode()
    signature = hmac.digest(PHONE_SECRET.encode(), body, "sha256").hex()
    headers = {"X-Hub-Signature-256": f"sha256={signature}", "Content-Type": "application/json"}
    answer = await world.http.post("/hooks/meta", content=body, headers=headers)
    assert (answer.status_code, answer.text) == (200, "EVENT_RECEIVED")
    return answer


async def waiting(world: World) -> int:
    [[number]] = await world.rows("SELECT count(*) FROM gateway_fetches")
    return int(number)


async def letters(world: World) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = (await world.get("/v1/deadletters?source=meta"))["items"]
    return items


async def test_lead_that_is_only_named_is_read_from_the_api_and_owned(
    open_world: OpenWorld, graph: FakeService
) -> None:
    world = await open_meta(open_world, graph)
    graph.respond(200, lead())
    await deliver(world, "901")
    assert (graph.calls, await waiting(world)) == ([], 1)  # acknowledged before anything is fetched
    await world.settle()
    [call] = graph.calls
    assert call.target.startswith("/v21.0/901?fields=id,created_time,form_id")
    assert call.headers["authorization"] == f"Bearer {TOKEN}"
    assert await waiting(world) == 0
    assert await world.owner_of(EMAIL) in ("ana", "bo", "cy")
    [person] = await world.leads()
    assert person["email"] == EMAIL


async def test_repeated_delivery_of_a_lead_has_no_further_effect(open_world: OpenWorld, graph: FakeService) -> None:
    world = await open_meta(open_world, graph)
    graph.respond(200, lead(), times=2)
    await deliver(world, "901", "901")
    await deliver(world, "901")  # while it waits
    await world.settle()
    assert len(graph.calls) == 1
    await deliver(world, "901")  # once it is complete
    await world.settle()
    assert len(graph.calls) == 2
    [person] = await world.leads()
    [[number]] = await world.rows("SELECT count(*) FROM router_assignments")
    assert (person["email"], number) == (EMAIL, 1)


async def test_time_of_a_completed_event_is_that_of_the_thin_one(open_world: OpenWorld, graph: FakeService) -> None:
    world = await open_meta(open_world, graph)
    graph.respond(503)
    graph.respond(200, lead())
    await deliver(world, "901")
    await world.wait(minutes=5)
    [[submitted]] = await world.rows("SELECT submit_at FROM notifier_clocks")
    assert submitted == 1796115540 * 1_000_000


@pytest.mark.parametrize("refusal", ["slow", "rate", "fails", "broken", "limited"])
async def test_temporary_failure_of_the_api_is_retried(open_world: OpenWorld, graph: FakeService, refusal: str) -> None:
    world = await open_meta(open_world, graph)
    fetcher = world.system.runners[FETCHER]
    assert isinstance(fetcher, Fetcher)
    patience = fetcher.timeout_seconds
    match refusal:
        case "slow":
            graph.hang()
            fetcher.timeout_seconds = 0.5
        case "rate":
            graph.respond(429, retry_after="600")
        case "fails":
            graph.respond(500)
        case "broken":
            graph.respond(200, b'{"id": "901", "field_da')
        case _:  # a limit that Meta reports as a bad request
            graph.respond(400, b'{"error": {"code": 4, "message": "Application request limit reached"}}')
    graph.respond(200, lead())
    await deliver(world, "901")
    await world.settle()
    assert (len(graph.calls), await waiting(world)) == (1, 1)
    fetcher.timeout_seconds = patience
    if refusal == "rate":
        await world.wait(minutes=9, seconds=59)
        assert len(graph.calls) == 1
    await world.wait(seconds=5)
    assert (len(graph.calls), await waiting(world), await letters(world)) == (2, 0, [])
    assert [person["email"] for person in await world.leads()] == [EMAIL]


@pytest.mark.parametrize(
    ("status", "body", "headers", "remedy"),
    [
        (404, b"{}", {}, "check `fetch.path`"),
        (401, b"{}", {}, "renew the token"),
        (400, b'{"error": {"code": 190}}', {}, "check path, headers and token"),
        (302, b"{}", {"location": "http://127.0.0.1:1/other"}, "correct `fetch.base_url`"),
        (200, b'{"field_data": "%s"}' % (b"x" * 70_000), {}, "ask for fewer fields"),
    ],
)
async def test_final_refusal_becomes_a_dead_letter_that_can_be_retried(
    open_world: OpenWorld, graph: FakeService, status: int, body: bytes, headers: dict[str, Any], remedy: str
) -> None:
    world = await open_meta(open_world, graph)
    graph.respond(status, body, **headers)
    await deliver(world, "901")
    await world.settle()
    [letter] = await letters(world)
    assert remedy in letter["error"]
    assert (len(graph.calls), await waiting(world), await world.leads()) == (1, 0, [])
    graph.respond(200, lead())
    retried = await world.ask("POST", f"/v1/deadletters/{letter['id']}/retry")
    assert retried.status_code == 200, retried.text
    await world.settle()
    assert [person["email"] for person in await world.leads()] == [EMAIL]
    assert await letters(world) == []


async def test_answer_that_cannot_be_mapped_is_kept_and_needs_no_other_fetch(
    open_world: OpenWorld, graph: FakeService
) -> None:
    world = await open_meta(open_world, graph)
    graph.respond(200, b'{"field_data": [{"name": "correo_privado", "values": ["ann@prospect.example"]}]}')
    await deliver(world, "901")
    await world.settle()
    [letter] = await letters(world)
    assert "email" in letter["error"]
    changed = sources(graph)
    entry: dict[str, Any] = {"when": "_answer.field_data", "type": "form.submitted", "time": "_event.created_time"}
    entry |= {"email": "_answer.field_data[0].values[0]", "data": {"form": "_event.form_id"}}
    changed["sources"][0]["events"] = [entry]
    await world.change("sources", changed)
    assert (await world.ask("POST", "/v1/deadletters/retry?source=meta")).status_code == 200
    await world.settle()
    assert (len(graph.calls), [person["email"] for person in await world.leads()]) == (1, [EMAIL])


async def test_api_that_is_down_for_an_hour_is_probed_and_every_lead_arrives(
    open_world: OpenWorld, graph: FakeService
) -> None:
    world = await open_meta(open_world, graph)
    graph.status = 503
    await deliver(world, *(f"{number}" for number in range(901, 921)))
    await world.wait(hours=1)
    probes = len(graph.calls)
    assert (await waiting(world), await letters(world)) == (20, [])
    assert probes < 60  # not twenty times the tries of one lead
    graph.status = 200
    for number in range(20):
        graph.respond(200, lead(f"person{number}@prospect{number}.example"))
    await world.wait(minutes=20)
    assert (await waiting(world), len(await world.leads())) == (0, 20)


async def test_last_try_after_a_day_makes_a_dead_letter(open_world: OpenWorld, graph: FakeService) -> None:
    world = await open_meta(open_world, graph)
    graph.status = 500
    await deliver(world, "901")
    await world.wait(seconds=GIVE_UP_AFTER.total_seconds() - 1)
    assert await letters(world) == []
    await world.wait(minutes=30)
    [letter] = await letters(world)
    assert letter["error"].startswith("the API answered 500; it was tried for 24 hours")


async def test_process_that_ends_between_store_and_fetch_loses_no_lead(
    open_world: OpenWorld, graph: FakeService
) -> None:
    world = await open_meta(open_world, graph)
    graph.respond(200, lead())
    await deliver(world, "901")
    await world.restart()
    await world.settle()
    assert [person["email"] for person in await world.leads()] == [EMAIL]


async def test_claim_of_a_process_that_ended_is_taken_over(open_world: OpenWorld, graph: FakeService) -> None:
    world = await open_meta(open_world, graph)
    graph.respond(200, lead())
    await deliver(world, "901")
    claimed = int((world.clock.real().timestamp() + 30) * 1_000_000)
    await world.execute(f"UPDATE gateway_fetches SET tries = 1, next_at = {claimed}")
    await world.settle()
    assert graph.calls == []
    await world.wait(seconds=31)
    assert [person["email"] for person in await world.leads()] == [EMAIL]


async def test_missing_token_is_named_and_leads_wait_for_it(open_world: OpenWorld, graph: FakeService) -> None:
    world = await open_meta(open_world, graph, token="")
    graph.respond(200, lead())
    await deliver(world, "901")
    await world.wait(minutes=3)
    assert graph.calls == []
    warnings = (await world.get("/readyz"))["warnings"]
    assert any("the thin events of meta wait" in one and "meta.token" in one for one in warnings)
    [[error]] = await world.rows("SELECT error FROM gateway_fetches")
    assert "meta.token" in error
    (world.config / "meta.token").write_text(TOKEN)
    await world.wait(minutes=2)
    assert [person["email"] for person in await world.leads()] == [EMAIL]


async def test_changed_configuration_counts_for_leads_that_wait(open_world: OpenWorld, graph: FakeService) -> None:
    world = await open_meta(open_world, graph)
    graph.respond(503)
    await deliver(world, "901")
    await world.settle()
    graph.respond(200, lead())
    await world.change("sources", sources(graph, path="/leads/{leadgen_id}"))
    await world.wait(seconds=10)
    assert [call.target.partition("?")[0] for call in graph.calls] == ["/v21.0/901", "/v21.0/leads/901"]
    assert [person["email"] for person in await world.leads()] == [EMAIL]


async def test_leads_of_a_removed_source_become_dead_letters(open_world: OpenWorld, graph: FakeService) -> None:
    world = await open_meta(open_world, graph)
    graph.respond(503)
    await deliver(world, "901")
    await world.settle()
    other = {"id": "website", "kind": "form", "forms": ["demo-request"]}
    await world.change("sources", {"sources": [other]})
    await world.wait(minutes=2)
    [letter] = await letters(world)
    assert "no longer names this source" in letter["error"]
    refused = await world.ask("POST", f"/v1/deadletters/{letter['id']}/retry")
    assert refused.status_code == 409
    graph.respond(200, lead())
    await world.change("sources", sources(graph))
    assert (await world.ask("POST", f"/v1/deadletters/{letter['id']}/retry")).status_code == 200
    await world.settle()
    assert [person["email"] for person in await world.leads()] == [EMAIL]
