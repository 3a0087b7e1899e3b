"""Unsettled leads: a lead with an unread record or a recent change is not judged."""

from tests.unit.operations.corruptible_database import InstallationRows, PostgresRows, broken, lead_id


async def test_lead_changed_after_the_command_began_is_not_judged(database: InstallationRows) -> None:
    lead = await lead_id(database, "fay")
    now = database.clock.business()
    await database.break_by("DELETE FROM notifier_clocks WHERE lead_id = ?", lead=lead)
    assert "I4" in await broken(database)
    assert "I4" not in await broken(database, since=now.replace(year=2020))


async def test_lead_with_an_unread_record_is_not_judged(database: InstallationRows) -> None:
    lead = await lead_id(database, "fay")
    await database.break_by("DELETE FROM notifier_clocks WHERE lead_id = ?", lead=lead)
    await database.break_by("UPDATE cursors SET position = 0 WHERE consumer = 'notifier'")
    assert await broken(database) == {}


async def test_lead_with_an_unpublished_record_is_not_judged(distributed: PostgresRows) -> None:
    lead = await lead_id(distributed, "fay")
    await distributed.break_by("DELETE FROM notifier_clocks WHERE lead_id = ?", lead=lead)
    await distributed.break_by(
        "INSERT INTO log (topic, partition, key, event_id, at, body) VALUES ('routes', 0, ?, 'new', 1, '')", lead=lead
    )
    assert await broken(distributed) == {}


async def test_lead_with_different_versions_is_not_judged_while_a_service_is_behind(
    distributed: PostgresRows,
) -> None:
    fay, dan = await lead_id(distributed, "fay"), await lead_id(distributed, "dan")
    await distributed.break_by("DELETE FROM notifier_clocks WHERE lead_id = ?", lead=fay)
    await distributed.break_by("DELETE FROM router_leads WHERE lead_id = ?", lead=dan)
    assert {"I1", "I4"} <= set(await broken(distributed))
    assert not {"I1", "I4"} & set(await broken(distributed, all_read=False))


async def test_unjudged_leads_and_unread_records_are_counted(database: InstallationRows) -> None:
    lead = await lead_id(database, "fay")
    await database.break_by("DELETE FROM notifier_clocks WHERE lead_id = ?", lead=lead)
    await database.break_by("UPDATE cursors SET position = 0 WHERE consumer = 'notifier'")
    report = await database.report()
    assert (report.ok, report.judged, report.left_out) == (True, 0, 6)
    assert report.unread["notifier", "routes"] > 0
