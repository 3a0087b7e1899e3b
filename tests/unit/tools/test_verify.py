"""Verify names the row that breaks an invariant: each is broken here by hand, as no code of ours would."""

import pytest

from tests.unit.tools.room import Room


@pytest.fixture
async def busy(room: Room) -> Room:
    """Leads in every way of being: owned, touched, accepted, reassigned, with Marketing, opted out."""
    await room.ask("ann", "ben", "cat", "dan", "eve", "fay")
    await room.act("ben", "touch", channel="phone", answered=True)
    await room.wait(minutes=16)
    await room.act("dan", "reject", reason="not-now")
    await room.act("eve", "opt-out", reason="asked")
    await room.act("fay", "reject", reason="no-time")
    await room.wait(minutes=30)
    return room


async def lead_id(room: Room, person: str) -> str:
    return str((await room.lead(person))["id"])


async def test_a_sound_installation_breaks_nothing(busy: Room) -> None:
    assert await busy.broken() == {}
    assert list(await busy.findings()) == [f"I{n}" for n in range(1, 11)]


async def test_an_empty_installation_breaks_nothing(room: Room) -> None:
    assert await room.broken() == {}


# --- I1 ----------------------------------------------------------------------------------------------------------


async def test_i1_an_event_that_was_read_and_not_taken_is_named(busy: Room) -> None:
    [(event,)] = await busy.rows("SELECT event_id FROM log WHERE topic = 'events' LIMIT 1")
    await busy.break_by("DELETE FROM seen WHERE consumer = 'scoring' AND event_id = ?", event=event)
    assert [event in row for row in (await busy.broken())["I1"]] == [True]


async def test_i1_an_event_that_is_a_dead_letter_is_kept(busy: Room) -> None:
    [(event,)] = await busy.rows("SELECT event_id FROM log WHERE topic = 'events' LIMIT 1")
    await busy.break_by("DELETE FROM seen WHERE consumer = 'scoring' AND event_id = ?", event=event)
    await busy.break_by(
        "INSERT INTO dead_letters SELECT 'l', 1, 'scoring', 'events/0/1', ?, 'x', x'', 'e', 'c', 'waiting', 1, 3",
        event=event,
    )
    assert await busy.broken() == {}


async def test_i1_an_event_still_to_be_read_is_no_finding(busy: Room) -> None:
    await busy.client.post("/v1/forms/demo-request", data={"email": "new@new.example"})
    assert await busy.broken() == {}


async def test_i1_an_event_missing_from_the_history_is_named(busy: Room) -> None:
    [(event,)] = await busy.rows("SELECT event_id FROM log WHERE topic = 'events' LIMIT 1")
    await busy.break_by("DELETE FROM reporting_history WHERE id = ?", event=event)
    assert event in (await busy.broken())["I1"][0]


async def test_i1_an_event_of_years_ago_is_kept_from_when_it_was_told(room: Room) -> None:
    old = {"id": "1", "type": "page.viewed", "email": "old@old.example", "time": "2019-01-01T00:00:00Z"}
    assert (await room.client.post("/v1/events", json=old)).status_code == 202
    await room.system.settle()
    await room.wait(hours=2)
    assert len(await room.rows("SELECT id FROM reporting_history WHERE topic = 'events'")) == 1
    assert await room.broken() == {}


async def test_i1_a_lead_that_the_router_does_not_know_is_named(busy: Room) -> None:
    lead = await lead_id(busy, "dan")
    await busy.break_by("DELETE FROM router_leads WHERE lead_id = ?", lead=lead)
    assert lead in (await busy.broken())["I1"][0]


async def test_i1_a_sales_lead_that_nobody_owns_and_that_does_not_wait_is_named(busy: Room) -> None:
    lead = await lead_id(busy, "dan")
    await busy.break_by("UPDATE router_leads SET status = 'qualified' WHERE lead_id = ?", lead=lead)
    assert lead in (await busy.broken())["I1"][0]


# --- I2 ----------------------------------------------------------------------------------------------------------


async def test_i2_an_event_that_was_scored_twice_is_named(busy: Room) -> None:
    await busy.break_by(
        "INSERT INTO reporting_history SELECT 'again', topic, type, lead_id, cause, at, heard_at, position, body "
        "FROM reporting_history WHERE type = 'lead.scored' LIMIT 1"
    )
    [(cause,)] = await busy.rows("SELECT cause FROM reporting_history WHERE id = 'again'")
    assert cause in (await busy.broken())["I2"][0]


async def test_i2_a_record_that_stands_twice_in_the_log_is_named(busy: Room) -> None:
    await busy.break_by(
        "INSERT INTO log (topic, partition, key, event_id, at, body) SELECT topic, partition, key, event_id, at, body "
        "FROM log WHERE topic = 'routes' LIMIT 1"
    )
    assert "stands 2 times in routes" in (await busy.broken())["I2"][0]


# --- I3 ----------------------------------------------------------------------------------------------------------


async def test_i3_two_open_assignments_of_one_lead_are_named(busy: Room) -> None:
    lead = await lead_id(busy, "fay")
    await busy.break_by(
        "DROP INDEX router_one_open", "UPDATE router_assignments SET closed_at = NULL WHERE lead_id = ?", lead=lead
    )
    assert any(f"lead {lead}: 2 open assignments" in row for row in (await busy.broken())["I3"])


async def test_i3_a_gap_between_epochs_is_named(busy: Room) -> None:
    lead = await lead_id(busy, "fay")
    await busy.break_by("DELETE FROM router_assignments WHERE epoch = 1 AND lead_id = ?", lead=lead)
    assert any(lead in row and "epochs 2 to 2" in row for row in (await busy.broken())["I3"])


async def test_i3_assignments_that_overlap_are_named(busy: Room) -> None:
    lead = await lead_id(busy, "fay")
    await busy.break_by(
        "UPDATE router_assignments SET closed_at = closed_at + 60000000 WHERE epoch = 1 AND lead_id = ?", lead=lead
    )
    assert any(f"lead {lead}: assignment 2 began before 1" in row for row in (await busy.broken())["I3"])


async def test_i3_an_owner_without_the_assignment_is_named(busy: Room) -> None:
    lead = await lead_id(busy, "ben")
    await busy.break_by("UPDATE router_leads SET owner = 'tom', status = 'working' WHERE lead_id = ?", lead=lead)
    await busy.break_by("UPDATE router_assignments SET rep = 'lea' WHERE lead_id = ?", lead=lead)
    assert lead in (await busy.broken())["I3"][0]


# --- I4 ----------------------------------------------------------------------------------------------------------


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
async def test_i4_an_untouched_lead_without_a_live_clock_of_its_own_is_named(busy: Room, change: str) -> None:
    lead = await lead_id(busy, "fay")
    await busy.break_by(change, lead=lead)
    assert lead in (await busy.broken())["I4"][0]


async def test_i4_a_clock_that_runs_on_after_a_touch_is_named(busy: Room) -> None:
    lead = await lead_id(busy, "ben")
    await busy.break_by("UPDATE notifier_clocks SET state = 'live' WHERE lead_id = ?", lead=lead)
    assert lead in (await busy.broken())["I4"][0]


# --- I5 ----------------------------------------------------------------------------------------------------------

COPY = (
    "INSERT INTO notifier_pages SELECT 'copy', lead_id, epoch + {epoch}, rung, kind, 'zed', channels, channel_index, state, "
    "due_at, next_at, first_try_at, lease_until, tries, deliveries, provider_id, error, created_at, sent_at "
    "FROM notifier_pages WHERE state = 'sent' LIMIT 1"
)


async def test_i5_a_rung_that_fired_twice_is_named(busy: Room) -> None:
    await busy.break_by(COPY.format(epoch=0))
    assert "fired 2 times" in (await busy.broken())["I5"][0]


async def test_i5_a_page_made_before_it_was_due_is_named(busy: Room) -> None:
    [(page,)] = await busy.rows("SELECT id FROM notifier_pages LIMIT 1")
    await busy.break_by("UPDATE notifier_pages SET created_at = due_at - 1 WHERE id = ?", page=page)
    assert page in (await busy.broken())["I5"][0]


async def test_i5_a_page_of_an_assignment_that_does_not_exist_is_named(busy: Room) -> None:
    await busy.break_by(COPY.format(epoch=7))
    assert "copy" in (await busy.broken())["I5"][0]


# --- I6 ----------------------------------------------------------------------------------------------------------


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
async def test_i6_a_page_that_neither_arrived_nor_ended_well_is_named(busy: Room, change: str) -> None:
    [(page,)] = await busy.rows("SELECT id FROM notifier_pages WHERE state = 'sent' LIMIT 1")
    await busy.break_by(f"UPDATE notifier_pages SET {change} WHERE id = ?", page=page)
    assert page in (await busy.broken())["I6"][0]


async def test_i6_a_page_that_was_sent_by_no_attempt_is_named(busy: Room) -> None:
    [(page,)] = await busy.rows("SELECT id FROM notifier_pages WHERE state = 'sent' LIMIT 1")
    await busy.break_by("DELETE FROM notifier_attempts WHERE page_id = ?", page=page)
    assert page in (await busy.broken())["I6"][0]


async def test_i6_an_overdue_page_counts_where_somebody_delivers(busy: Room) -> None:
    started = busy.clock.real()
    [(page,)] = await busy.rows("SELECT id FROM notifier_pages WHERE state = 'sent' LIMIT 1")
    await busy.break_by("UPDATE notifier_pages SET state = 'sending', next_at = 1 WHERE id = ?", page=page)
    busy.clock.advance(minutes=2)
    assert "I6" not in await busy.broken()
    assert "I6" not in await busy.broken(alive_since=busy.clock.real())
    assert page in (await busy.broken(alive_since=started))["I6"][0]


# --- I7 ----------------------------------------------------------------------------------------------------------


async def test_i7_a_page_claimed_after_the_touch_was_stored_is_named(busy: Room) -> None:
    lead = await lead_id(busy, "ben")
    await busy.break_by("UPDATE notifier_pages SET first_try_at = first_try_at + 60000000 WHERE lead_id = ?", lead=lead)
    [(page,)] = await busy.rows(f"SELECT id FROM notifier_pages WHERE lead_id = '{lead}' AND state = 'sent'")
    assert page in (await busy.broken())["I7"][0]


async def test_i7_a_page_claimed_after_the_opt_out_was_stored_is_named(busy: Room) -> None:
    lead = await lead_id(busy, "eve")
    await busy.break_by(
        "UPDATE notifier_pages SET first_try_at = first_try_at + 3600000000 WHERE lead_id = ?", lead=lead
    )
    [(page,), *_] = await busy.rows(f"SELECT id FROM notifier_pages WHERE lead_id = '{lead}' AND state = 'sent'")
    assert any(page in row for row in (await busy.broken())["I7"])


# --- I8 ----------------------------------------------------------------------------------------------------------


async def test_i8_a_count_of_open_leads_that_does_not_add_up_is_named(busy: Room) -> None:
    [(rep,)] = await busy.rows("SELECT rep FROM router_reps WHERE open > 0 LIMIT 1")
    await busy.break_by("UPDATE router_reps SET open = open + 1 WHERE rep = ?", rep=rep)
    assert f"rep {rep}" in (await busy.broken())["I8"][0]


async def test_i8_a_lead_given_beyond_capacity_is_named(busy: Room) -> None:
    await busy.break_by(
        """UPDATE configurations SET team = replace(replace(team, '"open":30', '"open":1'), '"open":20', '"open":1')"""
    )
    assert any("the capacity is 1" in row for row in (await busy.broken())["I8"])


# --- I9 ----------------------------------------------------------------------------------------------------------


async def test_i9_a_status_that_no_record_tells_of_is_named(busy: Room) -> None:
    lead = await lead_id(busy, "dan")
    await busy.break_by("UPDATE router_leads SET status = 'new' WHERE lead_id = ?", lead=lead)
    assert lead in (await busy.broken())["I9"][0]


async def test_i9_a_move_that_the_agreement_does_not_have_is_named(busy: Room) -> None:
    lead = await lead_id(busy, "dan")
    await busy.break_by(
        """UPDATE reporting_history SET body = CAST(replace(CAST(body AS TEXT), '"was":"assigned"', '"was":"customer"') AS BLOB)
        WHERE type = 'lead.recycled' AND lead_id = ?""",
        lead=lead,
    )
    rows = (await busy.broken())["I9"]
    assert any("went from customer to nurturing" in row for row in rows)
    assert any("was customer, after it had become assigned" in row for row in rows)


async def test_i9_a_move_by_somebody_whom_the_agreement_does_not_name_is_named(busy: Room) -> None:
    lead = await lead_id(busy, "dan")
    await busy.break_by(
        """UPDATE reporting_history SET body = CAST(replace(CAST(body AS TEXT), '"by":"key:given"', '"by":"system"') AS BLOB)
        WHERE type = 'lead.recycled' AND lead_id = ?""",
        lead=lead,
    )
    assert any("went from assigned to nurturing by system" in row for row in (await busy.broken())["I9"])


# --- I10 ---------------------------------------------------------------------------------------------------------


async def test_i10_a_decision_that_replays_to_another_rep_is_named(busy: Room) -> None:
    [(id, chosen)] = await busy.rows("SELECT id, chosen FROM router_decisions WHERE chosen IS NOT NULL LIMIT 1")
    other = "tom" if chosen != "tom" else "lea"
    await busy.break_by("UPDATE router_decisions SET chosen = ? WHERE id = ?", chosen=other, id=id)
    assert id in (await busy.broken())["I10"][0]


async def test_i10_an_assignment_to_somebody_else_than_decided_is_named(busy: Room) -> None:
    [(id,)] = await busy.rows("SELECT id FROM router_decisions WHERE chosen IS NOT NULL LIMIT 1")
    await busy.break_by("UPDATE router_assignments SET rep = 'zed' WHERE decision_id = ?", id=id)
    assert any(id in row and "of zed" in row for row in (await busy.broken())["I10"])


# --- what is on its way ------------------------------------------------------------------------------------------


async def test_a_lead_that_changed_since_the_asking_began_is_left_out(busy: Room) -> None:
    lead = await lead_id(busy, "fay")
    before = busy.clock.business()
    await busy.break_by("DELETE FROM notifier_clocks WHERE lead_id = ?", lead=lead)
    assert "I4" in await busy.broken()
    assert "I4" not in await busy.broken(since=before.replace(year=2020))


async def test_a_record_still_to_be_read_leaves_its_lead_out(busy: Room) -> None:
    lead = await lead_id(busy, "fay")
    await busy.break_by("DELETE FROM notifier_clocks WHERE lead_id = ?", lead=lead)
    await busy.break_by("UPDATE cursors SET position = 0 WHERE consumer = 'notifier'")
    assert await busy.broken() == {}


async def test_at_most_ten_rows_are_named_and_all_are_counted(room: Room) -> None:
    await room.ask(*(f"p{n}" for n in range(12)))
    await room.break_by("DELETE FROM notifier_clocks")
    found = (await room.findings())["I4"]
    assert (found.broken, len(found.rows)) == (12, 10)
