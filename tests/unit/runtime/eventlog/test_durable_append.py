"""The gateway's intake: straight to the broker or through the spool, never out of order, nobody waiting twice."""

import asyncio
import sqlite3
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from firsthour.runtime.eventlog.durable_append import DurableAppend
from firsthour.runtime.eventlog.producer import SEND_SECONDS, BrokerError, RecordRefusedError
from firsthour.runtime.eventlog.spool import HEAD_ROWS, Spool
from firsthour.runtime.storage.records import Row
from firsthour.runtime.storage.unit import StorageError
from tests.hand_clock import HandClock

ROOMY = 64 * 1024 * 1024
NARROW = 24 * 4096
Dial = Literal["well", "slow", "silent", "loses acks", "takes half", "delivers late", "hangs"]


class FakeBroker:
    """A broker with a dial. It remembers what arrived, and who tried."""

    def __init__(self) -> None:
        self.dial: Dial = "well"
        self.arrived: list[Row] = []
        self.refuses: set[str] = set()  # for good
        self.late: list[Row] = []  # sent while it was silent; arrives when it is spoken with again
        self.tries = 0
        self.waiting = 0
        self.seconds = 0.0  # what the last send may take
        self.limit_over = asyncio.Event()  # set by hand: the time limit of the sends that hang

    async def send(self, rows: Sequence[Row], seconds: float = SEND_SECONDS) -> None:
        self.tries, self.seconds = self.tries + 1, seconds
        await asyncio.sleep(0)
        if self.dial == "hangs":
            await self._hang()
        if self.dial == "delivers late":
            self.late.extend(rows)
        if self.dial in {"silent", "delivers late"}:
            raise BrokerError("no answer")
        if any(row.event_id in self.refuses for row in rows):
            if len(rows) > 1:
                raise BrokerError("not all of them")
            raise RecordRefusedError("MessageSizeTooLargeError")
        self.arrived.extend(self.late)
        self.late.clear()
        if self.dial == "takes half":
            self.arrived.extend(rows[: len(rows) // 2])
            raise BrokerError("half of it")
        self.arrived.extend(rows)
        if self.dial == "loses acks":
            raise BrokerError("no answer")
        if self.dial == "slow":
            for _ in range(20):
                await asyncio.sleep(0)

    async def answers(self) -> bool:
        return self.dial not in {"silent", "hangs", "delivers late"}

    @property
    def ids(self) -> list[str]:
        return [row.event_id for row in self.arrived]

    async def _hang(self) -> None:
        self.waiting += 1
        await self.limit_over.wait()
        self.waiting -= 1
        raise BrokerError("no answer in time")


def row(id: str, key: str = "k", size: int = 2) -> Row:
    return Row("events", key, id, b"x" * size)


async def turns(many: int = 20) -> None:
    """Let whoever can go on do so."""
    for _ in range(many):
        await asyncio.sleep(0)


class AppendingGateway:
    """An intake over a fake broker and a spool in a file, and what was acknowledged."""

    def __init__(
        self, broker: FakeBroker, file: Path | None, bytes_max: int = ROOMY, hold_seconds: float = 5.0
    ) -> None:
        self.broker, self.clock = broker, HandClock()
        self.spool = None if file is None else Spool(file, bytes_max, self.clock)
        if self.spool:
            self.spool.start()
        self.intake = DurableAppend(broker, self.spool, self.clock, hold_seconds=hold_seconds)

    async def settle(self) -> None:
        while await self.intake.step():
            pass

    async def spooled(self) -> list[str]:
        assert self.spool is not None
        return [one.event_id for _, one in await self.spool.head()]

    async def close(self) -> None:
        if self.spool:
            await self.spool.close()


@asynccontextmanager
async def a_gateway(tmp_path: Path, **given: float) -> AsyncIterator[AppendingGateway]:
    gateway = AppendingGateway(
        FakeBroker(), tmp_path / "spool.db", int(given.get("bytes_max", ROOMY)), given.get("hold", 5.0)
    )
    try:
        yield gateway
    finally:
        await gateway.close()


@contextmanager
def held_up(file: Path) -> Iterator[None]:
    """While inside, nothing can be committed to this file."""
    with closing(sqlite3.connect(file)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.rollback()


async def fill(gateway: AppendingGateway) -> list[str]:
    """Append until it is refused; what was kept."""
    kept: list[str] = []
    while len(kept) < 1_000:
        try:
            await gateway.intake.append([row(f"{len(kept)}", size=2_000)])
        except StorageError as full:
            assert "full" in str(full)
            return kept
        kept.append(f"{len(kept)}")
    raise AssertionError("the spool never was full")


async def nearly_empty(gateway: AppendingGateway) -> None:
    """The broker is back and has `a`; `b` is what is left in the spool."""
    gateway.broker.dial = "silent"
    await gateway.intake.append([row("a")])
    await gateway.intake.append([row("b")])
    gateway.broker.dial = "well"
    assert await gateway.intake.step()
    assert await gateway.spooled() == ["b"]


async def test_while_the_broker_is_well_nothing_touches_the_spool(tmp_path: Path) -> None:
    async with a_gateway(tmp_path) as gateway:
        await gateway.intake.append([row("a"), row("b")])
        assert gateway.broker.ids == ["a", "b"]
        assert (gateway.intake.spooled, gateway.spool and gateway.spool.asked) == (0, 0)
        assert not await gateway.intake.step()


async def test_nothing_is_acknowledged_before_the_broker_did_or_the_disk_has_it(tmp_path: Path) -> None:
    async with a_gateway(tmp_path) as gateway:
        gateway.broker.dial = "hangs"
        asked = asyncio.create_task(gateway.intake.append([row("a")]))
        await turns()
        assert not asked.done()
        gateway.broker.limit_over.set()
        await asked
        assert gateway.broker.ids == []
        assert await gateway.spooled() == ["a"]


async def test_after_the_first_failure_nobody_waits_for_the_broker(tmp_path: Path) -> None:
    async with a_gateway(tmp_path) as gateway:
        gateway.broker.dial = "hangs"
        first = [asyncio.create_task(gateway.intake.append([row(f"first{n}")])) for n in range(5)]
        await turns()
        assert gateway.broker.waiting == 5  # each of them under its own limit
        gateway.broker.limit_over.set()
        await asyncio.gather(*first)
        tries = gateway.broker.tries
        for n in range(20):
            await gateway.intake.append([row(f"later{n}")])
        assert gateway.broker.tries == tries
        assert gateway.intake.spooled == 25


async def test_a_silent_broker_is_asked_before_it_is_sent_anything(tmp_path: Path) -> None:
    async with a_gateway(tmp_path) as gateway:
        gateway.broker.dial = "silent"
        await gateway.intake.append([row("a")])
        for _ in range(5):
            assert not await gateway.intake.step()
        assert gateway.broker.tries == 1  # each try might have left a copy


async def test_what_was_spooled_arrives_in_order_before_what_comes_later(tmp_path: Path) -> None:
    async with a_gateway(tmp_path) as gateway:
        gateway.broker.dial = "silent"
        await asyncio.gather(*(gateway.intake.append([row(f"{n}")]) for n in range(HEAD_ROWS + 20)))
        gateway.broker.dial = "well"
        await gateway.intake.append([row("next")])
        await gateway.settle()
        await gateway.intake.append([row("straight")])
        assert gateway.broker.ids == [*map(str, range(HEAD_ROWS + 20)), "next", "straight"]
        assert gateway.intake.spooled == 0


async def test_one_failure_is_enough_to_spool_and_one_round_to_come_back(tmp_path: Path) -> None:
    async with a_gateway(tmp_path) as gateway:
        gateway.broker.dial = "silent"
        await gateway.intake.append([row("a")])
        gateway.broker.dial = "well"
        assert await gateway.intake.step()
        tries = gateway.broker.tries
        await gateway.intake.append([row("b")])
        assert gateway.broker.tries == tries + 1
        assert gateway.broker.ids == ["a", "b"]


async def test_a_spool_in_constant_use_is_left_all_the_same(tmp_path: Path) -> None:
    async with a_gateway(tmp_path) as gateway:
        gateway.broker.dial = "silent"
        sent: list[str] = []
        over = asyncio.Event()

        async def client(name: str) -> None:
            while not over.is_set():
                sent.append(f"{name}.{len(sent)}")
                await gateway.intake.append([row(sent[-1], key=name)])
                await asyncio.sleep(0)

        clients = [asyncio.create_task(client(f"c{n}")) for n in range(10)]
        while gateway.intake.spooled < 30:
            await asyncio.sleep(0)
        gateway.broker.dial = "well"
        await gateway.settle()  # ends when events go straight again, though nobody paused
        over.set()
        await asyncio.gather(*clients)
        assert gateway.intake.spooled == 0
        assert sorted(gateway.broker.ids) == sorted(sent)
        assert_in_order(gateway.broker, by_key(sent))


async def test_whoever_is_held_back_goes_to_the_spool_when_the_broker_falls_silent_again(tmp_path: Path) -> None:
    async with a_gateway(tmp_path, hold=0.0) as gateway:
        await nearly_empty(gateway)
        gateway.broker.dial = "hangs"
        step = asyncio.create_task(gateway.intake.step())
        while not gateway.broker.waiting:
            await asyncio.sleep(0)
        await gateway.intake.append([row("c")])  # returns while the broker hangs
        assert await gateway.spooled() == ["b", "c"]
        gateway.broker.limit_over.set()
        assert not await step
        gateway.broker.dial = "well"
        await gateway.settle()
        assert gateway.broker.ids == ["a", "b", "c"]


async def test_being_held_back_counts_as_waiting_for_the_broker(tmp_path: Path) -> None:
    async with a_gateway(tmp_path) as gateway:
        await nearly_empty(gateway)
        gateway.broker.dial = "slow"
        step = asyncio.create_task(gateway.intake.step())
        while "b" not in gateway.broker.ids:
            await asyncio.sleep(0)
        held = asyncio.create_task(gateway.intake.append([row("c")]))
        await turns(2)
        gateway.clock.advance(seconds=0.5)
        await step
        await held
        assert gateway.broker.ids == ["a", "b", "c"]
        assert gateway.broker.seconds == pytest.approx(SEND_SECONDS - 0.5)
        await gateway.intake.append([row("d")])
        assert gateway.broker.seconds == SEND_SECONDS


async def test_an_event_on_its_way_to_the_disk_when_the_spool_looks_empty_is_not_overtaken(tmp_path: Path) -> None:
    async with a_gateway(tmp_path) as gateway:
        gateway.broker.dial = "hangs"
        straggler = asyncio.create_task(gateway.intake.append([row("a", "k1", size=20_000_000)]))
        await turns()
        gateway.broker.dial = "silent"
        await gateway.intake.append([row("b", "k2")])
        gateway.broker.dial = "slow"
        step = asyncio.create_task(gateway.intake.step())
        while "b" not in gateway.broker.ids:
            await asyncio.sleep(0)
        with held_up(tmp_path / "spool.db"):
            await turns(100)  # b is at the broker and waits to be dropped
            gateway.broker.limit_over.set()  # the send of a has failed only now
            await turns()
        await step
        await straggler
        await gateway.intake.append([row("a2", "k1")])
        await gateway.settle()
        assert gateway.broker.ids == ["b", "a", "a2"]


async def test_a_request_that_is_cancelled_is_counted_as_the_disk_has_it(tmp_path: Path) -> None:
    async with a_gateway(tmp_path) as gateway:
        gateway.broker.dial = "silent"
        await gateway.intake.append([row("a")])
        asked = [asyncio.create_task(gateway.intake.append([row(f"gone{n}")])) for n in range(10)]
        await asyncio.sleep(0)
        for one in asked:
            one.cancel()
        await asyncio.gather(*asked, return_exceptions=True)
        assert len(await gateway.spooled()) == gateway.intake.spooled
        gateway.broker.dial = "well"
        await gateway.settle()
        assert gateway.intake.spooled == 0
        await gateway.intake.append([row("b")])
        assert gateway.broker.ids[-1] == "b"


async def test_a_cancelled_hand_over_hands_over_again_and_loses_nothing(tmp_path: Path) -> None:
    async with a_gateway(tmp_path) as gateway:
        gateway.broker.dial = "silent"
        await gateway.intake.append([row("a")])
        gateway.broker.dial = "slow"
        step = asyncio.create_task(gateway.intake.step())
        while not gateway.broker.ids:
            await asyncio.sleep(0)
        step.cancel()
        await asyncio.gather(step, return_exceptions=True)
        await gateway.settle()
        await gateway.intake.append([row("b")])
        assert gateway.broker.ids == ["a", "a", "b"]


@pytest.mark.parametrize("database", ["there", "away"])
async def test_a_spooled_event_that_the_broker_refuses_for_good_is_kept_apart_and_blocks_none(
    tmp_path: Path, database: str
) -> None:
    kept: list[tuple[str, str]] = []

    async def dead_letter(refused: Row, why: str) -> None:
        if database == "away":
            raise StorageError("no database")
        kept.append((refused.event_id, why))

    async with a_gateway(tmp_path) as gateway:
        gateway.intake = DurableAppend(gateway.broker, gateway.spool, gateway.clock, dead_letter=dead_letter)
        gateway.broker.refuses = {"large"}
        gateway.broker.dial = "silent"
        for name in ("a", "large", "b"):
            await gateway.intake.append([row(name)])
        gateway.broker.dial = "well"
        for _ in range(20):
            await gateway.intake.step()
        if database == "away":
            assert (gateway.broker.ids, await gateway.spooled()) == (["a"], ["large", "b"])
            database = "there"
            for _ in range(20):
                await gateway.intake.step()
        assert kept == [("large", "MessageSizeTooLargeError")]
        assert (gateway.broker.ids, await gateway.spooled()) == (["a", "b"], [])
        await gateway.intake.append([row("large")])  # straight to the broker, which refuses it
        for _ in range(20):
            await gateway.intake.step()
        assert len(kept) == 2
        assert await gateway.spooled() == []


async def test_a_full_spool_refuses_and_says_so_until_it_has_been_emptied(tmp_path: Path) -> None:
    async with a_gateway(tmp_path, bytes_max=NARROW) as gateway:
        gateway.broker.dial = "silent"
        kept = await fill(gateway)
        assert len(kept) > 10
        assert gateway.intake.ready().startswith("the broker does not answer, and nothing can be spooled")
        gateway.broker.dial = "well"
        await gateway.settle()
        assert gateway.intake.ready() == "ok"
        assert gateway.intake.warnings() == ()
        assert gateway.broker.ids == kept
        await gateway.intake.append([row("next")])
        assert gateway.broker.ids[-1] == "next"


async def test_without_a_spool_a_silent_broker_refuses_at_once_and_its_return_is_noticed(tmp_path: Path) -> None:
    for file in (None, tmp_path / "nowhere" / "spool.db"):
        gateway = AppendingGateway(FakeBroker(), file)
        await gateway.intake.append([row("well")])
        assert gateway.intake.ready() == "ok"
        gateway.broker.dial = "silent"
        for _ in range(5):
            with pytest.raises(StorageError):
                await gateway.intake.append([row("refused")])
        assert gateway.broker.tries == 2
        assert "nothing can be spooled" in gateway.intake.ready()
        gateway.broker.dial = "well"
        await gateway.settle()
        assert gateway.intake.ready() == "ok"
        await gateway.intake.append([row("again")])
        assert gateway.broker.ids == ["well", "again"]
        await gateway.close()


async def test_a_gateway_that_starts_on_a_full_spool_empties_it_first(tmp_path: Path) -> None:
    async with a_gateway(tmp_path) as before:
        before.broker.dial = "silent"
        await before.intake.append([row("old")])
    async with a_gateway(tmp_path) as gateway:
        assert gateway.intake.spooled == 1
        await gateway.intake.append([row("new")])
        assert gateway.broker.ids == []
        await gateway.settle()
        assert gateway.broker.ids == ["old", "new"]


async def test_running_it_notices_a_dead_broker_before_any_request_does_and_empties_the_spool_later(
    tmp_path: Path,
) -> None:
    async with a_gateway(tmp_path) as gateway:
        gateway.broker.dial = "silent"
        running = asyncio.create_task(gateway.intake.run())
        await turns()
        await gateway.intake.append([row("a")])
        assert gateway.broker.tries == 0
        gateway.broker.dial = "well"
        async with asyncio.timeout(5):
            while gateway.broker.ids != ["a"] or gateway.intake.spooled:
                await asyncio.sleep(0.01)
        await gateway.intake.append([row("b")])
        assert gateway.broker.ids == ["a", "b"]
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


# --- the law ------------------------------------------------------------------------------------------------------


def by_key(ids: Sequence[str]) -> dict[str, list[str]]:
    """Ids `key.n`, in the order in which they were given."""
    found = defaultdict(list)
    for id in ids:
        found[id.split(".")[0]].append(id)
    return found


def assert_in_order(broker: FakeBroker, acknowledged: dict[str, list[str]]) -> None:
    first = {id: place for place, id in reversed(list(enumerate(broker.ids)))}
    for ids in acknowledged.values():
        assert all(id in first for id in ids), "lost"
        assert [first[id] for id in ids] == sorted(first[id] for id in ids), "overtaken"


class RetryingClients:
    """Clients that send the events of their key one after the other, while everything else happens."""

    def __init__(self, file: Path, bytes_max: int) -> None:
        self.file, self.bytes_max, self.broker = file, bytes_max, FakeBroker()
        self.gateway = AppendingGateway(self.broker, file, bytes_max)
        self.acknowledged: list[str] = []
        self.sent = 0
        self.last: dict[str, asyncio.Task[None]] = {}

    async def do(self, act: tuple[str, str]) -> None:
        what, how = act
        if what == "append":
            self.sent += 1
            self._after(how, partial(self._append, how, f"{how}.{self.sent}"))
        elif what == "step":
            self._after("", self._step)
        elif what == "dial":
            self.broker.dial = how  # type: ignore[assignment]  # drawn from the dial's values
        elif what == "wait":
            await turns(int(how))
        elif what == "commit" and self.gateway.spool:
            await self.gateway.spool.oldest()
        elif what == "all":
            await asyncio.gather(*self.last.values())
        elif what == "die":
            await self.die()

    async def die(self) -> None:
        """All at once: requests, hand-over; then the next life on the same file."""
        for task in self.last.values():
            task.cancel()
        await asyncio.gather(*self.last.values(), return_exceptions=True)
        self.last.clear()
        await self.gateway.close()
        self.gateway = AppendingGateway(self.broker, self.file, self.bytes_max)

    async def end(self) -> None:
        await asyncio.gather(*self.last.values())
        self.broker.dial = "well"
        await self.gateway.settle()
        for key in "abc":
            await self._append(key, f"{key}.end")
        await self.gateway.settle()
        assert self.gateway.intake.spooled == 0
        await self.gateway.close()
        assert_in_order(self.broker, by_key(self.acknowledged))

    def _after(self, key: str, work: Callable[[], Awaitable[None]]) -> None:
        before = self.last.get(key)

        async def whole() -> None:
            if before is not None:
                await before
            await work()

        self.last[key] = asyncio.create_task(whole())

    async def _append(self, key: str, id: str) -> None:
        try:
            await self.gateway.intake.append([row(id, key, 1_500)])
        except StorageError:
            return
        self.acknowledged.append(id)

    async def _step(self) -> None:
        await self.gateway.intake.step()


ACTS = st.one_of(
    st.tuples(st.just("append"), st.sampled_from("abc")),
    st.tuples(st.just("append"), st.sampled_from("abc")),
    st.tuples(st.just("step"), st.just("")),
    st.tuples(
        st.just("dial"),
        st.sampled_from(["well", "well", "slow", "silent", "loses acks", "takes half", "delivers late"]),
    ),
    st.tuples(st.just("wait"), st.sampled_from(["1", "2", "5", "30"])),
    st.tuples(st.sampled_from(["commit", "commit", "all", "die"]), st.just("")),
)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(acts=st.lists(ACTS, min_size=5, max_size=50), narrow=st.booleans())
def test_whatever_happens_nothing_acknowledged_is_lost_or_overtaken(
    tmp_path_factory: pytest.TempPathFactory, acts: list[tuple[str, str]], narrow: bool
) -> None:
    async def story() -> None:
        told = RetryingClients(tmp_path_factory.mktemp("spool") / "spool.db", NARROW if narrow else ROOMY)
        for act in acts:
            await told.do(act)
        await told.end()

    asyncio.run(story())
