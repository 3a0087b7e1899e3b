"""The benchmark of the distributed profile, over a real Kafka and a real PostgreSQL."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from devtools.kafka import KafkaCluster
from devtools.postgres import PostgresServer
from firsthour.bench import cpu, distributed, distributed_rounds, distributed_scale, distributed_timers, environment
from firsthour.bench import kafka as bench_kafka
from firsthour.bench.distributed_rounds import DistributedBench, StandstillError
from firsthour.bench.paging import Load
from firsthour.runtime.settings import Settings, load

EVENTS = 600
KEPT = ("scoring_profiles", "scoring_identities", "router_leads", "router_assignments", "router_decisions", "log")


@pytest.fixture
def server_settings(kafka: KafkaCluster, postgres: PostgresServer) -> Settings:
    return load(database_url=postgres.url(), kafka_bootstrap=kafka.bootstrap, kafka_partitions=3)


@pytest.fixture
def databases(postgres: PostgresServer) -> Iterator[None]:
    """Check that the bench leaves no database behind."""
    of_bench = "SELECT datname FROM pg_database WHERE datname LIKE 'firsthour_bench%' ORDER BY 1"
    before = postgres.run(of_bench)
    yield
    assert postgres.run(of_bench) == before


@pytest.mark.long
@pytest.mark.timeout(240)
@pytest.mark.usefixtures("databases")
def test_bare_loop_leaves_the_same_rows_as_the_product(server_settings: Settings, tmp_path: Path) -> None:
    async def both() -> None:
        work = DistributedBench(database, EVENTS)
        real = await work.real(record=True)
        bare = await work.bare()
        assert {name: bare.rows[name] for name in KEPT} == {name: real.rows[name] for name in KEPT}
        assert real.rows["router_assignments"] == EVENTS // 5
        assert real.rows["log"] == 0  # every emitted record has been published
        assert {"scoring", "router"} <= real.cpu.keys()

    with environment.bench_database(server_settings, tmp_path) as database:
        asyncio.run(both())


@pytest.mark.long
@pytest.mark.usefixtures("databases")
def test_webhook_becomes_a_page_through_every_process(server_settings: Settings, tmp_path: Path) -> None:
    lines = distributed.pages(server_settings, tmp_path, load=Load(12, 10, 2), warm=1)
    by_name = {line.name: line for line in lines}
    page = by_name["form to Slack at 10/s, pool of 12, p50"]
    assert page.value > 0
    assert page.note == "60 pages in 3 rounds"


@pytest.mark.long
@pytest.mark.usefixtures("databases")
def test_two_routers_share_a_backlog(
    server_settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(distributed_scale, "BACKLOG", EVENTS)
    monkeypatch.setattr(distributed_scale, "BACKLOG_ROUNDS", 1)
    lines = distributed_scale.backlog(server_settings, tmp_path, full=False)
    assert all(one.value > 0 for one in lines)


@pytest.mark.long
@pytest.mark.usefixtures("databases")
def test_rungs_of_copied_clocks_are_measured(
    server_settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(distributed_timers, "CLOCKS", 60)
    monkeypatch.setattr(distributed_timers, "DUE", 20)
    median, most, highest, *_ = distributed_timers.timers(server_settings, tmp_path)
    assert median.note == "20 pages due within one second, 60 live clocks"
    assert 0 < median.value <= most.value <= highest.value


def test_standstill_names_the_consumer_and_its_position(
    server_settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(distributed_rounds, "QUIET_SECONDS", 0.1)

    async def without_reader() -> None:
        async with database.fresh() as settings:
            with pytest.raises(StandstillError, match="router stands at 0 of 1"):
                await distributed_rounds.wait_for_consumer(settings, 1, ())

    with environment.bench_database(server_settings, tmp_path) as database:
        asyncio.run(without_reader())


def test_broker_and_database_are_named_with_their_release(server_settings: Settings, kafka: KafkaCluster) -> None:
    releases = asyncio.run(environment.server_releases(server_settings))
    assert f"Kafka {kafka.version.rpartition('.')[0]} " in releases
    assert ", PostgreSQL 1" in releases


def test_listener_that_is_no_broker_has_no_release(server_settings: Settings) -> None:
    wrong = server_settings.model_copy(update={"kafka_bootstrap": "127.0.0.1:1"})
    assert "does not say" in asyncio.run(bench_kafka.broker(wrong))


def test_cpu_of_servers_on_this_machine_is_seen(server_settings: Settings) -> None:
    for server in (cpu.broker(server_settings), cpu.database(server_settings)):
        used = server.cpu_seconds()
        assert used is None or used > 0
