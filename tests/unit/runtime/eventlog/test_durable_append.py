"""Appending to the broker or to the spool: fallback, order, waiting times, rejected rows."""

import asyncio
from pathlib import Path

import pytest

from firsthour.runtime.eventlog.durable_append import DurableAppend
from firsthour.runtime.eventlog.producer import SEND_SECONDS
from firsthour.runtime.eventlog.spool import HEAD_ROWS
from firsthour.runtime.storage.records import Row
from firsthour.runtime.storage.unit import StorageError
from tests.unit.runtime.eventlog.appending_gateway import (
    NARROW,
    AppendingGateway,
    FakeBroker,
    appending_gateway,
    assert_in_order,
    by_key,
    fill,
    leave_one_spooled_row,
    row,
    run_pending_tasks,
    write_locked,
)


async def test_rows_go_to_an_answering_broker_and_not_to_the_spool(tmp_path: Path) -> None:
    async with appending_gateway(tmp_path) as gateway:
        await gateway.appender.append([row("a"), row("b")])
        assert gateway.broker.ids == ["a", "b"]
        assert (gateway.appender.spooled, gateway.spool and gateway.spool.append_count) == (0, 0)
        assert not await gateway.appender.step()


async def test_append_returns_only_after_broker_or_spool_has_the_row(tmp_path: Path) -> None:
    async with appending_gateway(tmp_path) as gateway:
        gateway.broker.mode = "hangs"
        append = asyncio.create_task(gateway.appender.append([row("a")]))
        await run_pending_tasks()
        assert not append.done()
        gateway.broker.hang_ends.set()
        await append
        assert gateway.broker.ids == []
        assert await gateway.spooled() == ["a"]


async def test_appends_after_the_first_failure_do_not_wait_for_the_broker(tmp_path: Path) -> None:
    async with appending_gateway(tmp_path) as gateway:
        gateway.broker.mode = "hangs"
        first = [asyncio.create_task(gateway.appender.append([row(f"first{n}")])) for n in range(5)]
        await run_pending_tasks()
        assert gateway.broker.hanging == 5  # each send has its own timeout
        gateway.broker.hang_ends.set()
        await asyncio.gather(*first)
        sends = gateway.broker.sends
        for n in range(20):
            await gateway.appender.append([row(f"later{n}")])
        assert gateway.broker.sends == sends
        assert gateway.appender.spooled == 25


async def test_silent_broker_is_probed_before_rows_are_sent(tmp_path: Path) -> None:
    async with appending_gateway(tmp_path) as gateway:
        gateway.broker.mode = "silent"
        await gateway.appender.append([row("a")])
        for _ in range(5):
            assert not await gateway.appender.step()
        assert gateway.broker.sends == 1  # each send might leave a copy


async def test_spooled_rows_arrive_in_order_before_later_rows(tmp_path: Path) -> None:
    async with appending_gateway(tmp_path) as gateway:
        gateway.broker.mode = "silent"
        await asyncio.gather(*(gateway.appender.append([row(f"{n}")]) for n in range(HEAD_ROWS + 20)))
        gateway.broker.mode = "answers"
        await gateway.appender.append([row("next")])
        await gateway.settle()
        await gateway.appender.append([row("direct")])
        assert gateway.broker.ids == [*map(str, range(HEAD_ROWS + 20)), "next", "direct"]
        assert gateway.appender.spooled == 0


async def test_one_failure_starts_spooling_and_one_step_ends_it(tmp_path: Path) -> None:
    async with appending_gateway(tmp_path) as gateway:
        gateway.broker.mode = "silent"
        await gateway.appender.append([row("a")])
        gateway.broker.mode = "answers"
        assert await gateway.appender.step()
        sends = gateway.broker.sends
        await gateway.appender.append([row("b")])
        assert gateway.broker.sends == sends + 1
        assert gateway.broker.ids == ["a", "b"]


async def test_spooling_ends_although_appends_continue(tmp_path: Path) -> None:
    async with appending_gateway(tmp_path) as gateway:
        gateway.broker.mode = "silent"
        sent: list[str] = []
        stop = asyncio.Event()

        async def client(name: str) -> None:
            while not stop.is_set():
                sent.append(f"{name}.{len(sent)}")
                await gateway.appender.append([row(sent[-1], key=name)])
                await asyncio.sleep(0)

        clients = [asyncio.create_task(client(f"c{n}")) for n in range(10)]
        while gateway.appender.spooled < 30:
            await asyncio.sleep(0)
        gateway.broker.mode = "answers"
        await gateway.settle()  # ends when rows go to the broker again
        stop.set()
        await asyncio.gather(*clients)
        assert gateway.appender.spooled == 0
        assert sorted(gateway.broker.ids) == sorted(sent)
        assert_in_order(gateway.broker, by_key(sent))


async def test_held_back_append_is_spooled_when_the_broker_hangs_again(tmp_path: Path) -> None:
    async with appending_gateway(tmp_path, hold_seconds=0.0) as gateway:
        await leave_one_spooled_row(gateway)
        gateway.broker.mode = "hangs"
        step = asyncio.create_task(gateway.appender.step())
        while not gateway.broker.hanging:
            await asyncio.sleep(0)
        await gateway.appender.append([row("c")])  # returns while the broker hangs
        assert await gateway.spooled() == ["b", "c"]
        gateway.broker.hang_ends.set()
        assert not await step
        gateway.broker.mode = "answers"
        await gateway.settle()
        assert gateway.broker.ids == ["a", "b", "c"]


async def test_time_of_a_held_back_append_counts_towards_its_timeout(tmp_path: Path) -> None:
    async with appending_gateway(tmp_path) as gateway:
        await leave_one_spooled_row(gateway)
        gateway.broker.mode = "slow"
        step = asyncio.create_task(gateway.appender.step())
        while "b" not in gateway.broker.ids:
            await asyncio.sleep(0)
        held = asyncio.create_task(gateway.appender.append([row("c")]))
        await run_pending_tasks(2)
        gateway.clock.advance(seconds=0.5)
        await step
        await held
        assert gateway.broker.ids == ["a", "b", "c"]
        assert gateway.broker.timeout == pytest.approx(SEND_SECONDS - 0.5)
        await gateway.appender.append([row("d")])
        assert gateway.broker.timeout == SEND_SECONDS


@pytest.mark.slow
async def test_row_on_its_way_to_the_spool_is_not_overtaken(tmp_path: Path) -> None:
    async with appending_gateway(tmp_path) as gateway:
        gateway.broker.mode = "hangs"
        straggler = asyncio.create_task(gateway.appender.append([row("a", "k1", size=20_000_000)]))
        await run_pending_tasks()
        gateway.broker.mode = "silent"
        await gateway.appender.append([row("b", "k2")])
        gateway.broker.mode = "slow"
        step = asyncio.create_task(gateway.appender.step())
        while "b" not in gateway.broker.ids:
            await asyncio.sleep(0)
        with write_locked(tmp_path / "spool.db"):
            await run_pending_tasks(100)  # b is at the broker and waits to be dropped from the spool
            gateway.broker.hang_ends.set()  # only now the send of a fails
            await run_pending_tasks()
        await step
        await straggler
        await gateway.appender.append([row("a2", "k1")])
        await gateway.settle()
        assert gateway.broker.ids == ["b", "a", "a2"]


async def test_cancelled_appends_are_counted_as_the_spool_has_them(tmp_path: Path) -> None:
    async with appending_gateway(tmp_path) as gateway:
        gateway.broker.mode = "silent"
        await gateway.appender.append([row("a")])
        appends = [asyncio.create_task(gateway.appender.append([row(f"gone{n}")])) for n in range(10)]
        await asyncio.sleep(0)
        for append in appends:
            append.cancel()
        await asyncio.gather(*appends, return_exceptions=True)
        assert len(await gateway.spooled()) == gateway.appender.spooled
        gateway.broker.mode = "answers"
        await gateway.settle()
        assert gateway.appender.spooled == 0
        await gateway.appender.append([row("b")])
        assert gateway.broker.ids[-1] == "b"


async def test_cancelled_hand_over_is_repeated_without_loss(tmp_path: Path) -> None:
    async with appending_gateway(tmp_path) as gateway:
        gateway.broker.mode = "silent"
        await gateway.appender.append([row("a")])
        gateway.broker.mode = "slow"
        step = asyncio.create_task(gateway.appender.step())
        while not gateway.broker.ids:
            await asyncio.sleep(0)
        step.cancel()
        await asyncio.gather(step, return_exceptions=True)
        await gateway.settle()
        await gateway.appender.append([row("b")])
        assert gateway.broker.ids == ["a", "a", "b"]


@pytest.mark.parametrize("database", ["reachable", "unreachable"])
async def test_rejected_row_becomes_a_dead_letter_and_does_not_block_the_spool(tmp_path: Path, database: str) -> None:
    letters: list[tuple[str, str]] = []

    async def dead_letter(record: Row, reason: str) -> None:
        if database == "unreachable":
            raise StorageError("no database")
        letters.append((record.event_id, reason))

    async with appending_gateway(tmp_path) as gateway:
        gateway.appender = DurableAppend(gateway.broker, gateway.spool, gateway.clock, dead_letter=dead_letter)
        gateway.broker.rejected = {"large"}
        gateway.broker.mode = "silent"
        for name in ("a", "large", "b"):
            await gateway.appender.append([row(name)])
        gateway.broker.mode = "answers"
        for _ in range(20):
            await gateway.appender.step()
        if database == "unreachable":
            assert (gateway.broker.ids, await gateway.spooled()) == (["a"], ["large", "b"])
            database = "reachable"
            for _ in range(20):
                await gateway.appender.step()
        assert letters == [("large", "MessageSizeTooLargeError")]
        assert (gateway.broker.ids, await gateway.spooled()) == (["a", "b"], [])
        await gateway.appender.append([row("large")])  # straight to the broker, which rejected it
        for _ in range(20):
            await gateway.appender.step()
        assert len(letters) == 2
        assert await gateway.spooled() == []


async def test_full_spool_rejects_rows_until_it_is_empty(tmp_path: Path) -> None:
    async with appending_gateway(tmp_path, bytes_max=NARROW) as gateway:
        gateway.broker.mode = "silent"
        ids = await fill(gateway)
        assert len(ids) > 10
        assert gateway.appender.ready().startswith("the broker does not answer, and nothing can be spooled")
        gateway.broker.mode = "answers"
        await gateway.settle()
        assert gateway.appender.ready() == "ok"
        assert gateway.appender.warnings() == ()
        assert gateway.broker.ids == ids
        await gateway.appender.append([row("next")])
        assert gateway.broker.ids[-1] == "next"


async def test_without_a_spool_rows_are_rejected_while_the_broker_is_silent(tmp_path: Path) -> None:
    for file in (None, tmp_path / "nowhere" / "spool.db"):
        gateway = AppendingGateway(FakeBroker(), file)
        await gateway.appender.append([row("answers")])
        assert gateway.appender.ready() == "ok"
        gateway.broker.mode = "silent"
        for _ in range(5):
            with pytest.raises(StorageError):
                await gateway.appender.append([row("refused")])
        assert gateway.broker.sends == 2
        assert "nothing can be spooled" in gateway.appender.ready()
        gateway.broker.mode = "answers"
        await gateway.settle()
        assert gateway.appender.ready() == "ok"
        await gateway.appender.append([row("again")])
        assert gateway.broker.ids == ["answers", "again"]
        await gateway.close()


async def test_gateway_that_starts_with_a_spool_empties_it_first(tmp_path: Path) -> None:
    async with appending_gateway(tmp_path) as first:
        first.broker.mode = "silent"
        await first.appender.append([row("old")])
    async with appending_gateway(tmp_path) as gateway:
        assert gateway.appender.spooled == 1
        await gateway.appender.append([row("new")])
        assert gateway.broker.ids == []
        await gateway.settle()
        assert gateway.broker.ids == ["old", "new"]


async def test_idle_gateway_detects_a_silent_broker_and_empties_the_spool(
    tmp_path: Path,
) -> None:
    async with appending_gateway(tmp_path) as gateway:
        gateway.broker.mode = "silent"
        running = asyncio.create_task(gateway.appender.run())
        await run_pending_tasks()
        await gateway.appender.append([row("a")])
        assert gateway.broker.sends == 0
        gateway.broker.mode = "answers"
        async with asyncio.timeout(5):
            while gateway.broker.ids != ["a"] or gateway.appender.spooled:
                await asyncio.sleep(0.01)
        await gateway.appender.append([row("b")])
        assert gateway.broker.ids == ["a", "b"]
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
