"""A unit is one transaction on every backend: its state, events and cursor are committed or rolled back together."""

import asyncio
from functools import partial
from pathlib import Path

import pytest
import sqlalchemy as sa

from firsthour.runtime.eventlog.log import read
from firsthour.runtime.storage import installation, statements
from firsthour.runtime.storage.packing import unpacked
from firsthour.runtime.storage.records import Row, cursors
from firsthour.runtime.storage.sqlite import CARRIED_MAX, PASSED_OVER_MAX
from firsthour.runtime.storage.unit import Lane, StorageError, Unit
from schemas import topics
from schemas.events.leads import LeadTouched
from tests.backends import Backends, embedded, execute
from tests.contract.conftest import Backend, SqliteBackend, open_embedded

NO_ROOM = ("CREATE TRIGGER no_room BEFORE INSERT ON log WHEN NEW.key = 'boom' BEGIN SELECT RAISE(ABORT, 'no'); END",)
NO_ROOM_THERE = (
    "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no'; END $$",
    "CREATE TRIGGER no_room BEFORE INSERT ON log FOR EACH ROW WHEN (NEW.key = 'boom') EXECUTE FUNCTION no()",
)


_NAME = statements.Sql(lambda f: f.upsert(installation.meta, ["name"]))
_CHANGE = statements.Sql(
    lambda _: (
        sa.update(installation.meta)
        .where(installation.meta.c.name == sa.bindparam("named"))
        .values(value=sa.bindparam("to"))
    )
)
_BEGIN = statements.Sql(lambda f: f.insert(cursors).values({c.name: sa.bindparam(c.name) for c in cursors.columns}))


def say(unit: Unit, key: str) -> None:
    unit.emit(LeadTouched(lead_id=key, at=unit.now, channel="phone", answered=True), key=key)


async def test_state_is_rolled_back_if_its_event_cannot_be_appended(backend: Backend, profile: Backends | None) -> None:
    def make(unit: Unit) -> None:
        for statement in NO_ROOM if profile is None else NO_ROOM_THERE:
            execute(unit, statement)

    await backend.units.run(make)

    def work(unit: Unit) -> None:
        installation.put(unit.connection, "changed", "yes")
        say(unit, "boom")

    with pytest.raises(Exception, match="no"):
        await backend.units.run(work)
    assert await backend.rows("SELECT value FROM meta WHERE name = 'changed'") == []


async def test_callbacks_of_a_rolled_back_unit_do_not_run(backend: Backend) -> None:
    happened: list[str] = []

    def work(unit: Unit) -> None:
        unit.after.append(lambda: happened.append("after"))
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        await backend.units.run(work)
    assert happened == []
    await backend.units.run(lambda unit: unit.after.append(lambda: happened.append("after")))
    assert happened == ["after"]


async def test_run_returns_after_the_callbacks_of_the_unit(backend: Backend) -> None:
    happened: list[str] = []
    await backend.units.run(lambda unit: unit.after.append(lambda: happened.append("after")))
    happened.append("answer")
    assert happened == ["after", "answer"]


@embedded
async def test_concurrent_appends_share_commits_and_lose_no_row(backend: Backend) -> None:
    rows = [[Row(topics.EVENTS, "k", f"{n}", b"{}")] for n in range(200)]
    await asyncio.gather(*(backend.units.append(one) for one in rows))
    event_rows = await backend.rows("SELECT event_id FROM log ORDER BY id")
    assert [row[0] for row in event_rows] == [str(n) for n in range(200)]


@embedded
async def test_log_is_packed_and_read_unchanged(backend: SqliteBackend) -> None:
    body = b'{"source":"urn:firsthour:scoring","type":"lead.scored","specversion":"1.0"}' * 3
    await backend.units.run(lambda unit: unit.rows.append(Row(topics.LEADS, "lead", "a", body)))
    [(stored,)] = await backend.rows("SELECT body FROM log")
    assert len(stored) * 2 < len(body)
    [record] = await backend.reads(lambda connection: read(connection, topics.LEADS, 0, 0, 10))
    [newest] = await backend.log.fetch(topics.LEADS, 0, 0, 10)
    assert (record.body, newest.body, newest.packed, record.packed) == (body, body, stored, stored)


@embedded
async def test_rows_that_are_only_appended_are_packed_for_the_history_alone(backend: SqliteBackend) -> None:
    body = b'{"source":"urn:firsthour:gateway","type":"page.viewed","specversion":"1.0"}' * 3
    await backend.append(*(Row(topics.EVENTS, "lead", str(n), body) for n in range(CARRIED_MAX + 1)))
    assert {row[0] for row in await backend.rows("SELECT body FROM log")} == {body}
    newest = await backend.log.fetch(topics.EVENTS, 0, 0, 10)
    stored = await backend.reads(lambda connection: read(connection, topics.EVENTS, 0, 0, 10))
    assert [(record.body, unpacked(record.packed)) for record in (*newest, *stored)] == [(body, body)] * 18
    assert all(len(record.packed) * 2 < len(body) for record in newest)


@embedded
async def test_commands_run_before_batches(backend: Backend) -> None:
    order: list[str] = []

    def note(name: str, unit: Unit) -> None:
        order.append(name)

    await asyncio.gather(
        *(backend.units.run(partial(note, f"batch{n}"), Lane.BATCH) for n in range(5)),
        *(backend.units.run(partial(note, f"command{n}")) for n in range(5)),
    )
    commands = [place for place, name in enumerate(order) if name.startswith("command")]
    batches = [place for place, name in enumerate(order) if name.startswith("batch")]
    assert max(commands) < batches[-1]
    assert [order[place] for place in commands] == [f"command{n}" for n in range(5)]


async def test_failed_unit_does_not_stop_the_writer(backend: Backend) -> None:
    for failure in (ValueError("a"), KeyError("b"), StorageError("c")):

        def work(unit: Unit, failure: Exception = failure) -> None:
            raise failure

        with pytest.raises(type(failure)):
            await backend.units.run(work)
    assert await backend.units.run(lambda unit: 7) == 7


async def test_combined_statements_store_the_same_rows_as_single_ones(backend: Backend) -> None:
    await backend.units.run(lambda unit: _NAME.tuples(unit.connection, [("a", "1"), ("b", "1"), ("c", "1")]))

    def work(unit: Unit) -> None:
        begun = [("test", "leads", n, 7 * n) for n in range(3)]
        statements.execute_combined(
            unit.connection,
            (_CHANGE, [("2", "a"), ("3", "nobody")]),
            (_BEGIN, begun),
            (_NAME, []),
            (_NAME, [("c", "2"), ("d", "{4}")]),
        )

    await backend.units.run(work)
    rows = await backend.rows("SELECT name, value FROM meta WHERE name IN ('a', 'b', 'c', 'd') ORDER BY name")
    assert [tuple(row) for row in rows] == [("a", "2"), ("b", "1"), ("c", "2"), ("d", "{4}")]
    at = await backend.rows("SELECT partition, position FROM cursors WHERE consumer = 'test' ORDER BY partition")
    assert [tuple(row) for row in at] == [(0, 0), (1, 7), (2, 14)]


async def test_time_of_a_unit_is_read_once(backend: Backend) -> None:
    def work(unit: Unit) -> bool:
        first = unit.now
        backend.clock.advance(minutes=5)
        return unit.now == first

    assert await backend.units.run(work)


async def test_ids_of_a_unit_are_unique_and_ordered(backend: Backend) -> None:
    ids = await backend.units.run(lambda unit: [unit.new_id() for _ in range(5)])
    other = await backend.units.run(lambda unit: unit.new_id())
    assert len({*ids, other}) == 6


@embedded
async def test_bulk_units_run_last_but_do_not_starve(backend: Backend) -> None:
    order: list[str] = []

    def note(name: str, unit: Unit) -> None:
        order.append(name)

    many = PASSED_OVER_MAX * 2
    await asyncio.gather(
        backend.units.run(partial(note, "first")),
        backend.units.run(partial(note, "later"), Lane.BULK),
        *(backend.units.run(partial(note, f"batch{n}"), Lane.BATCH) for n in range(many)),
    )
    assert 0 < order.index("later") - order.index("batch0") <= PASSED_OVER_MAX + 1


async def test_pages_leave_before_the_readers_of_the_log_are_woken(tmp_path: Path) -> None:
    backend, order = await open_embedded(tmp_path / "x.db"), []
    backend.units.appended, backend.units.woken = lambda rows: order.append("readers"), lambda ticks: None

    def work(unit: Unit) -> None:
        say(unit, "lead")
        unit.after.append(lambda: order.append("page"))

    await backend.units.run(work)
    assert order == ["page", "readers"]
    await backend.units.close()
    backend.reads.close()


async def test_unit_is_answered_although_a_callback_fails(tmp_path: Path) -> None:
    backend, failures = await open_embedded(tmp_path / "x.db"), []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(context["exception"]))

    def work(unit: Unit) -> None:
        unit.after.append(lambda: print(1 // 0))

    await backend.units.run(work)
    assert [type(failure) for failure in failures] == [ZeroDivisionError]
    await backend.units.close()
    backend.reads.close()
