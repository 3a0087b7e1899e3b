"""Invariants of assignments and decisions: each corruption is found."""

from services.router.store.decisions import decode_body
from tests.unit.operations.corruptible_database import InstallationRows, broken, lead_id


async def test_assignment_with_a_wrong_end_time_breaks_i3(database: InstallationRows) -> None:
    lead = await lead_id(database, "fay")
    await database.break_by(
        "UPDATE router_assignments SET closed_at = opened_at, closed_by = 'system' WHERE epoch = 1 AND lead_id = ?",
        lead=lead,
    )
    assert any(f"lead {lead}: assignment 1 ended at a time" in row for row in (await broken(database))["I3"])


async def test_decision_that_replays_to_another_rep_breaks_i10(database: InstallationRows) -> None:
    [(id, chosen)] = await database.rows("SELECT id, chosen FROM router_decisions WHERE chosen IS NOT NULL LIMIT 1")
    other = "tom" if chosen != "tom" else "lea"
    await database.break_by("UPDATE router_decisions SET chosen = ? WHERE id = ?", chosen=other, id=id)
    assert id in (await broken(database))["I10"][0]


async def test_assignment_to_another_rep_than_decided_breaks_i10(database: InstallationRows) -> None:
    [(id,)] = await database.rows("SELECT id FROM router_decisions WHERE chosen IS NOT NULL LIMIT 1")
    await database.break_by("UPDATE router_assignments SET rep = 'zed' WHERE decision_id = ?", id=id)
    assert any(id in row and "of zed" in row for row in (await broken(database))["I10"])


async def test_deleted_decision_breaks_i10(database: InstallationRows) -> None:
    [(id,)] = await database.rows("SELECT decision_id FROM router_assignments ORDER BY lead_id LIMIT 1")
    await database.break_by("DELETE FROM router_decisions WHERE id = ?", id=id)
    assert any(id in row for row in (await broken(database))["I10"])


async def test_decision_that_rests_on_a_missing_one_breaks_i10(database: InstallationRows) -> None:
    [(id, body)] = await database.rows("""SELECT id, body FROM router_decisions WHERE body LIKE '%"after":%' LIMIT 1""")
    before = decode_body(body).inputs.steps[-1].after
    await database.break_by("UPDATE router_decisions SET id = 'other' WHERE id = ?", id=before)
    rows = (await broken(database))["I10"]
    assert f"decision {id}: decision {before}, on which it rests, is missing" in rows


async def test_rep_that_is_ruled_out_by_no_reason_breaks_i10(database: InstallationRows) -> None:
    rows = await database.rows("""SELECT id, body FROM router_decisions WHERE body LIKE '%"after":%'""")
    for id, body in rows:
        changed = body.replace('"after":', '"out":{"away":"0-99"},"after":')
        await database.break_by("UPDATE router_decisions SET body = ? WHERE id = ?", body=changed, id=id)
    assert any("its replay chooses no rep" in row for row in (await broken(database))["I10"])
