"""Clocks, pages and attempts: each follows from the one before."""

from tests.unit.operations.corruptible_database import InstallationRows, broken, lead_id


async def test_sent_page_without_an_attempt_breaks_i6(database: InstallationRows) -> None:
    [(page,)] = await database.rows("SELECT id FROM notifier_pages WHERE state = 'sent' LIMIT 1")
    await database.break_by("DELETE FROM notifier_attempts WHERE page_id = ?", page=page)
    assert page in (await broken(database))["I6"][0]


async def test_deleted_pages_break_i5_and_i6(database: InstallationRows) -> None:
    pages = await database.rows("SELECT id FROM notifier_pages WHERE state = 'sent'")
    await database.break_by("DELETE FROM notifier_attempts")
    await database.break_by("DELETE FROM notifier_pages")
    rows = await broken(database, named_max=None)
    assert any("rung 0 of assignment 1 was reached, but has no page" in row for row in rows["I5"])
    assert all(any(page in row for row in rows["I6"]) for (page,) in pages)


async def test_clock_due_in_ten_years_breaks_i4(database: InstallationRows) -> None:
    lead = await lead_id(database, "fay")
    years = 10 * 365 * 86_400_000_000
    await database.break_by(f"UPDATE notifier_clocks SET due_at = due_at + {years} WHERE lead_id = ?", lead=lead)
    assert any(lead in row and "due at" in row for row in (await broken(database))["I4"])
    await database.break_by(
        f"UPDATE notifier_clocks SET promise_at = promise_at + {years} WHERE lead_id = ?", lead=lead
    )
    assert any(lead in row and "promise" in row for row in (await broken(database))["I4"])


async def test_overdue_clock_breaks_i4_only_while_a_process_runs(database: InstallationRows) -> None:
    lead = await lead_id(database, "fay")
    started = database.clock.real()
    database.clock.advance(hours=5)
    assert await broken(database) == {}
    assert any(lead in row and "nothing happened" in row for row in (await broken(database, alive_since=started))["I4"])
