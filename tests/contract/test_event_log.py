"""The contract of the event log for readers, on both backends."""

import asyncio
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firsthour.runtime.storage.unit import Unit
from schemas import topics
from schemas.events.leads import LeadTouched
from tests.contract.conftest import Backend, open_embedded, read_all
from tests.examples import examples


async def ids(backend: Backend, limit: int = 10) -> list[str]:
    return [record.event_id for record in await read_all(backend, limit=limit)]


async def test_records_of_a_unit_are_read_in_emit_order(backend: Backend) -> None:
    await asyncio.gather(*(backend.say(f"{n}a", f"{n}b") for n in range(50)))
    event_ids = await ids(backend)
    # On Kafka a record may arrive twice: the publisher may read rows that the holder before has just deleted.
    assert sorted(set(event_ids)) == sorted(f"{n}{half}" for n in range(50) for half in "ab")
    assert all(event_ids.index(f"{n}a") < event_ids.index(f"{n}b") for n in range(50))


async def test_reader_behind_the_tail_in_memory_misses_no_record(tmp_path: Path) -> None:
    backend = await open_embedded(tmp_path / "small.db", keep=5)
    for n in range(40):
        await backend.say(str(n))
    assert await ids(backend, limit=7) == [str(n) for n in range(40)]
    await backend.units.close()
    backend.reads.close()


async def test_records_survive_a_restart(tmp_path: Path) -> None:
    first = await open_embedded(tmp_path / "again.db")
    await first.say("before")
    await first.units.close()
    first.reads.close()
    again = await open_embedded(tmp_path / "again.db")
    await again.say("after")
    assert await ids(again) == ["before", "after"]
    await again.units.close()
    again.reads.close()


async def test_ready_returns_once_a_record_is_beyond_the_position(backend: Backend) -> None:
    waiting = asyncio.create_task(backend.log.ready(topics.LEADS, 0, 0))
    await asyncio.sleep(0)
    assert not waiting.done()
    await backend.say("x")
    await waiting
    assert await backend.log.end(topics.LEADS, 0) > 0


async def test_records_of_topics_are_separate(backend: Backend) -> None:
    await backend.say("x")
    assert await backend.log.fetch(topics.EVENTS, 0, 0, 10) == []


async def test_failed_unit_appends_no_record(backend: Backend) -> None:
    def fails(unit: Unit) -> None:
        unit.emit(LeadTouched(lead_id="x", at=unit.now, channel="phone", answered=True), key="x")
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        await backend.units.run(fails)
    await backend.say("kept")
    assert await ids(backend) == ["kept"]


@settings(max_examples=examples(20), deadline=None)
@given(sizes=st.lists(st.integers(1, 9), min_size=1, max_size=12), limit=st.integers(1, 10), keep=st.integers(1, 12))
def test_records_of_any_sizes_are_read_exactly_once(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], limit: int, keep: int
) -> None:
    async def story() -> None:
        backend = await open_embedded(tmp_path_factory.mktemp("log") / "any.db", keep=keep)
        wanted = [f"{n}.{i}" for n, size in enumerate(sizes) for i in range(size)]
        for n, size in enumerate(sizes):
            await backend.say(*(f"{n}.{i}" for i in range(size)))
        assert await ids(backend, limit=limit) == wanted
        await backend.units.close()
        backend.reads.close()

    asyncio.run(story())
