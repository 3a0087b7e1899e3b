"""Checks of the rows as they are now: each function yields the rows that break one invariant."""

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from firsthour.kernel.time_units import micros
from firsthour.operations.verify.snapshot import OVERDUE, Snapshot
from firsthour.runtime.storage.packing import unpacked
from schemas.envelope import UnknownEventError, decode, event_of
from schemas.events.pages import PageSent
from schemas.events.routes import LeadAssigned
from services.notifier.domain.page import REQUEST_PAGES, WAITING

_SLACK_US: Final = 50_000
"""The possible difference of two readings of one moment, one of them computed from the other clock."""
_SHARED_SLACK_US: Final = 1_000_000
"""The same between processes, each of which reads the database's clock from time to time."""


# --- I2 ----------------------------------------------------------------------------------------------------------

_REPEATED_EFFECTS: Final = """
    SELECT type, cause, count(*) AS times FROM reporting_history
    WHERE cause IS NOT NULL GROUP BY type, cause, CASE WHEN type = 'consent.changed' THEN lead_id END
    HAVING count(*) > 1 ORDER BY type, cause"""
"""An opt-out by an identifier that several leads share has one record for each lead."""
_REPEATED_RECORDS: Final = """
    SELECT topic, event_id, count(*) AS times FROM log
    WHERE topic <> 'events' GROUP BY topic, event_id HAVING count(*) > 1 ORDER BY topic, event_id"""


def effects_are_single(snapshot: Snapshot) -> Iterator[str]:
    """Check I2: an event causes one record of a type, and a record is in the log once."""
    for row in snapshot.ask(_REPEATED_EFFECTS):
        yield f"event {row.cause}: caused {row.times} records of type {row.type}"
    for row in snapshot.ask(_REPEATED_RECORDS):
        yield f"record {row.event_id}: is {row.times} times in {row.topic}"


# --- I3 ----------------------------------------------------------------------------------------------------------

_SEVERAL_OPEN: Final = """
    SELECT lead_id, count(*) AS times FROM router_assignments
    WHERE closed_at IS NULL GROUP BY lead_id HAVING count(*) > 1 ORDER BY lead_id"""
_GAPS: Final = """
    SELECT lead_id, count(*) AS times, min(epoch) AS low, max(epoch) AS high FROM router_assignments
    GROUP BY lead_id HAVING min(epoch) <> 1 OR max(epoch) <> count(*) ORDER BY lead_id"""
_OVERLAPS: Final = """
    SELECT later.lead_id, later.epoch, later.opened_at, earlier.closed_at FROM router_assignments AS later
    JOIN router_assignments AS earlier ON earlier.lead_id = later.lead_id AND earlier.epoch = later.epoch - 1
    WHERE earlier.closed_at IS NULL OR later.opened_at < earlier.closed_at ORDER BY later.lead_id, later.epoch"""
_BACKWARDS: Final = """
    SELECT lead_id, epoch, closed_at FROM router_assignments WHERE closed_at < opened_at ORDER BY lead_id, epoch"""
_TWO_OWNERS: Final = """
    SELECT router_leads.lead_id, owner, rep, router_leads.epoch, router_assignments.epoch AS assigned
    FROM router_leads
    LEFT JOIN router_assignments ON router_assignments.lead_id = router_leads.lead_id AND closed_at IS NULL
    WHERE coalesce(owner, '') <> coalesce(rep, '')
       OR (rep IS NOT NULL AND router_leads.epoch <> router_assignments.epoch)
    ORDER BY router_leads.lead_id"""


def owners_are_single(snapshot: Snapshot) -> Iterator[str]:
    """Check I3: assignments of a lead do not overlap, and the open one is the owner's.

    Ambiguous times are not compared here: `assignments_match_history` compares each assignment with its records.
    """
    for row in snapshot.ask(_SEVERAL_OPEN):
        yield f"lead {row.lead_id}: {row.times} open assignments"
    for row in snapshot.ask(_GAPS):
        yield f"lead {row.lead_id}: {row.times} assignments with epochs {row.low} to {row.high}"
    for row in snapshot.ask(_OVERLAPS):
        if row.closed_at is not None and snapshot.is_ambiguous(row.opened_at):
            continue
        yield f"lead {row.lead_id}: assignment {row.epoch} began before {row.epoch - 1} ended"
    for row in snapshot.ask(_BACKWARDS):
        if not snapshot.is_ambiguous(row.closed_at):
            yield f"lead {row.lead_id}: assignment {row.epoch} ended before it began"
    for row in snapshot.ask(_TWO_OWNERS):
        yield (
            f"lead {row.lead_id}: owner is {row.owner or 'none'} at epoch {row.epoch}, "
            f"open assignment is of {row.rep or 'none'}{f' at epoch {row.assigned}' if row.assigned else ''}"
        )


# --- I4 ----------------------------------------------------------------------------------------------------------

_WITHOUT_CLOCK: Final = """
    SELECT router_leads.lead_id, router_leads.status, state FROM
      (SELECT lead_id, status, epoch, owner, submit_at FROM router_leads
       WHERE status IN ('qualified', 'assigned', 'accepted') AND touched_at IS NULL) AS router_leads
    LEFT JOIN notifier_clocks ON notifier_clocks.lead_id = router_leads.lead_id
    WHERE notifier_clocks.lead_id IS NULL OR state NOT IN ('live', 'missed')
       OR notifier_clocks.submit_at <> router_leads.submit_at
       OR notifier_clocks.epoch <> router_leads.epoch
       OR coalesce(rep, '') <> coalesce(owner, '')
       OR (state = 'live' AND due_at IS NULL)
    ORDER BY router_leads.lead_id"""
_STILL_RUNNING: Final = """
    SELECT notifier_clocks.lead_id, router_leads.status, notifier_clocks.state FROM notifier_clocks
    LEFT JOIN router_leads ON router_leads.lead_id = notifier_clocks.lead_id
    WHERE notifier_clocks.state IN ('live', 'missed')
      AND (router_leads.lead_id IS NULL OR router_leads.touched_at IS NOT NULL
           OR (router_leads.status NOT IN ('qualified', 'assigned', 'accepted') AND notifier_clocks.request = 0)
           OR router_leads.status NOT IN ('qualified', 'assigned', 'accepted', 'working', 'opportunity', 'customer'))
    ORDER BY notifier_clocks.lead_id"""


def untouched_leads_have_clocks(snapshot: Snapshot) -> Iterator[str]:
    """Check I4: an untouched lead of Sales has a running clock, and no other lead has one."""
    for row in snapshot.settled(snapshot.ask(_WITHOUT_CLOCK)):
        yield f"lead {row.lead_id}: {row.status} and untouched, but its clock is {_clock_fault(row)}"
    for row in snapshot.settled(snapshot.ask(_STILL_RUNNING)):
        yield f"lead {row.lead_id}: {row.status or 'unknown'}, but its clock is still {row.state}"


def _clock_fault(row: Any) -> str:
    return "missing" if row.state is None else f"{row.state}, not due, or of another assignment"


# --- I5 ----------------------------------------------------------------------------------------------------------

# A page whose recipient is not there is cancelled, and another person gets one of the same rung and time.
_FIRED_TWICE: Final = """
    SELECT lead_id, epoch, rung, count(*) AS times FROM notifier_pages
    GROUP BY lead_id, epoch, rung
    HAVING count(DISTINCT created_at) > 1 OR sum(CASE WHEN state = 'cancelled' THEN 0 ELSE 1 END) > 1
    ORDER BY lead_id, epoch, rung"""
_EARLY: Final = "SELECT id FROM notifier_pages WHERE created_at < due_at ORDER BY id"
_UNKNOWN_EPOCH: Final = """
    SELECT id, epoch FROM notifier_pages WHERE NOT EXISTS (
      SELECT 1 FROM router_assignments
      WHERE router_assignments.lead_id = notifier_pages.lead_id AND router_assignments.epoch = notifier_pages.epoch)
      AND NOT (epoch = 0 AND rung % :request_pages >= :waiting) ORDER BY id"""


def rungs_fire_once(snapshot: Snapshot) -> Iterator[str]:
    """Check I5: a rung of an assignment fires once, not before it is due."""
    for row in snapshot.ask(_FIRED_TWICE):
        yield f"lead {row.lead_id}: rung {row.rung} of assignment {row.epoch} fired {row.times} times"
    for row in snapshot.ask(_EARLY):
        yield f"page {row.id}: created before it was due"
    for row in snapshot.ask(_UNKNOWN_EPOCH, request_pages=REQUEST_PAGES, waiting=WAITING):
        yield f"page {row.id}: its assignment {row.epoch} does not exist"


# --- I6 ----------------------------------------------------------------------------------------------------------

_PAGES: Final = """
    SELECT id, state, channels, channel_index, deliveries, next_at, sent_at, error FROM notifier_pages
    WHERE (state = 'sent' AND (deliveries < 1 OR sent_at IS NULL OR next_at IS NOT NULL))
       OR (state IN ('pending', 'sending') AND (next_at IS NULL OR next_at < :overdue))
       OR (state = 'sending' AND deliveries < 1)
       OR (state IN ('failed', 'cancelled') AND (next_at IS NOT NULL OR coalesce(error, '') = ''))
       OR state = 'failed'
       OR state NOT IN ('pending', 'sending', 'sent', 'failed', 'cancelled')
    ORDER BY id"""


def pages_are_delivered(snapshot: Snapshot) -> Iterator[str]:
    """Check I6: a page is sent, waits, or ended with a reason. It may wait while no process delivers pages."""
    real = snapshot.clock.real()
    alive = snapshot.alive_since is not None and snapshot.alive_since < real - OVERDUE
    overdue = micros(real - OVERDUE) if alive else 0
    for row in snapshot.ask(_PAGES, overdue=overdue):
        fault = _fault(row, overdue)
        if fault is not None:
            yield f"page {row.id}: {row.state}, {fault}"


def _fault(row: Any, overdue: int) -> str | None:
    tried_all = row.channel_index + 1 == len(msgspec.json.decode(row.channels))
    match row.state:
        case "sent":
            return "but without a delivery, or with a next attempt"
        case "failed" if tried_all and row.error and row.next_at is None:
            return None
        case "failed":
            return "but without a reason, or with a channel not tried"
        case "cancelled":
            return "but without a reason, or with a next attempt"
        case "pending" | "sending" if row.next_at is not None and row.next_at < overdue:
            return f"overdue for more than {OVERDUE.total_seconds():g} s"
        case "pending" | "sending":
            return "but without a next attempt or its first delivery"
    return "which is not a state of a page"


# --- I7 ----------------------------------------------------------------------------------------------------------

_PAGES_OF_TOUCHED: Final = """
    SELECT pages.id, pages.lead_id, pages.epoch, pages.first_try_at, kept.at, kept.position
    FROM notifier_pages AS pages
    JOIN router_assignments ON router_assignments.lead_id = pages.lead_id AND router_assignments.epoch = pages.epoch
    JOIN reporting_history AS kept ON kept.lead_id = pages.lead_id AND kept.type = 'promise.kept'
     AND kept.at >= router_assignments.opened_at
     AND NOT EXISTS (SELECT 1 FROM reporting_history AS again
                     WHERE again.lead_id = pages.lead_id AND again.type = 'lead.asked_again'
                       AND again.at >= kept.at AND again.at <= pages.created_at)
    WHERE pages.state IN ('sending', 'sent', 'failed') AND pages.first_try_at IS NOT NULL
      AND pages.kind NOT IN ('next_attempt', 'lost', 'handed_on', 'refused') ORDER BY pages.id"""
_REMINDERS_OF_REACHED: Final = """
    SELECT pages.id FROM notifier_pages AS pages JOIN notifier_clocks ON notifier_clocks.lead_id = pages.lead_id
    WHERE pages.kind = 'next_attempt' AND pages.state = 'pending' AND pages.epoch <= notifier_clocks.epoch
      AND (notifier_clocks.talked_at IS NOT NULL OR notifier_clocks.opted_out = 1) ORDER BY pages.id"""
_PAGES_OF_OPTED_OUT: Final = """
    SELECT pages.id, pages.lead_id, pages.epoch, pages.first_try_at, notifier_clocks.updated_at AS at,
           (SELECT max(position) FROM reporting_history
            WHERE reporting_history.lead_id = pages.lead_id AND type = 'lead.opted_out') AS position
    FROM notifier_pages AS pages JOIN notifier_clocks ON notifier_clocks.lead_id = pages.lead_id
    WHERE notifier_clocks.opted_out = 1 AND pages.state IN ('sending', 'sent', 'failed')
      AND pages.kind <> 'lost' AND pages.first_try_at IS NOT NULL ORDER BY pages.id"""
_ORDER_OF_LEAD: Final = """
    SELECT position, body FROM reporting_history
    WHERE lead_id = :lead AND position > 0 AND type IN ('lead.assigned', 'page.sent')"""


def no_page_after_touch(snapshot: Snapshot) -> Iterator[str]:
    """Check I7. The unit that stores a touch emits `promise.kept`, so its time is when the notifier knew of the touch."""
    faults = {row.id: "touch" for row in snapshot.ask(_PAGES_OF_TOUCHED) if _claimed_late(snapshot, row)}
    faults |= {row.id: "opt-out" for row in snapshot.ask(_PAGES_OF_OPTED_OUT) if _claimed_late(snapshot, row)}
    for row in snapshot.ask(_REMINDERS_OF_REACHED):
        yield f"page {row.id}: waits, but the person was reached, or opted out"
    yield from (f"page {id}: first claimed after the {cause} was stored" for id, cause in sorted(faults.items()))


def _claimed_late(snapshot: Snapshot, row: Any) -> bool:
    at = snapshot.business_us(row.first_try_at)
    slack = _SHARED_SLACK_US if snapshot.distributed else _SLACK_US * snapshot.speed
    return at is not None and at > int(row.at) + slack and not _in_order(snapshot, row, at)


def _in_order(snapshot: Snapshot, row: Any, claimed_at: int) -> bool:
    """Return whether a time is ambiguous, and the order of the records is right.

    It is right if the page was sent before the touch was stored, or if its assignment began after that.
    """
    sent_before, assigned_after = snapshot.is_ambiguous(claimed_at), snapshot.is_ambiguous(int(row.at))
    if not row.position or not (sent_before or assigned_after):
        return False
    for record in snapshot.ask(_ORDER_OF_LEAD, lead=row.lead_id):
        try:
            event = event_of(decode(unpacked(record.body)))
        except (UnknownEventError, msgspec.DecodeError):
            continue  # I1 names it
        match event:
            case PageSent() if sent_before and event.page_id == row.id and record.position < row.position:
                return True
            case LeadAssigned() if assigned_after and event.epoch == row.epoch and record.position > row.position:
                return True
    return False


# --- I8 ----------------------------------------------------------------------------------------------------------

_LOADS: Final = """
    SELECT coalesce(router_reps.rep, held.rep) AS rep, coalesce(open, 0) AS open, coalesce(has, 0) AS has
    FROM (SELECT rep FROM router_reps UNION SELECT owner FROM router_leads WHERE owner IS NOT NULL) AS reps
    LEFT JOIN router_reps ON router_reps.rep = reps.rep
    LEFT JOIN (SELECT owner AS rep, count(*) AS has FROM router_leads
               WHERE status IN ('assigned', 'accepted', 'working') GROUP BY owner) AS held ON held.rep = reps.rep
    WHERE coalesce(open, 0) <> coalesce(has, 0) ORDER BY 1"""


def open_loads_match(snapshot: Snapshot) -> Iterator[str]:
    """Check I8: the counter of open leads of each rep matches their leads."""
    for row in snapshot.ask(_LOADS):
        yield f"rep {row.rep}: the counter of open leads is {row.open}, but {row.has} are owned"
