"""Profile, lead and status history: each follows from the one before."""

from tests.unit.operations.corruptible_database import InstallationRows, broken, lead_id


async def test_lead_unknown_to_the_router_breaks_i1(database: InstallationRows) -> None:
    lead = await lead_id(database, "dan")
    await database.break_by("DELETE FROM router_leads WHERE lead_id = ?", lead=lead)
    assert lead in (await broken(database))["I1"][0]


async def test_sales_lead_neither_owned_nor_queued_breaks_i1(database: InstallationRows) -> None:
    lead = await lead_id(database, "dan")
    await database.break_by("UPDATE router_leads SET status = 'qualified' WHERE lead_id = ?", lead=lead)
    assert lead in (await broken(database))["I1"][0]


async def test_status_without_a_record_breaks_i9(database: InstallationRows) -> None:
    lead = await lead_id(database, "dan")
    await database.break_by("UPDATE router_leads SET status = 'new' WHERE lead_id = ?", lead=lead)
    assert lead in (await broken(database))["I9"][0]


async def test_status_changed_with_its_version_breaks_i9(database: InstallationRows) -> None:
    lead = await lead_id(database, "dan")
    await database.break_by(
        "UPDATE router_leads SET status = 'customer', version = version + 1 WHERE lead_id = ?", lead=lead
    )
    assert any(lead in row and "its last record" in row for row in (await broken(database))["I9"])


async def test_status_changed_in_every_table_breaks_i9(database: InstallationRows) -> None:
    lead = await lead_id(database, "dan")
    for table in ("router_leads", "reporting_statuses"):
        await database.break_by(
            f"UPDATE {table} SET status = 'customer', version = version + 1 WHERE lead_id = ?", lead=lead
        )
    assert any(lead in row for row in (await broken(database))["I9"])


async def test_deleted_status_record_breaks_i9(database: InstallationRows) -> None:
    lead = await lead_id(database, "fay")
    await database.break_by("DELETE FROM reporting_history WHERE type = 'lead.released' AND lead_id = ?", lead=lead)
    assert any("has version" in row and lead in row for row in (await broken(database))["I9"])
