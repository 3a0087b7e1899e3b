"""Events and records: a missing row breaks I1 or I3, unless another row explains it."""

from firsthour.runtime.storage.packing import unpacked
from firsthour.runtime.storage.records import partition_of
from schemas.envelope import decode
from tests.unit.operations.corruptible_database import PARTITIONS, InstallationRows, PostgresRows, broken
from tests.unit.operations.harness import OperationsHarness

EVENT = "SELECT id FROM reporting_history WHERE topic = 'events' LIMIT 1"


async def test_event_read_but_not_handled_breaks_i1(database: InstallationRows) -> None:
    [(event,)] = await database.rows(EVENT)
    await database.break_by("DELETE FROM seen WHERE consumer = 'scoring' AND event_id = ?", event=event)
    assert [event in row for row in (await broken(database))["I1"]] == [True]


async def test_event_that_is_a_dead_letter_breaks_no_invariant(database: InstallationRows) -> None:
    [(event,)] = await database.rows(EVENT)
    await database.break_by("DELETE FROM seen WHERE consumer = 'scoring' AND event_id = ?", event=event)
    await database.break_by(
        "INSERT INTO dead_letters (id, at, consumer, origin, source, content_type, body, error, code, state, changed_at, "
        "tries) SELECT 'l', 1, 'scoring', 'events/0/1', id, 'x', body, 'e', 'c', 'waiting', 1, 3 "
        "FROM reporting_history WHERE id = ?",
        event=event,
    )
    assert await broken(database) == {}


async def test_unread_event_breaks_no_invariant(database: InstallationRows) -> None:
    [(event,)] = await database.rows(EVENT)
    await database.break_by("DELETE FROM seen WHERE consumer = 'scoring' AND event_id = ?", event=event)
    await database.break_by("UPDATE cursors SET position = 0 WHERE consumer = 'scoring' AND topic = 'events'")
    assert await broken(database) == {}


async def test_event_is_read_by_the_cursor_of_its_partition(distributed: PostgresRows) -> None:
    [(event, body)] = await distributed.rows("SELECT id, body FROM reporting_history WHERE topic = 'events' LIMIT 1")
    partition = partition_of(decode(unpacked(body)).partitionkey, PARTITIONS)
    await distributed.break_by("DELETE FROM seen WHERE consumer = 'scoring' AND event_id = ?", event=event)
    back = "UPDATE cursors SET position = 0 WHERE consumer = 'scoring' AND topic = 'events' AND partition"
    await distributed.break_by(f"{back} <> {partition}")
    assert event in (await broken(distributed))["I1"][0]
    await distributed.break_by(f"{back} = {partition}")
    assert await broken(distributed) == {}


async def test_event_handled_by_scoring_and_skipped_by_reporting_breaks_i1(distributed: PostgresRows) -> None:
    [(event,)] = await distributed.rows(EVENT)
    await distributed.break_by("DELETE FROM seen WHERE consumer = 'reporting' AND event_id = ?", event=event)
    await distributed.break_by("DELETE FROM reporting_history WHERE id = ?", event=event)
    assert event in (await broken(distributed))["I1"][0]
    await distributed.break_by("UPDATE cursors SET position = 0 WHERE consumer = 'reporting' AND topic = 'events'")
    assert "I1" not in await broken(distributed)


async def test_event_missing_from_the_history_breaks_i1(database: InstallationRows) -> None:
    [(event,)] = await database.rows(EVENT)
    await database.break_by("DELETE FROM reporting_history WHERE id = ?", event=event)
    assert event in (await broken(database))["I1"][0]


async def test_event_with_an_old_time_is_kept_from_its_arrival_on(harness: OperationsHarness) -> None:
    old = {"id": "1", "type": "page.viewed", "email": "old@old.example", "time": "2019-01-01T00:00:00Z"}
    assert (await harness.client.post("/v1/events", json=old)).status_code == 202
    await harness.system.settle()
    await harness.wait(hours=2)
    assert len(await harness.rows("SELECT id FROM reporting_history WHERE topic = 'events'")) == 1
    assert await harness.broken() == {}


async def test_newest_availability_may_come_from_a_dead_letter(harness: OperationsHarness) -> None:
    await harness.available("noor", False)
    await harness.available("noor", True)
    last_position = "(SELECT max(position) FROM reporting_history WHERE type = 'rep.availability_changed')"
    await harness.break_by(f"UPDATE reporting_history SET position = 0 WHERE position = {last_position}")
    assert await harness.broken() == {}
    await harness.break_by("UPDATE router_reps SET said = 'away' WHERE rep = 'noor'")
    assert any("rep noor" in row for row in (await harness.broken())["I3"])


async def test_damaged_record_of_a_rep_breaks_i1_and_ends_no_check(harness: OperationsHarness) -> None:
    await harness.available("noor", False)
    await harness.break_by("UPDATE reporting_history SET body = X'0178' WHERE type = 'rep.availability_changed'")
    broken = await harness.broken()
    assert any("its body cannot be read" in row for row in broken["I1"])
    assert any("rep noor" in row for row in broken["I3"])


async def test_row_of_an_event_that_differs_from_its_body_breaks_i1(database: InstallationRows) -> None:
    await database.break_by("UPDATE reporting_history SET type = 'page.viewed' WHERE topic = 'events'")
    assert "its row differs from its body" in (await broken(database))["I1"][0]
