"""`DurableAppend` over a broker whose failures a test controls, and a spool in a file."""

import asyncio
import sqlite3
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import Literal

from firsthour.runtime.eventlog.durable_append import DurableAppend
from firsthour.runtime.eventlog.producer import SEND_SECONDS, BrokerError, RecordRejectedError
from firsthour.runtime.eventlog.spool import Spool
from firsthour.runtime.storage.records import Row
from firsthour.runtime.storage.unit import StorageError
from tests.bulk import bulk
from tests.hand_clock import HandClock

ROOMY = 64 * 1024 * 1024
NARROW = 24 * 4096
BrokerMode = Literal["answers", "slow", "silent", "loses acks", "takes half", "delivers late", "hangs"]


class FakeBroker:
    """A broker whose failures the test controls by `mode`. It keeps the rows that arrived, in `rows`."""

    def __init__(self) -> None:
        self.mode: BrokerMode = "answers"
        self.rows: list[Row] = []
        self.rejected: set[str] = set()  # ids of rows that it never accepts
        self.delayed: list[Row] = []  # rows sent while it was silent; they arrive with the next send
        self.sends = 0
        self.hanging = 0  # sends that hang
        self.timeout = 0.0  # seconds that the last send may take
        self.hang_ends = asyncio.Event()  # set by the test: the hanging sends time out

    async def send(self, rows: Sequence[Row], seconds: float = SEND_SECONDS) -> None:
        self.sends, self.timeout = self.sends + 1, seconds
        await asyncio.sleep(0)
        if self.mode == "hangs":
            await self._hang()
        if self.mode == "delivers late":
            self.delayed.extend(rows)
        if self.mode in {"silent", "delivers late"}:
            raise BrokerError("no answer")
        if any(row.event_id in self.rejected for row in rows):
            if len(rows) > 1:
                raise BrokerError("some rows are rejected")
            raise RecordRejectedError("MessageSizeTooLargeError")
        self.rows.extend(self.delayed)
        self.delayed.clear()
        if self.mode == "takes half":
            self.rows.extend(rows[: len(rows) // 2])
            raise BrokerError("half of the rows")
        self.rows.extend(rows)
        if self.mode == "loses acks":
            raise BrokerError("no answer")
        if self.mode == "slow":
            for _ in range(20):
                await asyncio.sleep(0)

    async def answers(self) -> bool:
        return self.mode not in {"silent", "hangs", "delivers late"}

    @property
    def ids(self) -> list[str]:
        return [row.event_id for row in self.rows]

    async def _hang(self) -> None:
        self.hanging += 1
        await self.hang_ends.wait()
        self.hanging -= 1
        raise BrokerError("no answer in time")


def row(id: str, key: str = "k", size: int = 2) -> Row:
    return Row("events", key, id, bulk(size))


async def run_pending_tasks(rounds: int = 20) -> None:
    """Let tasks run that wait for nothing."""
    for _ in range(rounds):
        await asyncio.sleep(0)


class AppendingGateway:
    """`DurableAppend` over a fake broker and a spool in a file. `file`: None: there is no spool."""

    def __init__(
        self, broker: FakeBroker, file: Path | None, bytes_max: int = ROOMY, hold_seconds: float = 5.0
    ) -> None:
        self.broker, self.clock = broker, HandClock()
        self.spool = None if file is None else Spool(file, bytes_max, self.clock)
        if self.spool:
            self.spool.start()
        self.appender = DurableAppend(broker, self.spool, self.clock, hold_seconds=hold_seconds)

    async def settle(self) -> None:
        while await self.appender.step():
            pass

    async def spooled(self) -> list[str]:
        assert self.spool is not None
        return [spooled_row.event_id for _, spooled_row in await self.spool.head()]

    async def close(self) -> None:
        if self.spool:
            await self.spool.close()


@asynccontextmanager
async def appending_gateway(
    directory: Path, bytes_max: int = ROOMY, hold_seconds: float = 5.0
) -> AsyncIterator[AppendingGateway]:
    gateway = AppendingGateway(FakeBroker(), directory / "spool.db", bytes_max, hold_seconds)
    try:
        yield gateway
    finally:
        await gateway.close()


@contextmanager
def write_locked(file: Path) -> Iterator[None]:
    """Block commits to this file inside the block."""
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.rollback()


async def fill(gateway: AppendingGateway) -> list[str]:
    """Append until the spool is full. Return the ids of the accepted rows."""
    ids: list[str] = []
    while len(ids) < 1_000:
        try:
            await gateway.appender.append([row(f"{len(ids)}", size=2_000)])
        except StorageError as error:
            assert "full" in str(error)
            return ids
        ids.append(f"{len(ids)}")
    raise AssertionError("the spool is never full")


async def leave_one_spooled_row(gateway: AppendingGateway) -> None:
    """Bring the gateway to this state: the broker answers again and has `a`, the spool has `b`."""
    gateway.broker.mode = "silent"
    await gateway.appender.append([row("a")])
    await gateway.appender.append([row("b")])
    gateway.broker.mode = "answers"
    assert await gateway.appender.step()
    assert await gateway.spooled() == ["b"]


def by_key(ids: Sequence[str]) -> dict[str, list[str]]:
    """Return ids of the form `key.n` by key, in their order."""
    groups = defaultdict(list)
    for id in ids:
        groups[id.split(".")[0]].append(id)
    return groups


def assert_in_order(broker: FakeBroker, acknowledged: dict[str, list[str]]) -> None:
    """Assert that the broker has the acknowledged rows of each key, in their order."""
    first = {id: place for place, id in reversed(list(enumerate(broker.ids)))}
    for ids in acknowledged.values():
        assert all(id in first for id in ids), "lost"
        assert [first[id] for id in ids] == sorted(first[id] for id in ids), "overtaken"
