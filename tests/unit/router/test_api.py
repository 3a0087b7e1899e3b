"""The router over HTTP: answers, and problems with a remedy."""

from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from firsthour.runtime.http.app import create_app
from firsthour.runtime.http.auth import Keys
from firsthour.runtime.http.client import ASGITransport, AsyncClient
from firsthour.runtime.observability.metrics import Telemetry
from firsthour.runtime.settings import Settings
from services.router.api import router
from tests.unit.router.harness import RouterHarness


def readiness() -> Any:
    return None


@pytest.fixture
async def client(harness: RouterHarness) -> AsyncIterator[AsyncClient]:
    async def reads(work: Any) -> Any:
        return harness.run_unit(lambda unit: work(unit.connection))

    async def run(work: Any) -> Any:
        return harness.run_unit(work)

    resources = SimpleNamespace(
        settings=Settings(),
        reads=reads,
        units=SimpleNamespace(run=run),
        config=SimpleNamespace(current=harness.config),
        clock=harness.clock,
    )
    app = create_app(
        title="t", routers=[router(cast(Any, resources))], telemetry=Telemetry(), ready=readiness, clock=harness.clock
    )
    app.state.keys = Keys(harness.clock, "secret")
    headers = {"authorization": "Bearer secret"}
    async with AsyncClient(transport=ASGITransport(app), base_url="http://here", headers=headers) as http_client:
        yield http_client


async def test_owner_accepts_touches_and_recycles_a_lead(harness: RouterHarness, client: AsyncClient) -> None:
    harness.submit_form("l1")
    answer = (await client.post("/v1/leads/l1/accept")).json()
    assert answer == {"id": "l1", "status": "accepted", "owner": "ana", "epoch": 1, "touched_at": None}
    answer = (await client.post("/v1/leads/l1/touch", json={"channel": "phone", "answered": True})).json()
    assert answer["status"] == "working"
    assert answer["touched_at"] == "2026-12-01T09:00:00Z"
    answer = (await client.post("/v1/leads/l1/recycle", json={"reason": "stalled"})).json()
    assert (answer["status"], answer["owner"]) == ("nurturing", None)


async def test_problem_gives_times_in_the_format_of_answers(harness: RouterHarness, client: AsyncClient) -> None:
    harness.submit_form("l1")
    await client.post("/v1/leads/l1/touch", json={"channel": "phone", "answered": True})
    refused = await client.post("/v1/leads/l1/reject", json={"reason": "bored"})
    assert refused.status_code == 409
    assert refused.json()["lead"]["touched_at"] == "2026-12-01T09:00:00Z"


@pytest.mark.parametrize(
    ("path", "body", "status", "text"),
    [
        ("/v1/leads/unknown/accept", None, 404, "unknown"),
        ("/v1/leads/l1/reject", {"reason": "bored"}, 422, "not-now"),
        ("/v1/leads/l1/reject", {}, 422, "reason"),
        ("/v1/leads/l1/recycle", {"reason": "stalled"}, 409, "accepted (by owner)"),
        ("/v1/leads/l1/assign", {"rep": "zoe"}, 422, "cy"),
        ("/v1/reps/zoe/availability", {"available": False}, 404, "cy"),
        ("/v1/reps/ana/availability", {"available": False, "until": "2020-01-01T00:00:00Z"}, 422, "past"),
    ],
)
async def test_refused_command_is_a_problem_with_a_remedy(
    harness: RouterHarness, client: AsyncClient, path: str, body: Any, status: int, text: str
) -> None:
    harness.submit_form("l1")
    answer = await client.post(path, json=body)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert text in answer.text


async def test_reps_and_pools_are_listed_with_load_state_and_share(harness: RouterHarness, client: AsyncClient) -> None:
    harness.submit_form("l1")
    await client.post("/v1/reps/bo/availability", json={"available": False, "until": "2026-12-02T00:00:00Z"})
    reps = {rep["id"]: rep for rep in (await client.get("/v1/reps")).json()["items"]}
    assert (reps["ana"]["open"], reps["ana"]["state"], reps["ana"]["pools"]) == (1, "available", ["all"])
    assert (reps["bo"]["state"], reps["bo"]["until"]) == ("away", "2026-12-02T00:00:00Z")
    (pool,) = (await client.get("/v1/pools")).json()["items"]
    assert [member["share"] for member in pool["members"]] == [0.3333] * 3


async def test_decision_is_returned_with_inputs_and_reasons(harness: RouterHarness, client: AsyncClient) -> None:
    harness.submit_form("l1")
    (decision,) = (await client.get("/v1/leads/l1/decisions")).json()["items"]
    assert set(decision) == {
        "id", "epoch", "at", "agreement", "rule", "pool", "chosen", "why", "rules", "considered", "inputs",
    }  # fmt: skip
    assert (decision["chosen"], decision["why"]) == ("ana", "next in turn in all: 3 of 3 could take the lead")
    assert (await client.get("/v1/leads/unknown/decisions")).status_code == 404
