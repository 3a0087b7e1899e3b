"""The report of verify: every invariant has a finding, leads are judged in parts, and rows are counted."""

import json

import pytest

from tests.unit.operations.corruptible_database import InstallationRows, broken, lead_id
from tests.unit.operations.harness import OperationsHarness

OF_LEAD = (
    "router_leads",
    "router_assignments",
    "router_decisions",
    "scoring_profiles",
    "scoring_identities",
    "notifier_clocks",
    "notifier_pages",
    "reporting_statuses",
    "reporting_history",
)


async def test_sound_installation_breaks_no_invariant(database: InstallationRows) -> None:
    assert await broken(database) == {}
    assert [result.invariant for result in (await database.report()).findings] == [f"I{n}" for n in range(1, 11)]


async def test_empty_installation_breaks_no_invariant(harness: OperationsHarness) -> None:
    assert await harness.broken() == {}


async def test_owned_lead_deleted_from_every_table_breaks_i1(database: InstallationRows) -> None:
    lead = await lead_id(database, "cat")
    [(rep,)] = await database.rows(f"SELECT owner FROM router_leads WHERE lead_id = '{lead}'")
    [(event,)] = await database.rows(
        f"SELECT cause FROM reporting_history WHERE lead_id = '{lead}' AND topic = 'leads'"
    )
    await database.break_by("DELETE FROM log")
    for table in OF_LEAD:
        await database.break_by(f"DELETE FROM {table} WHERE lead_id = ?", lead=lead)
    await database.break_by("UPDATE router_reps SET open = open - 1 WHERE rep = ?", rep=rep)
    rows = await broken(database, named_max=None)
    assert any(event in row and "no record about a lead" in row for row in rows["I1"])


@pytest.mark.parametrize("at_once", [1, 2, 5])
async def test_leads_are_judged_in_parts(database: InstallationRows, at_once: int) -> None:
    report = await database.report(at_once=at_once)
    assert (report.ok, report.judged, report.left_out, report.unread) == (True, 6, 0, {})
    await database.break_by("DELETE FROM router_decisions")
    assert len((await broken(database, at_once=at_once, named_max=None))["I10"]) > at_once


async def test_ten_rows_are_named_unless_all_are_requested(harness: OperationsHarness) -> None:
    await harness.ask(*(f"p{n}" for n in range(12)))
    await harness.break_by("DELETE FROM notifier_clocks")
    result = (await harness.findings())["I4"]
    assert (result.broken, len(result.rows)) == (12, 10)
    assert len((await harness.findings(named_max=None))["I4"].rows) == 12


async def test_agreement_that_a_later_release_refuses_breaks_no_invariant(database: InstallationRows) -> None:
    """Its checks are those of its time. It is read as it was accepted."""
    [(text,)] = await database.rows("SELECT agreement FROM configurations")
    agreement = json.loads(text)
    agreement["response"]["budget"] = {"pages": 100_000, "per": "1h"}
    await database.break_by("UPDATE configurations SET agreement = ?", agreement=json.dumps(agreement))
    assert await broken(database) == {}
