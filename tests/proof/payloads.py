"""Sends every published body of vendors over HTTP to a running installation, and prints a table of their meaning.

`python -m tests.proof.payloads` reads `../shared/payloads`. Each body comes to a new installation, at the time that it states.
"""

import asyncio
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

from structlog.testing import capture_logs

from firsthour.runtime.http.client import AsyncClient, Response
from firsthour.runtime.http.connection_limits import Limits
from firsthour.runtime.http.middleware import App, Receive, Scope, Send
from firsthour.runtime.http.server import StopSignal, listen, port_of, serve
from firsthour.runtime.storage.packing import unpacked
from schemas.envelope import decode, event_of
from schemas.events.outside import ExternalEvent
from tests.fakes.services import FakeService
from tests.hand_clock import HandClock
from tests.proof.published_bodies import PAYLOADS, PublishedBody, bodies
from tests.story.world import World

REWRITTEN: Final = "/webhook_uri"
"""A path that a proxy rewrites: the signature of HubSpot covers the address that HubSpot calls."""
_OWN: Final[Mapping[str, Any]] = {
    "id": "vendor",
    "kind": "webhook",
    "verify": {"scheme": "header", "header": "X-FirstHour-Key", "secrets": [{"file": "vendor.secret"}]},
    "events": [{"type": "form.submitted", "id": "first_filled(facebook_lead_id[0])", "form_fields": "@"}],
}
"""A source by mapping alone, for lead ads that another tool forwards."""
_FETCHED: Final = {
    "hubspot": b'{"id": "1", "properties": {"email": "ann@hubspot.example", "firstname": "Ann", "numemployees": "500"}}',
    "meta": b'{"id": "1", "field_data": [{"name": "email", "values": ["ann@meta.example"]}]}',
}
"""The answers of the APIs from which thin events are read."""


@dataclass(frozen=True)
class BodyOutcome:
    """What became of a body. `faults`: of dead letters, the newest first; `answer`: status and body of the answer."""

    answer: tuple[int, str]
    events: tuple[tuple[str, ExternalEvent], ...]
    faults: tuple[str, ...]

    @property
    def verdict(self) -> str:
        """Return one word for the outcome."""
        if self.answer[0] >= 300:
            return "refused"
        return "accepted" if self.events else "kept" if self.faults else "answered"


class PublishedWorld(World):
    """An installation with the public address that a body needs."""

    public_url = "https://leads.example"

    @property
    def _settings(self) -> dict[str, Any]:
        return {**super()._settings, "public_url": self.public_url}


async def outcome_of(body: PublishedBody) -> BodyOutcome:
    """Send the body to a new installation, and return what became of it."""
    clock = HandClock(body.at)
    with tempfile.TemporaryDirectory() as directory, capture_logs(), _private_host():
        async with FakeService(200) as api:
            api.respond(200, _FETCHED.get(body.preset, b"{}"), times=100)
            world = PublishedWorld(Path(directory), clock, channel_names=("inbox",))
            world.public_url = body.public_url
            ladder = {"response": {"ladder": [{"at": "0m", "page": "owner", "by": ["inbox"]}]}}
            world.config.mkdir(parents=True)
            (world.config / "vendor.secret").write_text(body.secret)
            await world.open(agreement=ladder, sources={"sources": [_source(body, api)] if body.preset else []})
            async with world:
                return await _sent(world, body)


async def _sent(world: World, body: PublishedBody) -> BodyOutcome:
    headers = {"Content-Type": body.media, **body.headers, **body.sign(body.body, world.clock)}
    if body.key:
        headers["Authorization"] = f"Bearer {await world.key('ingest')}"
    async with _serving(world.system.app) as url, AsyncClient(base_url=url) as client:
        answer = await client.post(body.path, content=body.body, headers=headers)
    await world.wait(seconds=5)
    return BodyOutcome((answer.status_code, _shown(answer)), await _events(world), await _faults(world))


def _source(body: PublishedBody, api: FakeService) -> Mapping[str, Any]:
    if body.preset == "zapier":
        return _OWN
    source: dict[str, Any] = {"id": "vendor", "preset": body.preset, "secrets": [{"file": "vendor.secret"}]}
    if body.preset in _FETCHED:
        source["fetch"] = {"base_url": api.url, "token": {"file": "vendor.secret"}}
    if body.preset == "meta":
        source["handshake"] = {"kind": "hub", "token": {"file": "vendor.secret"}}
    return source


def _shown(answer: Response) -> str:
    problem = answer.headers.get("content-type", "").startswith("application/problem+json")
    return str(answer.json().get("detail", "")) if problem else answer.text[:80]


async def _events(world: World) -> tuple[tuple[str, ExternalEvent], ...]:
    rows = await world.rows("SELECT body FROM log WHERE topic = 'events' ORDER BY id")
    events = []
    for [raw] in rows:
        envelope = decode(unpacked(bytes(raw)))
        event = event_of(envelope)
        assert isinstance(event, ExternalEvent)
        events.append((envelope.type, event))
    return tuple(events)


async def _faults(world: World) -> tuple[str, ...]:
    letters = [*(await world.get("/v1/deadletters"))["items"]]
    letters += (await world.get("/v1/deadletters?state=unmatched"))["items"]
    return tuple(str(letter["error"]) for letter in letters)


@contextmanager
def _private_host() -> Iterator[None]:
    with patch.dict(os.environ, {"FIRSTHOUR_WEBHOOK_PRIVATE_HOSTS": "127.0.0.1"}):
        yield


@asynccontextmanager
async def _serving(app: App) -> AsyncIterator[str]:
    """Serve the application behind a proxy that rewrites one path, and return its address."""

    async def rewritten(scope: Scope, receive: Receive, send: Send) -> None:
        await app({**scope, "path": "/hooks/vendor"} if scope.get("path") == REWRITTEN else scope, receive, send)

    stop, started = StopSignal(), asyncio.Event()

    async def answering() -> None:
        started.set()

    bound = listen("127.0.0.1", 0)
    serving = asyncio.create_task(serve(rewritten, bound, stop, answering, Limits()))
    await started.wait()
    try:
        yield f"http://127.0.0.1:{port_of(bound)}"
    finally:
        stop.ask()
        stop.ask()
        await serving


def row(body: PublishedBody, outcome: BodyOutcome) -> str:
    """Return a line of the table."""
    through = body.preset or body.path
    meaning = "; ".join(f"{type}: {_person(event)}" for type, event in outcome.events)
    reason = "; ".join(dict.fromkeys(outcome.faults)) or (outcome.answer[1] if not outcome.events else "")
    texts = (body.file, through, f"{outcome.verdict} {outcome.answer[0]}", meaning or reason)
    if meaning and outcome.faults:
        texts = (*texts[:3], f"{meaning}; kept: {reason}")
    return "| " + " | ".join(text.replace("|", "\\|").replace("\n", " ") for text in texts) + " |"


def _person(event: ExternalEvent) -> str:
    ids = {name: getattr(event, name) for name in ("email", "phone", "crm_id", "anonymous_id")}
    facts = {**{k: v for k, v in ids.items() if v}, **event.person, **event.fields}
    return ", ".join(f"{name}={value}" for name, value in facts.items())


async def main() -> int:
    """Print the table."""
    if not PAYLOADS.is_dir():
        print(f"The published bodies are not at {PAYLOADS}.")
        return 2
    print("| file | through | answer | meaning or reason |\n|---|---|---|---|")
    for body in bodies():
        print(row(body, await outcome_of(body)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
