"""The number of SQL statements of a unit does not depend on the number of leads in its batch."""

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
from services.notifier.domain.bulkhead import Bulkhead
from services.notifier.recording import SendResult, record
from tests.backends import Backends
from tests.contract.systems import OpenedSystem, opened
from tests.story import sample_config

T = TypeVar("T")
FEW, MANY = 10, 500
EVENTS_OF_REQUEST = 100
TOPICS = (topics.EVENTS, topics.LEADS, topics.ROUTES, topics.PAGES, topics.ACTIONS)


class CountingConnection(db.DriverConnection):
    """A connection of a unit that stores the text of each statement."""

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
    """A distributed system whose services handle each topic as one batch, with the statements of each unit."""

    world: OpenedSystem
    system: Distributed
    counts: dict[str, int] = field(default_factory=dict)  # the largest number of statements, by name of the unit
    texts: dict[str, list[list[str]]] = field(default_factory=dict)  # the statements of every run, by name of the unit
    _positions: dict[str, dict[int, int]] = field(default_factory=dict)  # of the next record, by service and topic

    async def run_unit(self, name: str, work: Callable[[Unit], T]) -> T:
        """Run a unit, count its statements, then publish."""

        def with_counting(unit: Unit) -> tuple[T, CountingConnection]:
            inner: Any = unit.connection
            counting: Any = CountingConnection(inner)
            unit.connection = counting
            return work(unit), counting

        result, counting = await self.system.units.run(with_counting)
        self.counts[name] = max(self.counts.get(name, 0), len(counting.texts))
        self.texts.setdefault(name, []).append(counting.texts)
        await self.system.publisher.step()
        return result

    async def post(self, leads: int) -> None:
        """Post a demo request of each lead. `leads`: their number."""
        for begin in range(0, leads, EVENTS_OF_REQUEST):
            await self.send([event(n) for n in range(begin, min(begin + EVENTS_OF_REQUEST, leads))])

    async def send(self, events: Sequence[Mapping[str, Any]]) -> None:
        """Post these events in one request."""
        answer = await self.world.client.post("/v1/events", content=json.dumps(events), headers=JSON)
        assert answer.status_code == 202, answer.text

    async def hear(self, service: str, topic: str) -> int:
        """Let the service handle all new records of the topic in one unit. Return their number."""
        handler: Handler = next(one for one in self.system.services if one.name == service).hears[topic]
        batch = await self.records(service, topic)
        assert batch, (service, topic)
        await self.run_unit(f"{service} hears {topic}", lambda unit: handler(batch, unit))
        return len(batch)

    async def records(self, service: str, topic: str) -> Sequence[Record]:
        """Return the records that this service has not read yet."""
        assert self.world.place is not None
        log = next(one for one in self.system.logs if one.service == service)
        begins = {n: position for (name, n), position in self.world.place.first_positions.items() if name == topic}
        positions = self._positions.setdefault(f"{service} {topic}", begins)
        records: list[Record] = []
        for partition in positions:
            while positions[partition] < await log.end(topic, partition):
                await log.ready(topic, partition, positions[partition])
                records += await log.fetch(topic, partition, positions[partition], 10 * MANY)
                positions[partition] = records[-1].position
        return records


JSON = {"content-type": "application/json"}


def event(n: int) -> dict[str, Any]:
    return {"id": str(n), "type": "form.submitted", "email": f"p{n}@prospect.example", "data": {"form": "demo-request"}}


@asynccontextmanager
async def counted_run(backends: Backends, directory: Path) -> AsyncIterator[CountedRun]:
    """Open a distributed system with the sample configuration."""
    for name in sample_config.TEXTS:
        sample_config.write(directory / "config", name)
    async with opened(directory / "data", backends, config=directory / "config") as world:
        assert isinstance(world.system, Distributed)
        yield CountedRun(world, world.system)


async def statements(backends: Backends, directory: Path, leads: int) -> dict[str, int]:
    """Return the number of statements of each kind of unit, for a batch of this number of leads."""
    async with counted_run(backends, directory) as run:
        await handle_leads(run, leads)
        return run.counts


async def handle_leads(run: CountedRun, leads: int) -> None:
    """Post this number of leads, and let all services handle them."""
    await run.post(leads)
    assert await run.hear("scoring", topics.EVENTS) == leads
    assert await run.hear("router", topics.LEADS) == leads
    assert await run.hear("notifier", topics.ROUTES) >= leads
    await fire_ladder(run, leads)
    assert await run.hear("router", topics.ACTIONS) == leads
    assert await run.hear("scoring", topics.ROUTES) >= leads
    for topic in TOPICS:
        assert await run.hear("reporting", topic) > 0


async def fire_ladder(run: CountedRun, leads: int) -> None:
    """Fire every rung and deliver its pages. The last rung changes the owner."""
    context, clock = NotifierContext(("slack", "email"), bulkhead=Bulkhead(closed=False)), run.world.clock
    fire = next(one for one in run.system.services if one.name == "notifier").ticks[0].run
    clock.advance(minutes=31)  # the leases of the first claims have ended
    for _ in range(4):
        claimed = ClaimResult(more=True)
        while claimed.more or claimed.next_at is not None:
            claimed = await run.run_unit("claim", lambda unit: claim(unit, context, leads))
            results = [SendResult(page_claim, Sent("id"), clock.now, clock.now) for page_claim in claimed.claims]
            await run.run_unit("record", partial(record, results=results, jitter=lambda: 0.0, context=context))
            clock.advance(seconds=1)
        clock.advance(minutes=11)
        while await run.run_unit("fire", fire) == clock.now:
            pass


async def test_large_batch_needs_no_more_statements_than_a_small_one(backends: Backends, tmp_path: Path) -> None:
    few = await statements(backends, tmp_path / "few", FEW)
    many = await statements(backends, tmp_path / "many", MANY)
    assert {name: count for name, count in many.items() if count > few[name]} == {}
    assert max(many.values()) < 30


async def test_single_lead_needs_few_statements(backends: Backends, tmp_path: Path) -> None:
    """Each statement delays the page of a form by one round trip to the database."""
    steps = (("scoring", topics.EVENTS), ("router", topics.LEADS), ("notifier", topics.ROUTES))
    async with counted_run(backends, tmp_path) as run:
        for n in range(2):  # the first lead creates the rows of pools and reps
            await run.send([event(n)])
            for service, topic in steps:
                await run.hear(service, topic)
        counts = {name: len(texts[-1]) for name, texts in run.texts.items()}
    assert counts == {"scoring hears events": 4, "router hears leads": 6, "notifier hears routes": 4}
