"""Rows as they are now: a changed row breaks the invariant that names it."""

import pytest

from services.notifier.store.tables import pages
from tests.unit.operations.corruptible_database import InstallationRows, broken, lead_id

_CHANGED = {"id": "'copy'", "epoch": "epoch + {epoch}", "person": "'zed'"}
_COLUMNS = [column.name for column in pages.columns]
COPY = (
    f"INSERT INTO notifier_pages ({', '.join(_COLUMNS)}) "
    f"SELECT {', '.join(_CHANGED.get(name, name) for name in _COLUMNS)} FROM notifier_pages WHERE state = 'sent' LIMIT 1"
)


async def test_event_scored_twice_breaks_i2(database: InstallationRows) -> None:
    await database.break_by(
        "INSERT INTO reporting_history SELECT 'again', topic, type, lead_id, cause, at, heard_at, position, body "
        "FROM reporting_history WHERE type = 'lead.scored' LIMIT 1"
    )
    [(cause,)] = await database.rows("SELECT cause FROM reporting_history WHERE id = 'again'")
    assert cause in (await broken(database))["I2"][0]


async def test_opt_out_may_have_one_record_per_lead(database: InstallationRows) -> None:
    insert = (
        "INSERT INTO reporting_history (id, topic, type, lead_id, cause, at, heard_at, position, body) "
        "SELECT ?, topic, 'consent.changed', ?, 'opt-out', at, heard_at, position, body "
        "FROM reporting_history WHERE type = 'lead.scored' LIMIT 1"
    )
    await database.break_by(insert, id="first", lead="one")
    await database.break_by(insert, id="second", lead="other")
    assert "I2" not in await broken(database)
    await database.break_by(insert, id="third", lead="other")
    assert (await broken(database))["I2"] == ("event opt-out: caused 2 records of type consent.changed",)


async def test_record_twice_in_the_log_breaks_i2(database: InstallationRows) -> None:
    for _ in range(2):
        await database.break_by(
            "INSERT INTO log (topic, partition, key, event_id, at, body) SELECT topic, 0, lead_id, id, at, body "
            "FROM reporting_history WHERE topic = 'routes' ORDER BY id LIMIT 1"
        )
    assert "times in routes" in (await broken(database))["I2"][0]


async def test_two_open_assignments_of_a_lead_break_i3(database: InstallationRows) -> None:
    lead = await lead_id(database, "fay")
    await database.break_by(
        "DROP INDEX router_one_open", "UPDATE router_assignments SET closed_at = NULL WHERE lead_id = ?", lead=lead
    )
    assert any(f"lead {lead}: 2 open assignments" in row for row in (await broken(database))["I3"])


async def test_gap_between_epochs_breaks_i3(database: InstallationRows) -> None:
    lead = await lead_id(database, "fay")
    await database.break_by("DELETE FROM router_assignments WHERE epoch = 1 AND lead_id = ?", lead=lead)
    assert any(lead in row and "epochs 2 to 2" in row for row in (await broken(database))["I3"])


async def test_overlapping_assignments_break_i3(database: InstallationRows) -> None:
    lead = await lead_id(database, "fay")
    await database.break_by(
        "UPDATE router_assignments SET closed_at = closed_at + 60000000 WHERE epoch = 1 AND lead_id = ?", lead=lead
    )
    assert any(f"lead {lead}: assignment 2 began before 1 ended" in row for row in (await broken(database))["I3"])


async def test_owner_without_the_assignment_breaks_i3(database: InstallationRows) -> None:
    lead = await lead_id(database, "ben")
    await database.break_by("UPDATE router_leads SET owner = 'tom', status = 'working' WHERE lead_id = ?", lead=lead)
    await database.break_by("UPDATE router_assignments SET rep = 'lea' WHERE lead_id = ?", lead=lead)
    assert lead in (await broken(database))["I3"][0]


@pytest.mark.parametrize(
    "change",
    [
        "DELETE FROM notifier_clocks WHERE lead_id = ?",
        "UPDATE notifier_clocks SET state = 'over', due_at = NULL WHERE lead_id = ?",
        "UPDATE notifier_clocks SET submit_at = submit_at - 1 WHERE lead_id = ?",
        "UPDATE notifier_clocks SET epoch = epoch - 1 WHERE lead_id = ?",
        "UPDATE notifier_clocks SET state = 'live', due_at = NULL WHERE lead_id = ?",
    ],
)
async def test_untouched_lead_without_its_running_clock_breaks_i4(database: InstallationRows, change: str) -> None:
    lead = await lead_id(database, "fay")
    await database.break_by(change, lead=lead)
    assert lead in (await broken(database))["I4"][0]


async def test_clock_running_after_a_touch_breaks_i4(database: InstallationRows) -> None:
    lead = await lead_id(database, "ben")
    await database.break_by("UPDATE notifier_clocks SET state = 'live' WHERE lead_id = ?", lead=lead)
    assert lead in (await broken(database))["I4"][0]


async def test_rung_fired_twice_breaks_i5(database: InstallationRows) -> None:
    await database.break_by(COPY.format(epoch=0))
    assert "fired 2 times" in (await broken(database))["I5"][0]


async def test_page_created_before_it_was_due_breaks_i5(database: InstallationRows) -> None:
    [(page,)] = await database.rows("SELECT id FROM notifier_pages LIMIT 1")
    await database.break_by("UPDATE notifier_pages SET created_at = due_at - 1 WHERE id = ?", page=page)
    assert page in (await broken(database))["I5"][0]


async def test_page_of_an_unknown_assignment_breaks_i5(database: InstallationRows) -> None:
    await database.break_by(COPY.format(epoch=7))
    assert "copy" in (await broken(database))["I5"][0]


@pytest.mark.parametrize(
    "change",
    [
        "deliveries = 0",
        "state = 'failed', error = NULL",
        "state = 'failed', error = 'x', channels = '[\"slack\",\"inbox\"]', channel_index = 0",
        "state = 'pending', next_at = NULL",
        "state = 'cancelled', error = NULL",
        "state = 'lost'",
    ],
)
async def test_page_in_an_inconsistent_state_breaks_i6(database: InstallationRows, change: str) -> None:
    [(page,)] = await database.rows("SELECT id FROM notifier_pages WHERE state = 'sent' LIMIT 1")
    await database.break_by(f"UPDATE notifier_pages SET {change} WHERE id = ?", page=page)
    assert page in (await broken(database))["I6"][0]


async def test_overdue_page_breaks_i6_only_while_a_process_delivers(database: InstallationRows) -> None:
    started = database.clock.real()
    [(page,)] = await database.rows("SELECT id FROM notifier_pages WHERE state = 'sent' LIMIT 1")
    await database.break_by("DELETE FROM notifier_attempts WHERE page_id = ?", page=page)
    await database.break_by("DELETE FROM reporting_history WHERE type = 'page.sent'")
    await database.break_by(
        "UPDATE notifier_pages SET state = 'sending', sent_at = NULL, next_at = 1 WHERE id = ?", page=page
    )
    database.clock.advance(minutes=2)
    assert not any("overdue" in row for row in (await broken(database))["I6"])
    assert not any("overdue" in row for row in (await broken(database, alive_since=database.clock.real()))["I6"])
    assert page in (await broken(database, alive_since=started))["I6"][0]


async def test_page_claimed_after_the_touch_breaks_i7(database: InstallationRows) -> None:
    lead = await lead_id(database, "ben")
    await database.break_by(
        "UPDATE notifier_pages SET first_try_at = first_try_at + 60000000 WHERE lead_id = ?", lead=lead
    )
    [(page,)] = await database.rows(f"SELECT id FROM notifier_pages WHERE lead_id = '{lead}' AND state = 'sent'")
    assert page in (await broken(database))["I7"][0]


async def test_page_claimed_after_the_opt_out_breaks_i7(database: InstallationRows) -> None:
    lead = await lead_id(database, "eve")
    await database.break_by(
        "UPDATE notifier_pages SET first_try_at = first_try_at + 3600000000 WHERE lead_id = ?", lead=lead
    )
    [(page,), *_] = await database.rows(f"SELECT id FROM notifier_pages WHERE lead_id = '{lead}' AND state = 'sent'")
    assert any(page in row for row in (await broken(database))["I7"])


async def test_wrong_counter_of_open_leads_breaks_i8(database: InstallationRows) -> None:
    [(rep,)] = await database.rows("SELECT rep FROM router_reps WHERE open > 0 LIMIT 1")
    await database.break_by("UPDATE router_reps SET open = open + 1 WHERE rep = ?", rep=rep)
    assert f"rep {rep}" in (await broken(database))["I8"][0]
