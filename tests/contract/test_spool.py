"""The spool: appended rows survive the process in order, the file is bounded, and `firsthour spool` drains it."""

import asyncio
import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from datetime import timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from typer.testing import CliRunner, Result

from firsthour.cli import spool as cli_spool
from firsthour.runtime.eventlog.durable_append import AGE_MAX, DurableAppend, hand_over
from firsthour.runtime.eventlog.producer import BrokerError, Producer
from firsthour.runtime.eventlog.spool import FILE, HEAD_BYTES, Spool
from firsthour.runtime.settings import Settings
from firsthour.runtime.storage.data_directory import hold
from firsthour.runtime.storage.records import Row
from firsthour.runtime.storage.unit import StorageError
from tests.hand_clock import HandClock
from tests.unit.runtime.eventlog.appending_gateway import FakeBroker, row

ROOT = Path(__file__).resolve().parents[2]
ROOMY = 64 * 1024 * 1024
MIB = 1024 * 1024

SPOOLING = """
import asyncio, sys
from pathlib import Path
from firsthour.runtime.clock import HostClock
from firsthour.runtime.storage.records import Row
from firsthour.runtime.eventlog.spool import Spool

async def client(spool, key):
    for n in range(10_000):
        await spool.append([Row("events", key, f"{key}.{n}", b"x" * 300)])
        print(f"{key}.{n}", flush=True)

async def main():
    spool = Spool(Path(sys.argv[1]), 1 << 30, HostClock())
    spool.start()
    await asyncio.gather(*(client(spool, f"k{n}") for n in range(20)))

asyncio.run(main())
"""


@asynccontextmanager
async def spool_in(file: Path, bytes_max: int = ROOMY, clock: HandClock | None = None) -> AsyncIterator[Spool]:
    spool = Spool(file, bytes_max, clock or HandClock())
    spool.start()
    try:
        yield spool
    finally:
        await spool.close()


async def ids(spool: Spool, limit: int = 10_000) -> list[str]:
    return [one.event_id for _, one in await spool.head(limit)]


def ask(file: Path, statement: str) -> None:
    """Run one statement on the file, as another process does."""
    with closing(sqlite3.connect(file)) as connection:
        connection.execute(statement)
        connection.commit()


def trouble(spool: Spool) -> str:
    """Return the problem of the spool. Empty: no problem."""
    return spool.problem or ""


async def fill(spool: Spool, size: int) -> int:
    """Append rows until the spool refuses one. Return the number of stored rows."""
    for n in range(10_000):
        try:
            await spool.append([row(f"{n}", size=size)])
        except StorageError:
            return n
    raise AssertionError("the spool never was full")


async def test_rows_are_read_unchanged_in_append_order(tmp_path: Path) -> None:
    async with spool_in(tmp_path / FILE) as spool:
        rows = [Row("events", f"ключ{n % 3}", f"{n}", bytes([n, 0, 255])) for n in range(50)]
        await asyncio.gather(*(spool.append([one]) for one in rows[:20]))
        await spool.append(rows[20:])
        head = await spool.head()
        assert [one for _, one in head] == rows
        assert [id for id, _ in head] == sorted({id for id, _ in head})
        assert spool.count == 50


async def test_row_is_visible_to_another_process_after_append(tmp_path: Path) -> None:
    async with spool_in(tmp_path / FILE) as spool:
        for n in range(5):
            await spool.append([row(f"{n}")])
            with closing(sqlite3.connect(tmp_path / FILE)) as other:
                assert other.execute("SELECT event_id FROM log ORDER BY id DESC").fetchone() == (f"{n}",)


async def test_dropped_rows_are_deleted_and_their_ids_never_reused(tmp_path: Path) -> None:
    async with spool_in(tmp_path / FILE) as spool:
        await spool.append([row(f"{n}") for n in range(5)])
        last = (await spool.head())[-1][0]
        await spool.drop(last)
        assert (await spool.head(), spool.count) == ([], 0)
        await spool.append([row("next")])
        assert (await spool.head())[0][0] > last


async def test_head_is_bounded_in_rows_and_bytes(tmp_path: Path) -> None:
    async with spool_in(tmp_path / FILE) as spool:
        await spool.append([row("huge", size=2 * HEAD_BYTES)])
        await spool.append([row(f"{n}", size=HEAD_BYTES // 4) for n in range(10)])
        sizes = []
        while head := await spool.head():
            sizes.append(len(head))
            await spool.drop(head[-1][0])
        assert sizes == [1, 4, 4, 2]


async def test_file_stays_within_its_bound_and_reuses_space(tmp_path: Path) -> None:
    async with spool_in(tmp_path / FILE, MIB) as spool:
        broker, rounds = FakeBroker(), []
        for _ in range(3):
            rounds.append(await fill(spool, 20_000))
            assert "full" in trouble(spool)
            while await hand_over(spool, broker):
                pass
            assert (spool.count, trouble(spool)) == (0, "")
            assert (tmp_path / FILE).stat().st_size <= MIB
        assert min(rounds) > 30
        assert len(broker.rows) == sum(rounds)


async def test_rejected_append_stores_none_of_its_rows(tmp_path: Path) -> None:
    async with spool_in(tmp_path / FILE, MIB) as spool:
        await spool.append([row("kept")])
        with pytest.raises(StorageError, match="full"):
            await spool.append([row(f"{n}", size=10_000) for n in range(500)])
        assert (await ids(spool), spool.count) == (["kept"], 1)
        await spool.append([row("next")])
        assert trouble(spool) == ""


async def test_spool_without_directory_rejects_rows_until_it_exists(tmp_path: Path) -> None:
    async with spool_in(tmp_path / "volume" / FILE) as spool:
        assert "unable to open" in trouble(spool)
        for _ in range(2):
            with pytest.raises(StorageError, match="unable to open"):
                await spool.append([row("a")])
        await spool.mend()
        assert "unable to open" in trouble(spool)
        (tmp_path / "volume").mkdir()
        await spool.mend()
        await spool.append([row("b")])
        assert (await ids(spool), trouble(spool)) == (["b"], "")


async def test_file_that_is_no_spool_is_rejected_and_left_unchanged(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"something else " * 1_000)
    async with spool_in(tmp_path / FILE) as spool:
        with pytest.raises(StorageError, match="not a database"):
            await spool.append([row("a")])
    assert (tmp_path / FILE).read_bytes() == b"something else " * 1_000


async def test_full_spool_stays_unusable_until_space_is_freed(tmp_path: Path) -> None:
    async with spool_in(tmp_path / FILE, MIB) as spool:
        await fill(spool, 20_000)
        await spool.mend()
        assert "full" in trouble(spool)
        await spool.drop((await spool.head(20))[-1][0])
        await spool.mend()
        assert trouble(spool) == ""


async def test_rows_whose_drop_failed_are_not_handed_over_again(tmp_path: Path) -> None:
    async with spool_in(tmp_path / FILE) as spool:
        await spool.append([row("a")])
        broker = FakeBroker()
        ask(tmp_path / FILE, "CREATE TRIGGER no BEFORE DELETE ON log BEGIN SELECT RAISE(ABORT, 'worn out'); END")
        for _ in range(3):
            with pytest.raises(StorageError, match="worn out"):
                await hand_over(spool, broker)
        assert (broker.ids, spool.count) == (["a"], 1)
        ask(tmp_path / FILE, "DROP TRIGGER no")
        await spool.append([row("b")])
        assert await hand_over(spool, broker) == 1
        assert (broker.ids, spool.count) == (["a", "b"], 0)


async def test_rows_older_than_ten_days_stay_and_log_a_warning(tmp_path: Path) -> None:
    clock = HandClock()
    async with spool_in(tmp_path / FILE, clock=clock) as spool:
        await spool.append([row("old")])
        clock.now += AGE_MAX + timedelta(hours=1)
        broker = FakeBroker()
        broker.mode = "silent"
        with capture_logs() as logs:
            running = asyncio.create_task(DurableAppend(broker, spool, clock).run())
            async with asyncio.timeout(5):
                while not any("older than ten days" in line["event"] for line in logs):
                    await asyncio.sleep(0.01)
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        assert await ids(spool) == ["old"]


async def test_start_and_end_of_spooling_are_logged_once(tmp_path: Path) -> None:
    async with spool_in(tmp_path / FILE) as spool:
        broker = FakeBroker()
        intake = DurableAppend(broker, spool, HandClock())
        with capture_logs() as logs:
            broker.mode = "silent"
            for n in range(10):
                await intake.append([row(f"{n}")])
                await intake.step()
            broker.mode = "answers"
            while await intake.step():
                pass
        assert [line["log_level"] for line in logs] == ["warning", "info"]


@pytest.mark.kill
def test_killed_process_loses_no_acknowledged_row(tmp_path: Path) -> None:
    for life in range(2):
        file = tmp_path / f"{life}.db"
        with subprocess.Popen(
            [sys.executable, "-c", SPOOLING, str(file)], stdout=subprocess.PIPE, text=True, cwd=ROOT
        ) as process:
            assert process.stdout is not None
            acknowledged = [process.stdout.readline().strip() for _ in range(100 + 200 * life)]
            os.kill(process.pid, signal.SIGKILL)
            acknowledged += [line.strip() for line in process.stdout if line.endswith("\n")]
        stored = asyncio.run(ids_in(file))
        assert set(acknowledged) <= set(stored)
        for key in (f"k{n}" for n in range(20)):
            mine = [id for id in stored if id.split(".")[0] == key]
            assert mine == [f"{key}.{n}" for n in range(len(mine))]


async def ids_in(file: Path) -> list[str]:
    async with spool_in(file) as spool:
        event_ids = await ids(spool)
        assert spool.count == len(event_ids)
        return event_ids


# --- firsthour spool drain -----------------------------------------------------------------------------------------


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> FakeBroker:
    monkeypatch.setenv("FIRSTHOUR_KAFKA_BOOTSTRAP", "kafka.example:9092")
    monkeypatch.setenv("FIRSTHOUR_DATABASE_URL", "postgresql://firsthour@db.example/firsthour")
    return FakeBroker()


def drain(directory: Path, broker: FakeBroker, *options: str) -> Result:
    @asynccontextmanager
    async def connect(_: Settings) -> AsyncIterator[Producer]:
        if not await broker.answers():
            raise BrokerError("kafka.example:9092 does not answer")
        yield broker

    return CliRunner().invoke(cli_spool.commands_over(connect), ["drain", str(directory), *options])


def left_behind(directory: Path, many: int) -> None:
    async def spool() -> None:
        directory.mkdir()
        async with spool_in(directory / FILE) as spool_file:
            await spool_file.append([row(f"{n}") for n in range(many)])

    asyncio.run(spool())


def test_drain_hands_over_rows_in_order_and_counts_them(tmp_path: Path, broker: FakeBroker) -> None:
    left_behind(tmp_path / "gone", 1_200)
    done = drain(tmp_path / "gone", broker)
    assert (done.exit_code, done.output) == (0, "1200 events were sent; the spool is empty.\n")
    assert broker.ids == [str(n) for n in range(1_200)]
    again = drain(tmp_path / "gone", broker, "--json")
    assert (again.exit_code, json.loads(again.stdout)) == (0, {"handed_over": 0, "left": 0})


def test_drain_rejected_by_kafka_reports_the_rest_and_loses_nothing(tmp_path: Path, broker: FakeBroker) -> None:
    left_behind(tmp_path / "gone", 30)
    for mode in ("silent", "takes half"):
        broker.mode = "silent" if mode == "silent" else "takes half"
        done = drain(tmp_path / "gone", broker, "--json")
        assert done.exit_code == 1
        assert json.loads(done.stdout) == {"handed_over": 0, "left": 30}
        assert "30 are left in" in done.stderr.replace("\n", " ")
    broker.mode = "answers"
    assert drain(tmp_path / "gone", broker).exit_code == 0
    assert list(dict.fromkeys(broker.ids)) == [str(n) for n in range(30)]


def test_drain_of_a_running_gateway_is_rejected(tmp_path: Path, broker: FakeBroker) -> None:
    left_behind(tmp_path / "alive", 3)
    with hold(tmp_path / "alive"):
        done = drain(tmp_path / "alive", broker)
    assert (done.exit_code, broker.ids) == (1, [])
    assert "empties the spool by itself" in done.stderr.replace("\n", " ")


def test_drain_of_a_directory_without_spool_is_bad_input(tmp_path: Path, broker: FakeBroker) -> None:
    assert drain(tmp_path / "nowhere", broker).exit_code == 2
    assert drain(tmp_path, broker).exit_code == 2
    assert list(tmp_path.iterdir()) == []


def test_drain_without_broker_setting_is_rejected(
    tmp_path: Path, broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FIRSTHOUR_KAFKA_BOOTSTRAP")
    monkeypatch.delenv("FIRSTHOUR_DATABASE_URL")
    left_behind(tmp_path / "gone", 1)
    done = drain(tmp_path / "gone", broker)
    assert done.exit_code == 2
    assert "FIRSTHOUR_KAFKA_BOOTSTRAP" in done.stderr
