"""Verify names the row that breaks an invariant: each is broken here by hand, as no code of ours would."""

import json
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace
from sqlalchemy.ext.asyncio import create_async_engine

from devtools.postgres import PostgresServer
from firsthour.runtime.storage.records import partition_of
from schemas.envelope import decode, encode, event_of
from schemas.events.base import Event
from schemas.events.routes import LeadAssigned, LeadEvent, LeadQualified, LeadRecycled
from tests.hand_clock import HandClock
from tests.shared import named
from tests.unit.operations.corruptible_database import (
    PARTITIONS,
    Copy,
    EmbeddedRows,
    PastOneMachine,
    broken,
    fill,
    lead_id,
)
from tests.unit.operations.harness import OperationsHarness
from tests.unit.operations.worlds import live

DATABASE = named("verify_rows")
EVENT = "SELECT id FROM reporting_history WHERE topic = 'events' LIMIT 1"
ASSIGNED, CUSTOMER = '"was":"assigned"', '"was":"customer"'
KEY, SYSTEM = '"by":"key:given"', '"by":"system"'


class FilledDatabase:
    """A database of PostgreSQL, filled by the first test that asks for it."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._at: HandClock | None = None

    async def copy(self, place: Path) -> tuple[str, HandClock]:
        """Where it is, and a clock of its time."""
        if self._at is None:
            harness = OperationsHarness(place)
            await harness.open()
            await live(harness)
            await fill(self._url, harness)
            await harness.close()
            self._at = harness.clock
        return self._url.replace("postgresql:", "postgresql+asyncpg:"), HandClock(self._at.now)


@pytest.fixture(scope="module")
def filled(postgres: PostgresServer) -> Iterator[FilledDatabase]:
    postgres.drop(DATABASE)
    yield FilledDatabase(postgres.create(DATABASE))
    postgres.drop(DATABASE)


@pytest.fixture
async def distributed(filled: FilledDatabase, tmp_path: Path) -> AsyncIterator[PastOneMachine]:
    url, clock = await filled.copy(tmp_path)
    engine = create_async_engine(url)
    async with engine.connect() as connection:
        yield PastOneMachine(connection, clock)
    await engine.dispose()


@pytest.fixture
async def embedded(harness: OperationsHarness) -> EmbeddedRows:
    await live(harness)
    return EmbeddedRows(harness)


@pytest.fixture(params=["embedded", "distributed"])
def busy(request: pytest.FixtureRequest) -> Copy:
    found: Copy = request.getfixturevalue(request.param)
    return found


async def test_a_sound_installation_breaks_nothing(busy: Copy) -> None:
    assert await broken(busy) == {}
    assert [one.invariant for one in (await busy.report()).findings] == [f"I{n}" for n in range(1, 11)]


async def test_an_empty_installation_breaks_nothing(harness: OperationsHarness) -> None:
    assert await harness.broken() == {}


# --- I1 ----------------------------------------------------------------------------------------------------------


async def test_i1_an_event_that_was_read_and_not_taken_is_named(busy: Copy) -> None:
    [(event,)] = await busy.rows(EVENT)
    await busy.break_by("DELETE FROM seen WHERE consumer = 'scoring' AND event_id = ?", event=event)
    assert [event in row for row in (await broken(busy))["I1"]] == [True]


async def test_i1_an_event_that_is_a_dead_letter_is_kept(busy: Copy) -> None:
    [(event,)] = await busy.rows(EVENT)
    await busy.break_by("DELETE FROM seen WHERE consumer = 'scoring' AND event_id = ?", event=event)
    await busy.break_by(
        "INSERT INTO dead_letters (id, at, consumer, origin, source, content_type, body, error, code, state, changed_at, "
        "tries) SELECT 'l', 1, 'scoring', 'events/0/1', id, 'x', body, 'e', 'c', 'waiting', 1, 3 "
        "FROM reporting_history WHERE id = ?",
        event=event,
    )
    assert await broken(busy) == {}


async def test_i1_an_event_still_to_be_read_is_no_finding(busy: Copy) -> None:
    [(event,)] = await busy.rows(EVENT)
    await busy.break_by("DELETE FROM seen WHERE consumer = 'scoring' AND event_id = ?", event=event)
    await busy.break_by("UPDATE cursors SET position = 0 WHERE consumer = 'scoring' AND topic = 'events'")
    assert await broken(busy) == {}


async def test_i1_an_event_counts_as_read_by_the_cursor_of_its_partition(distributed: PastOneMachine) -> None:
    [(event, body)] = await distributed.rows("SELECT id, body FROM reporting_history WHERE topic = 'events' LIMIT 1")
    partition = partition_of(decode(bytes(body)).partitionkey, PARTITIONS)
    await distributed.break_by("DELETE FROM seen WHERE consumer = 'scoring' AND event_id = ?", event=event)
    back = "UPDATE cursors SET position = 0 WHERE consumer = 'scoring' AND topic = 'events' AND partition"
    await distributed.break_by(f"{back} <> {partition}")
    assert event in (await broken(distributed))["I1"][0]
    await distributed.break_by(f"{back} = {partition}")
    assert await broken(distributed) == {}


async def test_i1_an_event_that_scoring_saw_and_reporting_passed_is_named(distributed: PastOneMachine) -> None:
    [(event,)] = await distributed.rows(EVENT)
    await distributed.break_by("DELETE FROM seen WHERE consumer = 'reporting' AND event_id = ?", event=event)
    await distributed.break_by("DELETE FROM reporting_history WHERE id = ?", event=event)
    assert event in (await broken(distributed))["I1"][0]
    await distributed.break_by("UPDATE cursors SET position = 0 WHERE consumer = 'reporting' AND topic = 'events'")
    assert "I1" not in await broken(distributed)


async def test_i1_an_event_missing_from_the_history_is_named(busy: Copy) -> None:
    [(event,)] = await busy.rows(EVENT)
    await busy.break_by("DELETE FROM reporting_history WHERE id = ?", event=event)
    assert event in (await broken(busy))["I1"][0]


async def test_i1_an_event_of_years_ago_is_kept_from_when_it_was_told(harness: OperationsHarness) -> None:
    old = {"id": "1", "type": "page.viewed", "email": "old@old.example", "time": "2019-01-01T00:00:00Z"}
    assert (await harness.client.post("/v1/events", json=old)).status_code == 202
    await harness.system.settle()
    await harness.wait(hours=2)
    assert len(await harness.rows("SELECT id FROM reporting_history WHERE topic = 'events'")) == 1
    assert await harness.broken() == {}


async def test_i1_a_lead_that_the_router_does_not_know_is_named(busy: Copy) -> None:
    lead = await lead_id(busy, "dan")
    await busy.break_by("DELETE FROM router_leads WHERE lead_id = ?", lead=lead)
    assert lead in (await broken(busy))["I1"][0]


async def test_i1_a_sales_lead_that_nobody_owns_and_that_does_not_wait_is_named(busy: Copy) -> None:
    lead = await lead_id(busy, "dan")
    await busy.break_by("UPDATE router_leads SET status = 'qualified' WHERE lead_id = ?", lead=lead)
    assert lead in (await broken(busy))["I1"][0]


# --- I2 ----------------------------------------------------------------------------------------------------------


async def test_i2_an_event_that_was_scored_twice_is_named(busy: Copy) -> None:
    await busy.break_by(
        "INSERT INTO reporting_history SELECT 'again', topic, type, lead_id, cause, at, heard_at, position, body "
        "FROM reporting_history WHERE type = 'lead.scored' LIMIT 1"
    )
    [(cause,)] = await busy.rows("SELECT cause FROM reporting_history WHERE id = 'again'")
    assert cause in (await broken(busy))["I2"][0]


async def test_i2_an_opt_out_is_told_once_of_each_person(busy: Copy) -> None:
    told = (
        "INSERT INTO reporting_history (id, topic, type, lead_id, cause, at, heard_at, position, body) "
        "SELECT ?, topic, 'consent.changed', ?, 'opt-out', at, heard_at, position, body "
        "FROM reporting_history WHERE type = 'lead.scored' LIMIT 1"
    )
    await busy.break_by(told, id="first", lead="one")
    await busy.break_by(told, id="second", lead="other")
    assert "I2" not in await broken(busy)
    await busy.break_by(told, id="third", lead="other")
    assert (await broken(busy))["I2"] == ("event opt-out: caused 2 records of type consent.changed",)


async def test_i2_a_record_that_stands_twice_in_the_log_is_named(busy: Copy) -> None:
    for _ in range(2):
        await busy.break_by(
            "INSERT INTO log (topic, partition, key, event_id, at, body) SELECT topic, 0, lead_id, id, at, body "
            "FROM reporting_history WHERE topic = 'routes' ORDER BY id LIMIT 1"
        )
    assert "times in routes" in (await broken(busy))["I2"][0]


# --- I3 ----------------------------------------------------------------------------------------------------------


async def test_i3_two_open_assignments_of_one_lead_are_named(busy: Copy) -> None:
    lead = await lead_id(busy, "fay")
    await busy.break_by(
        "DROP INDEX router_one_open", "UPDATE router_assignments SET closed_at = NULL WHERE lead_id = ?", lead=lead
    )
    assert any(f"lead {lead}: 2 open assignments" in row for row in (await broken(busy))["I3"])


async def test_i3_a_gap_between_epochs_is_named(busy: Copy) -> None:
    lead = await lead_id(busy, "fay")
    await busy.break_by("DELETE FROM router_assignments WHERE epoch = 1 AND lead_id = ?", lead=lead)
    assert any(lead in row and "epochs 2 to 2" in row for row in (await broken(busy))["I3"])


async def test_i3_assignments_that_overlap_are_named(busy: Copy) -> None:
    lead = await lead_id(busy, "fay")
    await busy.break_by(
        "UPDATE router_assignments SET closed_at = closed_at + 60000000 WHERE epoch = 1 AND lead_id = ?", lead=lead
    )
    assert any(f"lead {lead}: assignment 2 began before 1 ended" in row for row in (await broken(busy))["I3"])


async def test_i3_an_assignment_that_ended_at_the_moment_of_another_record_is_named(busy: Copy) -> None:
    lead = await lead_id(busy, "fay")
    await busy.break_by(
        "UPDATE router_assignments SET closed_at = opened_at, closed_by = 'system' WHERE epoch = 1 AND lead_id = ?",
        lead=lead,
    )
    assert any(f"lead {lead}: assignment 1 ended at a time" in row for row in (await broken(busy))["I3"])


async def test_i3_an_owner_without_the_assignment_is_named(busy: Copy) -> None:
    lead = await lead_id(busy, "ben")
    await busy.break_by("UPDATE router_leads SET owner = 'tom', status = 'working' WHERE lead_id = ?", lead=lead)
    await busy.break_by("UPDATE router_assignments SET rep = 'lea' WHERE lead_id = ?", lead=lead)
    assert lead in (await broken(busy))["I3"][0]


async def test_i3_the_availability_said_last_may_have_been_heard_from_a_dead_letter(harness: OperationsHarness) -> None:
    await harness.available("noor", False)
    await harness.available("noor", True)
    said_last = "(SELECT max(position) FROM reporting_history WHERE type = 'rep.availability_changed')"
    await harness.break_by(f"UPDATE reporting_history SET position = 0 WHERE position = {said_last}")
    assert await harness.broken() == {}
    await harness.break_by("UPDATE router_reps SET said = 'away' WHERE rep = 'noor'")
    assert any("rep noor" in row for row in (await harness.broken())["I3"])


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
async def test_i4_an_untouched_lead_without_a_live_clock_of_its_own_is_named(busy: Copy, change: str) -> None:
    lead = await lead_id(busy, "fay")
    await busy.break_by(change, lead=lead)
    assert lead in (await broken(busy))["I4"][0]


async def test_i4_a_clock_that_runs_on_after_a_touch_is_named(busy: Copy) -> None:
    lead = await lead_id(busy, "ben")
    await busy.break_by("UPDATE notifier_clocks SET state = 'live' WHERE lead_id = ?", lead=lead)
    assert lead in (await broken(busy))["I4"][0]


# --- I5 ----------------------------------------------------------------------------------------------------------

COPY = (
    "INSERT INTO notifier_pages SELECT 'copy', lead_id, epoch + {epoch}, rung, kind, 'zed', channels, channel_index, state, "
    "due_at, next_at, first_try_at, tries, deliveries, provider_id, error, created_at, sent_at, refusals "
    "FROM notifier_pages WHERE state = 'sent' LIMIT 1"
)


async def test_i5_a_rung_that_fired_twice_is_named(busy: Copy) -> None:
    await busy.break_by(COPY.format(epoch=0))
    assert "fired 2 times" in (await broken(busy))["I5"][0]


async def test_i5_a_page_made_before_it_was_due_is_named(busy: Copy) -> None:
    [(page,)] = await busy.rows("SELECT id FROM notifier_pages LIMIT 1")
    await busy.break_by("UPDATE notifier_pages SET created_at = due_at - 1 WHERE id = ?", page=page)
    assert page in (await broken(busy))["I5"][0]


async def test_i5_a_page_of_an_assignment_that_does_not_exist_is_named(busy: Copy) -> None:
    await busy.break_by(COPY.format(epoch=7))
    assert "copy" in (await broken(busy))["I5"][0]


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
async def test_i6_a_page_that_neither_arrived_nor_ended_well_is_named(busy: Copy, change: str) -> None:
    [(page,)] = await busy.rows("SELECT id FROM notifier_pages WHERE state = 'sent' LIMIT 1")
    await busy.break_by(f"UPDATE notifier_pages SET {change} WHERE id = ?", page=page)
    assert page in (await broken(busy))["I6"][0]


async def test_i6_a_page_that_was_sent_by_no_attempt_is_named(busy: Copy) -> None:
    [(page,)] = await busy.rows("SELECT id FROM notifier_pages WHERE state = 'sent' LIMIT 1")
    await busy.break_by("DELETE FROM notifier_attempts WHERE page_id = ?", page=page)
    assert page in (await broken(busy))["I6"][0]


async def test_i6_an_overdue_page_counts_where_somebody_delivers(busy: Copy) -> None:
    started = busy.clock.real()
    [(page,)] = await busy.rows("SELECT id FROM notifier_pages WHERE state = 'sent' LIMIT 1")
    await busy.break_by("DELETE FROM notifier_attempts WHERE page_id = ?", page=page)
    await busy.break_by("DELETE FROM reporting_history WHERE type = 'page.sent'")
    await busy.break_by(
        "UPDATE notifier_pages SET state = 'sending', sent_at = NULL, next_at = 1 WHERE id = ?", page=page
    )
    busy.clock.advance(minutes=2)
    assert not any("overdue" in row for row in (await broken(busy))["I6"])
    assert not any("overdue" in row for row in (await broken(busy, alive_since=busy.clock.real()))["I6"])
    assert page in (await broken(busy, alive_since=started))["I6"][0]


# --- I7 ----------------------------------------------------------------------------------------------------------


async def test_i7_a_page_claimed_after_the_touch_was_stored_is_named(busy: Copy) -> None:
    lead = await lead_id(busy, "ben")
    await busy.break_by("UPDATE notifier_pages SET first_try_at = first_try_at + 60000000 WHERE lead_id = ?", lead=lead)
    [(page,)] = await busy.rows(f"SELECT id FROM notifier_pages WHERE lead_id = '{lead}' AND state = 'sent'")
    assert page in (await broken(busy))["I7"][0]


async def test_i7_a_page_claimed_after_the_opt_out_was_stored_is_named(busy: Copy) -> None:
    lead = await lead_id(busy, "eve")
    await busy.break_by(
        "UPDATE notifier_pages SET first_try_at = first_try_at + 3600000000 WHERE lead_id = ?", lead=lead
    )
    [(page,), *_] = await busy.rows(f"SELECT id FROM notifier_pages WHERE lead_id = '{lead}' AND state = 'sent'")
    assert any(page in row for row in (await broken(busy))["I7"])


# --- I8 ----------------------------------------------------------------------------------------------------------


async def test_i8_a_count_of_open_leads_that_does_not_add_up_is_named(busy: Copy) -> None:
    [(rep,)] = await busy.rows("SELECT rep FROM router_reps WHERE open > 0 LIMIT 1")
    await busy.break_by("UPDATE router_reps SET open = open + 1 WHERE rep = ?", rep=rep)
    assert f"rep {rep}" in (await broken(busy))["I8"][0]


async def test_i8_a_lead_given_beyond_capacity_is_named(busy: Copy) -> None:
    await busy.break_by(
        """UPDATE configurations SET team = replace(replace(team, '"open":30', '"open":1'), '"open":20', '"open":1')"""
    )
    assert any("the capacity is 1" in row for row in (await broken(busy))["I8"])


@pytest.mark.parametrize(("seconds", "named"), [(5, False), (60, True)])
async def test_i8_room_counts_from_when_a_unit_that_made_it_may_have_gone_first(
    distributed: PastOneMachine, seconds: int, named: bool
) -> None:
    """Units that wait for one rep read their clocks before they wait."""
    await distributed.break_by(
        """UPDATE configurations SET team = replace(replace(team, '"open":30', '"open":1'), '"open":20', '"open":1')"""
    )
    given = await told(distributed, "lead.assigned")
    left = await told(distributed, "lead.recycled")
    assert isinstance(given, LeadAssigned)
    assert isinstance(left, LeadRecycled)
    await distributed.break_by("DELETE FROM reporting_history WHERE topic = 'routes'")
    await distributed.break_by(
        "INSERT INTO router_decisions SELECT 'of two', 'two', epoch, at, agreement, chosen, body FROM router_decisions "
        "WHERE id = ?",
        id=given.decision_id,
    )
    later = given.at + timedelta(hours=1)
    await tell(distributed, replace(given, lead_id="one"), 1)
    await tell(distributed, replace(left, lead_id="one", at=later + timedelta(seconds=seconds)), 2)
    await tell(distributed, replace(given, lead_id="two", at=later, decision_id="of two"), 3)
    assert any("lead two" in row for row in (await broken(distributed)).get("I8", ())) is named


async def test_i8_a_hand_over_heard_from_a_dead_letter_counts_after_what_was_said_of_its_lead_before(
    embedded: EmbeddedRows,
) -> None:
    await embedded.break_by(
        """UPDATE configurations SET team = replace(replace(team, '"open":30', '"open":1'), '"open":20', '"open":1')"""
    )
    qualified, given = await told(embedded, "lead.qualified"), await told(embedded, "lead.assigned")
    left = await told(embedded, "lead.recycled")
    assert isinstance(qualified, LeadQualified)
    assert isinstance(given, LeadAssigned)
    assert isinstance(left, LeadRecycled)
    await embedded.break_by("DELETE FROM reporting_history WHERE topic = 'routes'")
    for lead in ("one", "two"):
        await embedded.break_by(
            "INSERT INTO router_decisions SELECT ?, ?, epoch, at, agreement, chosen, body FROM router_decisions "
            "WHERE id = ?",
            new=f"of {lead}",
            lead=lead,
            id=given.decision_id,
        )
    await tell(embedded, replace(given, lead_id="one", version=1, decision_id="of one"), 1)
    await tell(embedded, replace(left, lead_id="one", version=2), 2)
    await tell(embedded, replace(qualified, lead_id="two", version=1), 3)
    await tell(embedded, replace(given, lead_id="two", version=2, decision_id="of two"), 0)
    assert not any("the capacity is" in row for row in (await broken(embedded)).get("I8", ()))
    await embedded.break_by("UPDATE reporting_history SET position = 4 WHERE id = 'told-2'")
    assert any("lead two" in row for row in (await broken(embedded))["I8"])


async def told(copy: Copy, type: str) -> Event:
    [(body,)] = await copy.rows(f"SELECT body FROM reporting_history WHERE type = '{type}' ORDER BY position LIMIT 1")
    return event_of(decode(bytes(body)))


async def tell(copy: Copy, event: LeadEvent, position: int) -> None:
    body = encode(event, id=f"told-{position}", source="urn:firsthour:router", time=event.at, key=event.lead_id)
    await copy.break_by(
        "INSERT INTO reporting_history (id, topic, type, lead_id, at, heard_at, position, body) "
        f"VALUES (?, 'routes', '{event.TYPE}', ?, 1, 1, {position}, ?)",
        id=f"told-{position}",
        lead=event.lead_id,
        body=body,
    )


# --- I9 ----------------------------------------------------------------------------------------------------------


async def test_i9_a_status_that_no_record_tells_of_is_named(busy: Copy) -> None:
    lead = await lead_id(busy, "dan")
    await busy.break_by("UPDATE router_leads SET status = 'new' WHERE lead_id = ?", lead=lead)
    assert lead in (await broken(busy))["I9"][0]


async def test_i9_a_move_that_the_agreement_does_not_have_is_named(busy: Copy) -> None:
    lead = await lead_id(busy, "dan")
    await busy.break_by(
        f"UPDATE reporting_history SET body = {busy.said(ASSIGNED, CUSTOMER)} "
        "WHERE type = 'lead.recycled' AND lead_id = ?",
        lead=lead,
    )
    rows = (await broken(busy))["I9"]
    assert any("go from customer to nurturing" in row for row in rows)
    assert any("was customer, but the record before made it assigned" in row for row in rows)


async def test_i9_a_move_by_somebody_whom_the_agreement_does_not_name_is_named(busy: Copy) -> None:
    lead = await lead_id(busy, "dan")
    await busy.break_by(
        f"UPDATE reporting_history SET body = {busy.said(KEY, SYSTEM)} WHERE type = 'lead.recycled' AND lead_id = ?",
        lead=lead,
    )
    assert any("go from assigned to nurturing by system" in row for row in (await broken(busy))["I9"])


# --- I10 ---------------------------------------------------------------------------------------------------------


async def test_i10_a_decision_that_replays_to_another_rep_is_named(busy: Copy) -> None:
    [(id, chosen)] = await busy.rows("SELECT id, chosen FROM router_decisions WHERE chosen IS NOT NULL LIMIT 1")
    other = "tom" if chosen != "tom" else "lea"
    await busy.break_by("UPDATE router_decisions SET chosen = ? WHERE id = ?", chosen=other, id=id)
    assert id in (await broken(busy))["I10"][0]


async def test_i10_an_assignment_to_somebody_else_than_decided_is_named(busy: Copy) -> None:
    [(id,)] = await busy.rows("SELECT id FROM router_decisions WHERE chosen IS NOT NULL LIMIT 1")
    await busy.break_by("UPDATE router_assignments SET rep = 'zed' WHERE decision_id = ?", id=id)
    assert any(id in row and "of zed" in row for row in (await broken(busy))["I10"])


# --- the whole chain -------------------------------------------------------------------------------------------------

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


async def test_every_page_deleted_is_noticed(busy: Copy) -> None:
    pages = await busy.rows("SELECT id FROM notifier_pages WHERE state = 'sent'")
    await busy.break_by("DELETE FROM notifier_attempts")
    await busy.break_by("DELETE FROM notifier_pages")
    found = await broken(busy, named_max=None)
    assert any("rung 0 of assignment 1 was reached, but has no page" in row for row in found["I5"])
    assert all(any(page in row for row in found["I6"]) for (page,) in pages)


async def test_a_live_clock_due_in_ten_years_is_noticed(busy: Copy) -> None:
    lead = await lead_id(busy, "fay")
    years = 10 * 365 * 86_400_000_000
    await busy.break_by(f"UPDATE notifier_clocks SET due_at = due_at + {years} WHERE lead_id = ?", lead=lead)
    assert any(lead in row and "due at" in row for row in (await broken(busy))["I4"])
    await busy.break_by(f"UPDATE notifier_clocks SET promise_at = promise_at + {years} WHERE lead_id = ?", lead=lead)
    assert any(lead in row and "promise" in row for row in (await broken(busy))["I4"])


async def test_an_owned_lead_wiped_from_every_table_is_noticed(busy: Copy) -> None:
    lead = await lead_id(busy, "cat")
    [(rep,)] = await busy.rows(f"SELECT owner FROM router_leads WHERE lead_id = '{lead}'")
    [(event,)] = await busy.rows(f"SELECT cause FROM reporting_history WHERE lead_id = '{lead}' AND topic = 'leads'")
    await busy.break_by("DELETE FROM log")
    for table in OF_LEAD:
        await busy.break_by(f"DELETE FROM {table} WHERE lead_id = ?", lead=lead)
    await busy.break_by("UPDATE router_reps SET open = open - 1 WHERE rep = ?", rep=rep)
    found = await broken(busy, named_max=None)
    assert any(event in row and "no record about a lead" in row for row in found["I1"])


async def test_a_status_changed_with_its_version_is_noticed(busy: Copy) -> None:
    lead = await lead_id(busy, "dan")
    await busy.break_by(
        "UPDATE router_leads SET status = 'customer', version = version + 1 WHERE lead_id = ?", lead=lead
    )
    assert any(lead in row and "its last record" in row for row in (await broken(busy))["I9"])


async def test_a_status_changed_in_every_row_that_tells_of_it_leaves_a_gap(busy: Copy) -> None:
    lead = await lead_id(busy, "dan")
    for table in ("router_leads", "reporting_statuses"):
        await busy.break_by(
            f"UPDATE {table} SET status = 'customer', version = version + 1 WHERE lead_id = ?", lead=lead
        )
    assert any(lead in row for row in (await broken(busy))["I9"])


async def test_a_decision_deleted_is_noticed(busy: Copy) -> None:
    [(id,)] = await busy.rows("SELECT decision_id FROM router_assignments ORDER BY lead_id LIMIT 1")
    await busy.break_by("DELETE FROM router_decisions WHERE id = ?", id=id)
    assert any(id in row for row in (await broken(busy))["I10"])


async def test_a_record_of_a_status_deleted_leaves_a_gap(busy: Copy) -> None:
    lead = await lead_id(busy, "fay")
    await busy.break_by("DELETE FROM reporting_history WHERE type = 'lead.released' AND lead_id = ?", lead=lead)
    assert any("has version" in row and lead in row for row in (await broken(busy))["I9"])


async def test_a_clock_that_was_due_and_did_nothing_is_noticed_where_it_should_have_been_acted_on(busy: Copy) -> None:
    lead = await lead_id(busy, "fay")
    started = busy.clock.real()
    busy.clock.advance(hours=5)
    assert await broken(busy) == {}
    assert any(lead in row and "nothing happened" in row for row in (await broken(busy, alive_since=started))["I4"])


@pytest.mark.parametrize("at_once", [1, 2, 5])
async def test_leads_are_judged_some_at_a_time(busy: Copy, at_once: int) -> None:
    found = await busy.report(at_once=at_once)
    assert (found.ok, found.judged, found.left_out, found.unread) == (True, 6, 0, {})
    await busy.break_by("DELETE FROM router_decisions")
    assert len((await broken(busy, at_once=at_once, named_max=None))["I10"]) > at_once


async def test_leads_and_records_that_are_not_judged_are_counted(busy: Copy) -> None:
    lead = await lead_id(busy, "fay")
    await busy.break_by("DELETE FROM notifier_clocks WHERE lead_id = ?", lead=lead)
    await busy.break_by("UPDATE cursors SET position = 0 WHERE consumer = 'notifier'")
    found = await busy.report()
    assert (found.ok, found.judged, found.left_out) == (True, 0, 6)
    assert found.unread["notifier", "routes"] > 0


# --- a host clock that was set back ------------------------------------------------------------------------------


async def test_a_clock_set_back_breaks_nothing(harness: OperationsHarness) -> None:
    await harness.ask("ann", "ben")
    await harness.wait(minutes=-10)
    await harness.act("ann", "reject", reason="no-time")
    await harness.ask("cat")
    assert await harness.broken() == {}


async def test_a_move_is_allowed_by_an_agreement_taken_up_before_the_clock_was_set_back(
    harness: OperationsHarness,
) -> None:
    await harness.ask("ann")
    await harness.wait(minutes=10)
    await harness.ask("ben")
    [(text, began)] = await harness.rows("SELECT agreement, taken_up_at FROM configurations")
    older = json.loads(text)
    older["lifecycle"]["transitions"] = [way for way in older["lifecycle"]["transitions"] if way["as"] != "reject"]
    await harness.break_by(f"UPDATE configurations SET taken_up_at = {began + 600_000_000}")
    await harness.break_by(
        "INSERT INTO configurations SELECT 'older', ?, ?, team FROM configurations",
        at=began,
        agreement=json.dumps(older),
    )
    await harness.wait(minutes=-5)
    await harness.act("ann", "reject", reason="not-now")
    assert await harness.broken() == {}
    await harness.break_by("UPDATE configurations SET taken_up_at = taken_up_at + 3600000000 WHERE version <> 'older'")
    await harness.wait(minutes=10)
    await harness.act("ben", "reject", reason="not-now")
    assert any("from assigned to nurturing" in row for row in (await harness.broken())["I9"])


async def test_an_assignment_that_began_on_a_clock_set_back_overlaps_none(harness: OperationsHarness) -> None:
    await harness.ask("ann")
    await harness.wait(minutes=10)
    for rep in await harness.rows("SELECT rep FROM router_reps"):
        await harness.available(rep[0], False)
    await harness.act("ann", "reject", reason="no-time")
    assert (await harness.lead("ann"))["owner"] is None
    await harness.wait(minutes=-5)
    await harness.available("tom", True)
    assert (await harness.lead("ann"))["owner"]["id"] == "tom"
    assert await harness.broken() == {}


@pytest.mark.parametrize("change", ["closed_at = closed_at + 1", "opened_at = opened_at + 1"])
async def test_times_that_no_record_tells_are_named_where_the_clock_was_set_back(
    harness: OperationsHarness, change: str
) -> None:
    await harness.ask("ann")
    await harness.wait(minutes=-10)
    await harness.act("ann", "reject", reason="no-time")
    await harness.break_by(f"UPDATE router_assignments SET {change} WHERE epoch = 1")
    assert "I3" in await harness.broken()


async def test_a_page_claimed_before_the_touch_was_told_in_order_where_the_clock_was_set_back(
    harness: OperationsHarness,
) -> None:
    await harness.ask("ann")
    await harness.wait(minutes=16)
    await harness.wait(minutes=-10)
    await harness.act("ann", "touch", channel="phone", answered=True)
    assert await harness.broken() == {}
    later = "UPDATE reporting_history SET position = position + 1000 WHERE type = 'page.sent'"
    await harness.break_by(later)
    assert "I7" in await harness.broken()


async def test_a_page_claimed_before_the_opt_out_was_told_in_order_where_the_clock_was_set_back(
    harness: OperationsHarness,
) -> None:
    await harness.ask("ann")
    await harness.wait(minutes=16)
    await harness.wait(minutes=-10)
    await harness.act("ann", "opt-out", reason="asked")
    assert await harness.broken() == {}


async def test_a_page_of_an_assignment_after_the_touch_is_right_where_the_clock_was_set_back(
    harness: OperationsHarness,
) -> None:
    await harness.ask("ann")
    await harness.wait(minutes=10)
    await harness.act("ann", "touch", channel="phone", answered=True)
    await harness.act("ann", "recycle", reason="stalled")
    await harness.wait(minutes=-5)
    await harness.ask("ann")
    await harness.wait(minutes=16)
    assert len(await harness.rows("SELECT id FROM notifier_pages WHERE epoch = 2 AND state = 'sent'")) > 1
    assert await harness.broken() == {}
    last = "(SELECT max(position) FROM reporting_history WHERE type = 'lead.assigned')"
    await harness.break_by(f"UPDATE reporting_history SET position = {last} + 1 WHERE type = 'promise.kept'")
    assert "I7" in await harness.broken()


# --- what is on its way ------------------------------------------------------------------------------------------


async def test_a_lead_that_changed_since_the_asking_began_is_left_out(busy: Copy) -> None:
    lead = await lead_id(busy, "fay")
    before = busy.clock.business()
    await busy.break_by("DELETE FROM notifier_clocks WHERE lead_id = ?", lead=lead)
    assert "I4" in await broken(busy)
    assert "I4" not in await broken(busy, since=before.replace(year=2020))


async def test_a_record_still_to_be_read_leaves_its_lead_out(busy: Copy) -> None:
    lead = await lead_id(busy, "fay")
    await busy.break_by("DELETE FROM notifier_clocks WHERE lead_id = ?", lead=lead)
    await busy.break_by("UPDATE cursors SET position = 0 WHERE consumer = 'notifier'")
    assert await broken(busy) == {}


async def test_a_record_still_to_be_published_leaves_its_lead_out(distributed: PastOneMachine) -> None:
    lead = await lead_id(distributed, "fay")
    await distributed.break_by("DELETE FROM notifier_clocks WHERE lead_id = ?", lead=lead)
    await distributed.break_by(
        "INSERT INTO log (topic, partition, key, event_id, at, body) VALUES ('routes', 0, ?, 'new', 1, '')", lead=lead
    )
    assert await broken(distributed) == {}


async def test_a_lead_of_which_services_know_differently_is_left_out_while_somebody_is_behind(
    distributed: PastOneMachine,
) -> None:
    fay, dan = await lead_id(distributed, "fay"), await lead_id(distributed, "dan")
    await distributed.break_by("DELETE FROM notifier_clocks WHERE lead_id = ?", lead=fay)
    await distributed.break_by("DELETE FROM router_leads WHERE lead_id = ?", lead=dan)
    assert {"I1", "I4"} <= set(await broken(distributed))
    assert not {"I1", "I4"} & set(await broken(distributed, heard=False))


async def test_ten_rows_are_named_unless_all_are_asked_for(harness: OperationsHarness) -> None:
    await harness.ask(*(f"p{n}" for n in range(12)))
    await harness.break_by("DELETE FROM notifier_clocks")
    found = (await harness.findings())["I4"]
    assert (found.broken, len(found.rows)) == (12, 10)
    assert len((await harness.findings(named_max=None))["I4"].rows) == 12
