"""A flood of large posts: other leads get their owners and pages, memory is bounded, and disk use stays proportional."""

import json
import random
import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from firsthour.bootstrap.embedded import System
from firsthour.runtime.eventlog import log
from firsthour.runtime.eventlog.log import TableLog, Tail, within
from firsthour.runtime.processing import worker
from firsthour.runtime.storage.records import Record, Row
from firsthour.runtime.storage.sqlite_engines import used_bytes
from firsthour.runtime.storage.unit import Unit
from schemas import topics
from schemas.envelope import RECORD_BYTES_MAX, RecordTooLargeError
from schemas.events.routes import LeadRecycled
from tests.backends import Backends, embedded
from tests.contract.conftest import Backend, drain
from tests.contract.systems import OpenedSystem, opened
from tests.dead_letters import waiting_letters

POSTS = 6
OTHERS = 12  # with the flood fewer than what counts as a burst of one domain


def large_post(n: int) -> dict[str, Any]:
    """Return a form with 120 new fields of 2,000 characters each, which cannot be packed well."""
    chance = random.Random(n)
    return {"email": "flood@acme.example", **{f"field_{n}_{i}": chance.randbytes(1_000).hex() for i in range(120)}}


async def post_flood(world: OpenedSystem) -> None:
    """Post the large forms, with demo requests of other people in between."""
    for n in range(POSTS):
        answer = await world.client.post("/v1/forms/demo-request", json=large_post(n))
        assert answer.status_code == 202, answer.text
        for other in range(n, OTHERS, POSTS):
            assert (await world.asks(f"other{other}")).status_code == 202
        await world.system.settle()


async def test_other_leads_are_assigned_and_paged_during_a_flood(tmp_path: Path, profile: Backends | None) -> None:
    async with opened(tmp_path / "data", profile) as world:
        await post_flood(world)
        await world.system.settle()
        owners = [(await world.lead(f"other{n}"))["owner"] for n in range(OTHERS)]
        assert all(owners), owners
        leads = {(await world.lead(f"other{n}"))["id"] for n in range(OTHERS)}
        world.clock.advance(minutes=10)  # what exceeds the budget of a person waits so long at most
        await world.system.settle()
        paged = {row[0] for row in await world.rows("SELECT lead_id FROM notifier_pages WHERE state = 'sent'")}
        assert leads <= paged
        ready = (await world.client.get("/readyz")).json()
        assert ready["status"] == "ready"
        assert not [warning for warning in ready["warnings"] if "publish" in warning]
        if profile is not None:
            assert await world.rows("SELECT 1 FROM log") == []


async def test_facts_that_a_profile_drops_are_counted(tmp_path: Path, profile: Backends | None) -> None:
    async with opened(tmp_path / "data", profile) as world:
        for n in range(2):
            assert (await world.client.post("/v1/forms/demo-request", json=large_post(n))).status_code == 202
        await world.system.settle()
        metrics = (await world.client.get("/metrics")).text
        counts = {
            kind: float(value)
            for kind, value in re.findall(r'profile_data_dropped_total\{kind="(\w+)"\} (\S+)', metrics)
        }
        assert counts["fact"] >= 100, "of 240 new facts a profile keeps 100"
        assert counts["text"] > 0


async def test_full_database_keeps_unread_records_and_warns(tmp_path: Path) -> None:
    """The history is still stored for 400 days, so the warning is needed."""
    async with opened(tmp_path / "data", database_bytes_max=1024**2) as world:  # type: ignore[arg-type]
        await post_flood(world)
        runners = world.system.runners
        while await runners["runtime.sweep"].step():
            pass
        assert await world.rows("SELECT count(*) FROM log") == [(0,)]
        assert len(await world.rows("SELECT 1 FROM reporting_history WHERE topic = 'events'")) == POSTS + OTHERS
        await runners["runtime.gauges"].step()
        ready = (await world.client.get("/readyz")).json()
        assert ready["status"] == "ready"
        assert [warning for warning in ready["warnings"] if "FIRSTHOUR_DATABASE_BYTES_MAX" in warning]
        assert "\ndatabase_bytes " in (await world.client.get("/metrics")).text


async def test_database_below_its_limit_keeps_read_records(tmp_path: Path) -> None:
    async with opened(tmp_path / "data") as world:
        await post_flood(world)
        before = await world.rows("SELECT count(*) FROM log")
        while await world.system.runners["runtime.sweep"].step():
            pass
        await world.system.runners["runtime.gauges"].step()
        assert await world.rows("SELECT count(*) FROM log") == before
        assert "FIRSTHOUR_DATABASE_BYTES_MAX" not in (await world.client.get("/readyz")).text


async def test_post_uses_at_most_four_times_its_size_on_disk(tmp_path: Path) -> None:
    async with opened(tmp_path / "data") as world:
        sizes = []
        for n in range(2 * POSTS):
            await world.client.post("/v1/forms/demo-request", json=large_post(n))
            await world.system.settle()
            sizes.append(await world.system.reads(used_bytes))
        post_bytes = len(json.dumps(large_post(0)))
        growth = [after - before for before, after in pairwise(sizes)]
        assert max(growth[POSTS:]) < 4 * post_bytes, "the profile and its records must not grow any more"


# --- records beyond the limit ------------------------------------------------------------------------------


def move(reason: str, unit: Unit) -> LeadRecycled:
    return LeadRecycled(
        lead_id="l", version=1, at=unit.now, status="new", was="new", epoch=0, by="system", kind="reject", reason=reason
    )


def too_large(batch: Sequence[Record], unit: Unit) -> None:
    """Emit a record beyond the limit for each record with the key `large`, else a small record."""
    for record in batch:
        unit.emit(move("x" * (RECORD_BYTES_MAX if record.key == "large" else 1), unit), key="l")


async def test_record_beyond_the_limit_is_rejected_when_emitted(backend: Backend) -> None:
    def work(unit: Unit) -> None:
        unit.emit(move("x" * RECORD_BYTES_MAX, unit), key="l")

    with pytest.raises(RecordTooLargeError, match=str(RECORD_BYTES_MAX)):
        await backend.units.run(work)
    assert await backend.rows("SELECT 1 FROM log") == []


async def test_event_with_too_large_a_record_is_a_dead_letter_and_stops_no_consumer(
    backend: Backend,
) -> None:
    many = 2 * worker.DEAD_IN_A_ROW_MAX
    await backend.say("before", key="a")
    await backend.say(*(f"large {n}" for n in range(many)), key="large")
    await backend.say("after", key="b")
    reader = await drain(await backend.worker(too_large))
    letters = await backend.reads(waiting_letters)
    assert {letter.source for letter in letters} == {f"large {n}" for n in range(many)}
    assert {(letter.tries, letter.key) for letter in letters} == {(1, "large")}
    assert all(letter.error.startswith("RecordTooLargeError") for letter in letters)
    assert reader.stopped is None


# --- memory -----------------------------------------------------------------------------------------------------------


def record(position: int, size: int) -> Record:
    return Record(position, "k", str(position), b"x" * size)


def test_records_in_memory_are_bounded_in_bytes() -> None:
    tail = Tail(0, records_max=2_000)
    size = RECORD_BYTES_MAX
    for n in range(1, 200):
        tail.add([record(n, size)])
        assert tail.size <= log.TAIL_BYTES_MAX
    assert len(tail.records) == log.TAIL_BYTES_MAX // size
    assert tail.beyond(0, 10) is None, "older records are in the table"
    assert tail.floor == 199 - len(tail.records)


def test_batch_is_bounded_in_bytes_and_has_at_least_one_record() -> None:
    size = RECORD_BYTES_MAX
    assert len(within(record(n, size) for n in range(500))) == log.BATCH_BYTES_MAX // size
    assert len(within([record(1, 2 * log.BATCH_BYTES_MAX), record(2, 1)])) == 1
    assert within([]) == []


@embedded
async def test_batches_from_memory_and_table_are_bounded_in_bytes(tmp_path: Path, profile: Backends | None) -> None:
    async with opened(tmp_path / "data", profile) as world:
        system = world.system
        assert isinstance(system, System)
        table = system.resources.log
        assert isinstance(table, TableLog)
        rows = [Row(topics.EVENTS, "k", f"e{n}", b"x" * RECORD_BYTES_MAX) for n in range(100)]
        for row in rows:
            await system.units.append([row])
        end, after, count = await table.end(topics.EVENTS, 0), 0, 0
        while after < end:
            batch = await table.fetch(topics.EVENTS, 0, after, 500)
            assert 0 < sum(len(one.body) for one in batch) <= log.BATCH_BYTES_MAX
            after, count = batch[-1].position, count + len(batch)
        assert count == len(rows)
