"""A consumer handles each event once, skips an event it cannot handle, and stops if its code is broken."""

from collections.abc import Sequence

import pytest

from firsthour.runtime.processing import worker
from firsthour.runtime.processing.cursors import CursorMovedError, move_cursors
from firsthour.runtime.processing.worker import TooManyDeadLettersError
from firsthour.runtime.storage.records import Record, Row
from firsthour.runtime.storage.unit import StorageError, Unit
from schemas import topics
from tests.contract import conftest
from tests.contract.conftest import Backend, step
from tests.dead_letters import waiting_letters


class RefusingHandler:
    """A handler that stores the ids of its records. It raises an error for the ids in `refuses`."""

    def __init__(self) -> None:
        self.handled: list[str] = []
        self.refuses: set[str] = set()

    def __call__(self, batch: Sequence[Record], unit: Unit) -> None:
        if self.refuses & {record.event_id for record in batch}:
            raise ValueError("cannot take ada@corp.example")
        unit.after.append(lambda: self.handled.extend(record.event_id for record in batch))


async def drain(backend: Backend, handler: RefusingHandler, consumer: str = "consumer") -> worker.Worker:
    """Read all records with a new worker."""
    return await conftest.drain(await backend.worker(handler, consumer))


async def test_each_event_is_handled_once_in_order(backend: Backend) -> None:
    handler = RefusingHandler()
    for n in range(200):
        await backend.say(str(n))
    await drain(backend, handler)
    assert handler.handled == [str(n) for n in range(200)]


async def test_duplicate_of_a_producer_is_skipped(backend: Backend) -> None:
    handler = RefusingHandler()
    await backend.say("a", "b", "a")
    await backend.say("b", "c")
    await drain(backend, handler)
    assert handler.handled == ["a", "b", "c"]


async def test_each_consumer_handles_every_event(backend: Backend) -> None:
    one, two = RefusingHandler(), RefusingHandler()
    await backend.say("a", "b")
    await drain(backend, one, "one")
    await drain(backend, two, "two")
    assert one.handled == two.handled == ["a", "b"]


async def test_restarted_consumer_continues_at_its_cursor(backend: Backend) -> None:
    handler = RefusingHandler()
    await backend.say("a")
    await drain(backend, handler)
    await backend.say("b")
    await drain(backend, handler)
    assert handler.handled == ["a", "b"]


async def test_zombie_with_an_old_cursor_changes_nothing(backend: Backend) -> None:
    zombie_saw, handler = RefusingHandler(), RefusingHandler()
    await backend.say("a")
    zombie = await backend.worker(zombie_saw)
    assert await zombie.lag() > 0  # it has read its cursor
    await drain(backend, handler)
    await step(zombie)  # and now takes the same records
    assert handler.handled == ["a"]
    assert zombie_saw.handled == []


async def test_cursor_moves_only_from_its_expected_position(backend: Backend) -> None:
    await backend.say("a")
    await drain(backend, RefusingHandler())

    def stale(unit: Unit) -> None:
        move_cursors(unit, "consumer", "leads", {0: (0, 7)})

    with pytest.raises(CursorMovedError):
        await backend.units.run(stale)


async def test_failing_event_becomes_dead_letter_and_others_are_handled(backend: Backend) -> None:
    handler = RefusingHandler()
    handler.refuses = {"bad"}
    await backend.say("a", "bad", "b")
    await drain(backend, handler)
    assert handler.handled == ["a", "b"]
    letters = await backend.reads(waiting_letters)
    assert [(letter.source, letter.tries) for letter in letters] == [("bad", worker.TRIES_MAX)]
    assert b'"bad"' in letters[0].body
    assert letters[0].error.startswith("ValueError at firsthour/runtime/")
    assert "corp" not in letters[0].error


async def test_failing_event_leaves_no_seen_row_and_can_be_retried(backend: Backend) -> None:
    handler = RefusingHandler()
    handler.refuses = {"bad"}
    await backend.say("bad")
    await drain(backend, handler)
    letter = (await backend.reads(waiting_letters))[0]
    handler.refuses = set()
    await backend.units.run(lambda unit: worker.retry(unit, "consumer", handler, letter))
    assert handler.handled == ["bad"]
    assert await backend.reads(waiting_letters) == []


async def test_retry_of_an_event_handled_meanwhile_changes_nothing(backend: Backend) -> None:
    handler = RefusingHandler()
    handler.refuses = {"bad"}
    await backend.say("bad")
    await drain(backend, handler)
    letter = (await backend.reads(waiting_letters))[0]
    handler.refuses = set()
    for _ in range(2):
        await backend.units.run(lambda unit: worker.retry(unit, "consumer", handler, letter))
    assert handler.handled == ["bad"]


async def test_too_many_failing_events_in_a_row_stop_the_consumer(backend: Backend) -> None:
    handler = RefusingHandler()
    names = [f"bad{n}" for n in range(worker.DEAD_IN_A_ROW_MAX + 5)]
    handler.refuses = set(names)
    await backend.say(*names)
    with pytest.raises(TooManyDeadLettersError):
        await drain(backend, handler)
    assert len(await backend.reads(waiting_letters)) == worker.DEAD_IN_A_ROW_MAX


async def test_foreign_record_becomes_dead_letter_after_one_try(backend: Backend) -> None:
    handler = RefusingHandler()

    def decode(batch: Sequence[Record], unit: Unit) -> None:
        assert all(record.event for record in batch)
        handler(batch, unit)

    await backend.say("a")
    await backend.append(Row(topics.LEADS, "k", "alien", b"{}"))
    await backend.say("b")
    await conftest.drain(await backend.worker(decode))
    assert handler.handled == ["a", "b"]
    letters = await backend.reads(waiting_letters)
    assert [(letter.body, letter.tries) for letter in letters] == [(b"{}", 1)]


async def test_storage_failure_does_not_count_as_a_try(backend: Backend) -> None:
    handler = RefusingHandler()
    fails = [True]

    def full(batch: Sequence[Record], unit: Unit) -> None:
        if fails.pop() if fails else False:
            raise StorageError("full")
        handler(batch, unit)

    await backend.say("a")
    taker = await backend.worker(full)
    with pytest.raises(StorageError):
        await step(taker)
    await step(taker)
    assert handler.handled == ["a"]
    assert await backend.reads(waiting_letters) == []
