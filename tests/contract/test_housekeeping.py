"""Housekeeping finds expired rows by indexes, works in small steps, and removes no row that is still needed."""

import asyncio
import re
from datetime import timedelta

import pytest
from sqlalchemy.engine import Connection

from firsthour.bootstrap.services import all_services
from firsthour.kernel.time_units import micros
from firsthour.runtime.eventlog import dead_letter_statements
from firsthour.runtime.eventlog.dead_letters import DEFAULT
from firsthour.runtime.http import idempotency
from firsthour.runtime.processing import retention
from firsthour.runtime.processing.retention import LOG_DAYS, SEEN_DAYS, Housekeeping
from firsthour.runtime.processing.service import Sweep
from firsthour.runtime.storage import statements
from firsthour.runtime.storage.unit import Unit
from schemas import topics
from services.reporting import store as reporting_store
from tests.backends import Backends, embedded, execute
from tests.contract.conftest import Backend, emitting

ROWS = 3_000
STATEMENTS = {
    "seen": retention._SEEN,
    "log": retention._LOG,
    "dead letters by age": dead_letter_statements.OLDER_THAN,
    "dead letters of a source": dead_letter_statements.OLDEST_OF_BUDGET,
    "answers": idempotency._SWEEP,
    "history": reporting_store._DELETE,
}
FILL = (
    "INSERT INTO seen SELECT 'scoring', 'e' || n, n % 400 FROM numbers",
    "INSERT INTO log (topic, partition, key, event_id, at, body) SELECT 'leads', 0, 'k', 'e' || n, n, '' FROM numbers",
    (
        "INSERT INTO dead_letters (id, at, consumer, origin, source, content_type, body, error, code, state, changed_at, tries)"
        " SELECT 'l' || n, n, 'gateway', 'o', 's', 'c', '', 'e', 'c', 'waiting', n, 1 FROM numbers"
    ),
    "INSERT INTO idempotency SELECT 's', 'k' || n, 'f', 200, '', n FROM numbers",
    (
        "INSERT INTO reporting_history (id, topic, position, type, at, heard_at, body)"
        " SELECT 'e' || n, 'leads', n, 't', n, n, '' FROM numbers"
    ),
)
NUMBERS = "WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {rows})"


def fill(unit: Unit) -> None:
    """Insert thousands of rows into each table from which housekeeping removes rows."""
    for statement in FILL:
        into, _, select = statement.partition(" SELECT ")
        execute(unit, f"{into} {NUMBERS.format(rows=ROWS)} SELECT {select}")


def plan_of(connection: Connection, statement: statements.Sql) -> str:
    """Return the plan of a statement."""
    text = statement.for_one(connection.dialect).text
    count = len(set(statement.for_one(connection.dialect).order))
    if connection.dialect.name == "sqlite":
        one = statement.for_one(connection.dialect)
        rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {one.text}", (1,) * len(one.order)).all()
        return "\n".join(str(row[-1]) for row in rows)
    direct = connection.exec_driver_sql
    for name, value in {**statements.LOOK_UP, "plan_cache_mode": "force_generic_plan"}.items():
        direct(f"SET LOCAL {name} = {value}")
    direct(f"PREPARE asked AS {text}")
    values = ", ".join(["NULL"] * count)
    plan = "\n".join(row[0] for row in direct(f"EXPLAIN EXECUTE asked ({values})"))
    direct("DEALLOCATE asked")
    return plan


@pytest.mark.parametrize("name", STATEMENTS)
async def test_sweeps_find_rows_by_an_index(backend: Backend, name: str) -> None:
    assert all_services({}, None)  # every table is known
    await backend.units.run(fill)
    await backend.units.run(lambda unit: execute(unit, "ANALYZE"))
    plan = await backend.reads(lambda connection: plan_of(connection, STATEMENTS[name]))
    tables = "seen|log|dead_letters|idempotency|reporting_history"
    assert not re.search(rf"Seq Scan on ({tables})\b|^SCAN ({tables})$|USE TEMP B-TREE", plan, re.MULTILINE), plan
    assert re.search(r"USING (COVERING )?INDEX|Index (Only )?Scan", plan), plan


# --- removed rows -----------------------------------------------------------------------------------------------------


async def test_seen_rows_are_removed_by_the_day(backend: Backend) -> None:
    today = micros(backend.clock.real()) // 86_400_000_000

    def mark(unit: Unit) -> None:
        for n, day in enumerate((today - SEEN_DAYS - 1, today - SEEN_DAYS, today)):
            execute(unit, f"INSERT INTO seen VALUES ('c', 'e{n}', {day})")

    await backend.units.run(mark)
    assert await backend.units.run(lambda unit: retention.forget_seen(unit, 10)) == 1
    assert await backend.rows("SELECT event_id FROM seen ORDER BY event_id") == [("e1",), ("e2",)]


@embedded
async def test_records_are_removed_a_week_old_and_read_by_all(backend: Backend, profile: Backends | None) -> None:
    await backend.say("a", "b", "c")
    backend.clock.advance(days=LOG_DAYS, seconds=1)
    await backend.say("d")

    def readers(unit: Unit) -> None:
        execute(unit, "INSERT INTO cursors VALUES ('one', 'leads', 0, 4), ('other', 'leads', 0, 2)")

    def swept(unit: Unit) -> int:
        return retention.drop_read(unit, 10, topic=topics.LEADS)

    assert await backend.units.run(swept) == 0, "nobody has read anything"
    await backend.units.run(readers)
    assert await backend.units.run(swept) == 2
    await backend.units.run(lambda unit: execute(unit, "UPDATE cursors SET position = 4"))
    assert await backend.units.run(swept) == 1
    assert await backend.rows("SELECT event_id FROM log") == [("d",)]


@embedded
async def test_stopped_reader_does_not_keep_records_of_other_topics(backend: Backend, profile: Backends | None) -> None:
    await backend.say(*(f"e{n}" for n in range(50)))
    backend.clock.advance(days=LOG_DAYS, seconds=1)
    await backend.units.run(lambda unit: execute(unit, "UPDATE log SET topic = 'routes' WHERE id > 40"))
    cursors = "INSERT INTO cursors VALUES ('stopped', 'leads', 0, 0), ('one', 'routes', 0, 50)"
    await backend.units.run(lambda unit: execute(unit, cursors))
    gone = [
        await backend.units.run(lambda unit, topic=topic: retention.drop_read(unit, 10, topic=topic))  # type: ignore[misc]
        for topic in (topics.LEADS, topics.ROUTES)
    ]
    assert gone == [0, 10]


# --- how --------------------------------------------------------------------------------------------------------------


class Slowly:
    """A sweep of which each row takes a while, and the steps that were asked of it."""

    def __init__(self, backend: Backend, rows: int, seconds: float) -> None:
        self.backend, self.left, self.seconds = backend, rows, seconds
        self.steps: list[int] = []

    def __call__(self, unit: Unit, limit: int) -> int:
        self.steps.append(limit)
        gone = min(limit, self.left)
        self.left -= gone
        self.backend.clock.advance(seconds=gone * self.seconds)
        return gone


async def test_rows_of_a_step_adapt_to_its_time(backend: Backend) -> None:
    slow, fast = Slowly(backend, 2_000, 0.001), Slowly(backend, 10_000, 0.0)
    keeper = Housekeeping([slow, fast], backend.units)
    while await keeper.step():
        pass
    assert (slow.left, fast.left) == (0, 0)
    assert min(slow.steps) <= 10
    assert max(fast.steps) == retention.ROWS_MAX


async def test_failing_sweep_does_not_stop_others(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "PAUSE_SECONDS_MIN", 0.0)

    def broken(unit: Unit, limit: int) -> int:
        raise RuntimeError("no")

    other = Slowly(backend, 500, 0.0)
    sweeps: list[Sweep] = [broken, other]
    task = asyncio.create_task(Housekeeping(sweeps, backend.units).run())
    while other.left:
        await asyncio.sleep(0.001)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_outbox_rows_never_expire_by_age(backend: Backend) -> None:
    await backend.units.run(emitting(["a"], "lead"))
    backend.clock.advance(days=400)
    keeper = Housekeeping(retention.standard_sweeps(DEFAULT, database_bytes_max=None), backend.units)
    while await keeper.step():
        pass
    assert await backend.rows("SELECT event_id FROM log") == [("a",)]
    assert DEFAULT.age == timedelta(days=30)
