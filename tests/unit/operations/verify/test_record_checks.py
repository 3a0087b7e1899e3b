"""Records of the router: a status change needs an agreement, a hand-over needs capacity."""

from datetime import timedelta

import pytest
from msgspec.structs import replace

from firsthour.runtime.storage.packing import packed, unpacked
from schemas.envelope import decode, encode, event_of
from schemas.events.base import Event
from schemas.events.routes import LeadAssigned, LeadEvent, LeadQualified, LeadRecycled
from tests.unit.operations.corruptible_database import EmbeddedRows, InstallationRows, PostgresRows, broken, lead_id

ASSIGNED, CUSTOMER = '"was":"assigned"', '"was":"customer"'
KEY, SYSTEM = '"by":"key:given"', '"by":"system"'


async def test_hand_over_beyond_capacity_breaks_i8(database: InstallationRows) -> None:
    await database.break_by(
        """UPDATE configurations SET team = replace(replace(team, '"open":30', '"open":1'), '"open":20', '"open":1')"""
    )
    assert any("the capacity is 1" in row for row in (await broken(database))["I8"])


@pytest.mark.parametrize(("seconds", "named"), [(5, False), (60, True)])
async def test_load_falls_as_early_as_a_waiting_unit_may_have_run(
    distributed: PostgresRows, seconds: int, named: bool
) -> None:
    """Units that wait for one rep read their clocks before they wait."""
    await distributed.break_by(
        """UPDATE configurations SET team = replace(replace(team, '"open":30', '"open":1'), '"open":20', '"open":1')"""
    )
    assigned = await first_record(distributed, "lead.assigned")
    recycled = await first_record(distributed, "lead.recycled")
    assert isinstance(assigned, LeadAssigned)
    assert isinstance(recycled, LeadRecycled)
    await distributed.break_by("DELETE FROM reporting_history WHERE topic = 'routes'")
    await distributed.break_by(
        "INSERT INTO router_decisions SELECT 'of two', 'two', epoch, at, agreement, chosen, body FROM router_decisions "
        "WHERE id = ?",
        id=assigned.decision_id,
    )
    later = assigned.at + timedelta(hours=1)
    await add_record(distributed, replace(assigned, lead_id="one"), 1)
    await add_record(distributed, replace(recycled, lead_id="one", at=later + timedelta(seconds=seconds)), 2)
    await add_record(distributed, replace(assigned, lead_id="two", at=later, decision_id="of two"), 3)
    assert any("lead two" in row for row in (await broken(distributed)).get("I8", ())) is named


async def test_hand_over_from_a_dead_letter_counts_after_earlier_records_of_its_lead(
    embedded: EmbeddedRows,
) -> None:
    await embedded.break_by(
        """UPDATE configurations SET team = replace(replace(team, '"open":30', '"open":1'), '"open":20', '"open":1')"""
    )
    qualified, assigned = await first_record(embedded, "lead.qualified"), await first_record(embedded, "lead.assigned")
    recycled = await first_record(embedded, "lead.recycled")
    assert isinstance(qualified, LeadQualified)
    assert isinstance(assigned, LeadAssigned)
    assert isinstance(recycled, LeadRecycled)
    await embedded.break_by("DELETE FROM reporting_history WHERE topic = 'routes'")
    for lead in ("one", "two"):
        await embedded.break_by(
            "INSERT INTO router_decisions SELECT ?, ?, epoch, at, agreement, chosen, body FROM router_decisions "
            "WHERE id = ?",
            new=f"of {lead}",
            lead=lead,
            id=assigned.decision_id,
        )
    await add_record(embedded, replace(assigned, lead_id="one", version=1, decision_id="of one"), 1)
    await add_record(embedded, replace(recycled, lead_id="one", version=2), 2)
    await add_record(embedded, replace(qualified, lead_id="two", version=1), 3)
    await add_record(embedded, replace(assigned, lead_id="two", version=2, decision_id="of two"), 0)
    assert not any("the capacity is" in row for row in (await broken(embedded)).get("I8", ()))
    await embedded.break_by("UPDATE reporting_history SET position = 4 WHERE id = 'record-2'")
    assert any("lead two" in row for row in (await broken(embedded))["I8"])


async def first_record(copy: InstallationRows, type: str) -> Event:
    [(body,)] = await copy.rows(f"SELECT body FROM reporting_history WHERE type = '{type}' ORDER BY position LIMIT 1")
    return event_of(decode(unpacked(body)))


async def add_record(copy: InstallationRows, event: LeadEvent, position: int) -> None:
    body = encode(event, id=f"record-{position}", source="urn:firsthour:router", time=event.at, key=event.lead_id)
    await copy.break_by(
        "INSERT INTO reporting_history (id, topic, type, lead_id, at, heard_at, position, body) "
        f"VALUES (?, 'routes', '{event.TYPE}', ?, 1, 1, {position}, ?)",
        id=f"record-{position}",
        lead=event.lead_id,
        body=body,
    )


async def change_recycled(copy: InstallationRows, lead: str, was: str, now: str) -> None:
    """Replace a text in the record that the lead was recycled."""
    [(id, body)] = await copy.rows(
        f"SELECT id, body FROM reporting_history WHERE type = 'lead.recycled' AND lead_id = '{lead}'"
    )
    changed = packed(unpacked(body).replace(was.encode(), now.encode()))
    await copy.break_by("UPDATE reporting_history SET body = ? WHERE id = ?", body=changed, id=id)


async def test_change_outside_the_agreement_breaks_i9(database: InstallationRows) -> None:
    lead = await lead_id(database, "dan")
    await change_recycled(database, lead, ASSIGNED, CUSTOMER)
    rows = (await broken(database))["I9"]
    assert any("go from customer to nurturing" in row for row in rows)
    assert any("was customer, but the record before made it assigned" in row for row in rows)


async def test_change_by_a_role_outside_the_agreement_breaks_i9(database: InstallationRows) -> None:
    lead = await lead_id(database, "dan")
    await change_recycled(database, lead, KEY, SYSTEM)
    assert any("go from assigned to nurturing by system" in row for row in (await broken(database))["I9"])
