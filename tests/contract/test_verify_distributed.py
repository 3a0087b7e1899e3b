"""`verify` on a distributed installation: it waits for the outbox and for every partition, and names services that are
behind."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from devtools.kafka import KafkaCluster
from devtools.postgres import PostgresServer
from firsthour.bootstrap.distributed import Distributed, open_distributed
from firsthour.bootstrap.runners import run_all
from firsthour.operations import drain
from firsthour.operations.drain_kafka import KafkaEnds
from firsthour.runtime import package_files, settings
from firsthour.runtime.config.reading import NAMES, load
from firsthour.runtime.connectivity import connection_options
from firsthour.runtime.eventlog import kafka_admin
from firsthour.runtime.http.client import ASGITransport, AsyncClient
from firsthour.runtime.settings import Settings
from firsthour.runtime.storage import config_versions
from firsthour.runtime.storage.migrate import migrate
from firsthour.runtime.storage.postgres import PostgresUnits
from firsthour.runtime.storage.postgres_connections import ConnectionPool, open_engine
from firsthour.runtime.storage.records import partition_of
from firsthour.runtime.storage.unit import Unit
from services.notifier.channels.inbox import InboxChannel
from tests.backends import execute
from tests.hand_clock import HandClock
from tests.shared import named

ADMIN = "a-key-of-forty-characters-for-the-tests-x"
DATABASE = named("verify_distributed")
PARTITIONS = 3
SERVICES = ("gateway", "scoring", "router", "notifier", "reporting")
PEOPLE = ("ann", "ben", "cat", "dan", "eve", "fay", "gil", "hal")


@dataclass
class VerifiedSystem:
    """All services in this process, over real servers. Tests step the workers."""

    system: Distributed
    client: AsyncClient
    clock: HandClock

    async def ask(self, *people: str) -> None:
        for person in people:
            sent = {"email": f"{person}@{person}.example", "name": person, "employees": 400}
            answer = await self.client.post("/v1/forms/demo-request", json=sent)
            assert answer.status_code == 202, answer.text

    async def verify(self) -> dict[str, Any]:
        self.clock.advance(minutes=1)  # recent changes are not judged
        answer = await self.client.post("/v1/verify")
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    async def change(self, *statements: str) -> None:
        def work(unit: Unit) -> None:
            for statement in statements:
                execute(unit, statement)

        await self.system.units.run(work)

    async def rows(self, question: str) -> list[tuple[Any, ...]]:
        return await self.system.reads(lambda c: [tuple(row) for row in c.exec_driver_sql(question)])


async def prepare(own_settings: Settings, clock: HandClock) -> None:
    """Create tables and topics, and apply the example configuration."""
    await kafka_admin.create_topics(own_settings)
    url, arguments = connection_options.database(own_settings)
    engine = open_engine(url, arguments, size=1)
    async with engine.begin() as connection:
        await connection.run_sync(migrate)
    config = load(own_settings.config_dir)
    texts = {name: (own_settings.config_dir / name).read_bytes() for name in NAMES}
    await engine.dispose()
    units = PostgresUnits(
        ConnectionPool(url, arguments, size=1), clock, lambda *_: config, partitions=PARTITIONS, ask=None
    )
    await units.run(lambda unit: config_versions.apply(unit, config, texts, None))
    await units.close()


@pytest.fixture
def database(postgres: PostgresServer) -> Iterator[str]:
    postgres.drop(DATABASE)
    yield postgres.create(DATABASE)
    postgres.drop(DATABASE)


@pytest.fixture
async def world(kafka: KafkaCluster, database: str, tmp_path: Path) -> AsyncIterator[VerifiedSystem]:
    clock = HandClock()
    own_settings = settings.load(
        database_url=database,
        kafka_bootstrap=kafka.bootstrap,
        kafka_prefix=f"verify-{tmp_path.parent.name}-{tmp_path.name}.",
        kafka_partitions=PARTITIONS,
        config_dir=package_files.examples(),
        data_dir=tmp_path / "data",
        admin_key=ADMIN,
    )
    await prepare(own_settings, clock)
    ways = {"inbox": InboxChannel(lambda message: None)}
    system = await open_distributed(own_settings, SERVICES, ways, clock=clock, fixed=True)
    await system.runners["runtime.watch"].step()
    reading = asyncio.create_task(run_all(system.logs))
    headers = {"authorization": f"Bearer {ADMIN}"}
    try:
        async with AsyncClient(
            transport=ASGITransport(app=system.app), base_url="http://fh", headers=headers
        ) as client:
            await ready(system)
            yield VerifiedSystem(system, client, clock)
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        await system.close()


async def ready(system: Distributed) -> None:
    """Wait until every service reads its partitions from the start."""
    async with asyncio.timeout(30):
        while not all(log.ours for log in system.logs):  # the Kafka client gives no signal
            await asyncio.sleep(0.05)
    await system.settle()


async def test_sound_installation_breaks_no_invariant(world: VerifiedSystem) -> None:
    await world.ask(*PEOPLE)
    await world.system.settle()
    report = await world.verify()
    assert (report["ok"], report["behind"], len(report["items"])) == (True, [], 10), report
    assert len(await world.rows("SELECT DISTINCT partition FROM cursors WHERE position > 0")) == PARTITIONS


async def test_lost_clock_is_named_unless_its_lead_just_changed(world: VerifiedSystem) -> None:
    await world.ask("ann")
    await world.system.settle()
    await world.change("DELETE FROM notifier_clocks")
    assert (await world.client.post("/v1/verify")).json()["ok"] is True
    report = await world.verify()
    assert [one["invariant"] for one in report["items"] if not one["ok"]] == ["I4"]


async def test_services_behind_are_named_and_unread_events_are_no_finding(
    world: VerifiedSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drain, "WAIT_SECONDS", 0.5)
    await world.ask("ann")
    report = await world.verify()
    assert report["ok"] is False
    to_go = f"1 records to go in 1 of {PARTITIONS} partitions"
    assert report["behind"] == [
        f"scoring has not read all of events: {to_go}",
        f"reporting has not read all of events: {to_go}",
    ]
    assert [one for one in report["items"] if not one["ok"]] == []


async def test_unpublished_records_are_behind(world: VerifiedSystem, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drain, "WAIT_SECONDS", 0.5)
    await world.change(
        "INSERT INTO log (topic, partition, key, event_id, at, body) VALUES ('routes', 0, 'lead', 'new', 32503680000000000, '')"
    )
    assert (await world.verify())["behind"] == ["routes: 1 records wait to be published"]


async def test_wait_includes_the_records_caused_by_earlier_topics(world: VerifiedSystem) -> None:
    await world.ask(*PEOPLE)
    waiting = asyncio.create_task(drain.wait(world.system.resources, KafkaEnds(world.system.resources)))
    while not waiting.done():
        await world.system.settle()
        await asyncio.sleep(0.01)
    assert waiting.result() == ()
    assert await world.rows("SELECT count(*) FROM notifier_clocks") == [(len(PEOPLE),)]


async def test_unreachable_brokers_are_named(world: VerifiedSystem, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drain, "WAIT_SECONDS", 0.5)
    monkeypatch.setattr(drain, "REPORT_SECONDS", 0.5)
    gone = replace(
        world.system.resources,
        settings=world.system.resources.settings.model_copy(update={"kafka_bootstrap": "127.0.0.1:1"}),
    )
    (error,) = await drain.wait(gone, KafkaEnds(gone))
    assert error.startswith("the ends of the topics are unknown: ")
    assert "127.0.0.1:1" in error


async def test_event_read_but_not_handled_by_scoring_is_named(world: VerifiedSystem) -> None:
    await world.ask(*PEOPLE)
    await world.system.settle()
    [(event,)] = await world.rows("SELECT id FROM reporting_history WHERE topic = 'events' LIMIT 1")
    await world.change(f"DELETE FROM seen WHERE consumer = 'scoring' AND event_id = '{event}'")
    (item,) = [one for one in (await world.verify())["items"] if not one["ok"]]
    assert item["invariant"] == "I1"
    assert event in item["rows"][0]


def test_people_of_these_tests_are_in_every_partition() -> None:
    assert {partition_of(f"{person}@{person}.example", PARTITIONS) for person in PEOPLE} == set(range(PARTITIONS))
