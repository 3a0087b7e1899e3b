"""What viewers see without loading a page again: the stream of leads, and the parts of pages that change."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from services.console import live
from services.console.routes.now import REGIONS
from services.reporting import stream as stream_of_leads
from tests.story.test_console import CTO, csrf_in, signed_in
from tests.story.world import World


class OpenStream:
    """An answer that stays open."""

    def __init__(self) -> None:
        self.status = 0
        self.text = ""
        self.ended = asyncio.Event()
        self._gone, self._more = asyncio.Event(), asyncio.Event()

    async def receive(self) -> dict[str, Any]:
        if self.status == 0 and not self._more.is_set():
            self._more.set()
            return {"type": "http.request", "body": b"", "more_body": False}
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        self.text += message.get("body", b"").decode()
        if message["type"] == "http.response.body" and not message.get("more_body"):
            self.ended.set()
        self._more.set()

    def leave(self) -> None:
        self._gone.set()

    def events(self) -> list[tuple[str, str, Any]]:
        """Return name, id and data of each event so far."""
        found = []
        for block in self.text.split("\n\n"):
            fields = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line)
            if "data" in fields:
                found.append((fields.get("event", ""), fields.get("id", ""), json.loads(fields["data"])))
        return found

    async def until(self, condition: Callable[[list[tuple[str, str, Any]]], bool]) -> list[tuple[str, str, Any]]:
        """Return the events once they meet the condition."""
        async with asyncio.timeout(20):
            while not condition(self.events()):
                self._more.clear()
                await self._more.wait()
        return self.events()


@asynccontextmanager
async def streaming(world: World, path: str, **headers: str) -> AsyncIterator[OpenStream]:
    """Open a stream as a client over a socket would, for the time of the context."""
    stream = OpenStream()
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    scope: dict[str, Any] = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": raw,
        "client": ("127.0.0.1", 1),
        "server": ("firsthour.test", 80),
    }

    async def answer() -> None:
        await world.system.app(scope, stream.receive, stream.send)

    task = asyncio.create_task(answer())
    try:
        yield stream
    finally:
        stream.leave()
        await task


async def key_header(world: World, role: str = "marketing") -> str:
    return f"Bearer {await world.key(role)}"


async def test_stream_names_what_happens_to_leads(world: World) -> None:
    async with streaming(world, "/v1/stream", authorization=await key_header(world)) as stream:
        await stream.until(lambda _: "retry" in stream.text)
        await world.submit_form(email=CTO)
        lead = (await world.lead(CTO))["id"]
        events = await stream.until(lambda events: any(data["type"] == "page.sent" for *_, data in events))
    types = [data["type"] for name, _, data in events if name == "lead"]
    assert {"lead.scored", "lead.qualified", "lead.assigned", "page.sent"} <= set(types)
    assert {data["lead"] for *_, data in events} == {lead}
    assert len({id for _, id, _ in events}) == len(events)


async def test_stream_goes_on_after_the_last_event_that_arrived(world: World) -> None:
    header = await key_header(world)
    async with streaming(world, "/v1/stream", authorization=header) as stream:
        await world.submit_form(email=CTO)
        events = await stream.until(lambda events: bool(events))
    last = events[-1][1]
    await world.submit_form(email="ceo@other.example")
    other = (await world.lead("ceo@other.example"))["id"]
    async with streaming(world, "/v1/stream", authorization=header, last_event_id=last) as stream:
        again = await stream.until(lambda events: any(data.get("lead") == other for *_, data in events))
    assert last not in {id for _, id, _ in again}


async def test_unreadable_last_event_id_starts_anew(world: World) -> None:
    async with streaming(
        world, "/v1/stream", authorization=await key_header(world), last_event_id="no such id"
    ) as stream:
        events = await stream.until(bool)
    assert events[0][0] == "reset"


async def test_stream_is_refused_without_a_key_that_may_read(world: World) -> None:
    async with streaming(world, "/v1/stream") as stream:
        await stream.until(lambda _: stream.status == 401)
    async with streaming(world, "/v1/stream", authorization=await key_header(world, "ingest")) as stream:
        await stream.until(lambda _: stream.status == 403)


async def test_open_stream_ends_after_its_key_is_revoked(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_of_leads, "HEARTBEAT_SECONDS", 0.0)
    header = await key_header(world)
    (key,) = (await world.get("/v1/keys"))["items"]
    async with streaming(world, "/v1/stream", authorization=header) as stream:
        await stream.until(lambda _: "retry" in stream.text)
        assert (await world.ask("DELETE", f"/v1/keys/{key['id']}")).status_code == 200
        await world.submit_form(email=CTO)
        async with asyncio.timeout(20):
            await stream.ended.wait()


async def test_two_viewers_see_a_new_lead_without_loading_the_page(world: World) -> None:
    cookies = [(await signed_in(world, "manager")).cookies["firsthour"] for _ in range(2)]
    async with (
        streaming(world, "/console/now/stream", cookie=f"firsthour={cookies[0]}") as one,
        streaming(world, "/console/now/stream", cookie=f"firsthour={cookies[1]}") as other,
    ):
        (first,) = await one.until(bool)
        assert first[2].keys() == set(REGIONS)
        await world.submit_form(email=CTO, name="Cora <b>Tan</b>")
        for viewer in (one, other):
            events = await viewer.until(lambda events: "Cora" in json.dumps(events[-1][2]))
            assert "Cora &lt;b&gt;Tan" in events[-1][2]["newest"]


async def test_stream_of_a_page_ends_with_the_session(world: World) -> None:
    browser = await signed_in(world, "manager")
    page = await browser.get("/console/now")
    async with streaming(world, "/console/now/stream", cookie=f"firsthour={browser.cookies['firsthour']}") as stream:
        await stream.until(bool)
    await browser.post("/console/sign-out", {"csrf": csrf_in(page)})
    async with streaming(
        world, "/console/now/stream", cookie=f"firsthour={browser.cookies['firsthour']}", sec_fetch_mode="cors"
    ) as stream:
        await stream.until(lambda _: stream.status == 401)


async def test_open_stream_ends_after_signing_out_while_leads_arrive(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "HEARTBEAT_SECONDS", 0.0)
    browser = await signed_in(world, "manager")
    page = await browser.get("/console/now")
    async with streaming(world, "/console/now/stream", cookie=f"firsthour={browser.cookies['firsthour']}") as stream:
        await stream.until(bool)
        await browser.post("/console/sign-out", {"csrf": csrf_in(page)})
        await world.submit_form(email=CTO)
        events = await stream.until(lambda events: events[-1][0] == "ended")
    assert events[-1][0] == "ended"


async def test_own_leads_of_a_rep_change_by_themselves(world: World) -> None:
    browser = await signed_in(world, "sales", "ana")
    async with streaming(world, "/console/mine/stream", cookie=f"firsthour={browser.cookies['firsthour']}") as stream:
        await stream.until(bool)
        for number in range(3):
            await world.submit_form(email=f"person@firm-{number}.example", name=f"Person {number}")
        events = await stream.until(lambda events: "Person" in events[-1][2]["mine"])
    assert "/touch" in events[-1][2]["mine"]
