"""`GET /v1/pages`: the listing of pages."""

from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any, cast

import pytest
from fastapi import FastAPI

from firsthour.runtime.http.auth import Keys
from firsthour.runtime.http.client import ASGITransport, AsyncClient
from firsthour.runtime.http.problem import Problem
from services.notifier.api import router
from services.notifier.channels.base import GiveUp
from tests.unit.notifier.harness import CONFIG, NotifierHarness


@pytest.fixture
async def client(harness: NotifierHarness) -> AsyncIterator[AsyncClient]:
    async def reads(work: Any) -> Any:
        return harness.units.now(lambda unit: work(unit.connection))

    app = FastAPI()
    app.state.keys = Keys(harness.clock, "secret")
    app.include_router(router(cast(Any, SimpleNamespace(reads=reads, config=SimpleNamespace(current=CONFIG)))))
    headers = {"authorization": "Bearer secret"}
    async with AsyncClient(transport=ASGITransport(app), base_url="http://here", headers=headers) as api_client:
        yield api_client


async def test_pages_are_listed_newest_first_with_their_outcome(harness: NotifierHarness, client: AsyncClient) -> None:
    harness.slack.answers = [GiveUp("no such user")]
    harness.hear(harness.qualified(), harness.assigned())
    await harness.settle()
    await harness.wait(minutes=10)
    answer = (await client.get("/v1/pages?lead=l1")).json()
    assert [(p["rung"], p["channel"], p["state"], p["tries"]) for p in answer["items"]] == [
        (1, "slack", "sent", 1),
        (0, "email", "sent", 2),
    ]
    assert answer["items"][1]["text"] == "Hot lead: write to Ada by 10:00 UTC"
    assert answer["items"][1]["facts"]["Email"] == "ada@x.example"
    assert answer["items"][1]["sections"]["todo"]
    assert answer["items"][1]["person"] == "ana"
    assert answer["next"] is None


async def test_long_list_continues_at_its_cursor(harness: NotifierHarness, client: AsyncClient) -> None:
    for n in range(5):
        harness.hear(harness.qualified(f"l{n}"), harness.assigned(f"l{n}"))
    seen: list[str] = []
    cursor = ""
    while True:
        answer = (await client.get(f"/v1/pages?limit=2{cursor}")).json()
        seen += [page["id"] for page in answer["items"]]
        if answer["next"] is None:
            break
        cursor = f"&cursor={answer['next']}"
    assert len(seen) == len(set(seen)) == 5


async def test_invalid_cursor_is_rejected(client: AsyncClient) -> None:
    with pytest.raises(Problem) as problem:
        await client.get("/v1/pages?cursor=nonsense")
    assert problem.value.status == 422
