"""A batch of ten leads needs as many statements as a batch of five hundred."""

import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from firsthour.bootstrap.distributed import Distributed
from firsthour.runtime.processing.service import Handler
from firsthour.runtime.storage import statements as db
from firsthour.runtime.storage.records import Record
from firsthour.runtime.storage.unit import Unit
from schemas import topics
from services.notifier.channels.base import Sent
from services.notifier.claiming import ClaimResult, claim
from services.notifier.context import NotifierContext
from services.notifier.recording import SendResult, record
from tests.backends import Backends
from tests.contract.systems import OpenedSystem, opened
from tests.story import sample_config

T = TypeVar("T")
FEW, MANY = 10, 500
SENT_AT_ONCE = 100
TOPICS = (topics.EVENTS, topics.LEADS, topics.ROUTES, topics.PAGES, topics.ACTIONS)


class CountingConnection(db.DriverConnection):
    """A connection of a unit that records statements."""

    def __init__(self, inner: db.DriverConnection) -> None:
        self.inner, self.dialect = inner, inner.dialect
        self.texts: list[str] = []

    def rows(self, text: str, bound: Sequence[Any]) -> Sequence[Any]:
        self.texts.append(text)
        return self.inner.rows(text, bound)

    def changed(self, text: str, bound: Sequence[Any]) -> int:
        self.texts.append(text)
        return self.inner.changed(text, bound)


@dataclass
class CountedRun:
    """Leads pass all services, as one batch per service. The statements of each unit are counted."""

    world: OpenedSystem
    system: Distributed
    counted: dict[str, int] = field(default_factory=dict)
    sent: dict[str, list[list[str]]] = field(default_factory=dict)
    _read: dict[str, dict[int, int]] = field(default_factory=dict)

    async def unit(self, name: str, work: Callable[[Unit], T]) -> T:
        """Run a unit, count its statements, then publish."""

        def counted(unit: Unit) -> tuple[T, CountingConnection]:
            inner: Any = unit.connection
            counting: Any = CountingConnection(inner)
            unit.connection = counting
            return work(unit), counting

        result, counting = await self.system.units.run(counted)
        self.counted[name] = max(self.counted.get(name, 0), len(counting.texts))
        self.sent.setdefault(name, []).append(counting.texts)
        await self.system.publisher.step()
        return result

    async def post(self, leads: int) -> None:
        """Post demo requests of this number of people."""
        for begin in range(0, leads, SENT_AT_ONCE):
            await self.send([event(n) for n in range(begin, min(begin + SENT_AT_ONCE, leads))])

    async def send(self, events: Sequence[Mapping[str, Any]]) -> None:
        """Post these events in one request."""
        answer = await self.world.client.post("/v1/events", content=json.dumps(events), headers=JSON)
        assert answer.status_code == 202, answer.text

    async def hear(self, service: str, topic: str) -> int:
        """Let the service handle all new records of the topic in one unit. Return their number."""
        handler: Handler = next(one for one in self.system.services if one.name == service).hears[topic]
        batch = await self.records(service, topic)
        assert batch, (service, topic)
        await self.unit(f"{service} hears {topic}", lambda unit: handler(batch, unit))
        return len(batch)

    async def records(self, service: str, topic: str) -> Sequence[Record]:
        """Return the records that this service has not read yet."""
        assert self.world.place is not None
        log = next(one for one in self.system.logs if one.service == service)
        begins = {n: at for (name, n), at in self.world.place.first_positions.items() if name == topic}
        at = self._read.setdefault(f"{service} {topic}", begins)
        records: list[Record] = []
        for partition in at:
            while at[partition] < await log.end(topic, partition):
                await log.ready(topic, partition, at[partition])
                records += await log.fetch(topic, partition, at[partition], 10 * MANY)
                at[partition] = records[-1].position
        return records


JSON = {"content-type": "application/json"}


def event(n: int) -> dict[str, Any]:
    return {"id": str(n), "type": "form.submitted", "email": f"p{n}@prospect.example", "data": {"form": "demo-request"}}


@asynccontextmanager
async def life(backends: Backends, directory: Path) -> AsyncIterator[CountedRun]:
    for name in sample_config.TEXTS:
        sample_config.write(directory / "config", name)
    async with opened(directory / "data", backends, config=directory / "config") as world:
        assert isinstance(world.system, Distributed)
        yield CountedRun(world, world.system)


async def statements(backends: Backends, directory: Path, leads: int) -> dict[str, int]:
    """Return the number of statements of each kind of unit, for a batch of this number of leads."""
    async with life(backends, directory) as run:
        await road(run, leads)
        return run.counted


async def road(run: CountedRun, leads: int) -> None:
    """Let this number of leads pass all services."""
    await run.post(leads)
    assert await run.hear("scoring", topics.EVENTS) == leads
    assert await run.hear("router", topics.LEADS) == leads
    assert await run.hear("notifier", topics.ROUTES) >= leads
    await walk(run, leads)
    assert await run.hear("router", topics.ACTIONS) == leads
    assert await run.hear("scoring", topics.ROUTES) >= leads
    for topic in TOPICS:
        assert await run.hear("reporting", topic) > 0


async def walk(run: CountedRun, leads: int) -> None:
    """Fire every rung and deliver its pages. The last rung changes the owner."""
    desk, clock = NotifierContext(("slack", "email")), run.world.clock
    fire = next(one for one in run.system.services if one.name == "notifier").ticks[0].run
    clock.advance(minutes=31)  # the leases of the first claims have ended
    for _ in range(4):
        claimed = ClaimResult(more=True)
        while claimed.more or claimed.next_at is not None:
            claimed = await run.unit("claim", lambda unit: claim(unit, desk, leads))
            results = [SendResult(page_claim, Sent("id"), clock.now, clock.now) for page_claim in claimed.claims]
            await run.unit("record", partial(record, results=results, jitter=lambda: 0.0, context=desk))
            clock.advance(seconds=1)
        clock.advance(minutes=11)
        while await run.unit("fire", fire) == clock.now:
            pass


async def test_batch_of_any_size_needs_the_same_number_of_statements(backends: Backends, tmp_path: Path) -> None:
    few = await statements(backends, tmp_path / "few", FEW)
    many = await statements(backends, tmp_path / "many", MANY)
    assert {name: count for name, count in many.items() if count > few[name]} == {}
    assert max(many.values()) < 30


async def test_single_lead_needs_few_statements(backends: Backends, tmp_path: Path) -> None:
    """Each statement is a round trip between a form and its page."""
    road = (("scoring", topics.EVENTS), ("router", topics.LEADS), ("notifier", topics.ROUTES))
    async with life(backends, tmp_path) as run:
        for n in range(2):  # the first lead creates the rows of pools and reps
            await run.send([event(n)])
            for service, topic in road:
                await run.hear(service, topic)
        counted = {name: len(texts[-1]) for name, texts in run.sent.items()}
    assert counted == {"scoring hears events": 4, "router hears leads": 6, "notifier hears routes": 4}
