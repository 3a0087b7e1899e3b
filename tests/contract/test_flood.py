"""An anonymous flood of large posts stops nothing: other leads get their owners and their pages, and memory and disk are
bounded."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from firsthour.bootstrap.embedded import System
from firsthour.runtime.eventlog import log
from firsthour.runtime.eventlog.log import TableLog, Tail, within
from firsthour.runtime.processing import worker
from firsthour.runtime.storage.records import Record, Row
from firsthour.runtime.storage.unit import Unit
from schemas import topics
from schemas.envelope import RECORD_BYTES_MAX, RecordTooLargeError
from schemas.events import LeadRecycled
from tests.backends import Backends, embedded
from tests.contract.conftest import Backend, drain
from tests.contract.systems import OpenedSystem, opened
from tests.letters import waiting as letters_waiting

POSTS = 6
OTHERS = 24


def large_post(n: int) -> dict[str, Any]:
    """120 fields that no post had before, of 2,000 characters each."""
    return {"email": "flood@acme.example", **{f"field_{n}_{i}": "x" * 2_000 for i in range(120)}}


async def flooded(world: OpenedSystem) -> None:
    """The posts of the flood, with other people among them."""
    for n in range(POSTS):
        answer = await world.client.post("/v1/forms/demo-request", json=large_post(n))
        assert answer.status_code == 202, answer.text
        for other in range(n, OTHERS, POSTS):
            assert (await world.asks(f"other{other}")).status_code == 202
        await world.system.settle()


async def test_six_large_posts_delay_no_other_lead(tmp_path: Path, profile: Backends | None) -> None:
    async with opened(tmp_path / "data", profile) as world:
        await flooded(world)
        await world.system.settle()
        owners = [(await world.lead(f"other{n}"))["owner"] for n in range(OTHERS)]
        assert all(owners), owners
        leads = {(await world.lead(f"other{n}"))["id"] for n in range(OTHERS)}
        told = {row[0] for row in await world.rows("SELECT lead_id FROM notifier_pages WHERE state = 'sent'")}
        assert leads <= told
        ready = (await world.client.get("/readyz")).json()
        assert ready["status"] == "ready"
        assert not [warning for warning in ready["warnings"] if "publish" in warning]
        if profile is not None:
            assert await world.rows("SELECT 1 FROM log") == []


# --- a record larger than records may be ------------------------------------------------------------------------------


def move(reason: str, unit: Unit) -> LeadRecycled:
    return LeadRecycled(
        lead_id="l", version=1, at=unit.now, status="new", was="new", epoch=0, by="system", kind="reject", reason=reason
    )


def too_large(batch: Sequence[Record], unit: Unit) -> None:
    """A handler whose record of one lead is larger than a record may be."""
    for record in batch:
        unit.emit(move("x" * (RECORD_BYTES_MAX if record.key == "large" else 1), unit), key="l")


async def test_a_record_above_the_bound_is_refused_where_it_is_emitted(backend: Backend) -> None:
    def work(unit: Unit) -> None:
        unit.emit(move("x" * RECORD_BYTES_MAX, unit), key="l")

    with pytest.raises(RecordTooLargeError, match=str(RECORD_BYTES_MAX)):
        await backend.units.run(work)
    assert await backend.rows("SELECT 1 FROM log") == []


async def test_an_event_whose_record_would_be_too_large_is_a_dead_letter_and_stops_no_consumer(
    backend: Backend,
) -> None:
    many = 2 * worker.DEAD_IN_A_ROW_MAX
    await backend.say("before", key="a")
    await backend.say(*(f"large {n}" for n in range(many)), key="large")
    await backend.say("after", key="b")
    reader = await drain(await backend.worker(too_large))
    letters = await backend.reads(letters_waiting)
    assert [letter.source for letter in letters] == [f"large {n}" for n in range(many)]
    assert {(letter.tries, letter.key) for letter in letters} == {(1, "large")}
    assert all(letter.error.startswith("RecordTooLargeError") for letter in letters)
    assert reader.stopped is None


# --- memory -----------------------------------------------------------------------------------------------------------


def record(position: int, size: int) -> Record:
    return Record(position, "k", str(position), b"x" * size)


def test_recent_records_in_memory_are_bounded_in_bytes() -> None:
    tail = Tail(0, keep=2_000)
    size = RECORD_BYTES_MAX
    for n in range(1, 200):
        tail.add([record(n, size)])
        assert tail.size <= log.TAIL_BYTES_MAX
    assert len(tail.records) == log.TAIL_BYTES_MAX // size
    assert tail.beyond(0, 10) is None, "older ones are in the table"
    assert tail.floor == 199 - len(tail.records)


def test_a_batch_is_bounded_in_bytes_and_has_at_least_one_record() -> None:
    size = RECORD_BYTES_MAX
    assert len(within(record(n, size) for n in range(500))) == log.BATCH_BYTES_MAX // size
    assert len(within([record(1, 2 * log.BATCH_BYTES_MAX), record(2, 1)])) == 1
    assert within([]) == []


@embedded
async def test_readers_get_batches_bounded_in_bytes_from_memory_and_from_the_table(
    tmp_path: Path, profile: Backends | None
) -> None:
    async with opened(tmp_path / "data", profile) as world:
        system = world.system
        assert isinstance(system, System)
        table = system.resources.log
        assert isinstance(table, TableLog)
        rows = [Row(topics.EVENTS, "k", f"e{n}", b"x" * RECORD_BYTES_MAX) for n in range(100)]
        for row in rows:
            await system.units.append([row])
        end, after, found = await table.end(topics.EVENTS, 0), 0, 0
        while after < end:
            batch = await table.fetch(topics.EVENTS, 0, after, 500)
            assert 0 < sum(len(one.body) for one in batch) <= log.BATCH_BYTES_MAX
            after, found = batch[-1].position, found + len(batch)
        assert found == len(rows)
